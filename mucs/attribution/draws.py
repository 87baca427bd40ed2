"""Draws: which training items a step of unlearning retains, and the noise that they and the generated item come under."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution.model import DiffusionModel

# indices (B,), retain noise (B, C, H, W), retain levels (B,), forget noise (F, C, H, W), forget levels (F,)
Draw = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def random_draws(
    model: DiffusionModel, count: int, batch_size: int, generator: torch.Generator, shared_noise: bool = False
) -> Iterator[Draw]:
    """Endless random draws.

    Args:
        model: Which shapes and levels.
        count: N, how many training items there are.
        batch_size: B = F, at most N: how many of them a draw chooses, all different.
        generator: Of all that is random.
        shared_noise: Whether the generated item comes under the same noise and levels; independent ones otherwise.

    Yields:
        Draws, with levels as training draws them.
    """
    size = min(batch_size, count)

    def pairs() -> tuple[Tensor, Tensor]:
        noise = torch.randn((size, *model.shape), generator=generator)
        return noise, model.parameterisation.draw_levels(size, generator)

    while True:
        indices, retain = different(count, size, generator), pairs()
        yield (indices, *retain, *(retain if shared_noise else pairs()))


def different(count: int, size: int, generator: torch.Generator) -> Tensor:
    """`size` different numbers below `count` in random order, (size,) int64, at a cost that does not grow with `count`."""
    chosen: dict[int, None] = {}
    while len(chosen) < size:
        chosen |= dict.fromkeys(torch.randint(count, (size - len(chosen),), generator=generator).tolist())
    return torch.tensor(list(chosen))


def check_draw(draw: Draw, model: DiffusionModel, count: int) -> Draw:
    """A draw that was given; InputError if it does not fit the model or the `count` items."""
    try:
        indices, *pairs = draw
        names = indices.dtype in (torch.int64, torch.int32) and indices.ndim == 1 and len(indices) > 0
        noises, levels = [pairs[0], pairs[2]], [pairs[1], pairs[3]]
        fits = len(pairs) == 4 and all(
            noise.shape[1:] == model.shape and len(noise) == len(level) > 0 and level.ndim == 1
            for noise, level in zip(noises, levels, strict=True)
        )
    except (TypeError, ValueError, AttributeError, IndexError):
        names = fits = False
    if not names or not fits or len(pairs[0]) != len(indices):
        raise InputError(
            "A draw is five tensors, indices (B,), retain noise (B, C, H, W) and levels (B,), forget noise and levels; mend it."
        )
    if indices.min() < 0 or indices.max() >= count:
        raise InputError(f"A draw names an item that is none of the {count}; give draws for these items.")
    lowest, highest = model.parameterisation.levels
    for noise, level in zip(noises, levels, strict=True):
        if not (noise.isfinite().all() and lowest <= float(level.min()) <= float(level.max()) <= highest):
            raise InputError(
                f"A draw has noise that is not finite, or a level outside {lowest:.4g} to {highest:.4g}; mend it."
            )
    return draw
