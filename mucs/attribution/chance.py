"""Chance: what a score is worth against items that cannot have caused anything."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def p_values(scores: Tensor, null: Tensor) -> Tensor:
    """(1 + how many null scores are at least as high) / (1 + how many there are): (K,), (H,) to (K,) in [1/(H+1), 1]."""
    ordered = null.sort().values
    at_least = len(ordered) - torch.searchsorted(ordered, scores.contiguous(), right=False)
    return (1 + at_least).double() / (1 + len(ordered))


def own_p_values(scores: Tensor, null: Tensor) -> Tensor:
    """As `p_values`, each item against null scores of its own: (K,), (K, D) to (K,) in [1/(D+1), 1]."""
    return (1 + (null >= scores[:, None]).sum(dim=1)).double() / (1 + null.shape[1])


def z_scores(scores: Tensor, null: Tensor) -> Tensor:
    """How many standard deviations each item stands above its own null scores: (K,), (K, D) to (K,); NaN if D < 2."""
    if null.shape[1] < 2:
        return torch.full(scores.shape, torch.nan, dtype=torch.float64)
    return ((scores - null.mean(dim=1)) / null.std(dim=1)).double()


def largest_z_scores(null: Tensor) -> Tensor:
    """Each decoy's largest z-score over all items, every item standing against its scores for the other decoys.

    What `z_scores` of an item that was generated are held against as a whole: the largest of them (max-T, Westfall and Young 1993).

    Args:
        null: (N, D), scores of each item for each decoy.

    Returns:
        (D,) float64; NaN if D < 3.
    """
    count = null.shape[1]
    if count < 3:
        return torch.full((count,), torch.nan, dtype=torch.float64)
    largest = torch.empty(count, dtype=torch.float64)
    for d in range(count):
        others = torch.cat([null[:, :d], null[:, d + 1 :]], dim=1)
        largest[d] = z_scores(null[:, d], others).max()
    return largest


def others_p_values(scores: Tensor) -> Tensor:
    """As `p_values`, each item against all others: (H,) to (H,) in [1/H, 1]."""
    at_least = len(scores) - torch.searchsorted(
        scores.sort().values, scores.contiguous(), right=False
    )  # itself among them
    return at_least.double() / len(scores)


def uniformity(null: Tensor, generator: torch.Generator) -> float:
    """Control: p-values of one random half of the null scores (H,) against the other, as their Kolmogorov–Smirnov distance from uniform."""
    order = torch.randperm(len(null), generator=generator)
    half = len(null) // 2
    p = np.sort(p_values(null[order[:half]], null[order[half:]]).numpy())
    steps = np.arange(1, half + 1) / half
    return float(max((steps - p).max(), (p - steps + 1 / half).max())) if half else float("nan")
