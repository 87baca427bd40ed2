"""Mirrored unlearning: forget one generated item, retain the training items (paper, section 3.1)."""

from __future__ import annotations

import contextlib
import fnmatch
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from mucs import InputError
from mucs.attribution.items import Items, as_items
from mucs.attribution.likeness import likeness
from mucs.attribution.losses import LossStore, memory_for
from mucs.attribution.model import DiffusionModel
from mucs.attribution.null_loss import NullLoss, estimate_null_loss, null_loss_by_level, null_loss_of
from mucs.attribution.seeds import stream

Draw = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
Progress = Callable[[str, int, int], None]  # what is under way, how much of it is done, and of how much

POLICIES = {
    # the matching choice for UNets of a transformer's feed-forward matrices: the residual blocks' convolutions
    "feedforward": re.compile(
        r"\.resnets\.\d+\.conv[12]\.weight$|\.ff(_context)?\.net\..*weight$|single_transformer_blocks\.\d+\.proj_(mlp|out)\.weight$"
    ),
    "attention": re.compile(r"\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)\.weight$"),
    "all": re.compile(""),
    "adapter": re.compile(r"\.lora_"),
}
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
PROBE = 32  # noises of the probe
PROBE_EVERY = 4  # steps between two looks at the probe where it decides


@dataclass(frozen=True)
class Unlearning:
    """Settings of mirrored unlearning; the defaults are the paper's.

    learning_rate: of AdamW; a tenth of the rate that the model was trained with.
    forget_weight: λ, the weight of the forget loss against the retain loss.
    null_loss: L₀, the loss of a model that knows nothing, as one number for all levels; "auto" estimates it, by level
    where the network predicts the noise, the item or the velocity of rectified flow (`null_loss_by_level`).
    tolerance: unlearning stops when the mean bounded forget loss reaches (1 − tolerance)·L₀.
    stop: where that mean is taken: over the step's "batch", or over a fixed "probe" of 32 noises, every 4 steps.
    batch_size: training items a step, and as many copies of the generated item.
    trainable: "feedforward", "attention", "all" or "adapter", or parameter names and patterns (`*`, `?`).
    shared_noise: training items and generated item under the same draws (the paper's ablation).
    augment: mirror half of a batch's images, left to right.
    down_weight: from 0 to 1, how much less a training item that looks like the generated one is retained: its loss is
    weighed by 1 − down_weight · max(0, likeness).
    micro_batch_size: samples that go forward and backward at once, training items and copies together, and samples of
    the probe; None for a step's whole batch. It changes memory, and of the result what rounding does.
    gradient_checkpointing: compute activations again in the backward pass and keep few: less memory, a third more time.
    precision: of the network's matrix products while it is unlearned; "bfloat16" is meant for GPUs.
    efficient_attention: on a GPU, attention that takes little memory while gradients are taken too. Torch cannot promise
    the same bits each time then.
    """

    learning_rate: float = 1e-5
    weight_decay: float = 0.01
    forget_weight: float = 0.2
    null_loss: float | Literal["auto"] = "auto"
    tolerance: float = 0.05
    max_steps: int = 500
    batch_size: int = 100
    trainable: str | Sequence[str] = "feedforward"
    stop: Literal["batch", "probe"] = "batch"
    shared_noise: bool = False
    augment: bool = False
    down_weight: float = 0.0
    micro_batch_size: int | None = None
    gradient_checkpointing: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    efficient_attention: bool = False

    def __post_init__(self) -> None:
        rates = (self.learning_rate, self.forget_weight, self.weight_decay, self.tolerance, self.down_weight)
        if not all(isinstance(n, int | float) and math.isfinite(n) for n in rates) or not all(
            isinstance(n, int) for n in (self.max_steps, self.batch_size)
        ):
            raise InputError(
                "Rates, weights and the tolerance must be finite numbers, the step cap and the batch size whole ones; change them."
            )
        if self.learning_rate <= 0 or self.forget_weight <= 0 or self.weight_decay < 0:
            raise InputError(
                "The learning rate and the forget weight must be above 0 and the weight decay at least 0; change them."
            )
        if not 0 <= self.tolerance < 1 or self.max_steps < 0 or self.batch_size < 1:
            raise InputError(
                "The tolerance must lie in [0, 1), the step cap be at least 0 and the batch size at least 1; change them."
            )
        if self.null_loss != "auto" and not (
            isinstance(self.null_loss, int | float) and math.isfinite(self.null_loss) and self.null_loss > 0
        ):
            raise InputError(f'The null loss is {self.null_loss!r}; give "auto" or a number above 0.')
        flags = (self.shared_noise, self.augment, self.gradient_checkpointing, self.efficient_attention)
        if not all(isinstance(flag, bool) for flag in flags):
            raise InputError(
                "Shared noise, augmentation, gradient checkpointing and efficient attention are True or False; change them."
            )
        if self.micro_batch_size is not None and (type(self.micro_batch_size) is not int or self.micro_batch_size < 1):
            raise InputError(f"The micro-batch size is {self.micro_batch_size!r}; give a whole number from 1 on.")
        if self.precision not in PRECISIONS:
            raise InputError(f"The precision {self.precision!r} is not known; use float32 or bfloat16.")
        if not self.trainable:
            raise InputError("No parameter is chosen by the setting trainable; name a policy, or parameters.")
        if self.stop not in ("batch", "probe"):
            raise InputError(f"The stop rule {self.stop!r} is not known; use batch or probe.")
        if not 0 <= self.down_weight <= 1:
            raise InputError(f"The down-weighting is {self.down_weight}; give a number from 0 to 1.")


@dataclass(frozen=True)
class Unlearned:
    """The outcome of mirrored unlearning.

    forget_loss, retain_loss: (batches, batch size) float32, each sample's loss before the step that its batch led to,
    before bounding; the last row was measured after the last step where the stop rule or the cap ended the work.
    null_loss: L₀; 1 where it goes by level, and bounded losses are then shares of it.
    bounded_loss: mean bounded forget loss of the last row. probe_before, probe_after: the same under the fixed probe,
    of the original and the unlearned model.
    trained: names of the parameters that were trained.
    """

    model: DiffusionModel
    steps: int
    converged: bool
    null_loss: float
    bounded_loss: float
    probe_before: float
    probe_after: float
    trained: tuple[str, ...]
    forget_loss: Tensor
    retain_loss: Tensor


def trainable_names(network: nn.Module, trainable: str | Sequence[str]) -> list[str]:
    """The parameters that a policy, or names and patterns, choose.

    InputError if a policy or pattern chooses none, if patterns choose all, or if there is an adapter and more is chosen.
    """
    names = [name for name, _ in network.named_parameters()]
    adapter = [name for name in names if POLICIES["adapter"].search(name)]
    if isinstance(trainable, str) or trainable is None:
        if trainable not in POLICIES:
            raise InputError(
                f"The policy {trainable!r} is not known; use one of {', '.join(POLICIES)}, or a list of parameter names."
            )
        chosen = [name for name in names if POLICIES[trainable].search(name)]
    else:
        if not isinstance(trainable, Sequence) or not all(isinstance(pattern, str) for pattern in trainable):
            raise InputError(f"{trainable!r} chooses no parameters; give a policy, or a list of names and patterns.")
        for pattern in trainable:
            if not fnmatch.filter(names, pattern):
                raise InputError(f"The network has no parameter {pattern!r}; name parameters as the checkpoint does.")
        chosen = [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in trainable)]
        if len(chosen) == len(names):
            raise InputError('The patterns choose every parameter; if that is meant, set trainable to "all".')
    if not chosen:
        raise InputError(f"No parameter is chosen by {trainable!r}; name at least one.")
    if adapter and set(chosen) - set(adapter):
        raise InputError('The checkpoint has an adapter, and only that is unlearned; set trainable to "adapter".')
    return chosen


def with_null_loss(
    settings: Unlearning, model: DiffusionModel, items: Items, store: LossStore, seed: int
) -> Unlearning:
    """The settings with L₀ as a number, estimated once for all that share the store; as they are where it goes by level."""
    if settings.null_loss != "auto" or null_loss_by_level(model, items):
        return settings
    null_loss = store.number(
        model, items, lambda: estimate_null_loss(model, items, seed=seed), what="null loss", seed=seed
    )
    return replace(settings, null_loss=null_loss)


def different(count: int, size: int, generator: torch.Generator) -> Tensor:
    """`size` different numbers below `count` in random order, (size,) int64, at a cost that does not grow with `count`."""
    chosen: dict[int, None] = {}
    while len(chosen) < size:
        chosen |= dict.fromkeys(torch.randint(count, (size - len(chosen),), generator=generator).tolist())
    return torch.tensor(list(chosen))


def random_draws(
    model: DiffusionModel, count: int, batch_size: int, generator: torch.Generator, shared_noise: bool = False
) -> Iterator[Draw]:
    """Endless draws: (indices, retain noise, retain levels, forget noise, forget levels), independent unless shared."""
    size = min(batch_size, count)
    while True:
        indices = different(count, size, generator)
        retain = (
            torch.randn((size, *model.shape), generator=generator),
            model.parameterisation.draw_levels(size, generator),
        )
        forget = (
            retain
            if shared_noise
            else (
                torch.randn((size, *model.shape), generator=generator),
                model.parameterisation.draw_levels(size, generator),
            )
        )
        yield (indices, *retain, *forget)


def check_draw(draw: Draw, model: DiffusionModel, count: int) -> Draw:
    """A draw that was given; InputError if it does not fit the model or the `count` items."""
    try:
        indices, *pairs = draw
        names = indices.dtype in (torch.int64, torch.int32) and indices.ndim == 1 and len(indices) > 0
        noises, levels = [pairs[0], pairs[2]], [pairs[1], pairs[3]]
        fits = len(pairs) == 4 and all(
            noise.shape[1:] == model.shape and len(noise) == len(level) > 0 and level.ndim == 1
            for noise, level in zip(noises, levels, strict=True)
        )
    except (TypeError, ValueError, AttributeError, IndexError):
        names = fits = False
    if not names or not fits or len(pairs[0]) != len(indices):
        raise InputError(
            "A draw is five tensors, indices (B,), retain noise (B, C, H, W) and levels (B,), forget noise and levels; mend it."
        )
    if indices.min() < 0 or indices.max() >= count:
        raise InputError(f"A draw names an item that is none of the {count}; give draws for these items.")
    lowest, highest = model.parameterisation.levels
    for noise, level in zip(noises, levels, strict=True):
        if not (noise.isfinite().all() and lowest <= float(level.min()) <= float(level.max()) <= highest):
            raise InputError(
                f"A draw has noise that is not finite, or a level outside {lowest:.4g} to {highest:.4g}; mend it."
            )
    return draw


@dataclass(frozen=True)
class Batch:
    """Samples under their draws: B training items, then F copies of the generated item.

    images, noise: (B + F, C, H, W). levels: (B + F,). conditioning: (B + F, …). retained: B.
    weights: (B,) by which the training items' losses are weighed, with a mean of 1.
    """

    images: Tensor
    noise: Tensor
    levels: Tensor
    conditioning: Mapping[str, Tensor]
    retained: int
    weights: Tensor

    def __len__(self) -> int:
        return len(self.levels)

    def parts(self, size: int | None) -> Iterator[slice]:
        """The places of `size` samples at a time; of all at once for None."""
        size = size or len(self)
        return (slice(start, start + size) for start in range(0, len(self), size))


def training_batch(items: Items, generated: Items, draw: Draw, settings: Unlearning, mirrors: torch.Generator) -> Batch:
    """What one step looks at."""
    indices, retain_noise, retain_levels, forget_noise, forget_levels = draw
    retained, copies = items[indices], generated[torch.zeros(len(forget_noise), dtype=torch.long)]
    x = torch.cat([retained.images, copies.images])
    if settings.augment:
        x = torch.where((torch.rand(len(x), generator=mirrors) < 0.5).view(-1, 1, 1, 1), x.flip(-1), x)
    weights = torch.ones(len(indices))
    if settings.down_weight:
        weights -= settings.down_weight * likeness(retained, generated.images[0]).clamp(min=0)
        weights /= weights.mean().clamp(min=1e-12)  # 0 if all look just so
    return Batch(
        x,
        torch.cat([retain_noise, forget_noise]),
        torch.cat([retain_levels, forget_levels]),
        {name: torch.cat([rows, copies.conditioning[name]]) for name, rows in retained.conditioning.items()},
        len(indices),
        weights,
    )


@dataclass(frozen=True)
class Objective:
    """mean ℓ(x_r) − λ·mean min(ℓ(x_g), L₀) (paper, section 3.1)."""

    null_loss: NullLoss
    settings: Unlearning

    def losses(self, model: DiffusionModel, batch: Batch) -> Tensor:
        """Each sample's loss, (B + F,); where gradients are on, those of the objective are added to the weights'."""
        found = []
        with attention_for_gradients(model.device, self.settings):
            for part in batch.parts(self.settings.micro_batch_size):
                given = {name: rows[part] for name, rows in batch.conditioning.items()}
                losses = model.losses(
                    batch.images[part],
                    batch.noise[part],
                    batch.levels[part],
                    given,
                    PRECISIONS[self.settings.precision],
                )
                if torch.is_grad_enabled():
                    self._share(losses, batch, part).backward()  # type: ignore[no-untyped-call]
                found.append(losses.detach())
        return torch.cat(found)

    def _share(self, losses: Tensor, batch: Batch, part: slice) -> Tensor:
        """What a part of the batch adds to the objective."""
        first = max(0, batch.retained - part.start)  # of the part, they are training items
        weights, levels = batch.weights[part].to(losses.device), batch.levels[part][first:]
        retain = (losses[:first] * weights).sum() / batch.retained
        forget = self.null_loss.bound(losses[first:], levels).sum() / (len(batch) - batch.retained)
        return retain - self.settings.forget_weight * forget


@contextlib.contextmanager
def attention_for_gradients(device: torch.device, settings: Unlearning) -> Iterator[None]:
    """On a GPU, without the attention whose gradients add up in any order, unless it is asked for.

    That is a switch of the whole process: no other thread may take gradients there meanwhile.
    """
    attention = torch.backends.cuda
    before = attention.mem_efficient_sdp_enabled()  # type: ignore[no-untyped-call]
    if device.type != "cuda" or settings.efficient_attention or not torch.is_grad_enabled():
        yield
        return
    attention.enable_mem_efficient_sdp(False)
    try:
        yield
    finally:
        attention.enable_mem_efficient_sdp(before)


class Probe:
    """The generated item under 32 fixed draws that depend on it alone, to tell how far it is forgotten."""

    def __init__(self, model: DiffusionModel, generated: Items, objective: Objective) -> None:
        draws = stream(0, "probe", generated.digest)
        copies, noise = (
            generated[torch.zeros(PROBE, dtype=torch.long)],
            torch.randn((PROBE, *model.shape), generator=draws),
        )
        levels = model.parameterisation.draw_levels(PROBE, draws)
        self.batch = Batch(copies.images, noise, levels, copies.conditioning, 0, torch.empty(0))
        self.objective = objective

    @torch.no_grad()
    def __call__(self, model: DiffusionModel) -> float:
        """Mean bounded forget loss."""
        return self.objective.null_loss.bounded_mean(self.objective.losses(model, self.batch), self.batch.levels)


def mirrored_unlearning(
    model: DiffusionModel,
    generated: Tensor | Items,
    images: Tensor | Items,
    settings: Unlearning = Unlearning(),
    *,
    seed: int = 0,
    draws: Iterable[Draw] | None = None,
    progress: Progress | None = None,
) -> Unlearned:
    """Unlearn one generated item from a copy of the trained weights, retaining the training images.

    Args:
        model: The original, which stays as it is; the copy shares all weights with it that are not trained.
        generated: (C, H, W) in [-1, 1], or Items of one.
        images: (N, C, H, W) in [-1, 1], or Items.
        settings: How.
        seed: Of the random draws, with the generated item.
        draws: To be used in order, one a step, instead: (indices (B,), retain noise (B, C, H, W) and levels (B,), forget
            noise (F, C, H, W) and levels (F,)).
        progress: Called with ("unlearning", steps done, step cap).

    Returns:
        The unlearned model, and how it went.

    Raises:
        InputError: If images or draws do not fit the model, memory is too small, or weights do not stay finite.
    """
    items, generated = as_items(images), _one(model, generated)
    model.check(items, "training images")
    objective = Objective(null_loss_of(model, items, settings.null_loss, seed), settings)
    batches = _batches(model, items, generated, settings, seed, draws)
    chosen = trainable_names(model.network, settings.trainable)
    unlearned = model.copy(chosen)
    parameters = [unlearned.network.get_parameter(name).requires_grad_() for name in chosen]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    probe = Probe(model, generated, objective)
    target = (1 - settings.tolerance) * objective.null_loss.value
    forget_trace, retain_trace = [], []
    steps, converged = 0, False
    with (
        memory_for("micro_batch_size", settings.micro_batch_size or 2 * settings.batch_size),
        _checkpointing(unlearned, settings),
    ):
        probe_before = probe(model)
        for batch in batches:
            ends = steps == settings.max_steps
            optimizer.zero_grad()
            with torch.set_grad_enabled(not ends):
                losses = objective.losses(unlearned, batch)
            retain, forget = losses[: batch.retained], losses[batch.retained :]
            bounded_loss = objective.null_loss.bounded_mean(forget, batch.levels[batch.retained :])
            retain_trace.append(retain.cpu())
            forget_trace.append(forget.cpu())
            if settings.stop == "batch":
                converged = bounded_loss >= target
            elif ends or steps % PROBE_EVERY == 0:
                converged = probe(unlearned) >= target
            if converged or ends:
                break
            optimizer.step()
            steps += 1
            if progress:
                progress("unlearning", steps, settings.max_steps)
        if not forget_trace:
            raise InputError("There are no draws; give one for each step.")
        unlearned.network.requires_grad_(False)
        optimizer.zero_grad()  # their memory is wanted for scoring
        if not all(p.isfinite().all() for p in parameters):
            raise InputError(
                f"Unlearning left numbers that are not finite after {steps} steps; lower the learning rate {settings.learning_rate}."
            )
        return Unlearned(
            model=unlearned,
            steps=steps,
            converged=converged,
            null_loss=objective.null_loss.value,
            bounded_loss=bounded_loss,
            probe_before=probe_before,
            probe_after=probe(unlearned),
            trained=tuple(chosen),
            forget_loss=torch.stack(forget_trace),
            retain_loss=torch.stack(retain_trace),
        )


def _one(model: DiffusionModel, generated: Tensor | Items) -> Items:
    """One generated item, in memory; InputError if it is none or several, or does not fit the model."""
    given = as_items(generated[None] if isinstance(generated, Tensor) else generated)
    model.check(given, "generated images")
    if len(given) > 1:
        raise InputError(f"{len(given)} generated items are to be unlearned at once; give one at a time.")
    return given[:]


def _batches(
    model: DiffusionModel, items: Items, generated: Items, settings: Unlearning, seed: int, draws: Iterable[Draw] | None
) -> Iterator[Batch]:
    """A batch for each step: of the draws that are given, or of endless random ones."""
    if draws is None:
        source = stream(seed, "unlearning", generated.digest)
        draws = random_draws(model, len(items), settings.batch_size, source, settings.shared_noise)
    else:
        draws = (check_draw(draw, model, len(items)) for draw in draws)
    mirrors = stream(seed, "augmentation", generated.digest)
    return (training_batch(items, generated, draw, settings, mirrors) for draw in draws)


@contextlib.contextmanager
def _checkpointing(model: DiffusionModel, settings: Unlearning) -> Iterator[None]:
    """Gradient checkpointing in the network, where it is asked for; InputError if the network has none."""
    if not settings.gradient_checkpointing:
        yield
        return
    try:
        model.network.enable_gradient_checkpointing()
    except (AttributeError, ValueError):
        raise InputError(
            f"{type(model.network).__name__} has no gradient checkpointing; leave gradient_checkpointing out."
        ) from None
    try:
        yield
    finally:
        model.network.disable_gradient_checkpointing()
