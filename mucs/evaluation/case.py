"""What a method of attribution is given, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution import DiffusionModel, Items


@dataclass(frozen=True, eq=False)
class Case:
    """A checkpoint, what it was trained on, and what it generated.

    Attributes:
        images: N training items.
        generated: G.
        held_out: H items of the same kind that it was not trained on, which are scored as the training items are.
        decoys: Others of them, to be attributed as if they had been generated.
        seed: Of everything random.
    """

    model: DiffusionModel
    images: Items
    generated: Items
    held_out: Items | None = None
    decoys: Items | None = None
    seed: int = 0

    @cached_property
    def candidates(self) -> Items:
        """Whatever is scored: training items, then held-out ones, N + H in all."""
        return self.images if self.held_out is None else joined(self.images, self.held_out)

    @property
    def decoy_items(self) -> Items:
        """The decoys.

        Raises:
            InputError: If there are none.
        """
        if self.decoys is None:
            raise InputError("There are no decoys to compare with; give held-out images.")
        return self.decoys


Method = Callable[[Case], Tensor]  # scores (G, N + H) float32 on the CPU, higher is more influential


def joined(first: Items, second: Items) -> Items:
    """Items one after the other, in memory."""
    a, b = first[:], second[:]
    conditioning = {name: torch.cat([a.conditioning[name], b.conditioning[name]]) for name in a.conditioning}
    return Items(torch.cat([a.images, b.images]), conditioning)
