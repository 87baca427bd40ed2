"""Prepare: pulled folders as the library takes them: a model, a noise bank and items."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mucs.canonical import digest
from mucs.images import ImageSet
from mucs.images.columns import SIZES
from mucs.images.pixels import mapped_pixels
from mucs.images.version import IMAGES_SHA256
from tasks.pull import Pulled

if TYPE_CHECKING:
    import torch

    from mucs.attribution import DiffusionModel, Encoding, Items

OPENED = 8  # sets kept open
NAMES = {"training": "training set", "held_out": "held-out set", "batch": "generated batch"}  # in sentences, by role


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


def read_items(model: DiffusionModel, pulled: Pulled, what: str, encoding: Encoding, cache: Path) -> Items:
    """A folder's images as items of the model, with the classes or prompts of its manifest where the model takes them."""
    from mucs.attribution import encode

    images = opened(pulled, what)
    return encode(
        model,
        images if model.pixels_per_latent > 1 else read_pixels(pulled, images, cache),
        **conditions(model, images),
        cache=cache / "encoded",
        address=digest([model.digest, content_sha256(images), IMAGES_SHA256]),
        encoding=encoding,
    )


def conditions(model: DiffusionModel, images: ImageSet) -> dict[str, Any]:
    """The `labels`, `prompts` and `sizes` of a set's images, where the model takes them."""
    import torch

    found: dict[str, Any] = {}
    if "class_labels" in model.conditioning:
        found["labels"] = torch.tensor([int(label or 0) for label in images.column("class")])
    if "encoder_hidden_states" in model.conditioning:
        found["prompts"] = [prompt or "" for prompt in images.column("prompt")]
    if "time_ids" in model.conditioning:
        columns = [[torch.nan if said is None else float(said) for said in images.column(name)] for name in SIZES]
        found["sizes"] = torch.tensor(columns).T
    return found


CONTENT = ("sha256", "class", "prompt", *SIZES)  # columns that say what a model takes of an image


def content_sha256(images: ImageSet) -> str:
    """What a model takes of a set: a digest over its images' bytes, their classes, prompts and sizes, in order.

    Corrections of anything else in a manifest, such as a licence, leave it as it is.
    """
    with OPENING:
        return _content_sha256(images)


@functools.lru_cache(OPENED)
def _content_sha256(images: ImageSet) -> str:
    sha = hashlib.sha256()
    columns = [images.column(name) for name in CONTENT]
    for row in zip(*columns, strict=True):
        sha.update(json.dumps(row).encode())
    return sha.hexdigest()
