"""The command as a process: how it stops and what it leaves running, what it refuses before Prefect is up, and two at once."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.audit import audit
from flows.calibrate import calibrate
from mucs import InputError
from tests.flows.test_audit import asked, words
from tests.flows.test_cli import refused

MARK = "MUCS_TEST_MARK"
SECONDS_TO_END = 20


def start(*command: str | bytes, mark: str, home: Path, ignore_interrupt: bool = False) -> subprocess.Popen:
    """`mucs` as a process with no Prefect server but its own; all its descendants carry the mark."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *command],
        env=environment | {MARK: mark, "PREFECT_HOME": str(home), "MUCS_CACHE": str(home.parent / f"cache-{mark}")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # as a script's background has it
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignore_interrupt else None,
    )


def running(mark: str) -> list[str]:
    """The command lines of all processes that carry the mark and are not dead."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}\0" in (process / "environ").read_text():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended meanwhile, or is another user's
            continue
    return found


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("number", "status"), [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow), (signal.SIGKILL, -9)]
)
def test_a_demo_that_is_stopped_or_killed_leaves_nothing_running(tmp_path, number, status):
    mark = f"{os.getpid()}-{number}"
    demo = start("demo", "--folder", str(tmp_path / "demo"), mark=mark, home=tmp_path / "home", ignore_interrupt=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "home/prefect.db").exists() or not (tmp_path / "demo/registry").exists():
        assert demo.poll() is None, demo.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert {"demo", "weed", "prefect_server.py"} <= {
        name for name in ("demo", "weed", "prefect_server.py") for line in running(mark) if name in line
    }
    demo.send_signal(number)
    _, err = demo.communicate(timeout=60)
    assert demo.returncode == status
    if number == signal.SIGTERM:
        told = [line for line in err.splitlines() if line and not re.match(r" ?\d+:\d\d  ", line)]
        assert told == ["mucs: stopped; run the same command again to go on where it was."]
    deadline = time.monotonic() + SECONDS_TO_END
    while running(mark):
        assert time.monotonic() < deadline, running(mark)
        time.sleep(0.1)


@pytest.mark.slow
def test_two_audits_of_one_ledger_that_start_at_once_in_a_fresh_home_both_end_well(registry, tmp_path):
    short = ("--set", "max_steps=1", "--set", "num_noises=4", "--set", "controls=false", "--set", "recall_sample=0")
    both = []
    for _ in range(2):
        command = (*words(registry, tmp_path, "at-once"), *short)
        both.append(start(*command, mark=f"both-{os.getpid()}", home=tmp_path / "home"))
    for process in both:
        out, err = process.communicate(timeout=400)
        assert process.returncode == 0, err
        assert "Attributed 3 generated items" in out
        assert [line for line in err.splitlines() if not re.match(r" ?\d+:\d\d  ", line)] == []
    assert asked(tmp_path / "ledger", "SELECT count(*) FROM runs") == [(1,)]


@pytest.fixture
def no_prefect():
    """A Prefect server that does not answer."""
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        yield


@pytest.mark.usefixtures("no_prefect")
def test_what_is_wrong_is_told_before_prefect_is_asked_anything(mucs, registry, tmp_path, monkeypatch):
    monkeypatch.setenv("MUCS_CACHE", str(tmp_path / "cache"))
    given = words(registry, tmp_path, "early")
    inputs = [word for word in given[1:] if not str(word).startswith(str(tmp_path))]
    inputs = [word for word in inputs if word not in ("--ledger", "--reports")]
    (tmp_path / "file").touch()
    wrong = {
        ("--log", "s3://no-such-bucket/log"): "no such bucket",
        ("--registry", "/nowhere"): "not a registry",
        ("--revision", "v99"): "no revision 'v99'",
        ("--set", "repeats=0"): "give at least 1",
        ("--device", "tpu"): "'tpu'",
    }
    for command in (given, ["calibrate", *inputs]):
        for change, sentence in wrong.items():
            assert sentence in refused(mucs(*command, *change)), change
    for change, sentence in {
        ("--sign", tmp_path / "none.pem"): "none.pem",
        ("--ledger", tmp_path / "file" / "ledger"): "of the ledger does not exist; make it",
        ("--reports", tmp_path / "file"): "is not a folder; give another place for the reports",
    }.items():
        assert sentence in refused(mucs(*given, *change)), change
    assert "no study 'nothing'" in refused(mucs("evaluate", "nothing"))
    assert "is not a folder" in refused(mucs("evaluate", "openmoji", "--folder", tmp_path / "file"))
    monkeypatch.setenv("MUCS_CACHE", str(tmp_path / "file"))
    assert "is not a folder; give another place for the cache, MUCS_CACHE" in refused(mucs(*given))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("flow", [audit, calibrate])
def test_the_flows_look_before_they_pull(flow, registry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"registry": str(registry), "revision": "v1", "licences": ["CC-BY-4.0"], "cache": tmp_path / "cache"}
    for log, revision, sentence in (
        ("s3://no-such-bucket/log", "v1", "no such bucket"),
        ("s3://evidence/x", "v99", "no revision"),
    ):
        with pytest.raises(InputError, match=sentence):
            flow(**given | {"log": log, "revision": revision})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.heavy
def test_places_that_cannot_be_used_and_other_encodings_are_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    command = ("audit", "--registry", "r", "--log", "s3://evidence/x", "--licence", "L")
    for words_, home, sentence in (
        (command, tmp_path / "file", "is not a folder; give another place for Prefect's files, PREFECT_HOME"),
        (("demo", "--folder", str(tmp_path / "file")), tmp_path / "home", "is not a folder; give another place"),
        (("why", b"caf\xe9"), tmp_path / "home", r"The argument b'caf\xe9' is not UTF-8"),
        (("keygen", str(tmp_path / "file/key.pem")), tmp_path / "home", "cannot be written"),
    ):
        process = start(*words_, mark="places", home=home)
        out, err = process.communicate(timeout=60)
        assert sentence in refused((process.returncode, out, err))
