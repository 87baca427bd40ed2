"""Denoising losses of items under a noise bank: measured where they are asked for, and kept."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution.addresses import address
from mucs.attribution.bank import NoiseBank
from mucs.attribution.items import Items, as_items
from mucs.attribution.model import DiffusionModel
from mucs.attribution.seeds import stream
from mucs.attribution.skew import differences, skews
from mucs.attribution.version import METHOD_SHA256
from mucs.files import creating, reserve

PAIRS = 1 << 16  # (item, entry) pairs measured before they are written down
Done = Callable[[int], None]  # told how many more pairs are done


@dataclass(frozen=True)
class Scoring:
    """How losses are measured and compared; the defaults are the paper's.

    score: "skew", the normalised ratio, or "difference", Lᵘ − Lᵗ (its ablation).
    shared_noise: both models under the same bank; otherwise the unlearned one under a bank of other noise (an ablation of ours: the
    paper's draws noise anew for each item as well, and averages losses before the ratio).
    batch_size: (item, noise) pairs a forward pass. precision: of the network's matrix products; "bfloat16" is
    meant for GPUs. compile: with torch.compile, which takes a minute at first and seconds for every generated item,
    and so pays where each has many thousand pairs.
    """

    score: Literal["skew", "difference"] = "skew"
    eps: float = 1e-3
    shared_noise: bool = True
    batch_size: int = 64
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False

    def __post_init__(self) -> None:
        if self.score not in ("skew", "difference"):
            raise InputError(f"The score {self.score!r} is not known; use skew or difference.")
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"The precision {self.precision!r} is not known; use float32 or bfloat16.")
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise InputError(f"The batch size is {self.batch_size!r}; give a whole number from 1 on.")
        if not isinstance(self.eps, int | float) or not 0 < self.eps < math.inf:
            raise InputError(f"The skew's eps is {self.eps!r}; give a number above 0.")
        if not isinstance(self.shared_noise, bool) or not isinstance(self.compile, bool):
            raise InputError(
                "Whether noise is shared and the model compiled is said by True or False; give one of them."
            )

    def compare(self, losses: Tensor, unlearned_losses: Tensor) -> Tensor:
        """What each bank entry says of each item: (N, M), (N, M) to (N, M); its mean over the bank is the score."""
        if self.score == "difference":
            return differences(losses, unlearned_losses)
        return skews(losses, unlearned_losses, self.eps)

    def second_bank(self, bank: NoiseBank) -> NoiseBank:
        """The bank that the unlearned model is scored under: the same, or with noise of its own at the same levels."""
        if self.shared_noise:
            return bank
        return NoiseBank(torch.randn(bank.noise.shape, generator=stream(0, "second bank", bank.digest)), bank.levels)


@contextlib.contextmanager
def memory_for(setting: str, value: int) -> Iterator[None]:
    """Name the setting to lower when memory runs out, the GPU's or the machine's."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        raise InputError(f"The memory is too small for {setting} = {value}; lower {setting}.") from None


def pair_losses(
    model: DiffusionModel, items: Items, bank: NoiseBank, which: Tensor, entries: Tensor, scoring: Scoring
) -> Tensor:
    """Loss of each (item, bank entry) pair: index tensors (P,), (P,) to (P,) float32 on the CPU.

    Every micro-batch is full, the last one padded, so that no value depends on how many pairs were asked for.
    Raises InputError if one is not finite, which would rank first.
    """
    size, precision = scoring.batch_size, getattr(torch, scoring.precision)
    if scoring.compile:
        model = model.compiled
    noise, levels = bank.noise.to(model.device), bank.levels.to(model.device)
    found = []
    with torch.inference_mode(), memory_for("batch_size", size):
        for start in range(0, len(which), size):
            i, j = which[start : start + size], entries[start : start + size]
            padding = size - len(i)
            if padding:
                i, j = torch.cat([i, i[-1:].expand(padding)]), torch.cat([j, j[-1:].expand(padding)])
            batch, j = items[i], j.to(model.device)
            images = batch.images.pin_memory() if model.device.type == "cuda" else batch.images
            # results stay on the device till the end, so that it computes while the next batch is gathered
            found.append(model.losses(images, noise[j], levels[j], batch.conditioning, precision)[: size - padding])
        losses = torch.cat(found).cpu() if found else torch.empty(0)
    if not losses.isfinite().all():
        raise InputError(
            f"The model's loss is not finite for {int((~losses.isfinite()).sum())} of {len(losses)} pairs of item and noise;"
            " mend its weights, or score in float32, or lower the learning rate if it was unlearned."
        )
    return losses


def in_parts(
    which: Tensor, entries: range, part: Callable[[Tensor, range], Tensor], done: Done | None = None
) -> Tensor:
    """Losses (K, len(entries)) of the items `which` (K,), from parts (entries, items) of at most PAIRS pairs, entry by entry where they are many."""
    losses = torch.empty(len(entries), len(which))
    step = max(1, PAIRS // max(1, len(which)))
    for first in range(0, len(entries), step):
        for start in range(0, len(which), PAIRS):
            place = slice(first, first + step), slice(start, start + PAIRS)
            losses[place] = part(which[place[1]], entries[place[0]])
            if done:
                done(losses[place].numel())
    return losses.T


def measure(
    model: DiffusionModel,
    items: Items,
    bank: NoiseBank,
    which: Tensor,
    entries: range,
    scoring: Scoring,
    done: Done | None = None,
) -> Tensor:
    """Losses of the items `which` (K,) under a range of bank entries: (K, len(entries)) float32 on the CPU."""

    def part(chosen: Tensor, columns: range) -> Tensor:
        i = chosen.repeat(len(columns))
        j = torch.arange(columns.start, columns.stop).repeat_interleave(len(chosen))
        return pair_losses(model, items, bank, i, j, scoring).view(len(columns), len(chosen))

    return in_parts(which, entries, part, done)


def denoising_losses(
    model: DiffusionModel,
    images: Tensor | Items,
    bank: NoiseBank,
    *,
    batch_size: int = 64,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> Tensor:
    """L_ij = ℓ(x_i; ε_j, σ_j): images (N, C, H, W) in [-1, 1] and M bank entries to (N, M) float32 on the CPU.

    Raises InputError if the images, their conditioning or the bank do not fit the model.
    """
    items, scoring = as_items(images), Scoring(batch_size=batch_size, precision=precision)
    check(model, items, bank)
    return measure(model, items, bank, torch.arange(len(items)), range(len(bank)), scoring)


def check(model: DiffusionModel, items: Items, bank: NoiseBank) -> None:
    """InputError unless items and bank fit the model."""
    model.check(items, "images")
    if tuple(bank.noise.shape[1:]) != model.shape:
        raise InputError(
            f"The noise bank is of shape {tuple(bank.noise.shape[1:])}, the model takes {model.shape}; draw the bank for this model."
        )
    lowest, highest = model.parameterisation.levels
    if not lowest <= float(bank.levels.min()) <= float(bank.levels.max()) <= highest:
        raise InputError(
            f"The noise bank has levels outside {lowest:.4g} to {highest:.4g}, which the model takes; draw the bank for this model."
        )


class LossTable:
    """Losses of a model, measured where they are first asked for and then kept: values (M, N), NaN where not yet.

    Several threads may ask at once, and where the values are mapped from a file, several processes. Two that ask for
    the same pair at the same time both measure it, and find the same.
    """

    def __init__(
        self, model: DiffusionModel, items: Items, bank: NoiseBank, scoring: Scoring, values: Tensor, address: str
    ) -> None:
        self.model, self.items, self.bank, self.scoring, self.values = model, items, bank, scoring, values
        self.address = address

    def rows(self, which: Tensor, entries: range) -> Tensor:
        """Losses of the items `which` (K,) under a range of bank entries: (K, len(entries)) float32."""

        def part(chosen: Tensor, columns: range) -> Tensor:
            known = self.values[columns.start : columns.stop][:, chosen]
            column, row = known.isnan().nonzero(as_tuple=True)
            if len(row):
                i, j = chosen[row], columns.start + column
                found = pair_losses(self.model, self.items, self.bank, i, j, self.scoring)
                known[column, row] = self.values[j, i] = found
            return known

        return in_parts(which, entries, part)

    def missing(self, entries: range, items: range) -> int:
        """How many pairs of these bank entries and items are not known yet."""
        return int(self.values[_slice(entries), _slice(items)].isnan().sum())

    def fill(self, entries: range, items: range, values: Tensor) -> None:
        """Take losses that were measured elsewhere.

        Args:
            entries: Bank entries, without a step.
            items: Items, without a step.
            values: (len(items), len(entries)) float32, as `rows` gives them.

        Raises:
            InputError: If the values are of another shape or dtype, or not finite.
        """
        place = self.values[_slice(entries), _slice(items)]
        if place.shape != values.T.shape or values.dtype != torch.float32 or not values.isfinite().all():
            raise InputError(
                f"The losses are {values.dtype} of shape {tuple(values.shape)}, the table takes finite float32 of"
                f" {tuple(place.T.shape)}; measure them anew."
            )
        place.copy_(values.T)


def _slice(places: range) -> slice:
    return slice(places.start, places.stop)


def machine(device: torch.device) -> dict[str, Any]:
    """What the bits of a loss can depend on, besides model, items, bank and settings; the number of threads where it is above one."""
    if device.type == "cpu":
        threads = torch.get_num_threads()
        name = torch.backends.cpu.get_cpu_capability() + (f", {threads} threads" if threads > 1 else "")
    else:
        name = torch.cuda.get_device_name(device)
    return {"type": device.type, "name": name, "torch": torch.__version__}


class LossStore:
    """Losses of original models by content address, in a folder that any number of runs and processes share.

    Without a folder they live as long as the store. An address covers the model's weights, the items, the bank,
    the precision, the kind of machine and the code of the method, so that nothing in the store can be stale.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None and self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.folder} is a file; give a folder to keep losses in.")
        self.tables: dict[str, LossTable] = {}
        self.lock = threading.Lock()

    def table(self, model: DiffusionModel, items: Items, bank: NoiseBank, scoring: Scoring) -> LossTable:
        """The losses of a model; InputError if items or bank do not fit it."""
        check(model, items, bank)
        how = {"precision": scoring.precision, "compile": scoring.compile, "batch_size": scoring.batch_size}
        place = self._address(model, items, bank=bank.digest, **how)
        with self.lock:
            if place not in self.tables:
                values = self._values(place, (len(bank), len(items)))
                self.tables[place] = LossTable(model, items, bank, scoring, values, place)
            return self.tables[place]

    @staticmethod
    def _address(model: DiffusionModel, items: Items, **about: Any) -> str:
        about |= {"code": METHOD_SHA256, "machine": machine(model.device)}
        return address(model=model.digest, items=items.digest, **about)

    def _values(self, place: str, shape: tuple[int, int]) -> Tensor:
        if self.folder is None:
            return torch.full(shape, torch.nan)
        path, size = self.folder / f"{place}.f32", 4 * shape[0] * shape[1]
        if path.exists() and path.stat().st_size != size:  # cut short: the rest would read as losses of 0
            path.unlink(missing_ok=True)
        if not path.exists():
            with creating(path) as partial:  # if another process is first, it may have filled some of it
                reserve(partial, size)
                blank = np.memmap(partial, np.float32, "r+", shape=shape)
                for row in blank:
                    row[:] = np.nan
                blank.flush()
        return torch.from_numpy(np.memmap(path, np.float32, "r+", shape=shape))
