"""Noise-consistent skew (paper, section 3.2), its ablation, and its error over the bank."""

from __future__ import annotations

import math

from torch import Tensor

from mucs import InputError


def skews(losses: Tensor, unlearned_losses: Tensor, eps: float = 1e-3) -> Tensor:
    """(Lᵘ − Lᵗ) / (Lᵘ + Lᵗ + eps) for each item and bank entry: (N, M), (N, M) to (N, M)."""
    if not 0 < eps < math.inf:
        raise InputError(f"The skew's eps is {eps}; give a number above 0.")
    return differences(losses, unlearned_losses) / (unlearned_losses + losses + eps)


def differences(losses: Tensor, unlearned_losses: Tensor) -> Tensor:
    """Lᵘ − Lᵗ for each item and bank entry, without the normalisation: (N, M), (N, M) to (N, M)."""
    if losses.shape != unlearned_losses.shape or losses.ndim != 2:
        raise InputError(
            f"Losses of shape {tuple(losses.shape)} and {tuple(unlearned_losses.shape)} cannot be compared; give two of the same (N, M)."
        )
    if not (losses.isfinite().all() and unlearned_losses.isfinite().all()):
        raise InputError("There are losses that are not finite; measure them anew.")
    return unlearned_losses - losses


def noise_consistent_skew(losses: Tensor, unlearned_losses: Tensor, eps: float = 1e-3) -> Tensor:
    """Mean skew over the bank: (N, M) of the original model, (N, M) of the unlearned one, to (N,) in (−1, 1).

    Higher is more influential.
    """
    return skews(losses, unlearned_losses, eps).mean(dim=1)


def standard_error(values: Tensor, levels: Tensor) -> Tensor:
    """Standard error, over the bank's noises, of each item's mean.

    The levels are a grid, over which what is measured rises or falls, and not drawn: that trend is no error of the mean. So the
    variance of an entry is half the mean square of the steps from each level to the next (successive differences, von Neumann 1941).

    Args:
        values: (N, M), what each entry says of each item.
        levels: (M,) of the entries, in any order.

    Returns:
        (N,); NaN with a single entry.
    """
    steps = values[:, levels.argsort(stable=True)].diff(dim=1)
    entries = values.shape[1]
    return (
        (steps.square().sum(dim=1) / (2 * (entries - 1) * entries)).sqrt() if entries > 1 else values[:, 0] * math.nan
    )
