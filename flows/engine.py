"""Engine: what runs the units of work of a job side by side: threads or processes of one machine, or a Ray cluster."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from flows.deadline import deadline
from mucs import InputError
from mucs.text import first_line, for_terminal
from tasks.device import choose_device, cores

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner

LOCAL = "local"
SECONDS_TO_CONNECT = 10.0
SECONDS_TO_ANSWER = 60.0  # of which Ray's own command takes ten to start on a busy machine
SECONDS_TO_TAKE = 180.0  # a job; a minute on a busy machine, and Ray itself waits a minute for a worker
TRIES = 10  # of a task whose worker died, anew on another
NEEDED = "pip install 'mucs[service,fleet]'"


@dataclass(frozen=True)
class Engine:
    """Where units of work run.

    Attributes:
        ray: HOST:PORT or ray://HOST:PORT of a Ray cluster, or "local" for one of the job's own; None for this machine.
        processes: Whether to use processes in place of threads on this machine.
        workers: How many units run side by side on this machine; None for one a core, or one a GPU.
        gpus: How many GPUs a unit takes: 0.5 puts two on one.
    """

    ray: str | None = None
    processes: bool = False
    workers: int | None = None
    gpus: float = 1.0

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise InputError(f"{self.workers} workers are asked for; ask for at least 1.")
        if not 0 < self.gpus <= 64 or (self.gpus > 1 and self.gpus != int(self.gpus)):
            raise InputError(f"An item cannot take {self.gpus} GPUs; give a share of one, or a whole number.")
        if self.ray is not None and self.processes:
            raise InputError("Ray has processes of its own; leave out either --ray or --processes.")
        if self.ray not in (None, LOCAL) and self.workers is not None:
            raise InputError("How many units a Ray cluster runs side by side is its own to say; leave out the workers.")

    @property
    def is_fleet(self) -> bool:
        """Whether units may run on other machines."""
        return self.ray not in (None, LOCAL)

    def side_by_side(self, device: str) -> int:
        """How many units run side by side on this machine, on a device that `choose_device` takes."""
        return self.workers or (cores() if choose_device(device) == "cpu" else max(1, int(1 / self.gpus)))

    def check(self) -> None:
        """See whether the engine can be used.

        Raises:
            InputError: If it cannot: a package is missing, no cluster answers, or Prefect's server cannot be reached.
        """
        if self.ray is None:
            return
        if importlib.util.find_spec("prefect_ray") is None:
            raise InputError(f"A Ray cluster needs the extra fleet; run: {NEEDED}.")
        if self.is_fleet:
            from prefect.settings import PREFECT_API_URL

            if not PREFECT_API_URL.value():
                raise InputError(
                    "The workers of a Ray cluster report to one Prefect server; start `prefect server start`, and set"
                    " PREFECT_API_URL to an address of it that all of them reach."
                )
            check_answers(self.ray or "")

    @contextlib.contextmanager
    def runner(self, device: str) -> Iterator[TaskRunner[Any]]:
        """Prefect's task runner for the block.

        Args:
            device: "cpu", "cuda" or "auto": what the units compute on.

        Raises:
            InputError: If a Ray cluster does not take the audit, or one of its workers has another version of the package.
        """
        if self.ray is not None:
            with self._ray(device) as runner:
                yield runner
            return
        from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

        kind = ProcessPoolTaskRunner if self.processes else ThreadPoolTaskRunner
        local: TaskRunner[Any] = kind(max_workers=self.side_by_side(device))
        with local:
            yield local

    @contextlib.contextmanager
    def _ray(self, device: str) -> Iterator[TaskRunner[Any]]:
        from flows.ray_cluster import ray_cluster

        options = {"log_to_driver": False, "logging_level": logging.ERROR}
        with contextlib.ExitStack() as stack:
            address = self.ray or ""
            if address == LOCAL:
                address = stack.enter_context(ray_cluster(self.workers or cores()))
            import ray  # which reads its token from the environment now
            from prefect_ray import RayTaskRunner
            from prefect_ray.context import remote_options

            # there Ray tells of workers that died; standard output is for what a command answers
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
            late = f"The Ray cluster at {address} took no job within {SECONDS_TO_TAKE:.0f} seconds; look at its logs, and run the same command again."
            try:
                with deadline(SECONDS_TO_TAKE, late):  # Ray holds the interpreter while it connects
                    runner = stack.enter_context(RayTaskRunner(address=address, init_kwargs=options))
            except (Exception, SystemExit) as error:
                said = first_line(error)
                where = "from a machine that is none of its nodes, give ray://HOST:10001"
                advice = "look at its logs" if address.startswith("ray://") else where
                raise InputError(f"The Ray cluster at {address} does not take the job ({said}); {advice}.") from None
            check_workers()
            wants_gpu = device != "cpu" and bool(cast(Any, ray).cluster_resources().get("GPU"))
            stack.enter_context(remote_options(num_cpus=1, num_gpus=self.gpus if wants_gpu else 0, max_retries=TRIES))
            yield runner


def check_lives(error: BaseException) -> None:
    """See whether the engine outlived what kept a unit from its result: what is not a unit's own fails none.

    Raises:
        InputError: If it did not.
    """
    # the second is of Ray, which need not be installed
    if isinstance(error, BrokenProcessPool) or type(error).__name__ == "LocalRayletDiedError":
        what = (
            "One of the processes" if isinstance(error, BrokenProcessPool) else "This machine's node of the Ray cluster"
        )
        raise InputError(
            f"{what} died or was killed, as when memory runs out; run the same command again to go on where it was."
        ) from None


def check_answers(address: str) -> None:
    """See whether a Ray cluster answers, before Ray's own client waits for it for half a minute and ends the process.

    Args:
        address: HOST:PORT or ray://HOST:PORT.

    Raises:
        InputError: If the address is of neither form, or nothing of Ray answers there.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"{address!r} is no address of a Ray cluster; write HOST:PORT, ray://HOST:PORT or local.")
    silent = InputError(
        f"No Ray cluster answers at {address}; start one with `ray start --head`, or check the address."
    )
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()
    except OSError:
        raise silent from None
    if address.startswith("ray://"):
        return
    asked = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        answer = subprocess.run(asked, capture_output=True, timeout=SECONDS_TO_ANSWER)
    except subprocess.TimeoutExpired:
        raise silent from None
    if answer.returncode:
        raise silent


def check_workers() -> None:
    """See whether every node of the Ray cluster that is connected has this version of the package.

    Raises:
        InputError: If one has another, lacks it, or does not answer.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from tasks.plan import check_same_code, code_version

    untyped = cast(Any, ray)  # its types know neither scheduling strategies nor nodes
    asked = []
    for node in untyped.nodes():
        if node["Alive"]:
            where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            question = untyped.remote(num_cpus=0, max_retries=1, scheduling_strategy=where)(code_version)
            asked.append((node["NodeID"], node["NodeManagerHostname"], question.remote()))
    end = time.monotonic() + SECONDS_TO_TAKE
    for node_id, name, answer in asked:
        try:
            theirs = ray.get(answer, timeout=max(0.0, end - time.monotonic()))
        except Exception as error:
            if not any(other["NodeID"] == node_id and other["Alive"] for other in untyped.nodes()):
                continue  # it has died meanwhile
            if isinstance(error, ray.exceptions.GetTimeoutError):
                late = f"did not answer within {SECONDS_TO_TAKE:.0f} seconds; look at its logs, and run the same command again"
                raise InputError(f"The Ray worker on {name} {late}.") from None
            reason = for_terminal((str(error).strip().splitlines() or [type(error).__name__])[-1].rstrip("."), 200)
            raise InputError(f"The Ray worker on {name} cannot run an audit ({reason}); run there: {NEEDED}.") from None
        check_same_code(f"The Ray worker on {name}", theirs, code_version())
