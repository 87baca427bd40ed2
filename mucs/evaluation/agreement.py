"""Agreement: how much rankings have in common, over generated items, over seeds and over methods."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor

from mucs.evaluation.metrics import shared
from mucs.ranks import spearman


def overlap(scores: Tensor, count: int) -> Tensor:
    """Share of the `count` most influential items that each two generated items have in common: (G, N) to (G, G)."""
    found = torch.eye(len(scores))
    for a, b in itertools.combinations(range(len(scores)), 2):
        found[a, b] = found[b, a] = shared(scores[a], scores[b], count)
    return found


def between(first: Tensor, second: Tensor, count: int) -> tuple[float, float]:
    """Two rankings of the same items, (G, N) each: mean share of the `count` best in common, and mean rank correlation."""
    common = [shared(a, b, count) for a, b in zip(first, second, strict=True)]
    return sum(common) / len(common), float(spearman(first, second).mean())


def correlations(scores: Mapping[str, Tensor]) -> Tensor:
    """Mean rank correlation of each two methods' scores, (G, N) each: (methods, methods)."""
    return torch.tensor([[float(spearman(a, b).mean()) for b in scores.values()] for a in scores.values()])
