"""Probe: how far what is to be forgotten is forgotten, under fixed draws."""

from __future__ import annotations

import torch

from mucs.attribution.batches import Batch
from mucs.attribution.items import Items
from mucs.attribution.model import DiffusionModel
from mucs.attribution.objective import Objective
from mucs.attribution.seeds import stream

SAMPLES = 32


class Probe:
    """Forgotten items under fixed draws that depend on them alone; each comes as often as the others, if that comes out even."""

    def __init__(self, model: DiffusionModel, forgotten: Items, objective: Objective, samples: int = SAMPLES) -> None:
        draws = stream(0, "probe", forgotten.digest)
        self.noise = torch.randn((samples, *model.shape), generator=draws)
        self.levels = model.parameterisation.draw_levels(samples, draws)
        self.forgotten, self.objective = forgotten, objective

    def __call__(self, model: DiffusionModel) -> float:
        """Mean bounded forget loss of the model."""
        return self.of(self.forgotten, model)

    @torch.no_grad()
    def of(self, items: Items, model: DiffusionModel) -> float:
        """The same of other items, one in the place of each."""
        placed = items[torch.arange(len(self.levels)) % len(items)]
        batch = Batch(placed.images, self.noise, self.levels, placed.conditioning, torch.empty(0))
        return self.objective.bounded_forget_loss(self.objective.losses(model, batch), batch)
