"""Estimate: what an attribution will take, before anything of it is computed."""

from __future__ import annotations

import copy
import time
import warnings
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mucs.attribution.bank import NoiseBank
from mucs.attribution.batches import Batch
from mucs.attribution.draws import Draw, random_draws
from mucs.attribution.encode import PRECISIONS
from mucs.attribution.hyperparameters import Unlearning
from mucs.attribution.items import Items
from mucs.attribution.losses import pair_losses
from mucs.attribution.missed import sample_size
from mucs.attribution.model import DiffusionModel
from mucs.attribution.null_loss import NullLoss
from mucs.attribution.objective import Objective
from mucs.attribution.probe import SAMPLES
from mucs.attribution.screening import halving_pairs, plan
from mucs.attribution.seeds import stream
from mucs.attribution.settings import Settings
from mucs.attribution.trainable import trainable_names
from mucs.attribution.unlearning import PROBE_EVERY, Unlearned, Unlearner, mirrored_unlearning

TOKENS = {"SD3Transformer2DModel": 77 + 256, "FluxTransformer2DModel": 512}  # of a prompt; others have 77
SECONDS = 10.0  # of unlearning that is timed
BATCHES = 3  # that are timed at least, after one that is not
WIDTHS = {"text_embeds": 1280, "pooled_projections": 2048, "time_ids": 6}


@dataclass(frozen=True)
class Timing:
    """What an item takes on this machine, beside as many others as are worked on at once.

    Attributes:
        forward: Seconds a sample, in scoring.
        step: Seconds a step of unlearning.
        steps: Steps until an item is forgotten.
        forgotten: Whether unlearning stopped while it was timed; otherwise the steps are extrapolated.
    """

    forward: float
    step: float
    steps: float
    forgotten: bool


@dataclass(frozen=True)
class Estimate:
    """What an attribution takes.

    Attributes:
        once_forwards: Samples forward for the original losses of training and held-out items, at most.
        recall_forwards: Samples forward for all items whose screening is held against exact scores.
        item_forwards: Samples forward for one generated item: scoring and the probe.
        step_samples: Samples forward and backward for a step.
        repeats: How many times an item is unlearned.
        images_bytes: Of pixels or latents, on disk.
        prompts_bytes: Of the prompts' embeddings, on disk.
        losses_bytes: Of the original losses, on disk.
        weights_bytes: Of the original, the changed weights, their gradients and the optimizer, in the device's memory.
        step_bytes: Of all that, and a micro-batch's activations, at the most, in the device's memory.
    """

    once_forwards: int
    recall_forwards: int
    item_forwards: int
    step_samples: int
    repeats: int
    images_bytes: int
    prompts_bytes: int
    losses_bytes: int
    weights_bytes: int
    step_bytes: int

    def item_gradients(self, steps: float) -> int:
        """Samples forward and backward for one generated item that is forgotten after so many steps."""
        return round(self.repeats * (steps + 1) * self.step_samples)  # and the batch that shows it

    def once_seconds(self, timing: Timing) -> float:
        """Seconds for what all generated items share, on one such machine."""
        return (self.once_forwards + self.recall_forwards) * timing.forward

    def item_seconds(self, timing: Timing, steps: float) -> float:
        """Seconds for one generated item that is forgotten after so many steps, on one such machine."""
        return self.item_forwards * timing.forward + self.repeats * (steps + 1) * timing.step


def estimate(
    model: DiffusionModel, settings: Settings, training: int, held_out: int, generated: int, prompts: int = 0
) -> Estimate:
    """What it takes to attribute a batch.

    Args:
        model: The original; its network may be on the meta device, where it takes no memory.
        settings: Of the run.
        training: Number of training items.
        held_out: Number of held-out items.
        generated: Number of generated items.
        prompts: Number of different prompts.

    Returns:
        Samples, bytes on disk and in the device's memory.

    Raises:
        InputError: If the setting `trainable` chooses no parameter of the network.
    """
    full, unlearning = settings.num_noises, settings.unlearning
    shared = training * plan(settings.screening, training, full)[0][1]  # what all generated items ask for
    survivors = plan(settings.screening, training, full)[-1][0]
    screened = halving_pairs(settings.screening, training, full)
    if settings.screening and settings.screening.candidates:
        drawn = sample_size(training - survivors, survivors)
        screened, survivors, shared = screened + drawn * full, survivors + drawn, 0
    beside = settings.repeats * held_out * full
    probes = 2 + (unlearning.max_steps // PROBE_EVERY if unlearning.stop == "probe" else 0)
    network = sum(p.numel() for p in model.network.parameters())
    trained = sum(
        model.network.get_parameter(name).numel() for name in trainable_names(model.network, unlearning.trainable)
    )
    copies = unlearning.copies
    once = min(training * full, shared + generated * (screened - shared)) + held_out * full
    pixels = model.pixels_per_latent == 1
    number = 1 if pixels else PRECISIONS[settings.encoding.precision].itemsize
    one_prompt = sum(
        t.numel() * 4 for name, t in conditioning(model, 1).items() if name not in ("class_labels", "time_ids")
    )
    return Estimate(
        once_forwards=0 if unlearning.antithetic else once,  # two copies are held against each other
        recall_forwards=copies * min(settings.recall_sample, generated) * (training - survivors) * full,
        item_forwards=copies * (screened + beside + (settings.repeats - 1) * survivors * full)
        + settings.repeats * probes * SAMPLES,
        step_samples=2 * copies * min(unlearning.batch_size, training),
        repeats=settings.repeats,
        images_bytes=(training + held_out + generated) * torch.Size(model.shape).numel() * number,
        prompts_bytes=prompts * one_prompt,
        losses_bytes=(training + held_out) * full * 4,
        weights_bytes=4 * (network + copies * 4 * trained),
        step_bytes=step_bytes(model, settings),
    )


def conditioning(model: DiffusionModel, count: int) -> dict[str, Tensor]:
    """Zeros of the shape of what the network is conditioned on, for `count` items."""
    config, found = model.network.config, {}
    for name in model.conditioning:
        if name == "class_labels":
            found[name] = torch.zeros(count, dtype=torch.long)
        elif name == "encoder_hidden_states":
            width = config.get("cross_attention_dim") or config.get("joint_attention_dim")
            found[name] = torch.zeros(count, TOKENS.get(type(model.network).__name__, 77), width)
        else:
            found[name] = torch.zeros(count, config.get("pooled_projection_dim") or WIDTHS[name])
    return found


class Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that are made while it is on and not yet gone, and the most there were at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known: Any = weakref.WeakKeyDictionary()
        self.now, self.peak = 0, 0

    def add(self, tensor: Tensor) -> None:
        """Count a tensor's storage, once."""
        storage = tensor.untyped_storage()
        if storage not in self.known:
            self.known[storage] = True
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._drop, storage.nbytes())

    def _drop(self, gone: int) -> None:
        self.now -= gone

    def __torch_dispatch__(self, operation: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        made = operation(*given, **(named or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self.add(leaf)
        return made


def step_bytes(model: DiffusionModel, settings: Settings) -> int:
    """The most that one step of unlearning has in memory at once, activations too.

    Nothing is computed: tensors without numbers go through the step, and those that are alive are counted.
    """
    how = settings.unlearning
    size = how.samples_at_once
    with warnings.catch_warnings(), FakeTensorMode(allow_non_fake_inputs=True):
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")  # to copy a parameter looks at it
        fake = copy.copy(model)
        fake.device = torch.device("cpu")
        network: Any = type(model.network).from_config(model.network.config)
        fake.network = network.eval().requires_grad_(False)
        unlearners = [Unlearner(fake, Objective(NullLoss(1.0), how)) for _ in range(how.copies)]
        images, levels = torch.zeros((size, *model.shape)), torch.ones(size)
        batch = Batch(images, images.clone(), levels, conditioning(fake, size), torch.ones(max(1, size // 2)))
        with Alive() as alive:
            for network in (fake.network, *(unlearner.model.network for unlearner in unlearners)):
                for tensor in network.parameters():
                    alive.add(tensor)
            for _ in range(2):  # from the second step on the optimizer's moments are there
                for unlearner in unlearners:
                    unlearner.losses(batch)
                    unlearner.step()
        return int(alive.peak)


def timed(
    model: DiffusionModel, settings: Settings, images: Items, generated: Items, training: int, seconds: float = SECONDS
) -> Timing:
    """Time scoring and unlearning for some seconds, side by side.

    Args:
        model: The original, with its weights.
        settings: Of the run.
        images: Some of the training items, which stand for all.
        generated: As many generated items as are worked on at once.
        training: How many training items there are.
        seconds: For how long an item is unlearned, if it is not forgotten before.

    Raises:
        InputError: If items do not fit the model.
    """
    how = settings.unlearning
    bank = NoiseBank.draw(model, 1, settings.fraction, settings.seed)
    size = settings.scoring.batch_size
    which, entries = torch.arange(size) % len(images), torch.zeros(size, dtype=torch.long)

    def forward() -> float:
        """Seconds a sample, without those of the first batch."""
        times = []
        for _ in range(1 + BATCHES):
            pair_losses(model, images, bank, which, entries, settings.scoring)
            times.append(time.perf_counter())
        return (times[-1] - times[0]) / (BATCHES * size)

    def one(k: int) -> Timing:
        sample = forward()
        times = []

        def draws() -> Iterator[Draw]:
            source = stream(settings.seed, "estimate", str(k))
            for draw in random_draws(model, training, how.batch_size, source, how.shared_noise):
                times.append(time.perf_counter())
                if len(times) > 1 + BATCHES and times[-1] - times[0] > seconds:
                    return
                yield (draw[0] % len(images), *draw[1:])

        done = mirrored_unlearning(model, generated[k : k + 1], images, how, seed=settings.seed, draws=draws())
        times.append(time.perf_counter())
        warm = times[1:] if len(times) > 2 else times
        return Timing(sample, (warm[-1] - warm[0]) / (len(warm) - 1), steps_to_forget(done, how), done.stopped)

    with ThreadPoolExecutor(len(generated)) as side_by_side:
        found = list(side_by_side.map(one, range(len(generated))))
    return Timing(
        forward=fmean(each.forward for each in found),
        step=fmean(each.step for each in found),
        steps=fmean(each.steps for each in found),
        forgotten=all(each.forgotten for each in found),
    )


def steps_to_forget(done: Unlearned, how: Unlearning) -> float:
    """How many steps an item takes that was unlearned for some: they go on as they began, up to the cap."""
    if done.stopped:
        return done.steps
    target = (1 - how.tolerance) * done.null_loss
    climbed, all_of_it = done.probe_after - done.probe_before, target - done.probe_before
    return min(how.max_steps, done.steps * max(1.0, all_of_it / climbed)) if climbed > 0 else how.max_steps
