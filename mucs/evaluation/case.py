"""What a method of attribution is given, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from mucs.attribution import DiffusionModel, Items


@dataclass(frozen=True, eq=False)
class Case:
    """A checkpoint, what it was trained on, and what it generated.

    images: (N, …) training items. generated: (G, …). held_out: items of the same kind it was not trained on, or None.
    seed: of everything random.
    """

    model: DiffusionModel
    images: Items
    generated: Items
    held_out: Items | None = None
    seed: int = 0


Method = Callable[[Case], Tensor]  # scores (G, N) float32 on the CPU, higher is more influential
