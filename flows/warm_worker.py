"""Warm worker: takes runs of a work queue one after the other in a process that has everything loaded.

Prefect's own worker starts a process for each run, which takes longer to import and load than a picture to be attributed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import anyio
import anyio.abc
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.states import Scheduled
from prefect.utilities.callables import get_parameter_defaults
from prefect.workers.base import BaseWorker
from prefect.workers.process import ProcessJobConfiguration, ProcessVariables, ProcessWorkerResult

from flows.audit import audit
from flows.inputs import Job
from flows.on_demand import PROGRESS, prefect_client
from mucs import InputError
from tasks.prepared import prepared
from tasks.progress import listening

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

log = logging.getLogger("mucs.worker")

AUDIT = "flows.audit.audit"  # the entrypoint
SECONDS_BETWEEN = 0.5  # tellings of progress
STARTING = timedelta(minutes=1)  # after which a run that has not begun is taken for lost


class WarmWorker(BaseWorker[ProcessJobConfiguration, ProcessVariables, ProcessWorkerResult]):
    """A worker of a pool of processes that runs flows in its own process, one at a time."""

    type = "process"
    job_configuration = ProcessJobConfiguration
    job_configuration_variables = ProcessVariables

    def __init__(self, pool: str, queue: str) -> None:
        super().__init__(pool, [queue], name=f"warm {myself()}", limit=1, create_pool_if_not_found=False)

    @classmethod
    def __dispatch_key__(cls) -> str | None:
        return "warm"  # so that Prefect's own stays the one that `prefect worker start` takes

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> ProcessWorkerResult:
        """Run a flow run here."""
        if task_status:
            task_status.started(myself())
        assert flow_run.deployment_id
        deployment = await self.client.read_deployment(flow_run.deployment_id)
        await anyio.to_thread.run_sync(run_here, flow_run, deployment.entrypoint)
        return ProcessWorkerResult(status_code=0, identifier=myself())


def run_here(flow_run: FlowRun, entrypoint: str | None) -> None:
    """Run a flow run in this thread, and tell Prefect how far it is; what came of it is the flow run's state."""
    flow: Flow[..., Any] = load_flow_from_entrypoint(entrypoint or AUDIT)
    narrator = logging.getLogger("mucs")
    with prefect_client() as prefect:
        told = Told(prefect, flow_run.id)
        narrator.addHandler(told)
        try:
            with listening(told.hear):
                run_flow(flow, flow_run=flow_run, return_type="state")
        finally:
            narrator.removeHandler(told)


class Told(logging.Handler):
    """Tells Prefect what a run does, from what it logs and from how far its units are, as an artifact of the run."""

    def __init__(self, prefect: SyncPrefectClient, flow_run: UUID) -> None:
        super().__init__(logging.INFO)
        self.prefect, self.flow_run, self.last = prefect, flow_run, 0.0
        self.artifact: UUID | None = None
        self.telling = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """A line of the log begins with what was done."""
        self.tell({"step": record.getMessage().partition(" ")[0], "done": None, "of": None})

    def hear(self, name: str, what: str, done: int, of: int) -> None:
        """How far a unit is; of all units, the log says it."""
        if name and time.monotonic() - self.last > SECONDS_BETWEEN:
            self.tell({"step": what, "done": done, "of": of})

    def tell(self, said: dict[str, Any]) -> None:
        """Put it where whoever asked looks; a telling that fails keeps nothing from being done."""
        with self.telling, contextlib.suppress(Exception):
            self.last = time.monotonic()
            if self.artifact is None:
                made = ArtifactCreate(key=PROGRESS, type=PROGRESS, data=said, flow_run_id=self.flow_run)
                self.artifact = self.prefect.create_artifact(made).id
            else:
                self.prefect.update_artifact(self.artifact, ArtifactUpdate(data=said))


def warm_up(pool: str, queue: str) -> None:
    """Load what the runs of a work queue compute with, as far as it can be loaded now."""
    import great_expectations  # noqa: F401  (which takes seconds)

    with prefect_client() as prefect:
        deployments = prefect.read_deployments()
    for deployment in deployments:
        if (deployment.entrypoint, deployment.work_pool_name, deployment.work_queue_name) != (AUDIT, pool, queue):
            continue
        try:
            given = audit.validate_parameters(get_parameter_defaults(audit.fn) | deployment.parameters)
            job = Job.given(given)
            inputs = job.pull()
            prepared(job.plan(inputs.checkpoint, inputs.training, inputs.held_out, None))
        except InputError as error:
            log.warning("worker    nothing is loaded for %s: %s", deployment.name, error)
        else:
            log.info("worker    the model and data of %s are loaded", deployment.name)


def take_up(pool: str, queue: str) -> None:
    """Have runs wait again whose worker on this machine was killed; an audit goes on where it was."""
    of_queue = {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}, "work_queue_name": {"any_": [queue]}}
    with prefect_client() as prefect:
        for run in prefect.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(of_queue)):
            if run.work_pool_name == pool and is_lost(run):
                log.info("worker    %s is taken up again", run.name)
                place = run.expected_start_time  # in the queue
                again: State[Any] = Scheduled(scheduled_time=place, message="Its worker was killed.")
                prefect.set_flow_run_state(run.id, again, force=True)


def is_lost(run: FlowRun) -> bool:
    """Whether a flow run that has begun was of a process of this machine that is no more, or never began."""
    if run.infrastructure_pid is None:
        return bool(run.state and run.state.timestamp < datetime.now(UTC) - STARTING)
    host, _, process = run.infrastructure_pid.rpartition(" ")
    return (
        host == socket.gethostname() and process != f"{process.partition('.')[0]}.{started(process.partition('.')[0])}"
    )


def myself() -> str:
    """What tells this process from all others of all machines."""
    return f"{socket.gethostname()} {os.getpid()}.{started(str(os.getpid()))}"


def started(process: str) -> str | None:
    """When a process of this machine began, in the kernel's count; None if it is no more."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()[19]
    except OSError:
        return None


def work(pool: str, queue: str) -> None:
    """Take runs of a work queue until the process is stopped."""
    take_up(pool, queue)
    warm_up(pool, queue)
    anyio.run(WarmWorker(pool, queue).start)
