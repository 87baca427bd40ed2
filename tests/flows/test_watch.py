"""Jobs that fail, or are heard of no more, are put into the outbox, against a real Prefect server."""

import contextlib
import datetime
import time

import pytest
from prefect import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Failed, Running

from flows import watch
from flows.verify import verify
from flows.watch import AWAY, FAILED, FREQUENCY, MISSING, Watch, utc_now
from mucs import InputError
from mucs.outbox import Outbox

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.heavy]
SECONDS = 30


class Clock:
    """A clock that can be put forward by seconds."""

    ahead = 0.0

    def __call__(self):
        return utc_now() + datetime.timedelta(seconds=self.ahead)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def prefect():
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def deployment(prefect, request):
    """A deployment of the test's own."""
    flow, name = prefect.create_flow(verify), request.node.name
    made = prefect.create_deployment(flow, name, job_variables={"env": {FREQUENCY: str(SECONDS)}})
    yield made
    with contextlib.suppress(ObjectNotFound):  # a test may have deleted it
        prefect.delete_deployment(made)


def looked(outbox, clock, *expected):
    """A watch that has looked once, so that what comes now is new."""
    made = Watch(outbox, dict(expected), clock)
    made.look()
    return made


def told(outbox, *kinds):
    """What is in the outbox and was not told yet."""
    outbox.receive("all", watch.TYPES)
    found = []
    while event := outbox.take("all"):
        outbox.told(event, "all")
        found.append(event)
    return [event for event in found if event.type in (kinds or watch.TYPES)]


@pytest.fixture
def outbox(tmp_path):
    made = Outbox(tmp_path / "outbox")
    made.receive("all", watch.TYPES)
    return made


def test_a_job_that_failed_is_told_once_and_one_of_before_is_not(prefect, deployment, outbox, clock):
    def fail(why):
        run = prefect.create_flow_run_from_deployment(deployment)
        prefect.set_flow_run_state(run.id, Running())
        prefect.set_flow_run_state(run.id, Failed(message=f"Flow run encountered an exception: GateFailed: {why}"))
        return run

    fail("before")
    time.sleep(0.1)
    watching = looked(outbox, clock)
    assert told(outbox) == []
    run = fail("The gate images failed: 3 do not decode.")
    for _ in range(2):
        watching.look()
    Watch(outbox, {}).look()  # started again
    (event,) = told(outbox)
    assert (event.type, event.data["job"]) == (FAILED, f"verify/{deployment_name(prefect, deployment)}")
    assert event.data["said"] == "The gate images failed: 3 do not decode."
    assert event.data["page"].endswith(f"/runs/flow-run/{run.id}")


def deployment_name(prefect, deployment):
    return prefect.read_deployment(deployment).name


def test_a_run_that_is_heard_of_goes_on_and_one_that_is_not_is_crashed(prefect, deployment, outbox, clock):
    watching = looked(outbox, clock)
    heard, silent = (prefect.create_flow_run_from_deployment(deployment) for _ in range(2))
    for run in (heard, silent):
        prefect.set_flow_run_state(run.id, Running())
    watching.look()
    assert prefect.read_flow_run(silent.id).state_name == "Running"  # it may not have had the time yet
    clock.ahead = 2 * SECONDS + 5
    beat = {
        "event": watch.HEARTBEAT,
        "resource": {"prefect.resource.id": f"prefect.flow-run.{heard.id}"},
        "occurred": clock().isoformat(),
        "id": "00000000-0000-4000-8000-000000000001",
    }
    prefect.request("POST", "/events", json=[beat])
    end = time.monotonic() + 30
    while not watch.heard(prefect, heard, clock() - datetime.timedelta(seconds=SECONDS), clock()):  # it takes a moment
        assert time.monotonic() < end
        time.sleep(0.2)
    watching.look()
    assert prefect.read_flow_run(heard.id).state_name == "Running"
    assert prefect.read_flow_run(silent.id).state_name == "Crashed"
    (event,) = told(outbox)
    assert "Nothing was heard of it for 60 seconds" in event.data["said"]
    prefect.set_flow_run_state(heard.id, Completed(), force=True)


def test_a_job_that_nobody_completes_is_missed(prefect, deployment, outbox, clock):
    name = f"verify/{deployment_name(prefect, deployment)}"
    watching = looked(outbox, clock, (name, 26))
    run = prefect.create_flow_run_from_deployment(deployment)
    for state in (Running(), Completed()):
        prefect.set_flow_run_state(run.id, state)
    clock.ahead = 25 * 3600
    watching.look()
    assert told(outbox, MISSING) == []
    clock.ahead = 27 * 3600
    for _ in range(2):
        watching.look()
    (event,) = told(outbox, MISSING)
    assert (event.data["job"], event.data["hours"]) == (name, 26)
    assert event.data["completed"]
    prefect.delete_deployment(deployment)  # as when Prefect's database is lost
    for _ in range(2):
        watching.look()
    (event,) = told(outbox, MISSING)
    assert event.data["said"].startswith(f"Prefect has no deployment {name}")
    with pytest.raises(InputError, match="Prefect has no deployment verify/nobody"):
        Watch(outbox, {"verify/nobody": 1}).look()


@pytest.mark.slow
def test_a_prefect_that_does_not_answer_is_told_once(outbox, clock):
    watching = looked(outbox, clock)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        watching.look()
        assert told(outbox) == []  # it may be starting again
        clock.ahead = 60
        for _ in range(2):
            watching.look()
        (event,) = told(outbox)
        assert event.type == AWAY
