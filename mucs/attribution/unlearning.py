"""Mirrored unlearning: forget one generated item, retain the training items (paper, section 3.1)."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable, Iterator, Sequence
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

POLICIES = {
    # the matching choice for UNets of a transformer's feed-forward matrices: the residual blocks' convolutions
    "feedforward": re.compile(
        r"\.resnets\.\d+\.conv[12]\.weight$|\.ff(_context)?\.net\..*weight$|single_transformer_blocks\.\d+\.proj_(mlp|out)\.weight$"
    ),
    "attention": re.compile(r"\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)\.weight$"),
    "all": re.compile(""),
    "adapter": re.compile(r"\.lora_"),
}
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
        flags = (self.shared_noise, self.augment)
        if not all(isinstance(flag, bool) for flag in flags):
            raise InputError("Shared noise and augmentation are True or False; change them.")
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


def random_draws(
    model: DiffusionModel, count: int, batch_size: int, generator: torch.Generator, shared_noise: bool = False
) -> Iterator[Draw]:
    """Endless draws: (indices, retain noise, retain levels, forget noise, forget levels), independent unless shared."""
    size = min(batch_size, count)
    while True:
        indices = torch.randperm(count, generator=generator)[:size]
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


class Probe:
    """The generated item under 32 fixed draws that depend on it alone, to tell how far it is forgotten."""

    def __init__(self, model: DiffusionModel, generated: Items, null_loss: NullLoss) -> None:
        draws = stream(0, "probe", generated.digest)
        self.generated, self.null_loss = generated[torch.zeros(PROBE, dtype=torch.long)], null_loss
        self.noise = torch.randn((PROBE, *model.shape), generator=draws)
        self.levels = model.parameterisation.draw_levels(PROBE, draws)

    def __call__(self, model: DiffusionModel) -> float:
        """Mean bounded forget loss."""
        with torch.no_grad():
            losses = model.losses(self.generated.images, self.noise, self.levels, self.generated.conditioning)
        return self.null_loss.climbed(losses, self.levels)


def mirrored_unlearning(
    model: DiffusionModel,
    generated: Tensor | Items,
    images: Tensor | Items,
    settings: Unlearning = Unlearning(),
    *,
    seed: int = 0,
    draws: Iterable[Draw] | None = None,
) -> Unlearned:
    """Unlearn one generated item, (C, H, W) or Items of one, from a copy of the model, retaining the training images (N, C, H, W), all in [-1, 1].

    A step minimises mean ℓ(x_r) − λ·mean min(ℓ(x_g), L₀). Random draws are seeded by (seed, generated item); given
    draws are used in order, one a step. Raises InputError if images do not fit the model, or memory is too small.
    """
    items = as_items(images)
    generated = as_items(generated[None] if isinstance(generated, Tensor) else generated)
    model.check(items, "training images")
    model.check(generated, "generated images")
    if len(generated) > 1:
        raise InputError(f"{len(generated)} generated items are to be unlearned at once; give one at a time.")
    generated = generated[:]
    null_loss = null_loss_of(model, items, settings.null_loss, seed)
    if draws is None:
        source = stream(seed, "unlearning", generated.digest)
        draws = random_draws(model, len(items), settings.batch_size, source, settings.shared_noise)
    else:
        draws = (check_draw(draw, model, len(items)) for draw in draws)
    mirrors = stream(seed, "augmentation", generated.digest)

    unlearned = model.copy()
    chosen = trainable_names(unlearned.network, settings.trainable)
    parameters = [unlearned.network.get_parameter(name).requires_grad_() for name in chosen]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    probe = Probe(model, generated, null_loss)
    target = (1 - settings.tolerance) * null_loss.value
    forget_trace, retain_trace = [], []
    steps, converged = 0, False
    with memory_for("the unlearning batch size", settings.batch_size):
        probe_before = probe(model)
        for indices, retain_noise, retain_levels, forget_noise, forget_levels in draws:
            retained, copies = items[indices], generated[torch.zeros(len(forget_noise), dtype=torch.long)]
            x = torch.cat([retained.images, copies.images])
            if settings.augment:
                x = torch.where((torch.rand(len(x), generator=mirrors) < 0.5).view(-1, 1, 1, 1), x.flip(-1), x)
            losses = unlearned.losses(
                x,
                torch.cat([retain_noise, forget_noise]),
                torch.cat([retain_levels, forget_levels]),
                {name: torch.cat([rows, copies.conditioning[name]]) for name, rows in retained.conditioning.items()},
            )
            retain, forget = losses[: len(indices)], losses[len(indices) :]
            bounded = null_loss.bound(forget, forget_levels).mean()
            bounded_loss = null_loss.climbed(forget.detach(), forget_levels)
            retain_trace.append(retain.detach().cpu())
            forget_trace.append(forget.detach().cpu())
            if settings.stop == "batch":
                converged = bounded_loss >= target
            elif steps % PROBE_EVERY == 0 or steps == settings.max_steps:
                converged = probe(unlearned) >= target
            if converged or steps == settings.max_steps:
                break
            if settings.down_weight:
                weight = 1 - settings.down_weight * likeness(retained, generated.images[0]).clamp(min=0)
                retain = retain * (weight / weight.mean().clamp(min=1e-12)).to(retain.device)  # 0 if all look just so
            optimizer.zero_grad()
            (retain.mean() - settings.forget_weight * bounded).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            steps += 1
        if not forget_trace:
            raise InputError("There are no draws; give one for each step.")
        if not all(p.isfinite().all() for p in parameters):
            raise InputError(
                f"Unlearning left numbers that are not finite after {steps} steps; lower the learning rate {settings.learning_rate}."
            )
        unlearned.network.requires_grad_(False)
        return Unlearned(
            model=unlearned,
            steps=steps,
            converged=converged,
            null_loss=null_loss.value,
            bounded_loss=bounded_loss,
            probe_before=probe_before,
            probe_after=probe(unlearned),
            trained=tuple(chosen),
            forget_loss=torch.stack(forget_trace),
            retain_loss=torch.stack(retain_trace),
        )
