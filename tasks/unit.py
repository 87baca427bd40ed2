"""Unit: what every task that is a unit of work of a plan begins with, and how it is tried again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from prefect.cache_policies import NO_CACHE

from mucs import InputError
from mucs.evidence.store import Store
from tasks.narrate import narrate
from tasks.plan import Plan
from tasks.s3 import Unreachable
from tasks.stores import open_store

TRIES = 3


def may_pass(task: Any, run: Any, state: Any) -> bool:
    """Whether a unit that failed is tried again: what is wrong with its input is as wrong the next time."""
    return not isinstance(state.data, InputError) or isinstance(state.data, Unreachable)


# options of every task that is a unit of work
UNIT: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "retries": TRIES - 1,
    "retry_delay_seconds": 1,
    "retry_condition_fn": may_pass,
}


def begin(plan: Plan) -> Store:
    """Have a worker's log go to Prefect, and give the work store of its plan.

    Raises:
        InputError: If this process has other code than the plan, or the store is of no known form.
    """
    narrate()
    plan.check_code()
    return open_store(plan.work)


class Addressed(Protocol):
    """A unit whose result has an address in the work store."""

    @property
    def address(self) -> str:
        """Where its result is."""


A = TypeVar("A", bound=Addressed)


def different(units: Iterable[A]) -> list[A]:
    """One unit for each address: units that share one are the same work."""
    return list({unit.address: unit for unit in units}.values())
