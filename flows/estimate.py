"""Estimate: what an audit will take, before anything of it is computed."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from flows.audit import holding_runs
from flows.inputs import Job
from mucs.canonical import digest
from mucs.images import ImageSet
from mucs.images.inspection import inspect
from mucs.ledger.lake import Lake
from tasks.calibrate import find_calibration
from tasks.device import choose_device, cores, deterministic
from tasks.ledgers import reading
from tasks.prepare import conditions
from tasks.prepared import loaded
from tasks.pull import pull

if TYPE_CHECKING:
    from mucs.attribution import DiffusionModel, Encoding, Items

STEPS = """
SELECT avg(a.steps)::DOUBLE AS steps FROM attributions a JOIN runs r USING (run_id) WHERE r.settings_sha256 = $settings
"""
SOME = 32  # training images that are looked at
START_SECONDS = 20.0  # of Prefect's server, the gates' libraries, publishing, loading and the page, whatever is audited


@dataclass(frozen=True)
class Estimated:
    """What an audit will take.

    Attributes:
        items: Generated items to attribute, controls among them.
        training, held_out: Images that they are compared with.
        steps: Steps of unlearning an item that are reckoned with.
        steps_from: Where they are from: "ledger", the mean of its runs with the same settings; "trial", as some items were
            forgotten while they were timed; "beginning", as these items began to be.
        max_steps: The cap, at which an item is given up.
        workers: Items side by side.
        disk_bytes: Of pixels or latents, prompts and losses.
        memory_bytes: Of the device, for one item.
        once_forwards, item_forwards, item_gradients: Samples through the network: for all items together, and for each.
        once_seconds: For all items together, on this machine.
        item_seconds, item_seconds_at_cap: For each, on one worker of this machine, with so many steps and with the most.
    """

    items: int
    training: int
    held_out: int
    steps: float
    steps_from: str
    max_steps: int
    workers: int
    disk_bytes: int
    memory_bytes: int
    once_forwards: int
    item_forwards: int
    item_gradients: int
    once_seconds: float
    item_seconds: float
    item_seconds_at_cap: float

    @property
    def seconds(self) -> float:
        """Of the whole, on so many such workers."""
        return self._seconds(self.item_seconds)

    @property
    def seconds_at_cap(self) -> float:
        """The same where no item is forgotten."""
        return self._seconds(self.item_seconds_at_cap)

    def _seconds(self, item_seconds: float) -> float:
        return self.once_seconds + item_seconds * math.ceil(self.items / self.workers)

    @property
    def items_an_hour(self) -> float:
        """Once the original losses are there."""
        return 3600 * self.workers / self.item_seconds

    def record(self) -> dict[str, Any]:
        """As JSON."""
        more = ("seconds", "seconds_at_cap", "items_an_hour")
        return asdict(self) | {name: getattr(self, name) for name in more}


def estimate_audit(job: Job, batch: str, ledger: str) -> Estimated:
    """Pull the inputs of an audit, and unlearn and score some of its items for some seconds.

    Embedding prompts, and pulling, are not among what is reckoned.

    Args:
        job: The audit's.
        batch: The generated batch's folder.
        ledger: The ledger, which need not be there.

    Raises:
        InputError: For anything that cannot be used.
    """
    from mucs.attribution.estimate import estimate, timed

    generated = pull.fn(job.registry, job.revision, batch, job.cache, job.log)
    fetched = [
        pull.fn(job.registry, job.revision, path, job.cache) if path else None
        for path in (job.checkpoint, job.training_set, job.held_out)
    ]
    checkpoint, training, held_out = fetched
    assert checkpoint
    assert training
    plan = job.plan(checkpoint, training, held_out, generated)
    settings = job.settings
    held, _ = holding_runs(ledger, plan, find_calibration.fn(plan, job.log) if held_out else None)
    made = plan.images("batch")
    todo = sum(row not in held for row in made.row_sha256.to_pylist())
    items = todo + (2 if settings.controls and todo else 0)
    sets = [plan.images("training"), *([plan.images("held_out")] if held_out else [])]
    count, unseen = len(sets[0]), sum(map(len, sets[1:]))
    prompts = {prompt for images in sets for prompt in images.column("prompt")}
    device = choose_device(plan.device)
    workers = job.engine.side_by_side(device)
    with deterministic(device):
        model = loaded(plan).model
        needed = estimate(model, settings, count, unseen, items, len(prompts))
        images, tried = (some_items(model, *each, settings.encoding) for each in ((sets[0], SOME), (made, workers)))
        timing = timed(model, settings, images, tried, count)
        an_image = seconds_an_image(model, sets[0], settings.encoding)
    known, cap = known_steps(ledger, digest(settings.record())), settings.unlearning.max_steps
    steps = timing.steps if known is None else known
    return Estimated(
        items=items,
        training=count,
        held_out=unseen,
        steps=steps,
        steps_from="ledger" if known is not None else "trial" if timing.forgotten else "beginning",
        max_steps=cap,
        workers=workers,
        disk_bytes=needed.images_bytes + needed.prompts_bytes + needed.losses_bytes,
        memory_bytes=needed.step_bytes,
        once_forwards=needed.once_forwards + needed.recall_forwards,
        item_forwards=needed.item_forwards,
        item_gradients=needed.item_gradients(steps),
        once_seconds=START_SECONDS + (count + unseen + len(made)) * an_image + needed.once_seconds(timing) / workers,
        item_seconds=needed.item_seconds(timing, steps),
        item_seconds_at_cap=needed.item_seconds(timing, cap),
    )


def some_items(model: DiffusionModel, images: ImageSet, most: int, encoding: Encoding) -> Items:
    """Some images of a set, from all of it, as the model takes them."""
    import numpy as np
    import torch

    from mucs.attribution import encode

    chosen = range(0, len(images), max(1, len(images) // most))[:most]
    rows = replace(images, rows=images.rows.take(list(chosen)))
    pixels = torch.from_numpy(np.concatenate([images[k : k + 1] for k in chosen]))
    return encode(model, pixels, **conditions(model, rows), encoding=encoding)


def seconds_an_image(model: DiffusionModel, images: ImageSet, encoding: Encoding) -> float:
    """Seconds of inspecting, decoding and encoding an image of a set, where all of them follow on each other."""
    import torch

    from mucs.attribution import encode

    some, one = images.part(0, SOME), images.part(0, 1)
    inspect(one)  # what is imported for it is no image's
    some.content(0)  # nor is a shard's row group, which is read at once
    began = time.perf_counter()
    inspect(some)
    pixels = torch.from_numpy(some[:])
    seconds = (time.perf_counter() - began) / cores() / len(some)
    if model.pixels_per_latent == 1 or len(some) == 1:
        return seconds

    def encoding_of(part: ImageSet) -> float:
        began = time.perf_counter()
        encode(model, pixels[: len(part)], **conditions(model, part), encoding=encoding)
        return time.perf_counter() - began

    return seconds + (encoding_of(some) - encoding_of(one)) / (len(some) - 1)  # each loads the encoder


def known_steps(ledger: str, settings: str) -> float | None:
    """The mean number of steps an item of the ledger's runs with settings of that digest; None without any."""
    if not Lake.at(ledger).exists():
        return None
    with reading(ledger) as opened:
        (row,) = opened.rows(STEPS, {"settings": settings})
    mean: float | None = row["steps"]
    return mean
