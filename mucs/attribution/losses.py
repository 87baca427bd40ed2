"""Denoising losses of items under a noise bank."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution.bank import NoiseBank
from mucs.attribution.model import DiffusionModel


def pair_losses(
    model: DiffusionModel,
    images: Tensor,
    labels: Tensor | None,
    bank: NoiseBank,
    items: Tensor,
    entries: Tensor,
    batch_size: int,
) -> Tensor:
    """Loss of each (item, bank entry) pair: index tensors (P,), (P,) to (P,) float32 on the CPU.

    Every micro-batch is full, the last one padded, so that no value depends on how many pairs were asked for.
    """
    found = []
    with torch.inference_mode():
        for start in range(0, len(items), batch_size):
            i, j = items[start : start + batch_size], entries[start : start + batch_size]
            padding = batch_size - len(i)
            if padding:
                i, j = torch.cat([i, i[-1:].expand(padding)]), torch.cat([j, j[-1:].expand(padding)])
            losses = model.losses(images[i], bank.noise[j], bank.levels[j], None if labels is None else labels[i])
            found.append(losses[: batch_size - padding].float().cpu())
    return torch.cat(found) if found else torch.empty(0)


def denoising_losses(
    model: DiffusionModel, images: Tensor, bank: NoiseBank, *, labels: Tensor | None = None, batch_size: int = 64
) -> Tensor:
    """L_ij = ℓ(x_i; ε_j, σ_j): images (N, C, H, W) in [-1, 1] and M bank entries to (N, M) float32 on the CPU.

    Raises InputError if the images, the labels or the bank do not fit the model.
    """
    return LossTable(model, images, bank, labels=labels, batch_size=batch_size).rows(
        torch.arange(len(images)), len(bank)
    )


class LossTable:
    """Denoising losses (N, M), computed where they are first asked for and then kept; NaN where not yet.

    Several threads may ask at once.
    """

    def __init__(
        self,
        model: DiffusionModel,
        images: Tensor,
        bank: NoiseBank,
        *,
        labels: Tensor | None = None,
        batch_size: int = 64,
    ) -> None:
        model.check(images, labels, "images")
        if tuple(bank.noise.shape[1:]) != model.shape:
            raise InputError(
                f"The noise bank is of shape {tuple(bank.noise.shape[1:])}, the model takes {model.shape}; draw the bank for this model."
            )
        if batch_size < 1:
            raise InputError(f"The batch size is {batch_size}; give at least 1.")
        self.model, self.images, self.bank, self.labels, self.batch_size = model, images, bank, labels, batch_size
        self.values = torch.full((len(images), len(bank)), torch.nan)
        self.lock = threading.Lock()

    def rows(self, items: Tensor, count: int) -> Tensor:
        """Losses of the items (K,) under the first `count` entries: (K, count)."""
        with self.lock:
            unknown = self.values[items, :count].isnan()
            rows, entries = unknown.T.nonzero(as_tuple=True)[::-1]  # entry by entry
            which = items[rows]
            self.values[which, entries] = pair_losses(
                self.model, self.images, self.labels, self.bank, which, entries, self.batch_size
            )
            return self.values[items, :count]
