"""Controls: generated items whose cause is known, to be attributed with any others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution.attribute import Attribution
from mucs.attribution.items import Items, as_items
from mucs.attribution.seeds import stream


@dataclass(frozen=True)
class Controls:
    """Two items to attribute as if they had been generated, and the training item that must come first.

    generated: a training image itself, and a near-duplicate of it: shifted by one pixel, with noise of 0.05.
    source: index of that training image.
    """

    generated: Items
    source: int

    def ranks(self, attributions: list[Attribution]) -> tuple[int | None, int | None]:
        """The source's rank, from 1, for each of the two; None if screening dropped it."""
        first, second = (rank_of(self.source, found) for found in attributions)
        return first, second


def rank_of(item: int, attribution: Attribution) -> int | None:
    """The rank, from 1, of a training item in an answer; None if screening dropped it."""
    place = (attribution.items == item).nonzero()
    return int(place[0, 0]) + 1 if len(place) else None


def control_source(count: int, seed: int = 0) -> int:
    """Index of the training item, of so many, that the controls of a seed are made from."""
    return int(torch.randint(count, (1,), generator=stream(seed, "controls")))


def controls(images: Tensor | Items, seed: int = 0) -> Controls:
    """Controls from a training image (of N, C, H, W) that the seed chooses."""
    items = as_items(images)
    if not len(items):
        raise InputError("There are no images to take controls from; give at least one.")
    random = stream(seed, "controls")
    source = int(torch.randint(len(items), (1,), generator=random))
    one = items[source : source + 1]
    near = one.images.roll(1, dims=-1) + 0.05 * torch.randn(one.images.shape, generator=random)
    twice = {name: values.repeat(2, *[1] * (values.ndim - 1)) for name, values in one.conditioning.items()}
    return Controls(Items(torch.cat([one.images, near]), twice), source)
