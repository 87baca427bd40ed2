"""Prepare: pulled folders as the library takes them: a model, a noise bank and items."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mucs.images import ImageSet
from mucs.images.pixels import mapped_pixels
from mucs.images.version import IMAGES_SHA256
from tasks.pull import Pulled

if TYPE_CHECKING:
    import torch

    from mucs.attribution import DiffusionModel, Items, NoiseBank
    from tasks.attribute import Settings

OPENED = 8  # sets kept open


@dataclass(frozen=True, eq=False)
class Prepared:
    """What all generated items, and all decoys, share."""

    model: DiffusionModel
    bank: NoiseBank
    training: Items
    held_out: Items | None


def opened(pulled: Pulled, name: str) -> ImageSet:
    """A pulled set of images, whose manifest is read once in a process.

    Args:
        pulled: Where it lies, by digest.
        name: What sentences call it, such as "training set".

    Returns:
        The set, the same one each time.

    Raises:
        InputError: As `ImageSet.open` does.
    """
    with OPENING:
        return _open(pulled.digest, pulled.folder, name)


OPENING = threading.Lock()


@functools.lru_cache(OPENED)
def _open(digest: str, folder: Path, name: str) -> ImageSet:
    return ImageSet.open(folder, name)


def read_pixels(pulled: Pulled, images: ImageSet, cache: Path) -> torch.Tensor:
    """A pulled set's images: (N, 3, H, W) uint8, decoded once into a file of the cache, and mapped from it."""
    import torch

    path = cache / "pixels" / f"{pulled.digest}-{IMAGES_SHA256[:16]}.u8"
    return torch.from_numpy(mapped_pixels(images, path))


def read_items(model: DiffusionModel, pulled: Pulled, what: str, cache: Path) -> Items:
    """A folder's images as items of the model, with the classes or prompts of its manifest where the model takes them."""
    import torch

    images, takes = opened(pulled, what), model.conditioning
    labels = [int(label or 0) for label in images.column("class")] if "class_labels" in takes else None
    return model.encode(
        read_pixels(pulled, images, cache),
        labels=None if labels is None else torch.tensor(labels),
        prompts=[prompt or "" for prompt in images.column("prompt")] if "encoder_hidden_states" in takes else None,
        cache=cache / "encoded",
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
        read_items(model, training, "training set", cache),
        None if held_out is None else read_items(model, held_out, "held-out set", cache),
    )


def calibration_address(prepared: Prepared, settings: Settings) -> str:
    """Where the calibration of these inputs and settings is kept, with a held-out set."""
    from mucs.attribution.calibration import address

    assert prepared.held_out is not None
    bank = prepared.bank.prefix(settings.calibration_noises)
    return address(
        prepared.model,
        prepared.training,
        prepared.held_out,
        bank,
        settings.unlearning(),
        settings.scoring(),
        settings.decoys,
        settings.seed,
    )
