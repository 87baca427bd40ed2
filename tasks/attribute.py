"""Attribute: run MUCS over the pulled folders, one generated item at a time; killed, it goes on where it was."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prefect import task
from prefect.cache_policies import NO_CACHE

import mucs
from mucs import InputError
from mucs.canonical import digest
from mucs.files import replacing
from tasks.pull import Pulled
from tasks.validate import read_manifest

if TYPE_CHECKING:
    import torch

    from mucs.attribution import Attribution, LossTable, Screening, Unlearning

log = logging.getLogger("mucs.attribute")

Manifest = list[dict[str, str]]


@dataclass(frozen=True)
class Settings:
    """The method's settings, as a run records them; the defaults are the paper's, and exact.

    screening: (entries, keep) stages of successive halving; none scores every item on the full bank.
    batch_size: (item, noise) pairs a forward pass; unlearning_batch_size: training items a step of unlearning.
    """

    num_noises: int = 100
    fraction: float = 0.7
    screening: tuple[tuple[int, float], ...] = ()
    learning_rate: float = 1e-5
    weight_decay: float = 0.01
    forget_weight: float = 0.2
    null_loss: float | Literal["auto"] = "auto"
    tolerance: float = 0.05
    max_steps: int = 500
    unlearning_batch_size: int = 100
    trainable: str = "feedforward"
    batch_size: int = 64
    seed: int = 0

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {**dataclasses.asdict(self), "screening": [list(stage) for stage in self.screening]}

    def unlearning(self) -> Unlearning:
        """As the library takes them; InputError if one is out of range."""
        from mucs.attribution import Unlearning

        return Unlearning(
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            forget_weight=self.forget_weight,
            null_loss=self.null_loss,
            tolerance=self.tolerance,
            max_steps=self.max_steps,
            batch_size=self.unlearning_batch_size,
            trainable=self.trainable,
        )

    def halving(self) -> Screening | None:
        """The screening as the library takes it; None for exact. InputError if the stages are out of order."""
        from mucs.attribution import Screening

        return Screening(self.screening) if self.screening else None


@dataclass(frozen=True)
class Outcome:
    """Where an attribution's files lie, and what the run record says of it.

    bank: the noise bank's file. items: one result file a generated item, in the order asked for.
    """

    bank: Path
    bank_sha256: str
    items: tuple[Path, ...]
    device: dict[str, Any]
    code: dict[str, str]


def manifest(pulled: Pulled, what: str) -> Manifest:
    """A folder's manifest rows without missing values, in the manifest's order."""
    return [
        {str(k): str(v) for k, v in row.items() if v is not None}
        for row in read_manifest(pulled.folder, what).to_dict("records")
    ]


def read_images(folder: Path, rows: Sequence[Mapping[str, str]]) -> torch.Tensor:
    """Images of manifest rows: (N, 3, H, W) float32 in [-1, 1]."""
    import numpy as np
    import torch
    from PIL import Image

    pixels = np.stack([np.asarray(Image.open(folder / row["file_name"]).convert("RGB")) for row in rows])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def read_labels(rows: Sequence[Mapping[str, str]], classes: int | None) -> torch.Tensor | None:
    """Class labels of manifest rows, (N,); None for a model without classes."""
    import torch

    return torch.tensor([int(row["class"]) for row in rows]) if classes else None


def code_version() -> dict[str, str]:
    """The package's version, and a digest over the source of the method."""
    source = Path(mucs.__file__).parent / "attribution"
    return {
        "version": mucs.__version__,
        "method_sha256": digest(
            {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(source.glob("*.py"))}
        ),
    }


def device_record(device: str) -> dict[str, Any]:
    """What scores can depend on, bit for bit, besides inputs and settings."""
    import torch

    if device == "cpu":
        return {"type": "cpu", "name": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__}
    return {"type": device, "name": torch.cuda.get_device_name(device), "torch": torch.__version__}


@contextlib.contextmanager
def one_thread_each(device: str) -> Iterator[int]:
    """How many items to work on side by side. On a CPU each has one thread: faster, and the same bits on any number of cores."""
    import torch

    if device != "cpu":
        yield 1
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def choose_device(device: str) -> str:
    """ "auto" is the GPU where there is one; InputError for a device that is not there."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
        raise InputError(f"The device {device!r} is not there; use cpu or auto.")
    return device


def save_tensors(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """A safetensors file that is there whole or not at all."""
    from safetensors.torch import save_file

    with replacing(path) as partial:
        save_file({name: value.contiguous() for name, value in tensors.items()}, partial, metadata)


def save_item(attribution: Attribution, path: Path) -> None:
    """Keep one generated item's result."""
    values = dataclasses.asdict(attribution)
    tensors = {name: value for name, value in values.items() if hasattr(value, "shape")}
    save_tensors(
        tensors, path, {"outcome": json.dumps({name: value for name, value in values.items() if name not in tensors})}
    )


def read_item(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """One generated item's result: its tensors, and its numbers."""
    from safetensors import safe_open

    with safe_open(path, "pt") as f:
        return {name: f.get_tensor(name) for name in f.keys()}, json.loads(f.metadata()["outcome"])  # noqa: SIM118


def restore(table: LossTable, path: Path) -> None:
    """Fill a table of original losses with what earlier work kept."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.exists():
        try:
            kept = load_file(path)["losses"]
        except (SafetensorError, KeyError):
            return
        if kept.shape == table.values.shape:
            table.values = kept


@task(cache_policy=NO_CACHE)
def attribute(
    checkpoint: Pulled,
    training: Pulled,
    held_out: Pulled | None,
    batch: Pulled,
    rows: Manifest,
    settings: Settings,
    device: str,
    cache: Path,
) -> Outcome:
    """Attribute the generated items of `rows` (manifest rows of `batch`); each result is kept in the cache as soon as it is there.

    Raises InputError if settings do not fit the model.
    """
    import torch

    from mucs.attribution import DiffusionModel, LossTable, NoiseBank, estimate_null_loss
    from mucs.attribution import attribute as attribute_items

    device = choose_device(device)
    torch.use_deterministic_algorithms(True)
    model = DiffusionModel.from_pretrained(checkpoint.folder, device)
    bank = NoiseBank.draw(model, settings.num_noises, settings.fraction, settings.seed)
    code, machine = code_version(), device_record(device)
    inputs = {
        "checkpoint": checkpoint.digest,
        "training_set": training.digest,
        "held_out": held_out.digest if held_out else None,
    }
    work = cache / "work" / digest({"inputs": inputs, "settings": settings.record(), "code": code, "device": machine})
    with replacing(work / "noise_bank.safetensors") as partial:
        partial.write_bytes(bank.to_bytes())

    training_rows = manifest(training, "training set")
    original = LossTable(
        model,
        read_images(training.folder, training_rows),
        bank,
        labels=read_labels(training_rows, model.classes),
        batch_size=settings.batch_size,
    )
    restore(original, work / "original.safetensors")
    original_held_out = None
    if held_out is not None:
        held_out_rows = manifest(held_out, "held-out set")
        images = read_images(held_out.folder, held_out_rows)
        original_held_out = LossTable(
            model, images, bank, labels=read_labels(held_out_rows, model.classes), batch_size=settings.batch_size
        )
        restore(original_held_out, work / "original_held_out.safetensors")
    images, labels = read_images(batch.folder, rows), read_labels(rows, model.classes)
    paths = [
        work / "items" / f"{digest({'sha256': row['sha256'], 'class': row.get('class')})}.safetensors" for row in rows
    ]

    def attribute_one(k: int, unlearning: Unlearning) -> str:
        if paths[k].exists():
            return "kept from before"
        (found,) = attribute_items(
            model,
            original.images,
            images[k : k + 1],
            bank,
            unlearning,
            screening=settings.halving(),
            labels=original.labels,
            generated_labels=None if labels is None else labels[k : k + 1],
            seed=settings.seed,
            original=original,
            original_held_out=original_held_out,
        )
        for table, name in ((original, "original"), (original_held_out, "original_held_out")):
            if table is not None:
                with table.lock:
                    save_tensors({"losses": table.values}, work / f"{name}.safetensors")
        save_item(found, paths[k])
        return f"{'converged' if found.converged else 'not converged'} after {found.steps} steps"

    with one_thread_each(device) as workers:
        unlearning = settings.unlearning()
        if unlearning.null_loss == "auto":
            null_loss = estimate_null_loss(model, original.images, labels=original.labels, seed=settings.seed)
            unlearning = dataclasses.replace(unlearning, null_loss=null_loss)
        with ThreadPoolExecutor(workers) as pool:
            outcomes = pool.map(attribute_one, range(len(rows)), itertools.repeat(unlearning))
            for k, (row, outcome) in enumerate(zip(rows, outcomes, strict=True), start=1):
                log.info("attribute %d of %d: %s, %s", k, len(rows), row["id"], outcome)
    return Outcome(work / "noise_bank.safetensors", bank.digest, tuple(paths), machine, code)
