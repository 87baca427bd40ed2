"""The null loss L₀: what a model that knows nothing loses, which bounds the ascent of unlearning and ends it (paper, section 3.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution.hyperparameters import Unlearning
from mucs.attribution.items import Items, as_items
from mucs.attribution.losses import LossStore
from mucs.attribution.model import DiffusionModel
from mucs.attribution.parameterisation import ByLevel
from mucs.attribution.seeds import stream


@dataclass(frozen=True)
class NullLoss:
    """L₀ at every level.

    value: the one number for all levels, or 1 where there are several: losses are then told as shares of L₀.
    by_level: gives them; None where there is one.
    """

    value: float
    by_level: ByLevel | None = None

    def bound(self, losses: Tensor, levels: Tensor) -> Tensor:
        """min(ℓ, L₀), sample by sample: (B,), (B,) to (B,)."""
        if self.by_level is None:
            return losses.clamp(max=self.value)
        return losses.clamp(max=self.by_level(levels).to(losses))

    def bounded_mean(self, losses: Tensor, levels: Tensor) -> float:
        """Mean of min(ℓ, L₀) over samples, or of min(ℓ / L₀, 1), which weighs all levels alike as the former does."""
        if self.by_level is None:
            return float(self.bound(losses, levels).mean())
        return float((losses / self.by_level(levels).to(losses)).clamp(max=1).mean())


def positive(value: float) -> float:
    """What L₀ is made of; InputError where it is 0 or not finite: then anything would count as forgotten at once, or nothing."""
    if not 0 < value < math.inf:
        raise InputError(
            f"No null loss can be told from training images and a model that give {value:.4g}; mend them, or give null_loss as a number."
        )
    return value


def estimate_null_loss(model: DiffusionModel, images: Tensor | Items, *, samples: int = 256, seed: int = 0) -> float:
    """L₀ as one number: mean loss, over training items and levels drawn as in training, of a freshly initialised network of the same configuration."""
    items = as_items(images)
    model.check(items, "training images")
    if not isinstance(samples, int) or samples < 1:
        raise InputError(f"{samples!r} samples are asked for; ask for a whole number from 1 on.")
    fresh = model.fresh(stream(seed, "fresh network").initial_seed())
    draws = stream(seed, "null loss")
    which = torch.randint(len(items), (samples,), generator=draws)
    noise = torch.randn((samples, *model.shape), generator=draws)
    levels = model.parameterisation.draw_levels(samples, draws)
    size = min(samples, 32)
    with torch.inference_mode():
        losses = []
        for k in range(0, samples, size):
            batch = items[which[k : k + size]]
            losses.append(fresh.losses(batch.images, noise[k : k + size], levels[k : k + size], batch.conditioning))
    return positive(float(torch.cat(losses).double().mean()))


def null_loss_by_level(model: DiffusionModel, images: Tensor | Items) -> NullLoss | None:
    """L₀ of each level: what is left to one who knows of the training items only their mean square.

    For networks whose target is nearly their input at one end of the levels, as the noise is at the noisiest: there no
    image need be known, and an untrained network's loss may be out of reach of forgetting one. None for the others.
    """
    if model.parameterisation.null_loss(1.0) is None:
        return None
    items = as_items(images)
    model.check(items, "training images")
    return NullLoss(1.0, model.parameterisation.null_loss(positive(items.mean_square)))


def null_loss_of(model: DiffusionModel, items: Items, given: float | Literal["auto"], seed: int) -> NullLoss:
    """L₀ as it is given, or estimated: by level for the networks that need it, and as one number for the others."""
    if given != "auto":
        return NullLoss(float(given))
    return null_loss_by_level(model, items) or NullLoss(estimate_null_loss(model, items, seed=seed))


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
