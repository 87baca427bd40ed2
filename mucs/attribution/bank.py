"""The noise bank: the fixed pairs (noise, level) under which both models are compared (paper, section 3.2)."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mucs import InputError
from mucs.attribution.model import DiffusionModel
from mucs.attribution.seeds import stream
from mucs.attribution.weighting import ByNullLoss


def stratified_order(count: int) -> Tensor:
    """A permutation of 0..count-1 whose every prefix covers the range evenly (van der Corput, base 2), from the middle out."""
    points = []
    for n in range(1, count + 1):
        value, scale = 0.0, 0.5
        while n:
            value += scale * (n & 1)
            n >>= 1
            scale /= 2
        points.append(value)
    return torch.tensor(points, dtype=torch.float64).argsort().argsort()


class NoiseBank:
    """M pairs of unit Gaussian noise (M, C, H, W) and level (M,), float32, the same for every item and both models."""

    def __init__(self, noise: Tensor, levels: Tensor) -> None:
        if not (torch.is_tensor(noise) and torch.is_tensor(levels)) or noise.is_complex() or levels.is_complex():
            raise InputError("A noise bank is made of two tensors of real numbers, noise and levels; give them.")
        if noise.ndim != 4 or levels.shape != (len(noise),) or len(noise) == 0:
            raise InputError(
                f"A noise bank needs noise (M, C, H, W) and levels (M,), M ≥ 1, not {tuple(noise.shape)} and {tuple(levels.shape)}; mend it."
            )
        if not (noise.isfinite().all() and levels.isfinite().all()):
            raise InputError("The noise bank holds numbers that are not finite; draw it anew.")
        self.noise = noise.float().contiguous()
        self.levels = levels.float().contiguous()

    @classmethod
    def draw(cls, model: DiffusionModel, num_noises: int = 100, fraction: float = 0.7, seed: int = 0) -> NoiseBank:
        """The first M of ⌊M/f⌋ levels of the sampler's schedule, noisiest first, in stratified order, one unit Gaussian each.

        For a model that is weighed by the null loss they are `ByNullLoss.bank_levels`, the same for every scheduler.
        """
        fits = isinstance(num_noises, int) and isinstance(fraction, int | float)
        if not fits or num_noises < 1 or not 1e-6 <= fraction <= 1:
            raise InputError(
                f"A noise bank needs at least one entry and a fraction in (0, 1], not {num_noises!r} and {fraction!r}; change them."
            )
        family = model.parameterisation
        if isinstance(family, ByNullLoss):
            levels = family.bank_levels(num_noises, fraction)
        else:
            levels = family.schedule(int(num_noises / fraction), model.shape)[:num_noises]
        noise = torch.randn((num_noises, *model.shape), generator=stream(seed, "noise bank"))
        return cls(noise, levels[stratified_order(num_noises)])

    def __len__(self) -> int:
        return len(self.levels)

    def prefix(self, count: int) -> NoiseBank:
        """The first `count` entries, or all if it has fewer; InputError unless that is at least one."""
        if not isinstance(count, int) or count < 1:
            raise InputError(f"A noise bank of {count!r} entries is asked for; ask for a whole number from 1 on.")
        return NoiseBank(self.noise[:count], self.levels[:count])

    def to_bytes(self) -> bytes:
        """The bank as a safetensors file."""
        return save({"noise": self.noise, "levels": self.levels})

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the bank's file, in hexadecimal: its address."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def read(cls, path: str | Path) -> NoiseBank:
        """A bank from its file; InputError if it is not one."""
        try:
            tensors = load(Path(path).read_bytes())
            return cls(tensors["noise"], tensors["levels"])
        except (OSError, SafetensorError, KeyError):
            raise InputError(f"{path} is not a noise bank; give the safetensors file of a run.") from None
