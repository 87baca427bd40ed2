"""Ranks: the places of values in their order, and how well two orders agree."""

from __future__ import annotations

import torch
from torch import Tensor


def ranks(values: Tensor) -> Tensor:
    """Rank of each value along the last dimension, from 1, equal values sharing their mean rank: float64 of the same shape."""
    ordered = values.sort(dim=-1).values.contiguous()
    below = torch.searchsorted(ordered, values.contiguous())
    up_to = torch.searchsorted(ordered, values.contiguous(), right=True)
    return (below + up_to + 1).double() / 2


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's rank correlation along the last dimension, 0 where a side is constant: (…, n), (…, n) to (…,) float64."""
    a, b = (r - r.mean(dim=-1, keepdim=True) for r in (ranks(a), ranks(b)))
    found: Tensor = (a * b).sum(dim=-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp(min=1e-12)
    return found
