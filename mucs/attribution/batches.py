"""Batches: training items and copies of the generated item under their draws, one for each step of unlearning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mucs.attribution.draws import Draw, check_draw, random_draws
from mucs.attribution.hyperparameters import Unlearning
from mucs.attribution.items import Items
from mucs.attribution.likeness import likeness
from mucs.attribution.model import DiffusionModel
from mucs.attribution.seeds import stream


@dataclass(frozen=True)
class Batch:
    """Samples under their draws: B training items, then F copies of the generated item.

    Attributes:
        images, noise: (B + F, C, H, W).
        levels: (B + F,).
        conditioning: (B + F, …), by the name of the network's argument.
        weights: (B,) by which the training items' losses are weighed, with a mean of 1.
    """

    images: Tensor
    noise: Tensor
    levels: Tensor
    conditioning: Mapping[str, Tensor]
    weights: Tensor

    @property
    def retained(self) -> int:
        """B."""
        return len(self.weights)

    def __len__(self) -> int:
        return len(self.levels)

    def parts(self, size: int | None) -> Iterator[slice]:
        """The places of `size` samples at a time; of all at once for None."""
        size = size or len(self)
        return (slice(start, start + size) for start in range(0, len(self), size))


def batches(
    model: DiffusionModel,
    items: Items,
    generated: Items,
    settings: Unlearning,
    seed: int,
    draws: Iterable[Draw] | None = None,
    alike: Tensor | None = None,
) -> Iterator[Batch]:
    """A batch for each step: of the draws that are given, or of endless random ones; all are as `mirrored_unlearning` takes them."""
    if draws is None:
        source = stream(seed, "unlearning", generated.digest)
        draws = random_draws(model, len(items), settings.batch_size, source, settings.shared_noise)
    else:
        draws = (check_draw(draw, model, len(items)) for draw in draws)
    weights = torch.ones(len(items))
    if settings.down_weight:
        alike = likeness(items, generated.images[0]) if alike is None else alike
        weights -= settings.down_weight * alike.clamp(min=0)
    mirrors = stream(seed, "augmentation", generated.digest) if settings.augment else None
    return (_batch(items, generated, draw, weights, mirrors) for draw in draws)


def _batch(items: Items, generated: Items, draw: Draw, weights: Tensor, mirrors: torch.Generator | None) -> Batch:
    """What one step looks at; weights: (N,) of the training items, of any mean; mirrors: where half are mirrored."""
    indices, retain_noise, retain_levels, forget_noise, forget_levels = draw
    retained, copies = items[indices], generated[torch.zeros(len(forget_noise), dtype=torch.long)]
    x = torch.cat([retained.images, copies.images])
    if mirrors:
        x = torch.where((torch.rand(len(x), generator=mirrors) < 0.5).view(-1, 1, 1, 1), x.flip(-1), x)
    chosen = weights[indices]
    return Batch(
        x,
        torch.cat([retain_noise, forget_noise]),
        torch.cat([retain_levels, forget_levels]),
        {name: torch.cat([rows, copies.conditioning[name]]) for name, rows in retained.conditioning.items()},
        chosen / chosen.mean().clamp(min=1e-12),  # 0 if all look just so
    )
