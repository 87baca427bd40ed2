"""Batches: training items, and items to forget, under their draws, one for each step of unlearning."""

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
    """Samples under their draws: B training items, then F draws of the items to forget.

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
    forgotten: Items,
    settings: Unlearning,
    seed: int,
    draws: Iterable[Draw] | None = None,
    retained: Tensor | None = None,
) -> Iterator[Batch]:
    """A batch for each step.

    Args:
        model: Which shapes and levels.
        items: The training items.
        forgotten: The items to forget: the generated one, of which a batch holds copies, or several.
        settings: Of unlearning.
        seed: Of all random streams, with the digest of what is forgotten.
        draws: As `mirrored_unlearning` takes them; None for endless random ones.
        retained: Indices of the training items that are retained, rising; None for all.
    """
    if draws is None:
        source = stream(seed, "unlearning", forgotten.digest)
        count = len(items) if retained is None else len(retained)
        draws = random_draws(model, count, settings.batch_size, source, settings.shared_noise)
    else:
        draws = (check_draw(draw, model, len(items)) for draw in draws)
    weights = torch.ones(len(items))
    if settings.down_weight:
        alike = torch.stack([likeness(items, one) for one in forgotten.images]).amax(dim=0)
        weights -= settings.down_weight * alike.clamp(min=0)
    members = stream(seed, "forget set", forgotten.digest)
    mirrors = stream(seed, "augmentation", forgotten.digest) if settings.augment else None
    return (_batch(items, forgotten, draw, weights, retained, members, mirrors) for draw in draws)


def _batch(
    items: Items,
    forgotten: Items,
    draw: Draw,
    weights: Tensor,
    retained: Tensor | None,
    members: torch.Generator,
    mirrors: torch.Generator | None,
) -> Batch:
    """What one step looks at.

    weights: (N,) of the training items, of any mean; members: chooses which of the items to forget come; mirrors: chooses
    which half is mirrored, None for none; the others are as `batches` takes them.
    """
    indices, retain_noise, retain_levels, forget_noise, forget_levels = draw
    indices = indices if retained is None else retained[indices]
    kept = items[indices]
    lost = forgotten[torch.randint(len(forgotten), (len(forget_noise),), generator=members)]
    x = torch.cat([kept.images, lost.images])
    if mirrors:
        x = torch.where((torch.rand(len(x), generator=mirrors) < 0.5).view(-1, 1, 1, 1), x.flip(-1), x)
    chosen = weights[indices]
    return Batch(
        x,
        torch.cat([retain_noise, forget_noise]),
        torch.cat([retain_levels, forget_levels]),
        {name: torch.cat([rows, lost.conditioning[name]]) for name, rows in kept.conditioning.items()},
        chosen / chosen.mean().clamp(min=1e-12),  # 0 if all look just so
    )
