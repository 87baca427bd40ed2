"""Gradients of what a model makes of one item, by its weights, and their random projection."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mucs.attribution import DiffusionModel, Items
from mucs.attribution.seeds import stream

# One number for each sample, as `DiffusionModel.losses`: model, items (B, C, H, W), noise, levels (B,), conditioning to (B,)
Output = Callable[[DiffusionModel, Tensor, Tensor, Tensor, Mapping[str, Tensor]], Tensor]


def squared_norms(
    model: DiffusionModel, x: Tensor, noise: Tensor, levels: Tensor, conditioning: Mapping[str, Tensor]
) -> Tensor:
    """Mean over its elements of the network's squared raw prediction, noised as in training: (B, C, H, W), the same, (B,) to (B,)."""
    seen = []

    def predict(*given: Any) -> Tensor:
        seen.append(model.kind.predict(*given))
        return seen[-1]

    recording = copy.copy(model)
    recording.kind = replace(model.kind, predict=predict)
    recording.losses(x, noise, levels, conditioning)
    return seen[0].square().mean(dim=(1, 2, 3))


def differentiable(model: DiffusionModel, names: Sequence[str] | None = None) -> tuple[DiffusionModel, list[Tensor]]:
    """A copy of the model, and those of its parameters (by default all) that gradients are taken by."""
    model = model.copy()
    parameters = dict(model.network.named_parameters())
    return model, [parameters[name].requires_grad_() for name in (parameters if names is None else names)]


def gradient(
    model: DiffusionModel,
    parameters: Sequence[Tensor],
    item: Items,
    noise: Tensor,
    levels: Tensor,
    output: Output = DiffusionModel.losses,
    batch_size: int = 100,
) -> Tensor:
    """Gradient of one item's mean output over M draws: noise (M, C, H, W), levels (M,) to (P,) float32 on the model's device."""
    total = torch.zeros(sum(p.numel() for p in parameters), device=model.device)
    for noises, some in zip(torch.split(noise, batch_size), torch.split(levels, batch_size), strict=True):
        copies = item[torch.zeros(len(some), dtype=torch.long)]
        mean = output(model, copies.images, noises, some, copies.conditioning).sum() / len(levels)
        parts = torch.autograd.grad(mean, parameters, materialize_grads=True)
        total += torch.cat([part.reshape(-1) for part in parts])
    return total


@dataclass(frozen=True, eq=False)
class Projection:
    """A linear map of (P,) to (size,) that keeps inner products in expectation: a count sketch (Charikar et al. 2002).

    Coordinates are shuffled, given random signs and summed in groups, one group for each dimension of the result. The
    error has the variance of a Gaussian projection's or less, but neither time nor memory is P · size.

    Attributes:
        order: (P and padding,) int64.
        signs: The same shape, −1 or 1.
    """

    order: Tensor
    signs: Tensor
    size: int

    @classmethod
    def draw(cls, length: int, size: int, seed: int, device: torch.device) -> Projection:
        """A projection of `length` coordinates that the seed chooses; with as many dimensions or more, it is exact."""
        random = stream(seed, "projection")
        padded = -(-length // size) * size
        order = torch.randperm(padded, generator=random)
        signs = 2.0 * torch.randint(2, (padded,), generator=random) - 1
        return cls(order.to(device), signs.to(device), size)

    def __call__(self, vector: Tensor) -> Tensor:
        """(P,) to (size,)."""
        padded = torch.nn.functional.pad(vector, (0, len(self.order) - len(vector)))
        return (padded[self.order] * self.signs).view(-1, self.size).sum(dim=0)


def projected_gradients(
    model: DiffusionModel, items: Items, *, output: Output, timesteps: int, size: int, seed: int
) -> Tensor:
    """φ: projected gradient of each item's output, averaged over evenly spaced levels: N items to (N, size) float32 on the CPU.

    All items are noised alike, one noise for each level, and each item is differentiated by itself, so that its row
    depends on nothing but the model, itself and the settings.
    """
    model, parameters = differentiable(model)
    project = Projection.draw(sum(p.numel() for p in parameters), size, seed, model.device)
    levels = model.parameterisation.schedule(timesteps, model.shape)
    noise = torch.randn((timesteps, *model.shape), generator=stream(seed, "gradients"))
    found = torch.empty(len(items), size)
    for i in range(len(items)):
        found[i] = project(gradient(model, parameters, items[i : i + 1], noise, levels, output)).cpu()
    return found
