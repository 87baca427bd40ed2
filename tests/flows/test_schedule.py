"""A schedule as an operator sets it up: a Prefect server, a worker, the deployments of prefect.yaml, by the README's own words."""

import contextlib
import datetime
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import pytest
import yaml

from flows.ray_cluster import descendants
from tasks.serve import die_with_parent
from tasks.webhook import VARIABLE
from tests.factories import free_port
from tests.flows.test_audit import SETTINGS, asked
from tests.flows.test_notify import WORD, Receiver

ROOT = Path(__file__).parents[2]
SECONDS_AHEAD = 20
TIMEOUT = 400


def steps() -> list[list[str]]:
    """The README's commands, without their comments: two of variables, the server, a pool, the deployments, a worker, and who tells of failures."""
    block = re.search(r"## On a schedule.*?```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    return [shlex.split(line, comments=True) for line in block.strip().splitlines()]


class Operator:
    """Runs the README's commands in a folder, against a Prefect server at a free port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        port = free_port()
        self.api = f"http://127.0.0.1:{port}/api"
        mine = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.environment = mine | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "MUCS_CACHE": str(folder / "cache"),
        }
        self.processes: list[subprocess.Popen] = []

    def export(self, words: list[str], own: dict[str, str]) -> None:
        """Set variables, but for those that are this test's own."""
        given = dict(word.split("=", 1) for word in words[1:])
        assert set(own) <= set(given)
        self.environment |= given | own

    def start(self, words: list[str]) -> subprocess.Popen:
        """Start what goes on until it is stopped."""
        with (self.folder / f"{words[1]}.log").open("ab") as log:
            process = subprocess.Popen(
                words, cwd=self.folder, env=self.environment, stdout=log, stderr=log, preexec_fn=die_with_parent
            )
        self.processes.append(process)
        return process

    def run(self, words: list[str]) -> None:
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def ask(self, path: str, **body) -> list[dict]:
        answer = httpx.post(f"{self.api}/{path}/filter", json=body, timeout=60)
        return answer.raise_for_status().json()

    def wait(self, what: str, found):
        """What `found` gives as soon as it gives something."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            with contextlib.suppress(httpx.TransportError):
                if got := found():
                    return got
            if time.monotonic() > deadline:
                logs = "".join(path.read_text()[-3000:] for path in self.folder.glob("*.log"))
                raise AssertionError(f"waited for {what} for {TIMEOUT} s:\n{logs}")
            time.sleep(0.5)

    def ended(self, deployment: str, state: str = "COMPLETED") -> list[dict]:
        """The runs of a deployment that ended so, the latest first."""
        runs = {"state": {"type": {"any_": [state]}}}
        return self.ask(
            "flow_runs", deployments={"name": {"any_": [deployment]}}, flow_runs=runs, sort="START_TIME_DESC"
        )

    def kill(self, *but: str) -> list[str]:
        """As when a machine loses power: all that runs, but what has one of these in its command; gives the commands."""
        home, killed = f"PREFECT_HOME={self.folder / 'prefect'}\0", []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (process / "cmdline").read_text().replace("\0", " ")
                if home in (process / "environ").read_text() and not any(each in command for each in but):
                    os.kill(int(process.name), signal.SIGKILL)
                    killed.append(command)
        return killed

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def operator(tmp_path):
    operating = Operator(tmp_path)
    yield operating
    operating.stop()


def deployments(name: str, at: datetime.datetime, changes: dict) -> dict:
    """The project's prefect.yaml with one of the audits due at a moment, then each minute, and the tests' settings."""
    project = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    for deployment in project["deployments"]:
        deployment["schedules"] = []
    chosen = next(d for d in project["deployments"] if d["name"] == name)
    chosen["schedules"] = [{"interval": 60, "anchor_date": at.isoformat(), "timezone": "UTC"}]
    own = {"revision": "v1", "licences": ["CC-BY-4.0"], "settings": SETTINGS.record()}
    chosen["parameters"] = chosen["parameters"] | own | changes
    return project


def set_up(operator: Operator, registry: Path, name: str = "nightly", **changes: object) -> None:
    """The README's steps up to the deployments, one by one, with some parameters of an audit's deployment changed."""
    of_prefect, places, server, pool, deploy, _, _ = steps()
    folder = operator.folder
    operator.export(of_prefect, {"PREFECT_API_URL": operator.api})  # at a port of its own
    own = {"MUCS_REGISTRY": registry, "MUCS_LOG": f"s3://evidence/{folder.name}"}  # a log of its own
    own |= {variable: folder / variable.lower() for variable in ("MUCS_LEDGER", "MUCS_REPORTS", "MUCS_HEAD")}
    operator.export(
        places, {variable: str(place) for variable, place in own.items()} | {"MUCS_OUTBOX": str(folder / "outbox")}
    )
    operator.start(server)
    operator.wait("the server", lambda: httpx.get(f"{operator.api}/health").status_code == 200)
    operator.run(pool)
    due = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=SECONDS_AHEAD)
    (folder / "prefect.yaml").write_text(yaml.safe_dump(deployments(name, due, changes)))
    operator.run(deploy)


def start_worker(operator: Operator) -> None:
    operator.start(steps()[5])


@pytest.mark.slow
def test_a_scheduled_audit_runs_and_tells(operator, registry):
    set_up(operator, registry)
    start_worker(operator)
    first = operator.wait("a scheduled run to complete", lambda: operator.ended("nightly"))[-1]
    assert first["auto_scheduled"]
    (on_demand,) = operator.ask("deployments", deployments={"name": {"any_": ["on-demand"]}})
    assert (on_demand["work_pool_name"], on_demand["work_queue_name"]) == ("audits", "on-demand")
    assert asked(operator.folder / "mucs_ledger", "SELECT count(*) FROM edges") == [(36,)]

    def told():
        logs = operator.ask("logs", logs={"flow_run_id": {"any_": [first["id"]]}})
        return [line["message"] for line in logs if line["name"].startswith("mucs.")]

    lines = operator.wait("the run's log", lambda: any(line.startswith("report") for line in told()) and told())
    for begins in ("pull      train", "validate", "attribute 1 of 3: g", "attribute 3 of 3: g", "publish", "load"):
        assert any(line.startswith(begins) for line in lines), lines
    runs = operator.ask("task_runs", task_runs={"flow_run_id": {"any_": [first["id"]]}})
    assert {f"attribute g{k}" for k in range(3)} <= {run["name"] for run in runs if run["state_type"] == "COMPLETED"}


@pytest.mark.slow
def test_a_scheduled_audit_runs_on_a_ray_cluster(operator, registry):
    port = free_port()
    operator.environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with tempfile.TemporaryDirectory(prefix="mucs-ray-") as folder:  # a short path, as Ray's sockets need
        head = operator.start(
            [
                *("ray", "start", "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false"),
                *("--disable-usage-stats", f"--temp-dir={folder}", "--object-store-memory=100000000", "--block"),
            ]
        )
        try:
            set_up(operator, registry, "fleet", engine={"ray": f"127.0.0.1:{port}"})
            start_worker(operator)
            (run, *_) = operator.wait("a scheduled run to complete", lambda: operator.ended("fleet"))
            runs = operator.ask("task_runs", task_runs={"flow_run_id": {"any_": [run["id"]]}})
        finally:
            for process in [head.pid, *descendants(head.pid)]:
                os.kill(process, signal.SIGKILL)
    assert asked(operator.folder / "mucs_ledger", "SELECT count(*) FROM edges") == [(36,)]
    assert {f"attribute g{k}" for k in range(3)} <= {run["name"] for run in runs if run["state_type"] == "COMPLETED"}


@pytest.mark.slow
def test_the_next_run_goes_on_where_one_was_when_its_machine_went_down(operator, registry):
    set_up(operator, registry, settings=SETTINGS.record() | {"max_steps": 200})
    start_worker(operator)
    operator.wait("a run to attribute", lambda: list(operator.folder.glob("cache/work/items/*.safetensors")))
    (cut,) = operator.ended("nightly", "RUNNING")
    operator.kill()
    operator.start(steps()[2])
    start_worker(operator)
    done = operator.wait("the next run to complete", lambda: operator.ended("nightly"))[-1]
    assert done["id"] != cut["id"]
    assert asked(operator.folder / "mucs_ledger", "SELECT count(*) FROM runs") == [(1,)]


@pytest.mark.slow
def test_somebody_is_told_when_a_run_does_not_begin_and_when_its_machine_goes_down(operator, registry):
    """The worker is not there, then comes, and is killed with its run; the next one goes on."""
    receiver = Receiver()
    set_up(operator, registry, settings=SETTINGS.record() | {"max_steps": 200})
    operator.environment |= {VARIABLE: WORD}
    *tell, expected = steps()[6]
    operator.start([word if "://" not in word else receiver.url for word in (*tell, expected)])

    def told(kind):
        return [each["data"] for each in receiver.read() if each["type"] == kind]

    late = operator.wait("the alert of a run that is late", lambda: told("job.late"))
    assert late[0]["job"] == "audit/nightly"
    start_worker(operator)
    operator.wait("a run to attribute", lambda: list(operator.folder.glob("cache/work/items/*.safetensors")))
    (cut,) = operator.ended("nightly", "RUNNING")
    killed = operator.kill("prefect server", "prefect.server", "notify")
    at = time.monotonic()
    assert len(killed) == 2  # the worker and the run
    (failed,) = operator.wait("the alert of a run whose machine went down", lambda: told("job.failed"))
    assert time.monotonic() - at < 90
    assert failed["page"].endswith(f"/runs/flow-run/{cut['id']}")
    assert "its machine or its worker is down" in failed["said"]
    assert [run["id"] for run in operator.ended("nightly", "CRASHED")] == [cut["id"]]
    start_worker(operator)
    operator.wait("the next run to complete", lambda: operator.ended("nightly"))
    assert asked(operator.folder / "mucs_ledger", "SELECT count(*) FROM runs") == [(1,)]
    operator.wait("what is published to be told", lambda: told("run.published"))
    assert len(told("job.failed")) == 1
    receiver.close()
