"""Estimate: what an audit will take, before anything of it is computed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from flows.audit import holding_runs
from flows.inputs import Job
from mucs.canonical import digest
from mucs.ledger import Ledger
from tasks.calibrate import find_calibration
from tasks.device import choose_device, deterministic
from tasks.prepared import loaded
from tasks.pull import pull

STEPS = """
SELECT avg(a.steps)::DOUBLE AS steps FROM attributions a JOIN runs r USING (run_id) WHERE r.settings_sha256 = $settings
"""


@dataclass(frozen=True)
class Estimated:
    """What an audit will take.

    Attributes:
        items: Generated items to attribute, controls among them.
        training, held_out: Images that they are compared with.
        steps: Steps of unlearning an item that are reckoned with: the mean of the ledger's runs with the same settings, or the cap.
        is_cap: Whether they are the cap, so that it takes less where items are forgotten before.
        workers: Items side by side.
        disk_bytes: Of pixels or latents, prompts and losses.
        memory_bytes: Of the device, for one item.
        once_forwards, item_forwards, item_gradients: Samples through the network: for all items together, and for each.
        once_seconds, item_seconds: The same on this machine's device.
    """

    items: int
    training: int
    held_out: int
    steps: float
    is_cap: bool
    workers: int
    disk_bytes: int
    memory_bytes: int
    once_forwards: int
    item_forwards: int
    item_gradients: int
    once_seconds: float
    item_seconds: float

    @property
    def seconds(self) -> float:
        """Of the whole, on so many such workers."""
        return self.once_seconds / self.workers + self.item_seconds * self.items / self.workers

    @property
    def items_an_hour(self) -> float:
        """Once the original losses are there."""
        return 3600 * self.workers / self.item_seconds

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"seconds": self.seconds, "items_an_hour": self.items_an_hour}


def estimate_audit(job: Job, batch: str, ledger: Path) -> Estimated:
    """Pull the inputs of an audit, and time a handful of forwards.

    Args:
        job: The audit's.
        batch: The generated batch's folder.
        ledger: The ledger's file, which need not be there.

    Raises:
        InputError: For anything that cannot be used.
    """
    from mucs.attribution.estimate import estimate, timed

    generated = pull.fn(job.registry, job.revision, batch, job.cache)
    fetched = [
        pull.fn(job.registry, job.revision, path, job.cache) if path else None
        for path in (job.checkpoint, job.training_set, job.held_out)
    ]
    checkpoint, training, held_out = fetched
    assert checkpoint
    assert training
    plan = job.plan(checkpoint, training, held_out, generated)
    settings = job.settings
    held, _ = holding_runs(ledger, plan, find_calibration.fn(plan, job.results) if held_out else None)
    todo = sum(row not in held for row in plan.images("batch").row_sha256.to_pylist())
    items = todo + (2 if settings.controls and todo else 0)
    sets = [plan.images("training"), *([plan.images("held_out")] if held_out else [])]
    count, unseen = len(sets[0]), sum(map(len, sets[1:]))
    prompts = {prompt for images in sets for prompt in images.column("prompt")}
    device = choose_device(plan.device)
    with deterministic(device):
        model = loaded(plan).model
        needed = estimate(model, settings, count, unseen, items, len(prompts))
        timing = timed(model, settings)
    steps = known_steps(ledger, digest(settings.record()))
    if steps is not None:
        share = min(1.0, steps / max(1, settings.unlearning.max_steps))
        needed = replace(needed, item_gradients=round(needed.item_gradients * share))
    return Estimated(
        items=items,
        training=count,
        held_out=unseen,
        steps=settings.unlearning.max_steps if steps is None else steps,
        is_cap=steps is None,
        workers=job.engine.side_by_side(device),
        disk_bytes=needed.images_bytes + needed.prompts_bytes + needed.losses_bytes,
        memory_bytes=needed.step_bytes,
        once_forwards=needed.once_forwards,
        item_forwards=needed.item_forwards,
        item_gradients=needed.item_gradients,
        once_seconds=needed.once_seconds(timing),
        item_seconds=needed.item_seconds(timing),
    )


def known_steps(ledger: Path, settings: str) -> float | None:
    """The mean number of steps an item of the ledger's runs with settings of that digest; None without any."""
    if not ledger.exists():
        return None
    with Ledger.open(ledger) as opened:
        (row,) = opened.rows(STEPS, {"settings": settings})
    mean: float | None = row["steps"]
    return mean
