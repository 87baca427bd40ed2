"""The service on one machine: all of it starts, what ends is started again, and nothing of it stays."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tasks.serve import die_with_parent
from tests.factories import free_port

ROOT = Path(__file__).parents[1]
WAIT = 240
PROGRAMS = {"deployments", "explorer", "notify", "postgres", "server", "worker"}
pytestmark = pytest.mark.slow


def processes(folder: Path) -> dict[int, str]:
    """What runs with this folder in its environment, or in its command."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_text().replace("\0", " ")
            if str(folder) in (process / "environ").read_text() + command and int(process.name) != os.getpid():
                found[int(process.name)] = command
    return found


@pytest.fixture
def service(tmp_path):
    """The folder of the service, its environment, and what runs `deploy/service`."""
    port = free_port()
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PREFECT_", "MUCS_"))}
    environment = mine | {
        "MUCS_SERVICE": str(tmp_path / "service"),
        "MUCS_PORT": str(free_port()),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_PORT": str(port),
    }

    def run(*words: str) -> str:
        done = subprocess.run(
            [ROOT / "deploy/service", *words], env=environment, capture_output=True, text=True, timeout=60
        )
        return done.stdout + done.stderr

    with (tmp_path / "said").open("ab") as said:
        started = subprocess.Popen(
            [ROOT / "deploy/service"], env=environment, stdout=said, stderr=said, preexec_fn=die_with_parent
        )
    yield tmp_path / "service", environment, run, started
    run("stop")
    with contextlib.suppress(subprocess.TimeoutExpired):
        started.wait(60)
    for pid in processes(tmp_path):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def until(what: str, found):
    end = time.monotonic() + WAIT
    while True:
        with contextlib.suppress(httpx.TransportError):
            if got := found():
                return got
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(1)


def states(run) -> dict[str, tuple[str, str]]:
    """The state of each program, and what is told of it."""
    lines = [line.split(None, 2) for line in run("status").splitlines()]
    return {words[0]: (words[1], words[2] if len(words) > 2 else "") for words in lines if words[0] in PROGRAMS}


def test_it_starts_goes_on_and_ends(service, tmp_path):
    folder, environment, run, started = service
    until("the deployments", lambda: (folder / "deployed").exists())
    api = environment["PREFECT_API_URL"]
    made = httpx.post(f"{api}/deployments/filter", json={}).json()
    assert {each["name"] for each in made} == {
        *("nightly", "on-demand", "fleet", "calibration", "weekly", "daily", "monthly")
    }
    (nightly,) = [each for each in made if each["name"] == "nightly"]
    assert nightly["parameters"]["registry"] == str(folder / "registry")
    assert "postgres" in (folder / "logs/postgres.log").read_text()
    until("the worker", lambda: "started" in (folder / "logs/worker.log").read_text())
    now = states(run)
    assert now.keys() == PROGRAMS
    assert {name for name, (state, _) in now.items() if state == "RUNNING"} == PROGRAMS - {"deployments"}

    before = now["worker"][1]
    pid = int(before.split()[1].rstrip(","))
    os.killpg(os.getpgid(pid), signal.SIGKILL)
    until("another worker", lambda: (s := states(run)["worker"])[0] == "RUNNING" and f"pid {pid}," not in s[1])

    shutil.copytree(ROOT / "tests/golden/log-3-unseen", tmp_path / "log")  # a ledger comes, and the explorer with it
    given = ("--log", tmp_path / "log", "--ledger", folder / "ledger")
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "rebuild", *given], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    ready = f"http://127.0.0.1:{environment['MUCS_PORT']}/ready"
    until("the explorer", lambda: httpx.get(ready).json() == {"ready": True})

    assert "AWS_ENDPOINT_URL_S3" in (folder / "env").read_text()
    assert (folder / "env").stat().st_mode & 0o077 == 0
    run("stop")
    started.wait(90)
    until("all processes to end", lambda: not processes(folder))
