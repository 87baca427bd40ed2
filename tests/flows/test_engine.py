"""An audit's items on every engine: the same bytes from threads, processes and Ray, whatever dies on the way."""

import sys
from pathlib import Path

import pytest

from flows.engine import Engine
from tests.flows.test_audit import CONTROLLED, evidence, run_audit

pytestmark = pytest.mark.usefixtures("prefect_server")

RAY = Path(sys.executable).parent / "ray"


@pytest.fixture(scope="module")
def on_threads(registry, prefect_server, tmp_path_factory):
    """The run of an audit on two threads, and its evidence."""
    done = run_audit(
        registry, tmp_path_factory.mktemp("threads"), "threads", settings=CONTROLLED, engine=Engine(workers=2)
    )
    return done.run, evidence("threads")


@pytest.mark.parametrize(
    "engine", [Engine(processes=True, workers=2), Engine(ray="local", workers=2)], ids=["processes", "ray"]
)
def test_every_engine_gives_the_same_bytes(on_threads, registry, tmp_path, engine):
    prefix = "ray" if engine.ray else "processes"
    assert run_audit(registry, tmp_path, prefix, settings=CONTROLLED, engine=engine).run == on_threads[0]
    assert evidence(prefix) == on_threads[1]
