"""Prepare: pulled folders as the library takes them: a model, a noise bank and items."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks import validate
from tasks.pull import Pulled
from tasks.validate import read_image, read_manifest

if TYPE_CHECKING:
    import torch

    from mucs.attribution import DiffusionModel, Encoding, Items, NoiseBank, Settings

Manifest = list[dict[str, str]]


@dataclass(frozen=True, eq=False)
class Prepared:
    """What all generated items, and all decoys, share."""

    model: DiffusionModel
    bank: NoiseBank
    training: Items
    held_out: Items | None


def manifest(pulled: Pulled, what: str) -> Manifest:
    """A folder's manifest rows without missing values, in the manifest's order."""
    return [
        {str(k): str(v) for k, v in row.items() if v is not None}
        for row in read_manifest(pulled.folder, what).to_dict("records")
    ]


def read_pixels(pulled: Pulled, rows: Manifest, cache: Path) -> torch.Tensor:
    """A folder's images, in the order of its manifest: (N, 3, H, W) uint8, decoded once into a file of the cache, and mapped from it."""
    import torch

    from mucs.attribution.mapped import cached
    from mucs.attribution.version import code_sha256

    def decode(row: dict[str, str]) -> torch.Tensor:
        return torch.from_numpy(read_image(pulled.folder / row["file_name"])).permute(2, 0, 1)

    def fill(pixels: torch.Tensor) -> None:
        for pixel, row in zip(pixels, rows, strict=True):  # one by one: all of them may be larger than memory
            pixel.copy_(decode(row))

    name = f"{pulled.digest}-{code_sha256(__file__, str(validate.__file__))[:16]}.u8"
    return cached(cache / "pixels" / name, (len(rows), *decode(rows[0]).shape), fill, torch.uint8)


def read_items(model: DiffusionModel, pulled: Pulled, what: str, encoding: Encoding, cache: Path) -> Items:
    """A folder's images as items of the model, with the classes or prompts of its manifest where the model takes them."""
    import torch

    from mucs.attribution import encode

    rows = manifest(pulled, what)
    takes = model.conditioning
    return encode(
        model,
        read_pixels(pulled, rows, cache),
        labels=torch.tensor([int(row["class"]) for row in rows]) if "class_labels" in takes else None,
        prompts=[row.get("prompt", "") for row in rows] if "encoder_hidden_states" in takes else None,
        cache=cache / "encoded",
        encoding=encoding,
    )


def prepare(
    checkpoint: Pulled, training: Pulled, held_out: Pulled | None, settings: Settings, device: str, cache: Path
) -> Prepared:
    """Read checkpoint and data, and draw the noise bank; InputError if they or the settings do not fit each other."""
    from mucs.attribution import DiffusionModel, NoiseBank

    model = DiffusionModel.from_pretrained(checkpoint.folder, device)
    return Prepared(
        model,
        NoiseBank.draw(model, settings.num_noises, settings.fraction, settings.seed),
        read_items(model, training, "training set", settings.encoding, cache),
        None if held_out is None else read_items(model, held_out, "held-out set", settings.encoding, cache),
    )


def calibration_address(prepared: Prepared, settings: Settings) -> str:
    """Where the calibration of these inputs and settings is kept, with a held-out set."""
    from mucs.attribution.calibration import calibration_address as address

    assert prepared.held_out is not None
    bank = prepared.bank.prefix(settings.calibration_noises)
    return address(
        prepared.model,
        prepared.training,
        prepared.held_out,
        bank,
        settings.unlearning,
        settings.scoring,
        settings.decoys,
        settings.seed,
    )
