"""The objective of mirrored unlearning, and its gradient in micro-batches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mucs.attribution.batches import Batch
from mucs.attribution.hyperparameters import PRECISIONS, Unlearning
from mucs.attribution.items import Items
from mucs.attribution.model import DiffusionModel
from mucs.attribution.null_loss import NullLoss, null_loss_of
from mucs.attribution.weighting import ByNullLoss


@dataclass(frozen=True)
class Objective:
    """mean ℓ(x_r) − λ·mean min(ℓ(x_g), L₀) (paper, section 3.1).

    Attributes:
        null_loss: L₀.
        settings: λ, and how it is computed.
        sign: 1 to forget the generated item; −1, which turns λ around, to learn it.
        bounds_retained: min(ℓ(x_r), L₀) in the place of ℓ(x_r), for losses that are weighed by the null loss: at levels where
            the network knows less than nothing, which at the ends of the schedule are many times L₀, nothing is to be retained.
    """

    null_loss: NullLoss
    settings: Unlearning
    sign: float = 1.0
    bounds_retained: bool = False

    @classmethod
    def of(cls, model: DiffusionModel, items: Items, settings: Unlearning) -> Objective:
        """That of a model and its training items, L₀ as the settings say."""
        null_loss = null_loss_of(model, items, settings.null_loss)
        return cls(null_loss, settings, bounds_retained=isinstance(model.parameterisation, ByNullLoss))

    def losses(self, model: DiffusionModel, batch: Batch) -> Tensor:
        """Each sample's loss, (B + F,); where gradients are on, those of the objective are added to the weights'."""
        found = []
        precision = PRECISIONS[self.settings.precision]
        with attention_for_gradients(model.device, self.settings):
            for part in batch.parts(self.settings.micro_batch_size):
                given = {name: rows[part] for name, rows in batch.conditioning.items()}
                losses = model.losses(batch.images[part], batch.noise[part], batch.levels[part], given, precision)
                if torch.is_grad_enabled():
                    self._share(losses, batch, part).backward()  # type: ignore[no-untyped-call]
                found.append(losses.detach())
        return torch.cat(found)

    def _share(self, losses: Tensor, batch: Batch, part: slice) -> Tensor:
        """What a part of the batch adds to the objective."""
        first = max(0, batch.retained - part.start)  # of the part, they are training items
        weights, bounded = batch.weights[part].to(losses.device), self.null_loss.bound(losses, batch.levels[part])
        retained = bounded[:first] if self.bounds_retained else losses[:first]
        retain = (retained * weights).sum() / batch.retained
        forget = bounded[first:].sum() / (len(batch) - batch.retained)
        return retain - self.sign * self.settings.forget_weight * forget

    def bounded_forget_loss(self, losses: Tensor, batch: Batch) -> float:
        """Mean min(ℓ(x_g), L₀), of the samples' losses (B + F,)."""
        return self.null_loss.bounded_mean(losses[batch.retained :], batch.levels[batch.retained :])


@contextlib.contextmanager
def attention_for_gradients(device: torch.device, settings: Unlearning) -> Iterator[None]:
    """On a GPU, without the attention whose gradients add up in any order, unless it is asked for.

    That is a switch of the whole process: no other thread may take gradients there meanwhile.
    """
    attention = torch.backends.cuda
    before = attention.mem_efficient_sdp_enabled()  # type: ignore[no-untyped-call]
    if device.type != "cuda" or settings.efficient_attention or not torch.is_grad_enabled():
        yield
        return
    attention.enable_mem_efficient_sdp(False)
    try:
        yield
    finally:
        attention.enable_mem_efficient_sdp(before)
