"""Errors: how far off an index was for pictures that were left out when it was fitted, by the rank that it gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mucs.ranks import spearman

WITHIN = 0.9  # of what was measured, how much lies between `low` and `high`
SHARES = (0.1, 0.2, 0.3)  # of the training items, among which the best are looked for
GROWS = 3  # times as wide is each band of ranks as the one before
FIRST = 2  # ranks of the first


@dataclass(frozen=True)
class Band:
    """The errors at some ranks.

    Attributes:
        last: The last rank that it is of, from 1; it begins behind the band before.
        low, high: What nine of ten measured scores lay above the predicted one: between these.
        among_best: The share that was among the measured best, in [0, 1].
    """

    last: int
    low: float
    high: float
    among_best: float


@dataclass(frozen=True)
class Measured:
    """How well pictures were told that were left out, each ranking against its measured one, averaged over pictures.

    Attributes:
        pictures: How many.
        spearman: Rank correlation over all training items.
        likeness: The same of plain likeness of vectors.
        means: The same of the items' means alone, which are the same for all pictures.
        best: How many of the highest measured scores are looked for.
        recall: The share of them that is found among the predicted best tenth, fifth and three tenths of all training items.
    """

    pictures: int
    spearman: float
    likeness: float
    means: float
    best: int
    recall: tuple[float, ...]


def best_of(count: int) -> int:
    """How many of so many training items are the best: 25, or a tenth where there are few."""
    return max(1, min(25, count // 10))


def ranked(predicted: Tensor) -> Tensor:
    """The items (N,) of each row, best first, ties by place."""
    return predicted.argsort(dim=-1, descending=True, stable=True)


def bands(predicted: Tensor, scores: Tensor) -> tuple[Band, ...]:
    """Errors by rank.

    Args:
        predicted: What the left-out pictures were predicted to score, (Q, N).
        scores: What was measured, (Q, N).

    Returns:
        Bands that cover all ranks, each but the first three times as wide as the one before.
    """
    order, count = ranked(predicted), scores.shape[1]
    errors = (scores - predicted).gather(1, order).double()
    is_best = scores >= scores.topk(best_of(count), dim=1).values[:, -1:]
    found = is_best.gather(1, order).double()
    made, start, width = [], 0, FIRST
    while start < count:
        stop = min(start + width, count)
        inside = errors[:, start:stop].flatten().sort().values
        # the k-th of n + 1 places, so that one more picture's error lies within with the probability that is said
        beyond = int((1 - WITHIN) / 2 * (len(inside) + 1))
        low, high = inside[max(beyond - 1, 0)], inside[-max(beyond, 1)]
        made.append(Band(stop, float(low), float(high), float(found[:, start:stop].mean())))
        start, width = stop, width * GROWS
    return tuple(made)


def measured(predicted: Tensor, scores: Tensor, alike: Tensor, means: Tensor) -> Measured:
    """How well left-out pictures were told; all are (Q, N), of the same pictures and training items.

    Args:
        predicted: What they were predicted to score.
        scores: What was measured.
        alike: How alike vectors are.
        means: What others scored on average.
    """
    count = scores.shape[1]
    best = best_of(count)
    top = scores.topk(best, dim=1).indices
    places = ranked(predicted).argsort(dim=1).gather(1, top)
    agreed = [float(spearman(each, scores).mean()) for each in (predicted, alike, means)]
    recall = tuple(float((places < share * count).double().mean()) for share in SHARES)
    return Measured(len(scores), agreed[0], agreed[1], agreed[2], best, recall)


def band_of(rank: int, known: Sequence[Band]) -> Band:
    """The band that a rank lies in."""
    return next(band for band in known if rank <= band.last)
