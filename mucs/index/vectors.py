"""Vectors: what a checkpoint's own network sees in an item."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, normalize

from mucs import InputError
from mucs.attribution import DiffusionModel, Items
from mucs.attribution.seeds import stream

LEVELS = (1, 4, 7)  # of ten of the sampler's schedule, from the noisiest down
PLACES = 2  # a side, to which activations are averaged
BATCH = 64


def middle(model: DiffusionModel) -> nn.Module:
    """The middle of a model's network: a UNet's middle block, or a transformer's middle one.

    Raises:
        InputError: If it has neither.
    """
    block = getattr(model.network, "mid_block", None)
    if block is not None:
        return block  # type: ignore[no-any-return]
    blocks = getattr(model.network, "transformer_blocks", None)
    if not blocks:
        raise InputError("The network has neither a middle block nor transformer blocks, so that it gives no vectors.")
    return blocks[(len(blocks) - 1) // 2]  # type: ignore[no-any-return]


@contextmanager
def activations(model: DiffusionModel) -> Iterator[list[Tensor]]:
    """What the middle of the network puts out in this thread during the block, pass by pass: (B, C, H, W) each, or (B, T, C)."""
    seen: list[Tensor] = []
    here = threading.get_ident()  # other threads may work with the same network

    def keep(_: nn.Module, __: object, output: Tensor | tuple[Tensor, ...]) -> None:
        if threading.get_ident() == here:
            seen.append(output[-1] if isinstance(output, tuple) else output)

    hook = middle(model).register_forward_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()


def vectors(model: DiffusionModel, items: Items, batch_size: int = BATCH) -> Tensor:
    """Activations of the middle of the network: averaged to 2 × 2 places, of unit length at each noise level, and averaged over these.

    Noise levels are the second, fifth and eighth of ten of the sampler's schedule, with a noise that is the same for all items.

    Args:
        model: The checkpoint's.
        items: N of them.
        batch_size: Items at once.

    Returns:
        (N, F) float32 on the CPU, F being four times the channels of the middle of the network.

    Raises:
        InputError: If the network has no middle that is known, or gives numbers that are not finite.
    """
    levels = model.parameterisation.schedule(10, model.shape)[list(LEVELS)]
    noise = torch.randn((len(LEVELS), *model.shape), generator=stream(0, "vectors"))
    found = []
    with torch.inference_mode(), activations(model) as seen:
        for start in range(0, len(items), batch_size):
            batch = items[start : start + batch_size]
            for one, level in zip(noise, levels, strict=True):
                model.losses(batch.images, one.expand(batch.images.shape), level.expand(len(batch)), batch.conditioning)
            found.append(torch.stack([normalize(pooled(output), dim=1) for output in seen]).mean(dim=0).cpu())
            seen.clear()
    made = torch.cat(found)
    if not made.isfinite().all():
        raise InputError("The network's vectors of some items are not finite; see whether its weights are.")
    return made


def pooled(output: Tensor) -> Tensor:
    """Activations (B, C, H, W), or of tokens (B, T, C), averaged to few places: (B, F) float32. Tokens that form no square are averaged to one place."""
    output = output.float()
    if output.ndim == 3:
        side = math.isqrt(output.shape[1])
        square = side if side**2 == output.shape[1] else 0
        if not square:
            return output.mean(dim=1)
        output = output.transpose(1, 2).reshape(len(output), -1, square, square)
    return adaptive_avg_pool2d(output, min(PLACES, *output.shape[2:])).flatten(1)


@dataclass(frozen=True, eq=False)
class Projection:
    """Takes vectors to the few directions in which those of the training items differ most.

    Attributes:
        center: (F,) mean of the training items' vectors.
        basis: (F, r), orthonormal.
    """

    center: Tensor
    basis: Tensor

    @classmethod
    def of(cls, sample: Tensor, dimensions: int) -> Projection:
        """The projection of principal components.

        Args:
            sample: (n, F) vectors, n ≥ 2.
            dimensions: r at the most; fewer where there are fewer vectors, or directions in which they differ.
        """
        center = sample.double().mean(dim=0)
        _, strengths, directions = torch.linalg.svd(sample.double() - center, full_matrices=False)
        differ = int((strengths > 1e-6 * strengths[0].clamp(min=1e-30)).sum())
        count = max(1, min(dimensions, differ))
        return cls(center.float(), directions[:count].T.contiguous().float())

    def __call__(self, found: Tensor) -> Tensor:
        """Vectors (n, F), projected and of unit length: (n, r) float32; one that is the mean stays zero."""
        return normalize((found - self.center) @ self.basis, dim=1)
