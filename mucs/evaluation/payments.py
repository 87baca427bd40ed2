"""False payments: what share of a contract's money would go to images that the model was never trained on, which cannot have caused anything."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mucs.attribution.chance import own_p_values
from mucs.evaluation.metrics import Estimate, bootstrap

TOP = 10  # works of a generated item that are paid, as the sample contract has it
BOUND = 0.05  # the largest p-value against decoys, where there is a bound
ALIKE = 20  # candidates whose likeness to the generated item is nearest to that of one that is paid


@dataclass(frozen=True)
class FalsePayments:
    """Of one score and one bound, with intervals from a bootstrap over generated items; shares are from 0 to 1.

    Attributes:
        unseen: Share of the money that goes to held-out items.
        alike: Share of held-out items among the candidates that look as much like the generated item as those that are paid: what
            `unseen` would be if, of candidates that look alike, any were paid.
        ratio: The one over the other.
        unpaid: Share of the money that nothing counts for, which goes to the contract's fallback and is in none of these.
    """

    unseen: Estimate
    alike: Estimate
    ratio: Estimate
    unpaid: float


def payments(scores: Tensor, counts: Tensor | None = None, top: int = TOP) -> Tensor:
    """What each candidate gets of each generated item's money, as `output` pots are divided: the best, in proportion to positive scores.

    Args:
        scores: (G, K).
        counts: (G, K) bool, whether an edge keeps to the contract's bound; all do without it.
        top: How many of a generated item's best candidates are looked at, before the bound is.

    Returns:
        (G, K) float64, rows that sum to 1, or to 0 where nothing counts.
    """
    places = scores.argsort(dim=1, descending=True, stable=True)[:, :top]
    best = torch.zeros_like(scores, dtype=torch.bool).scatter(1, places, True)
    counted = best & (scores > 0) & (True if counts is None else counts)
    money = torch.where(counted, scores, 0).double()
    return money / money.sum(dim=1, keepdim=True).clamp(min=1e-300)


def unseen_alike(money: Tensor, likeness: Tensor, training: int, count: int = ALIKE) -> Tensor:
    """What held-out items would get if each candidate's money were divided among those that look as much like the generated item.

    Args:
        money: (G, K), of training and then held-out items, as `payments` gives it.
        likeness: (G, K), of the candidates to the generated items.
        training: How many of the candidates were trained on.
        count: How many are nearest in likeness to the one that is paid, which is among them.

    Returns:
        (G,) float64.
    """
    unseen = (torch.arange(money.shape[1]) >= training).double()
    found = []
    for paid, like in zip(money, likeness, strict=True):
        (which,) = paid.nonzero(as_tuple=True)
        nearest = (like[which, None] - like).abs().argsort(dim=1, stable=True)[:, :count]
        found.append((paid[which] * unseen[nearest].mean(dim=1)).sum())
    return torch.stack(found)


def false_payments(
    scores: Tensor, training: int, likeness: Tensor, counts: Tensor | None = None, name: str = ""
) -> FalsePayments:
    """What a score pays to items that were never trained on.

    Args:
        scores: (G, K), of training and then held-out items.
        training: How many of the candidates were trained on.
        likeness: (G, K), of the candidates to the generated items.
        counts: As `payments` takes it.
        name: Of the score and bound, which random draws go by.
    """
    money = payments(scores, counts)
    to_unseen, paid = money[:, training:].sum(dim=1), money.sum(dim=1)
    of_alike = unseen_alike(money, likeness, training)

    def share(part: Tensor, whole: Tensor, what: str) -> Estimate:
        def of(which: Tensor) -> float:
            return float(part[which].sum() / whole[which].sum().clamp(min=1e-300))

        return bootstrap([len(money)], of, f"{what} {name}")

    return FalsePayments(
        share(to_unseen, paid, "unseen"),
        share(of_alike, paid, "alike"),
        share(to_unseen, of_alike, "ratio"),
        1 - float(paid.mean()),
    )


def centred(scores: Tensor, null: Tensor) -> Tensor:
    """Standing, centred both ways: what is left of a score beyond its item's and its image's own, in standard deviations.

    0 says: no more than any image has from this item, and no more than any item has from this image. An item's deviation over few decoys is
    noisy, so its variance is drawn half way to the mean of all (shrinkage).

    Args:
        scores: (G, K).
        null: (D, K), of the same items for decoys; D ≥ 2.
    """
    of_images = null - null.mean(dim=1, keepdim=True)  # without what a decoy gives to all
    variance = of_images.var(dim=0)
    beyond = scores - scores.mean(dim=1, keepdim=True) - of_images.mean(dim=0)
    return beyond / ((variance + variance.mean()) / 2).sqrt()


def within(scores: Tensor, null: Tensor, bound: float = BOUND) -> Tensor:
    """Whether each score's p-value against decoys is at most the bound: (G, K), (D, K) to (G, K)."""
    return torch.stack([own_p_values(of, null.T.contiguous()) <= bound for of in scores])
