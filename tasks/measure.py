"""Measure: the original model's losses of a shard of images, once for all machines, in the work store."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from prefect import task

from mucs import InputError
from tasks.device import choose_device, deterministic
from tasks.plan import Plan
from tasks.prepared import LOADING, Prepared, prepared
from tasks.progress import begun
from tasks.stores import open_store
from tasks.unit import UNIT, begin

PAIRS = 1 << 14  # (image, bank entry) pairs of a shard: on a fast GPU seconds, on a large model minutes

# the last two are the losses that decoys are held against
Which = Literal["training", "held_out", "decoys_training", "decoys_held_out"]


@dataclass(frozen=True)
class Shard:
    """Some images of a set, and the bank entries that all of them are measured under.

    Attributes:
        which: The set, and the bank.
        start, stop: Rows of the set.
        entries: How many of the bank's first entries.
    """

    which: Which
    start: int
    stop: int
    entries: int

    def __str__(self) -> str:
        return f"{self.which.replace('_', ' ')} {self.start} to {self.stop}"


def shards(plan: Plan, training: int, held_out: int) -> list[Shard]:
    """What every generated item, or every decoy, of a plan needs of the original model.

    After the first stage of screening an item needs more, of the few that are left: that is measured with it.

    Args:
        plan: An audit's, or a calibration's if it has no batch. Antithetic copies are held against each other, and need nothing.
        training: How many training images there are.
        held_out: How many held-out ones.
    """
    settings = plan.settings
    if settings.unlearning.antithetic:
        return []
    full = settings.num_noises
    if plan.batch is None:
        first = min(settings.calibration_noises, full)
        needed: list[tuple[Which, int, int]] = [
            ("decoys_training", training, first),
            ("decoys_held_out", held_out, first),
        ]
    else:
        stages = settings.screening.stages if settings.screening else ()
        first = min(stages[0][0], full) if stages else full
        # which candidates an index names is known when an item is at hand
        named = settings.screening is not None and settings.screening.candidates > 0
        needed = [("training", 0 if named else training, first), ("held_out", held_out, full)]
    return [
        Shard(which, start, min(start + size, count), entries)
        for which, count, entries in needed
        for size in [max(1, PAIRS // entries)]
        for start in range(0, count, size)
    ]


@task(task_run_name="original losses, {unit}", **UNIT)
def measure(plan: Plan, unit: Shard) -> str:
    """Measure the original model's losses of a shard, unless they are in the work store.

    Args:
        plan: Which model, images and bank.
        unit: Which of them.

    Returns:
        What came of it, in words.

    Raises:
        InputError: If inputs, settings or the work store cannot be used.
    """
    import torch

    store = begin(plan)
    with deterministic(choose_device(plan.device)):
        given = prepared(plan)
        table = given.table(unit.which, plan.settings)
        name = place(plan, table.address, unit)
        if store.has(name):
            return "measured before"
        begun(f"original losses, {unit}")
        losses = table.rows(torch.arange(unit.start, unit.stop), range(unit.entries))
    store.put(name, losses.numpy().astype("<f4").tobytes())
    return f"{losses.numel()} losses"


def fetch_losses(plan: Plan, given: Prepared) -> None:
    """Bring what was measured elsewhere to this machine; what is not there is measured where it is needed.

    Raises:
        InputError: If the work store does not answer, or holds something else.
    """
    with LOADING:
        _fetch_losses(plan, given)


@functools.lru_cache(1)
def _fetch_losses(plan: Plan, given: Prepared) -> None:
    import torch

    store = open_store(plan.work)
    for shard in shards(plan, len(given.training), len(given.held_out or ())):
        table = given.table(shard.which, plan.settings)
        rows, entries = range(shard.start, shard.stop), range(shard.entries)
        if not table.missing(entries, rows):
            continue
        name = place(plan, table.address, shard)
        body = store.get(name)
        if body is None:
            continue
        if len(body) != 4 * len(rows) * len(entries):
            raise InputError(f"{name} in the work store {plan.work} is cut short; remove it, and it is measured again.")
        values = np.frombuffer(body, "<f4").astype(np.float32).reshape(len(rows), len(entries))
        table.fill(entries, rows, torch.from_numpy(values))


def place(plan: Plan, table: str, shard: Shard) -> str:
    """Where a shard's losses are kept: by the address of its table, which the kind of machine is part of."""
    return f"{plan.fresh}/losses/{table}/{shard.start}-{shard.stop}-{shard.entries}.f32".lstrip("/")
