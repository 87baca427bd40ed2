"""How alike two items look."""

from __future__ import annotations

import torch
from torch import Tensor

from mucs.attribution.items import BLOCK, Items


def likeness(items: Items, image: Tensor) -> Tensor:
    """Cosine similarity of each item with an image (C, H, W), both less their own mean: (N,) in [-1, 1], 0 for a flat one."""

    def direction(images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return torch.nn.functional.normalize(flat - flat.mean(dim=1, keepdim=True), dim=1)

    towards = direction(image[None].float())[0]
    # Filled in place: small results that are gathered between large blocks keep the allocator from giving the blocks back.
    likenesses = torch.empty(len(items))
    for k in range(0, len(items), BLOCK):
        likenesses[k : k + BLOCK] = direction(items[k : k + BLOCK].images) @ towards
    return likenesses
