"""On demand: have pictures attributed as they are sent, by runs of a deployment, and say what has become of each.

What is waiting and running is known to Prefect, and what is done to the ledger; nothing is kept here.
"""

from __future__ import annotations

import builtins
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mucs.images.request import Request
from mucs.ledger.asked import Asked, Busy, Intake, Unavailable, answered, provisional
from mucs.ledger.lake import Lake
from mucs.text import first_line, for_terminal
from tasks.ledgers import reading

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.objects import FlowRun

    from flows.provisional import Apart
    from tasks.validate import ImageSpec

DEPLOYMENT = "audit/on-demand"
QUEUE = 100  # requests that wait or are worked on
SECONDS_A_REQUEST = 20  # until Prefect knows of some that were done
MEASURED = 5  # latest runs, from which the seconds are taken
SECONDS_BETWEEN = 0.5  # looks at what has changed
SECONDS_TO_WAIT = 1.0  # for what the index says of a picture; it may come later
GOING_ON = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING")
PROGRESS = "progress"  # the key of the artifact in which a run says how far it is


class OnDemand:
    """Attribution on demand.

    Attributes:
        deployment: The deployment of `audit` that does the work, whose parameters say of what and where, as they were when it
            was first asked.
        queue: How many requests may wait or be worked on.
        ledger: The ledger in which the answers are looked for; any without one.
    """

    def __init__(self, deployment: str = DEPLOYMENT, queue: int = QUEUE, ledger: str | None = None) -> None:
        self.deployment, self.queue, self.ledger = deployment, queue, ledger
        self._index_lock = threading.Lock()
        self._apart: Apart | None = None

    def intake(self) -> Intake:
        """Which pictures are taken now, and how long an answer takes.

        Raises:
            Unavailable: As `submit` does.
            InputError: If the registry cannot be used.
        """
        spec = self._spec()
        with prefect_client() as prefect:
            seconds = seconds_a_request(prefect, self._deployment.id)
            return Intake(spec.height, spec.width, spec.classes, spec.prompts, self._waiting(prefect), seconds)

    def submit(self, request: Request) -> Asked:
        """Have a picture attributed, unless it was, or is on its way.

        Args:
            request: What was sent.

        Returns:
            What has become of it.

        Raises:
            GateFailed: If the picture cannot be attributed, with nothing kept of it.
            Busy: If too many are waiting.
            Unavailable: If Prefect does not answer, has no such deployment, or one that attributes into another ledger.
            InputError: If the registry, the log or the ledger cannot be used.
        """
        from tasks.accept import accept

        found = self._answer(request.address)
        if found:
            return found
        with prefect_client() as prefect:
            # counted first: of several that ask at once, each finds the run of the first, or asks for it by the same key
            tries = prefect.count_flow_runs(flow_run_filter=tagged(request.address))
            run = latest(prefect, request.address)
            if run and run.state_type in GOING_ON:
                return self._asked(prefect, request.address, run)
            self._check_queue(prefect)
            batch = accept(request, self._spec(), self._given["log"])
            run = prefect.create_flow_run_from_deployment(
                self._deployment.id,
                parameters={"batch": batch},
                name=request.row["id"],
                tags=[request.address],
                idempotency_key=f"{request.address}.{tries}",
            )
            asked = self._asked(prefect, request.address, run)
        self._estimate(batch)
        return asked

    def load_index(self) -> None:
        """Load the model that an index asks, where the ledger has one, so that the first picture does not wait for it."""
        self._index()

    def close(self) -> None:
        """End what answers provisionally."""
        with self._index_lock:
            if self._apart is not None:
                self._apart.close()

    def provisional(self, address: str) -> list[dict[str, Any]]:
        """What the index said of a request's picture, as the question `provisional` has it; none where it said nothing."""
        if self._apart is None:
            return []
        with reading(self._given["ledger"]) as ledger:
            return provisional(ledger, address)

    def _estimate(self, batch: str) -> None:
        """Have the index, where there is one, answer for a picture that waits, and wait a second for that."""
        if index := self._index():
            concurrent.futures.wait([index.ask(batch)], SECONDS_TO_WAIT)

    def _index(self) -> Apart | None:
        """What answers by the index, once the ledger has one."""
        with self._index_lock:
            if self._apart is None and Lake.at(self._given["ledger"]).exists():
                with reading(self._given["ledger"]) as ledger:
                    if ledger.one("SELECT count(*) FROM indexes"):
                        from flows.provisional import Apart

                        self._apart = Apart(self._given)
            return self._apart

    def state(self, address: str) -> Asked | None:
        """What has become of a request.

        Args:
            address: The request's.

        Returns:
            How far it is; None if nobody asked for it.

        Raises:
            Unavailable: If Prefect does not answer, and the ledger has no answer.
        """
        try:
            with prefect_client() as prefect:
                run = latest(prefect, address)
                if run and run.state_type in GOING_ON:
                    return self._asked(prefect, address, run)
        except Unavailable:
            if found := self._answer(address):
                return found
            raise
        found = self._answer(address)
        if found or run is None:
            return found
        if run.state_type == "COMPLETED":
            return Asked(address, "failed", reason="The run that attributed it was withdrawn; send the picture again.")
        return Asked(address, "failed", reason=reason_of(run))

    def changes(self, address: str) -> Iterator[Asked]:
        """What becomes of a request, each time that it is something else, until it is done or has failed.

        Raises:
            Unavailable: As `state` does.
        """
        last = None
        while found := self.state(address):
            if found != last:
                yield found
            if found.is_over:
                return
            last = found
            time.sleep(SECONDS_BETWEEN)

    def _asked(self, prefect: SyncPrefectClient, address: str, run: FlowRun) -> Asked:
        if run.state_type in ("SCHEDULED", "PENDING"):
            return Asked(address, "waiting", before=before(prefect, run))
        return replace(Asked(address, "running"), **progress_of(prefect, run))

    def _answer(self, address: str) -> Asked | None:
        place = self._given["ledger"]
        if not Lake.at(place).exists():
            return None
        with reading(place) as ledger:
            return answered(ledger, address)

    def _check_queue(self, prefect: SyncPrefectClient) -> None:
        """Busy unless there is room for one more."""
        waiting = self._waiting(prefect)
        if waiting < self.queue:
            return
        seconds = seconds_a_request(prefect, self._deployment.id)
        raise Busy(f"{waiting} pictures wait to be attributed already; send it again in {seconds} seconds.", seconds)

    def _waiting(self, prefect: SyncPrefectClient) -> int:
        """How many requests wait or are worked on."""
        return prefect.count_flow_runs(flow_run_filter=of_deployment(self._deployment.id, GOING_ON))

    def _spec(self) -> ImageSpec:
        """The images that the checkpoint takes which the deployment's runs attribute with now."""
        from flows.inputs import Job

        return Job.given(self._given).spec()

    @cached_property
    def _deployment(self) -> Any:
        from prefect.exceptions import ObjectNotFound

        with prefect_client() as prefect:
            try:
                return prefect.read_deployment_by_name(self.deployment)
            except ObjectNotFound:
                raise Unavailable(
                    f"Prefect has no deployment {self.deployment}; make it with `prefect deploy`."
                ) from None

    @cached_property
    def _given(self) -> dict[str, Any]:
        """The parameters of the deployment's runs but for the batch."""
        from prefect.utilities.callables import get_parameter_defaults

        from flows.audit import audit

        given = audit.validate_parameters(get_parameter_defaults(audit.fn) | self._deployment.parameters)
        if self.ledger is not None and Lake.at(given["ledger"]).catalogue != Lake.at(self.ledger).catalogue:
            raise Unavailable(
                f"The deployment {self.deployment} attributes into another ledger than the one that is shown here; open that one."
            )
        return given


@contextlib.contextmanager
def prefect_client() -> Iterator[SyncPrefectClient]:
    """A client of the Prefect server that is configured, for the block.

    Raises:
        Unavailable: If none is, or it does not answer.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    url = PREFECT_API_URL.value()
    if not url:
        raise Unavailable(
            "Attribution on demand needs a Prefect server; start `prefect server start`, and set PREFECT_API_URL to its address."
        )
    try:
        with get_client(sync_client=True) as client:
            yield client
    except (httpx.HTTPError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "Failed to reach API" not in str(error):
            raise
        raise Unavailable(
            f"Prefect does not answer at {url} ({first_line(error)}); see whether its server runs."
        ) from None


def tagged(address: str) -> FlowRunFilter:
    """The flow runs of a request."""
    from prefect.client.schemas.filters import FlowRunFilter

    return FlowRunFilter.model_validate({"tags": {"all_": [address]}})


def of_deployment(deployment: Any, states: Sequence[str]) -> FlowRunFilter:
    """The flow runs of a deployment in some states."""
    from prefect.client.schemas.filters import FlowRunFilter

    return FlowRunFilter.model_validate({"deployment_id": {"any_": [deployment]}, "state": {"type": {"any_": states}}})


def latest(prefect: SyncPrefectClient, address: str) -> FlowRun | None:
    """The latest flow run of a request; None if there is none."""
    from prefect.client.schemas.sorting import FlowRunSort

    found = prefect.read_flow_runs(flow_run_filter=tagged(address), sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1)
    return found[0] if found else None


def before(prefect: SyncPrefectClient, run: FlowRun) -> int:
    """How many flow runs of its deployment are to be worked on before one."""
    from prefect.client.schemas.filters import FlowRunFilterExpectedStartTime

    first = of_deployment(run.deployment_id, GOING_ON)
    first.expected_start_time = FlowRunFilterExpectedStartTime(before_=run.expected_start_time)
    return max(0, prefect.count_flow_runs(flow_run_filter=first) - 1)  # itself is among them


def seconds_a_request(prefect: SyncPrefectClient, deployment: Any) -> int:
    """How long the latest runs of a deployment took, on average."""
    from prefect.client.schemas.sorting import FlowRunSort

    ended = prefect.read_flow_runs(
        flow_run_filter=of_deployment(deployment, ["COMPLETED"]), sort=FlowRunSort.END_TIME_DESC, limit=MEASURED
    )
    took = [run.total_run_time.total_seconds() for run in ended]
    return max(1, round(sum(took) / len(took))) if took else SECONDS_A_REQUEST


def progress_of(prefect: SyncPrefectClient, run: FlowRun) -> dict[str, Any]:
    """What a flow run does: `step`, `done` and `of` as it said last."""
    from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter
    from prefect.client.schemas.sorting import ArtifactSort

    found = prefect.read_artifacts(
        artifact_filter=ArtifactFilter.model_validate({"key": {"any_": [PROGRESS]}}),
        flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": [run.id]}}),
        sort=ArtifactSort.CREATED_DESC,
        limit=1,
    )
    said = found[0].data if found else None
    return {name: said.get(name) for name in ("step", "done", "of")} if isinstance(said, dict) else {}


def reason_of(run: FlowRun) -> str:
    """Why a flow run failed, in a sentence."""
    message = (run.state and run.state.message) or ""
    said = message.removeprefix("Flow run encountered an exception: ").partition("\n")[0]
    kind, _, sentence = said.partition(": ")
    ours = kind.isidentifier() and not hasattr(builtins, kind)  # whose message is a sentence by itself
    shown = sentence if ours else said
    return for_terminal(shown) if shown else f"Its run ended as {run.state_name}; see its log in Prefect."
