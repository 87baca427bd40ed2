"""An audit's items on every engine: the same bytes from threads, processes and Ray, whatever dies on the way."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from prefect import flow, task
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.engine import Engine
from flows.ray_cluster import descendants
from flows.units import reason, run_units
from mucs import InputError
from tests.factories import free_port
from tests.flows.test_audit import CONTROLLED, evidence, run_audit, words

pytestmark = pytest.mark.usefixtures("prefect_server")

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).parent / "ray"


@pytest.fixture(scope="module")
def on_threads(registry, prefect_server, tmp_path_factory):
    """The run of an audit on two threads, and its evidence."""
    done = run_audit(
        registry, tmp_path_factory.mktemp("threads"), "threads", settings=CONTROLLED, engine=Engine(workers=2)
    )
    return done.run, evidence("threads")


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(Engine(processes=True, workers=2), id="processes"),
        # on Ray two nodes give them below
        pytest.param(Engine(ray="local", workers=2), id="ray", marks=pytest.mark.slow),
    ],
)
def test_every_engine_gives_the_same_bytes(on_threads, registry, tmp_path, engine):
    prefix = "ray" if engine.ray else "processes"
    assert run_audit(registry, tmp_path, prefix, settings=CONTROLLED, engine=engine).run == on_threads[0]
    assert evidence(prefix) == on_threads[1]


@pytest.mark.slow
def test_an_item_that_fails_leaves_the_others_and_the_next_audit_takes_it_up(registry, tmp_path, mucs, monkeypatch):
    monkeypatch.setenv("MUCS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "before").mkdir()
    work, ledger = tmp_path / "work", tmp_path / "ledger"
    once = {"settings": CONTROLLED, "cache": tmp_path / "cache", "work": str(work), "engine": Engine(workers=1)}
    run_audit(registry, tmp_path / "before", "before", **once)
    g1 = sorted(work.glob("items/*"), key=lambda place: place.stat().st_mtime_ns)[1]
    g1.unlink()
    g1.mkdir()  # where no result can be kept
    command = [*words(registry, tmp_path, "failing"), "--work", work]
    status, out, err = mucs(*command, "--json")
    assert status == 1
    done = json.loads(out)
    assert (done["attributed"], done["failed"]) == (2, 1)
    assert "g1, failed: " in err
    assert "1 generated items could not be attributed" in err
    record = json.loads(evidence("failing")[f"{done['run']}/record"])
    assert [item["id"] for item in record["generated"]] == ["g0", "g2"]
    assert [(item["id"], "is there and is not a file" in item["reason"]) for item in record["failed"]] == [("g1", True)]
    assert "g1" in Path(done["report"]).read_text()
    assert mucs("verify", "--ledger", ledger)[0] == 0

    g1.rmdir()
    status, out, err = mucs(*command)
    assert (status, out) == (0, f"Attributed 1 generated items in run {out.split()[-1]}\n")
    assert mucs("verify", "--ledger", ledger)[0] == 0


@pytest.mark.slow
def test_a_fleet_of_two_nodes_gives_the_same_bytes_though_one_is_killed(on_threads, registry, tmp_path):
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "MUCS_CACHE": str(tmp_path / "cache"),
        "PREFECT_API_URL": PREFECT_API_URL.value(),
    }
    address = f"127.0.0.1:{free_port()}"
    head = ["--head", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false"]
    nodes = []
    with tempfile.TemporaryDirectory(prefix="mucs-ray-") as folder:  # a short path, as Ray's sockets need
        try:
            for where in ([*head, f"--temp-dir={folder}"], [f"--address={address}"]):
                start = [RAY, "start", *where, "--num-cpus=1", "--object-store-memory=100000000", "--block"]
                nodes.append(
                    subprocess.Popen(start, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
                )
                time.sleep(8)
            command = [sys.executable, "-m", "flows.cli", *words(registry, tmp_path, "fleet"), "--ray", address]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            said = []
            with subprocess.Popen(command, env=environment, text=True, **pipes) as audit:
                for line in audit.stderr:
                    said.append(line)
                    if "attribute 1 of 5" in line:
                        for process in [nodes[1].pid, *descendants(nodes[1].pid)]:
                            os.kill(process, signal.SIGKILL)
                assert audit.stdout.read() == f"Attributed 3 generated items in run {on_threads[0][:16]}.\n"
            assert audit.returncode == 0, "".join(said)
        finally:
            for node in nodes:
                for process in [node.pid, *descendants(node.pid)]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                node.wait()
    assert evidence("fleet") == on_threads[1]


@pytest.mark.slow
def test_an_item_whose_workers_all_die_fails_and_leaves_the_others(monkeypatch):
    monkeypatch.setattr("flows.engine.TRIES", 1)

    @task(task_run_name="work on {unit}")
    def work(plan: None, unit: str) -> str:
        if unit == "b":
            os.kill(os.getpid(), signal.SIGKILL)
        return "done"

    @flow
    def job() -> dict[str, str]:
        with Engine(ray="local", workers=1).runner("cpu") as runner:
            return {
                unit: reason(error) for unit, error in run_units(runner, work, None, ["a", "b", "c"], "work").items()
            }

    failed = job()
    assert list(failed) == ["b"]
    assert "The worker died unexpectedly" in failed["b"]


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(Engine(processes=True, workers=1), id="processes"),
        pytest.param(Engine(ray="local", workers=1), id="ray", marks=pytest.mark.slow),
    ],
)
def test_an_engine_that_dies_ends_the_job_and_fails_no_item(engine):
    on_ray = engine.ray is not None

    @task(task_run_name="work on {unit}")
    def work(plan: None, unit: str) -> str:
        os.kill(os.getppid() if on_ray else os.getpid(), signal.SIGKILL)  # a Ray worker's parent is its node
        time.sleep(60)
        return "done"

    @flow
    def job() -> None:
        with engine.runner("cpu") as runner:
            run_units(runner, work, None, ["a", "b"], "work")

    with pytest.raises(InputError, match="run the same command again"):
        job()


@pytest.mark.slow
def test_whatever_is_killed_the_bytes_are_the_same_and_nothing_is_computed_twice_or_left(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "fleet.py", "kill", "--times", "7", "--folder", tmp_path]
    mine = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(command, env=mine, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout


def test_an_estimate_is_what_the_ledgers_runs_took_and_computes_nothing(
    on_threads, registry, tmp_path, mucs, monkeypatch
):
    monkeypatch.setenv("MUCS_CACHE", str(tmp_path / "cache"))
    command = words(registry, tmp_path, "estimated")
    found = json.loads(mucs(*command, "--workers", "3", "--estimate", "--json")[1])
    assert (found["items"], found["training"], found["held_out"], found["workers"]) == (5, 24, 8, 3)
    assert found["steps_from"] in ("trial", "beginning")
    assert 0 < found["steps"] <= found["max_steps"] == 8
    assert found["item_gradients"] == round((found["steps"] + 1) * 16)
    assert 0 < found["item_seconds"] <= found["item_seconds_at_cap"] < found["seconds"] <= found["seconds_at_cap"]
    assert "items an hour" in mucs(*command, "--estimate")[1]
    assert evidence("estimated") == {}
    assert not (tmp_path / "ledger").exists()


def test_what_is_wrong_with_an_engine_is_said_before_anything_is_computed(registry, tmp_path, mucs, monkeypatch):
    command = words(registry, tmp_path, "refused")
    monkeypatch.setenv("PREFECT_API_URL", PREFECT_API_URL.value())
    assert mucs(*command, "--ray", "127.0.0.1:9") == (
        2,
        "",
        "mucs: No Ray cluster answers at 127.0.0.1:9; start one with `ray start --head`, or check the address.\n",
    )
    for words_of, sentence in (
        (("--ray", "nowhere"), "'nowhere' is no address of a Ray cluster"),
        (("--ray", "local", "--processes"), "leave out either --ray or --processes"),
        (("--workers", "0"), "ask for at least 1"),
        (("--gpus", "1.5"), "An item cannot take 1.5 GPUs"),
        (("--work", "/dev/null/work"), "is not a folder; give another place for the store"),
        (("--work", "s3://no-such-bucket/work"), "S3 has no such bucket"),
        (("--work", "gs://bucket"), "is not an S3 address"),
    ):
        status, out, err = mucs(*command, *words_of)
        assert (status, out) == (2, ""), words_of
        assert sentence in err
        assert err.count("\n") == 1
    assert not (tmp_path / "ledger").exists()


def test_workers_need_a_prefect_server_that_all_of_them_reach(registry, tmp_path, mucs, monkeypatch):
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        status, _, err = mucs(*words(registry, tmp_path, "alone"), "--ray", "127.0.0.1:6379")
    assert status == 2
    assert "set PREFECT_API_URL to an address of it that all of them reach" in err
