"""Watch: what becomes of the jobs that Prefect has deployments of: those that failed, were late, or are heard of no more.

Prefect knows when a job fails, not when its machine goes down: that leaves a run that is running for ever. A flow run sends a heartbeat
(PREFECT_FLOWS_HEARTBEAT_FREQUENCY, which `prefect.yaml` sets to 30 seconds), so one that misses two is set to Crashed here.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flows.on_demand import prefect_client, reason_of
from mucs import InputError
from mucs.ledger.asked import Unavailable
from mucs.outbox import Outbox
from mucs.text import as_clause

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

FAILED, LATE, MISSING, AWAY = "job.failed", "job.late", "job.missing", "prefect.away"
TYPES = (FAILED, LATE, MISSING, AWAY)
LATE_AFTER = datetime.timedelta(seconds=45)
AWAY_AFTER = datetime.timedelta(seconds=45)
BACK = datetime.timedelta(days=3)  # that is looked at again, for what came while nobody watched
BEATS_MISSED = 2
MOST = 200  # runs of a look, as Prefect gives at a time
FREQUENCY = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
USUAL = 180  # seconds between heartbeats where a deployment does not say
HEARTBEAT = "prefect.flow-run.heartbeat"


def utc_now() -> datetime.datetime:
    """The time."""
    return datetime.datetime.now(datetime.UTC)


class Watch:
    """Looks at the jobs of the Prefect server that is configured, and puts into an outbox what is to be told of them.

    Attributes:
        outbox: Where it waits until it is told.
        expected: How many hours may pass between completed runs of a deployment, by its name as `audit/nightly`.
        clock: Says what time it is.
    """

    def __init__(
        self, outbox: Outbox, expected: Mapping[str, float], clock: Callable[[], datetime.datetime] = utc_now
    ) -> None:
        self.outbox, self.expected, self.clock = outbox, expected, clock
        self._answered = clock()
        self._seen: set[str] = set()  # deployments that are expected, and were there

    def look(self) -> None:
        """Look once.

        Raises:
            InputError: If a deployment is expected that Prefect does not have.
        """
        now = self.clock()
        try:
            with prefect_client() as prefect:
                self._look(prefect, now)
        except Unavailable as error:
            if now - self._answered > AWAY_AFTER:
                self.outbox.put(AWAY, {"said": as_clause(error)}, id=f"{AWAY}-{self._answered.isoformat()}")
            return
        self._answered = now

    def _look(self, prefect: SyncPrefectClient, now: datetime.datetime) -> None:
        first = self._first(str(prefect.api_url), now)
        names = Names(prefect)
        for run in runs(prefect, {"type": {"any_": ["RUNNING"]}}):
            silent = silence(prefect, run, now)
            if silent:
                crash(prefect, run, silent)
        ended = {"after_": max(first, now - BACK).isoformat()}
        for run in runs(prefect, {"type": {"any_": ["FAILED", "CRASHED"]}}, end_time=ended):
            said = {"state": run.state_name, "said": reason_of(run)}
            self.outbox.put(FAILED, names.of(run) | said, str(run.end_time), f"{run.id}-{run.state_id}")
        due = {"before_": (now - LATE_AFTER).isoformat()}
        for run in runs(prefect, {"name": {"any_": ["Late"]}}, expected_start_time=due):
            if run.auto_scheduled:  # a picture that is sent waits for its turn
                said = {"due": str(run.expected_start_time)}
                self.outbox.put(LATE, names.of(run) | said, id=f"{run.id}-{LATE}")
        for name, hours in self.expected.items():
            self._miss(prefect, name, hours, first, now)

    def _first(self, server: str, now: datetime.datetime) -> datetime.datetime:
        """When jobs of a server were looked at first; what was before is not told."""
        found = self.outbox.followed(server)
        if found is None:
            self.outbox.follow(server, 0, now.isoformat())
            return now
        return datetime.datetime.fromisoformat(found[1])

    def _miss(
        self,
        prefect: SyncPrefectClient,
        name: str,
        hours: float,
        first: datetime.datetime,
        now: datetime.datetime,
    ) -> None:
        """Tell of a deployment that was not completed for too long, once until it is completed again."""
        try:
            last = completed(prefect, name)
        except InputError as error:
            if name not in self._seen:
                raise
            self.outbox.put(
                MISSING,
                {"job": name, "hours": hours, "said": str(error)},
                id=f"{MISSING}-{name}-{first.isoformat()}-gone",
            )
            return
        self._seen.add(name)
        since = max(last.end_time, first) if last and last.end_time else first
        if now - since > datetime.timedelta(hours=hours):
            said = {"job": name, "hours": hours, "completed": str(last.end_time) if last else None}
            self.outbox.put(MISSING, said, id=f"{MISSING}-{name}-{last.id if last else 'never'}")


class Names:
    """What is told of a flow run: which job it is of, and where it is shown."""

    def __init__(self, prefect: SyncPrefectClient) -> None:
        self.prefect = prefect
        self._jobs: dict[Any, str] = {}

    def of(self, run: FlowRun) -> dict[str, Any]:
        """The job, as `audit/nightly`, and the run's page."""
        if run.deployment_id not in self._jobs:
            deployment = deployment_of(self.prefect, run)
            flow = self.prefect.read_flow(run.flow_id)
            self._jobs[run.deployment_id] = f"{flow.name}/{deployment.name if deployment else 'gone'}"
        page = str(self.prefect.api_url).rstrip("/").removesuffix("/api") + f"/runs/flow-run/{run.id}"
        return {"job": self._jobs[run.deployment_id], "name": run.name, "page": page}


def runs(prefect: SyncPrefectClient, state: Mapping[str, Any], **more: Mapping[str, str]) -> Iterator[FlowRun]:
    """The flow runs of deployments in some states, and within some times; such as are not gone any more."""
    from prefect.client.schemas.filters import FlowRunFilter

    asked = FlowRunFilter.model_validate({"state": state, "deployment_id": {"is_null_": False}, **more})
    offset = 0
    while found := prefect.read_flow_runs(flow_run_filter=asked, limit=MOST, offset=offset):
        yield from found
        offset += MOST


def completed(prefect: SyncPrefectClient, name: str) -> FlowRun | None:
    """The last completed run of a deployment.

    Raises:
        InputError: If there is no deployment of that name.
    """
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.exceptions import ObjectNotFound

    from flows.on_demand import of_deployment

    try:
        deployment = prefect.read_deployment_by_name(name)
    except ObjectNotFound:
        raise InputError(
            f"Prefect has no deployment {name}; make it with `prefect deploy`, or expect another."
        ) from None
    found = prefect.read_flow_runs(
        flow_run_filter=of_deployment(deployment.id, ["COMPLETED"]), sort=FlowRunSort.END_TIME_DESC, limit=1
    )
    return found[0] if found else None


def silence(prefect: SyncPrefectClient, run: FlowRun, now: datetime.datetime) -> float | None:
    """Seconds for which a running one was not heard of, if that is too long."""
    deployment = deployment_of(prefect, run)
    given = (deployment and deployment.job_variables) or {}
    frequency = int((given.get("env") or {}).get(FREQUENCY, USUAL))
    allowed = datetime.timedelta(seconds=BEATS_MISSED * frequency)
    began = run.state.timestamp if run.state else None
    if began is None or now - began <= allowed or heard(prefect, run, now - allowed, now):
        return None
    return allowed.total_seconds()


def heard(prefect: SyncPrefectClient, run: FlowRun, since: datetime.datetime, until: datetime.datetime) -> bool:
    """Whether a flow run sent a heartbeat between two times."""
    asked = {
        "event": {"name": [HEARTBEAT]},
        "resource": {"id": [f"prefect.flow-run.{run.id}"]},
        "occurred": {"since": since.isoformat(), "until": until.isoformat()},
    }
    answer = prefect.request("POST", "/events/filter", json={"filter": asked, "limit": 1})
    return bool(answer.json()["events"])


def deployment_of(prefect: SyncPrefectClient, run: FlowRun) -> DeploymentResponse | None:
    """The deployment of a flow run; None if it is no more."""
    from prefect.exceptions import ObjectNotFound

    assert run.deployment_id
    try:
        return prefect.read_deployment(run.deployment_id)
    except ObjectNotFound:
        return None


def crash(prefect: SyncPrefectClient, run: FlowRun, silent: float) -> None:
    """Say that a flow run crashed, so that it is not running for ever, and holds nobody's place."""
    from prefect.states import Crashed

    said = f"Nothing was heard of it for {silent:.0f} seconds: its machine or its worker is down; what it finished is kept, and the next run goes on from there."
    prefect.set_flow_run_state(run.id, Crashed(message=said), force=True)
