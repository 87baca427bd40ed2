"""The null loss L₀: what a model that knows nothing loses, which bounds the ascent of unlearning and ends it (paper, section 3.1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from mucs import InputError
from mucs.attribution.items import Items, as_items
from mucs.attribution.model import DiffusionModel
from mucs.attribution.seeds import stream

LEVELS = 1 << 16  # drawn as in training, over which one number is a mean


@dataclass(frozen=True)
class NullLoss:
    """L₀ at every level.

    Attributes:
        value: The one number for all levels, or 1 where it goes by level: losses are then told as shares of L₀.
        by_level: Levels (B,) to L₀ at each, (B,) float64; None where there is one number.
    """

    value: float
    by_level: Callable[[Tensor], Tensor] | None = None

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


def null_loss_by_level(model: DiffusionModel, images: Tensor | Items) -> NullLoss:
    """L₀ of each level: what is left to one who knows of the training items only their mean square.

    Args:
        model: Whose family and schedule.
        images: The training items, (N, C, H, W) in [-1, 1], or Items.

    Raises:
        InputError: If they do not fit the model, or are all zero.
    """
    power = mean_square(model, images)
    return NullLoss(1.0, lambda levels: model.parameterisation.mixture(levels.cpu()).ignorant_loss(power))


def zero_output_null_loss(model: DiffusionModel, images: Tensor | Items) -> NullLoss:
    """L₀ as the paper's authors have it: one number, the mean training loss of a network whose output layer is still zero.

    Over items and noise the mean is a closed form; over levels it is one of 65,536 that are drawn as in training.

    Args:
        model: Whose family and schedule.
        images: The training items, (N, C, H, W) in [-1, 1], or Items.

    Raises:
        InputError: If they do not fit the model, or are all zero.
    """
    power, parameterisation = mean_square(model, images), model.parameterisation
    levels = parameterisation.draw_levels(LEVELS, stream(0, "null loss"))
    return NullLoss(float(parameterisation.mixture(levels).zero_output_loss(power).mean()))


def null_loss_of(model: DiffusionModel, items: Items, given: float | Literal["auto", "zero output"]) -> NullLoss:
    """L₀ as a setting has it: by level for "auto", the authors' number by its name, or the number that is given."""
    if given == "auto":
        return null_loss_by_level(model, items)
    return zero_output_null_loss(model, items) if given == "zero output" else NullLoss(float(given))


def mean_square(model: DiffusionModel, images: Tensor | Items) -> float:
    """Of the training items; InputError where it is 0: then anything would count as forgotten at once."""
    items = as_items(images)
    model.check(items, "training images")
    power = items.mean_square
    if not 0 < power < math.inf:
        raise InputError(
            f"No null loss can be told from training images whose mean square is {power:.4g}; mend them, or give null_loss as a number."
        )
    return power
