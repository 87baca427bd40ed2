"""Units: run units of work on an engine, tell how far they are, and say what became of each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from prefect.futures import as_completed

from flows.engine import check_lives
from mucs import InputError
from mucs.text import first_line
from tasks.measure import measure, shards
from tasks.progress import tell

if TYPE_CHECKING:
    from prefect import Task
    from prefect.task_runners import TaskRunner

    from flows.inputs import Job
    from tasks.plan import Plan

log = logging.getLogger("mucs.units")

U = TypeVar("U")


class NoneAttributed(Exception):
    """Every item of an audit failed, so that there is no run. The message says why."""


def run_units(
    runner: TaskRunner[Any],
    task: Task[Any, str],
    plan: Plan,
    units: Sequence[U],
    verb: str,
    name: Callable[[U], str] = str,
) -> dict[U, BaseException]:
    """Run a task for each unit, side by side, and log each as it ends.

    Args:
        runner: Prefect's task runner.
        task: Takes `plan` and `unit`, and gives what came of it, in words.
        plan: What all units share.
        units: Each once.
        verb: What the log calls it.
        name: What the log calls a unit.

    Returns:
        What kept each unit that failed from its result, after all tries.

    Raises:
        InputError: If the engine itself died.
    """
    futures = {runner.submit(task, {"plan": plan, "unit": unit}): unit for unit in units}
    failed: dict[U, BaseException] = {}
    for k, future in enumerate(as_completed(list(futures)), start=1):
        unit = futures[future]
        outcome: Any
        try:
            future.wait()  # which makes a state of a Ray worker's death, where the result would raise it
            outcome = future.result(raise_on_failure=False)
        except Exception as error:
            outcome = error
        if isinstance(outcome, BaseException):
            check_lives(outcome)
            failed[unit] = outcome
        said = f"failed: {reason(outcome)}" if unit in failed else outcome
        log.info("%-9s %d of %d: %s, %s", verb, k, len(futures), name(unit), said)
        tell("", verb, k, len(futures))
    return failed


def measure_losses(job: Job, plan: Plan, runner: TaskRunner[Any]) -> None:
    """Measure the original model's losses that all units of a plan need; one that fails is measured where it is needed.

    Raises:
        InputError: If inputs, settings or the work store cannot be used.
    """
    held_out = len(plan.images("held_out")) if plan.held_out else 0
    needed = shards(plan, len(plan.images("training")), held_out)
    raise_bad_input(run_units(runner, measure, job.for_workers(plan), needed, "measure"))


def reason(error: BaseException) -> str:
    """What went wrong, in a few words."""
    error = getattr(error, "cause", None) or error  # Ray's errors begin with where they came from
    said, kind = first_line(error, 300), type(error).__name__
    return said if isinstance(error, InputError) or said == kind else f"{kind} {said}"


def raise_bad_input(failed: dict[Any, BaseException]) -> None:
    """Raise the first failure that is of the input: what is wrong there is not a unit's own.

    Raises:
        InputError: If there is one.
    """
    for error in failed.values():
        if isinstance(error, InputError):
            raise error
