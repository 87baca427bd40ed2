"""Numbers that say how well scores agree with what happened, with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mucs.attribution.seeds import stream

RESAMPLES = 2000


class Estimate(NamedTuple):
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


def ndcg(scores: Tensor, gains: Tensor, count: int) -> Tensor:
    """Normalised discounted cumulative gain of the `count` highest scores (Järvelin and Kekäläinen 2002): (…, n), (…, n) to (…,) float64.

    Equal scores share their mean gain, so that their order does not matter. 0 where there is nothing to gain.

    Args:
        scores: Higher is put first.
        gains: At least 0.
        count: Places that count, the k-th by 1/log₂(k + 1).
    """
    weights = 1 / torch.arange(2, min(count, scores.shape[-1]) + 2, dtype=torch.float64).log2()
    equal = (scores[..., :, None] == scores[..., None, :]).double()
    expected = (equal * gains[..., None, :]).sum(dim=-1) / equal.sum(dim=-1)
    order = scores.argsort(dim=-1, descending=True)[..., : len(weights)]
    found: Tensor = (expected.gather(-1, order) * weights).sum(dim=-1)
    best = (gains.double().sort(dim=-1, descending=True).values[..., : len(weights)] * weights).sum(dim=-1)
    return found / best.clamp(min=1e-300)


def first(scores: Tensor, truth: Tensor) -> Tensor:
    """Whether the highest score is where the truth is highest; of equal scores, the share: (…, n), (…, n) to (…,) float64 in [0, 1]."""
    highest = scores == scores.amax(dim=-1, keepdim=True)
    right = highest & (truth == truth.amax(dim=-1, keepdim=True))
    return right.sum(dim=-1).double() / highest.sum(dim=-1)


def bootstrap(
    units: Sequence[int], statistic: Callable[..., float], purpose: str, resamples: int = RESAMPLES
) -> Estimate:
    """The statistic of all units, and its 95 % interval when units are drawn again with replacement (percentile bootstrap).

    Args:
        units: How many there are of each kind.
        statistic: Of the indices that are drawn, (n,) of each kind.
        purpose: Names the random stream.
        resamples: How many times indices are drawn anew.
    """
    random = stream(0, f"bootstrap {purpose}")
    again = torch.tensor(
        [statistic(*(torch.randint(n, (n,), generator=random) for n in units)) for _ in range(resamples)],
        dtype=torch.float64,
    )
    low, high = again.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Estimate(statistic(*map(torch.arange, units)), low, high)


def exceeds(moved: Tensor, by_chance: Tensor) -> Tensor:
    """How often each value exceeds the ones that it is compared with, ties counting half: (…), (…, R) to (…) in [0, 1]."""
    moved = moved[..., None]
    return ((moved > by_chance).double() + 0.5 * (moved == by_chance).double()).mean(dim=-1)


def shared(a: Tensor, b: Tensor, count: int) -> float:
    """Share of the `count` highest that two rankings (N,), (N,) have in common."""
    best = [set(x.argsort(descending=True, stable=True)[:count].tolist()) for x in (a, b)]
    return len(best[0] & best[1]) / count
