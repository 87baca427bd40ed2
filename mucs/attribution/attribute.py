"""Attribution of generated items to training items: unlearn, score, rank."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution.bank import NoiseBank
from mucs.attribution.losses import LossTable
from mucs.attribution.model import DiffusionModel
from mucs.attribution.skew import look_alike_p_values, noise_consistent_skew, skew_standard_error
from mucs.attribution.unlearning import Unlearning, estimate_null_loss, mirrored_unlearning


@dataclass(frozen=True)
class Screening:
    """Successive halving: after each stage's number of bank entries, keep the best share of the training items.

    stages: (entries, keep) pairs; entries rise, keep is the share of all items in (0, 1] that stays, and falls.
    """

    stages: Sequence[tuple[int, float]]

    def __post_init__(self) -> None:
        entries, keeps = [e for e, _ in self.stages], [k for _, k in self.stages]
        rising = all(a < b for a, b in itertools.pairwise(entries))
        falling = all(a >= b for a, b in itertools.pairwise(keeps))
        if not (rising and falling and all(e >= 1 for e in entries) and all(0 < k <= 1 for k in keeps)):
            raise InputError(
                "Screening stages must have rising numbers of entries and falling shares in (0, 1]; mend them."
            )


@dataclass(frozen=True)
class Attribution:
    """One generated item's answer. K items survive screening (all N if exact), best first.

    items: (K,) indices into the training images. scores: (K,) float32 in (−1, 1). standard_errors: (K,) over the bank.
    p_values: (K,) look-alike p-values, NaN without held-out items. held_out_scores: (H,).
    survivors: how many items were left after each screening stage.
    forget_loss: mean bounded forget loss of the last batch; retain_loss: its mean retain loss.
    """

    items: Tensor
    scores: Tensor
    standard_errors: Tensor
    p_values: Tensor
    held_out_scores: Tensor
    survivors: tuple[int, ...]
    steps: int
    converged: bool
    null_loss: float
    forget_loss: float
    retain_loss: float


def best(scores: Tensor, count: int) -> Tensor:
    """Positions of the `count` highest scores, best first, ties by position."""
    return scores.argsort(descending=True, stable=True)[:count]


def attribute(
    model: DiffusionModel,
    images: Tensor,
    generated_images: Tensor,
    bank: NoiseBank,
    settings: Unlearning = Unlearning(),
    *,
    screening: Screening | None = None,
    labels: Tensor | None = None,
    generated_labels: Tensor | None = None,
    held_out: Tensor | None = None,
    held_out_labels: Tensor | None = None,
    batch_size: int = 64,
    seed: int = 0,
    original: LossTable | None = None,
    original_held_out: LossTable | None = None,
) -> list[Attribution]:
    """Score every training image (N, C, H, W) for each generated image (G, C, H, W), all in [-1, 1].

    Without `screening` every item is scored on the full bank. Held-out items always are. `original` and
    `original_held_out` are loss tables of `model` to read and fill, so that several calls share them.
    Raises InputError if images, labels, bank or tables do not fit the model.
    """
    model.check(generated_images, generated_labels, "generated images")
    if original is None:
        original = LossTable(model, images, bank, labels=labels, batch_size=batch_size)
    if original_held_out is None and held_out is not None:
        original_held_out = LossTable(model, held_out, bank, labels=held_out_labels, batch_size=batch_size)
    if settings.null_loss == "auto":
        settings = replace(settings, null_loss=estimate_null_loss(model, images, labels=labels, seed=seed))
    results = []
    for k, image in enumerate(generated_images):
        label = None if generated_labels is None else int(generated_labels[k])
        results.append(_attribute_one(image, label, original, original_held_out, settings, screening, seed))
    return results


def _attribute_one(
    image: Tensor,
    label: int | None,
    original: LossTable,
    held_out: LossTable | None,
    settings: Unlearning,
    screening: Screening | None,
    seed: int,
) -> Attribution:
    unlearned = mirrored_unlearning(
        original.model, image, original.images, settings, label=label, labels=original.labels, seed=seed
    )
    after = LossTable(
        unlearned.model, original.images, original.bank, labels=original.labels, batch_size=original.batch_size
    )
    items = torch.arange(len(original.images))
    survivors = []
    for entries, keep in screening.stages if screening else ():
        if entries >= len(original.bank):
            break
        scores = noise_consistent_skew(original.rows(items, entries), after.rows(items, entries))
        # in the order of the training set again, so that ties go the same way at every stage
        items = items[best(scores, max(1, math.ceil(keep * len(original.images))))].sort().values
        survivors.append(len(items))
    full = len(original.bank)
    losses, unlearned_losses = original.rows(items, full), after.rows(items, full)
    scores = noise_consistent_skew(losses, unlearned_losses)
    errors = skew_standard_error(losses, unlearned_losses)
    if held_out is None:
        held_out_scores, p_values = torch.empty(0), torch.full(scores.shape, torch.nan, dtype=torch.float64)
    else:
        everyone = torch.arange(len(held_out.images))
        after_held_out = LossTable(
            unlearned.model, held_out.images, held_out.bank, labels=held_out.labels, batch_size=held_out.batch_size
        )
        held_out_scores = noise_consistent_skew(held_out.rows(everyone, full), after_held_out.rows(everyone, full))
        p_values = look_alike_p_values(scores, held_out_scores)
    order = best(scores, len(scores))
    null_loss = float(settings.null_loss)
    return Attribution(
        items=items[order],
        scores=scores[order],
        standard_errors=errors[order],
        p_values=p_values[order],
        held_out_scores=held_out_scores,
        survivors=tuple(survivors),
        steps=unlearned.steps,
        converged=unlearned.converged,
        null_loss=null_loss,
        forget_loss=float(unlearned.forget_loss[-1].clamp(max=null_loss).mean()),
        retain_loss=float(unlearned.retain_loss[-1].mean()),
    )
