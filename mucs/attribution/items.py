"""Items: images with what the network is conditioned on for each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from mucs import InputError
from mucs.files import replacing

BLOCK = 1024  # items read at once where all of them are gone through


@dataclass(frozen=True, eq=False)
class Items:
    """N images, or their latents, and their conditioning. Both may be mapped from a file larger than memory.

    images: (N, C, H, W), float in [-1, 1] (or latents), or uint8 in 0..255, which becomes float where it is read.
    conditioning: tensors (N, …) by the name of the network's argument; with `condition_of`, (U, …), shared by items.
    condition_of: (N,) which of the U rows is each item's; None if row i is item i's.
    unshared: names of conditioning of which row i is item i's all the same.
    address: the digest, where whoever made the items knows what they were made of: nothing is hashed then.
    facts: a file where numbers about all of them are kept, so that they are gone through once.
    """

    images: Tensor
    conditioning: Mapping[str, Tensor] = field(default_factory=dict)
    condition_of: Tensor | None = None
    address: str | None = None
    facts: Path | None = None
    unshared: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, which: Tensor | slice) -> Items:
        """The chosen items in memory, images float32, one row of conditioning each."""
        images = self.images[which]
        images = images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images.float()
        given = {}
        for name, values in self.conditioning.items():
            rows = self.rows_of(name)
            given[name] = values[which if rows is None else rows[which]]
        return Items(images, given)

    def rows_of(self, name: str) -> Tensor | None:
        """Which row of some conditioning is each item's, (N,); None if row i is item i's."""
        return None if name in self.unshared else self.condition_of

    @cached_property
    def extremes(self) -> tuple[float, float]:
        """The lowest and the highest number of all images, as float32; NaN if one is NaN."""
        if self.images.dtype == torch.uint8:
            return -1.0, 1.0
        low, high, _ = self._numbers
        return low, high

    @cached_property
    def mean_square(self) -> float:
        """Mean square of all numbers of all images."""
        return self._numbers[2] / self.images.numel()

    @cached_property
    def _numbers(self) -> tuple[float, float, float]:
        """The lowest and the highest number of all images, as float32, and the sum of all squares."""
        if self.facts is not None and self.facts.exists():
            low, high, squares = json.loads(self.facts.read_bytes())
            return low, high, squares
        lows, highs, squares = [], [], 0.0
        for k in range(0, len(self), BLOCK):
            block = Items(self.images[k : k + BLOCK])[:].images
            low, high = block.aminmax()
            lows.append(low)
            highs.append(high)
            squares += float(block.double().square().sum())
        found = float(torch.stack(lows).min()), float(torch.stack(highs).max()), squares
        if self.facts is not None:
            with replacing(self.facts) as partial:
                partial.write_text(json.dumps(found))
        return found

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shapes, images (as float32) and conditioning, in hexadecimal; or the address, where there is one."""
        if self.address is not None:
            return self.address
        sha = hashlib.sha256(f"{len(self)} {tuple(self.images.shape[1:])}".encode())
        for start in range(0, len(self), BLOCK):
            block = self[start : start + BLOCK]
            sha.update(block.images.contiguous().numpy().tobytes())
            for name in sorted(block.conditioning):
                values = block.conditioning[name]
                sha.update(f"{name} {values.dtype} {tuple(values.shape[1:])}".encode())
                sha.update(values.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return sha.hexdigest()


def as_items(images: Tensor | Items) -> Items:
    """Images without conditioning as items; InputError if they are neither."""
    items = images if isinstance(images, Items) else Items(images)
    if not isinstance(items.images, Tensor) or not (
        items.images.is_floating_point() or items.images.dtype == torch.uint8
    ):
        what = getattr(items.images, "dtype", None) or type(items.images).__name__
        raise InputError(f"The images are {what}; give uint8, or floats in [-1, 1], as a tensor.")
    for name, values in {"images": items.images, **items.conditioning}.items():
        if not isinstance(values, Tensor) or values.device.type != "cpu" or values.ndim == 0:
            raise InputError(f"The {name} are no tensor in the CPU's memory with a row for each item; give one.")
    return items
