"""Indexes: which one speaks for a plan, and what it says."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mucs import InputError
from mucs.canonical import digest
from mucs.ledger import Ledger
from tasks.ledgers import open_log, reading
from tasks.plan import OF_A_RUN, Plan

if TYPE_CHECKING:
    from mucs.attribution import DiffusionModel
    from mucs.attribution.attribute import Expecting
    from mucs.index import Index

WHO_IS_MEASURED = (
    "screening",
    "candidates",
    "most_missed",
)  # settings that change whose score is measured, and no score


def subject(plan: Plan) -> dict[str, str]:
    """What an index of a plan speaks for: SHA-256 by name."""
    return {
        "checkpoint": plan.checkpoint.digest,
        "training_set": plan.training.digest,
        "settings": scored_with(plan.settings.record()),
        "method_sha256": plan.method_sha256,
    }


def scored_with(settings: Mapping[str, Any]) -> str:
    """SHA-256 of those of a record's settings that scores depend on."""
    others = (*OF_A_RUN, *WHO_IS_MEASURED)
    return digest({name: value for name, value in settings.items() if name not in others})


def current(ledger: Ledger, of: Mapping[str, str]) -> str | None:
    """SHA-256 of the index that is used for a subject; None if there is none."""
    found = ledger.ask("index", **{name.removesuffix("_sha256"): sha256 for name, sha256 in of.items()})
    return found[0]["sha256"] if found else None


def find_index(plan: Plan, ledger: str) -> str:
    """SHA-256 of the index that names the candidates of a plan.

    Raises:
        InputError: If there is none.
    """
    with reading(ledger) as opened:
        found = current(opened, subject(plan))
    if found is None:
        raise InputError(
            "The setting candidates needs an index of this checkpoint, training set and settings, by this version of the method;"
            " make one with `mucs index`, or leave candidates out."
        )
    return found


@functools.lru_cache(2)
def read_index(log: str, sha256: str) -> Index:
    """An index that a log keeps, read once in a process."""
    from mucs.index import Index

    with open_log(log).file(sha256) as path:
        return Index.read(path)


def expecting(plan: Plan, model: DiffusionModel) -> Expecting | None:
    """What the plan's index expects of a generated item; None where a plan has none."""
    from mucs.index import vectors

    if plan.index is None:
        return None
    assert plan.log is not None
    index = read_index(plan.log, plan.index)
    return lambda generated: index.expected(vectors(model, generated)[0])
