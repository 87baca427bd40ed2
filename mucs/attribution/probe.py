"""Probe: how far the generated item is forgotten, under fixed draws."""

from __future__ import annotations

import torch

from mucs.attribution.batches import Batch
from mucs.attribution.items import Items
from mucs.attribution.model import DiffusionModel
from mucs.attribution.objective import Objective
from mucs.attribution.seeds import stream

SAMPLES = 32


class Probe:
    """The generated item under 32 fixed draws that depend on it alone."""

    def __init__(self, model: DiffusionModel, generated: Items, objective: Objective) -> None:
        draws = stream(0, "probe", generated.digest)
        copies = generated[torch.zeros(SAMPLES, dtype=torch.long)]
        noise = torch.randn((SAMPLES, *model.shape), generator=draws)
        levels = model.parameterisation.draw_levels(SAMPLES, draws)
        self.batch = Batch(copies.images, noise, levels, copies.conditioning, torch.empty(0))
        self.objective = objective

    @torch.no_grad()
    def __call__(self, model: DiffusionModel) -> float:
        """Mean bounded forget loss of the model."""
        return self.objective.bounded_forget_loss(self.objective.losses(model, self.batch), self.batch)
