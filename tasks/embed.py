"""Embed: what the checkpoint's own network sees in images, a part of a set at a time, in the work store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from prefect import task

from mucs import InputError
from mucs.canonical import digest
from tasks.device import choose_device, deterministic
from tasks.plan import Plan
from tasks.prepare import content_sha256
from tasks.prepared import described, prepared
from tasks.progress import begun
from tasks.stores import open_store
from tasks.unit import UNIT, begin

if TYPE_CHECKING:
    from torch import Tensor

    from mucs.index import Projection

SAMPLE = 8192  # training images that the projection is made from
PART = 4096  # images
EMBEDDED: tuple[Which, ...] = ("training", "held_out", "batch")

Which = Literal["training", "held_out", "batch"]


@dataclass(frozen=True)
class Part:
    """Some images of a set: rows `start` to `stop`."""

    which: Which
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.which.replace('_', ' ')} {self.start} to {self.stop}"


def parts(plan: Plan) -> list[Part]:
    """The parts of all sets of a plan."""
    found = []
    for which in EMBEDDED:
        count = len(plan.images(which)) if getattr(plan, which) else 0
        found += [Part(which, start, min(start + PART, count)) for start in range(0, count, PART)]
    return found


def place(plan: Plan, which: Which) -> str:
    """Where a set's vectors are kept: by what they are made of."""
    from mucs.index.version import INDEX_SHA256

    model, training, own = (
        described(plan).model.digest,
        content_sha256(plan.images("training")),
        content_sha256(plan.images(which)),
    )
    made_of = [model, training, own, repr(plan.settings.encoding), INDEX_SHA256, plan.method_sha256]
    return f"vectors/{digest(made_of)}"


@task(task_run_name="vectors of a sample", **UNIT)
def project(plan: Plan, unit: str) -> str:
    """Find in which directions the vectors of training images differ most, unless that is in the work store.

    Args:
        plan: Which model and images.
        unit: Where it goes in the work store.

    Returns:
        What came of it, in words.

    Raises:
        InputError: If inputs, settings or the work store cannot be used.
    """
    import torch
    from safetensors.torch import save

    from mucs.index import Projection, vectors
    from mucs.index.index import DIMENSIONS

    store = begin(plan)
    if store.has(unit):
        return "found before"
    begun("vectors of a sample")
    with deterministic(choose_device(plan.device)):
        given = prepared(plan)
        chosen = torch.arange(0, len(given.training), -(-len(given.training) // SAMPLE))
        made = Projection.of(vectors(given.model, given.training[chosen]), DIMENSIONS)
    store.put(unit, save({"center": made.center, "basis": made.basis}))
    return f"{made.basis.shape[1]} of {len(made.center)} dimensions"


@task(task_run_name="vectors, {unit}", **UNIT)
def embed(plan: Plan, unit: Part) -> str:
    """Make the projected vectors of some images, unless they are in the work store.

    Args:
        plan: Which model and images.
        unit: Which of them.

    Returns:
        What came of it, in words.

    Raises:
        InputError: If inputs, settings or the work store cannot be used, or the projection is not there.
    """
    from mucs.index import vectors

    store, name = begin(plan), f"{place(plan, unit.which)}/{unit.start}-{unit.stop}.f32"
    if store.has(name):
        return "made before"
    begun(f"vectors, {unit}")
    with deterministic(choose_device(plan.device)):
        given = prepared(plan)
        items = {"training": given.training, "held_out": given.held_out, "batch": given.generated}[unit.which]
        assert items is not None
        found = projection(plan)(vectors(given.model, items[unit.start : unit.stop]))
    store.put(name, found.numpy().astype("<f4").tobytes())
    return f"{len(found)} vectors"


def projection_name(plan: Plan) -> str:
    """Where the projection is kept in the work store."""
    return f"{place(plan, 'training')}/projection.safetensors"


def projection(plan: Plan) -> Projection:
    """The projection of a plan's vectors. Raises InputError if it is not in the work store."""
    from safetensors.torch import load

    from mucs.index import Projection

    body = open_store(plan.work).get(projection_name(plan))
    if body is None:
        raise InputError("The vectors of a sample are gone from the work store; run `mucs index` again.")
    found = load(body)
    return Projection(found["center"], found["basis"])


def fetch_vectors(plan: Plan, which: Which) -> Tensor:
    """The projected vectors of a set, (N, r) float32. Raises InputError if some are not in the work store, or cut short."""
    import torch

    store, size = open_store(plan.work), projection(plan).basis.shape[1]
    found = torch.empty(len(plan.images(which)), size)
    for part in parts(plan):
        if part.which != which:
            continue
        body = store.get(f"{place(plan, which)}/{part.start}-{part.stop}.f32")
        if body is None or len(body) != 4 * size * (part.stop - part.start):
            raise InputError(f"The vectors, {part}, are gone from the work store {plan.work}; run `mucs index` again.")
        found[part.start : part.stop] = torch.from_numpy(np.frombuffer(body, "<f4").reshape(-1, size).copy())
    return found
