"""Ablations of the paper (section 4.3) that take more than another setting: noise redrawn for each item, and look-alikes that are not retained."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from mucs.attribution import DiffusionModel, Items, NoiseBank, Unlearning, denoising_losses
from mucs.attribution.draws import Draw, random_draws
from mucs.attribution.seeds import stream
from mucs.evaluation.baselines import feature_cosine
from mucs.evaluation.case import Case


def redrawn_losses(model: DiffusionModel, items: Items, bank: NoiseBank, seed: int, purpose: str) -> Tensor:
    """Losses of each item under noise of its own, at the bank's levels.

    Args:
        model: The original, or an unlearned one.
        items: N.
        bank: Of M levels.
        seed: Of the noise, with what it is for and the item.
        purpose: What it is for: another one has other noise.

    Returns:
        (N, M) float32.
    """
    rows = []
    for i in range(len(items)):
        item = items[i : i + 1]
        noise = torch.randn(bank.noise.shape, generator=stream(seed, f"redrawn noise, {purpose}", item.digest))
        rows.append(denoising_losses(model, item, NoiseBank(noise, bank.levels), batch_size=len(bank)))
    return torch.cat(rows)


def look_alikes_dropped(case: Case, generated: Items, settings: Unlearning, seed: int, share: float) -> Iterator[Draw]:
    """The draws of unlearning without the training items of each batch that are most like the generated one.

    Likeness is the cosine of features, and 1 more where all of the conditioning is the same. The paper takes the features of DINO;
    here they are those of the model's own middle block.

    Args:
        case: The model, and its training items.
        generated: One item.
        settings: Of unlearning.
        seed: As `mirrored_unlearning` takes it: all that is not dropped is drawn as without this.
        share: Of each batch, which is dropped, rounded up.
    """
    alike = feature_cosine(Case(case.model, case.images, generated, seed=case.seed))[0]
    conditions, same = case.images[:].conditioning, torch.ones(len(alike), dtype=torch.bool)
    for name, rows in generated[:].conditioning.items():
        same &= (conditions[name] == rows).view(len(same), -1).all(dim=1)
    alike = alike + same
    source = stream(seed, "unlearning", generated.digest)
    draws = random_draws(case.model, len(case.images), settings.batch_size, source, settings.shared_noise)
    for indices, noise, levels, *forget in draws:
        left = len(indices) - math.ceil(share * len(indices))
        kept = alike[indices].argsort(stable=True)[:left].sort().values
        yield indices[kept], noise[kept], levels[kept], forget[0], forget[1]
