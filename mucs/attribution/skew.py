"""Noise-consistent skew (paper, section 3.2), its error, and its standing against look-alikes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mucs import InputError


def skews(losses: Tensor, unlearned_losses: Tensor, eps: float) -> Tensor:
    """(Lᵘ − Lᵗ) / (Lᵘ + Lᵗ + eps) for each item and bank entry."""
    if losses.shape != unlearned_losses.shape or losses.ndim != 2:
        raise InputError(
            f"Losses of shape {tuple(losses.shape)} and {tuple(unlearned_losses.shape)} cannot be compared; give two of the same (N, M)."
        )
    return (unlearned_losses - losses) / (unlearned_losses + losses + eps)


def noise_consistent_skew(losses: Tensor, unlearned_losses: Tensor, eps: float = 1e-3) -> Tensor:
    """Mean skew over the bank: (N, M) of the original model, (N, M) of the unlearned one, to (N,) in (−1, 1).

    Higher is more influential.
    """
    return skews(losses, unlearned_losses, eps).mean(dim=1)


def skew_standard_error(losses: Tensor, unlearned_losses: Tensor, eps: float = 1e-3) -> Tensor:
    """Standard error over the bank of each item's skew: (N, M), (N, M) to (N,); NaN with a single entry."""
    values = skews(losses, unlearned_losses, eps)
    return values.std(dim=1) / math.sqrt(values.shape[1])


def look_alike_p_values(scores: Tensor, held_out_scores: Tensor) -> Tensor:
    """(1 + how many held-out items score at least as high) / (1 + how many there are): (K,), (H,) to (K,) in [1/(H+1), 1]."""
    ordered = held_out_scores.sort().values
    at_least = len(ordered) - torch.searchsorted(ordered, scores.contiguous(), right=False)
    return (1 + at_least).double() / (1 + len(ordered))
