"""Items from pixels: latents and prompt embeddings, computed once and kept by content address."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution.items import BLOCK, Items, as_items
from mucs.attribution.latents import check_images, latents, vae_folder
from mucs.attribution.mapped import mapped
from mucs.attribution.model import DiffusionModel
from mucs.attribution.prompts import conditioning, text_folders
from mucs.attribution.version import METHOD_SHA256

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Read = Callable[[slice], Tensor]


class ImageSource(Protocol):
    """N images that are read when they are needed: a slice gives an array (B, 3, H, W) uint8."""

    def __len__(self) -> int: ...

    def __getitem__(self, which: slice, /) -> Any: ...


@dataclass(frozen=True)
class Encoding:
    """How images and prompts are encoded.

    batch_size: images through the VAE at once, and prompts through the text encoders.
    precision: in which latents are kept; they are computed in float32.
    """

    batch_size: int = 8
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        if type(self.batch_size) is not int or self.batch_size < 1:
            raise InputError(f"The encoding batch size is {self.batch_size!r}; give a whole number from 1 on.")
        if self.precision not in PRECISIONS:
            raise InputError(f"The latents' precision {self.precision!r} is not known; use float32 or bfloat16.")


def encode(
    model: DiffusionModel,
    images: Tensor | ImageSource,
    *,
    labels: Tensor | None = None,
    prompts: Sequence[str] | None = None,
    sizes: Tensor | None = None,
    cache: str | Path | None = None,
    encoding: Encoding = Encoding(),
    address: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Items:
    """Items that the model takes. With `vae/` in the checkpoint, images become latents; without, they stay as they are.

    Prompts become the embeddings that the pipeline of diffusers makes of them, one row for each different prompt.
    What is encoded is kept in the cache as it comes, and a later call goes on where a killed one was.

    Args:
        model: The model.
        images: (N, 3, H, W), float in [-1, 1] or uint8, as a tensor, or as what gives uint8 arrays by slices and is
            then never in memory as a whole.
        labels: A class (N,) for each image, where the model takes them.
        prompts: A prompt for each image, where the model takes them.
        sizes: (N, 4), where Stable Diffusion XL takes them: an image's height and width in pixels before it was resized for
            training, and how far from its top and left it was cropped after that. Where one is NaN, or none are given, the
            image was of the model's own size and not cropped.
        cache: Folder for what is computed; None keeps it in memory.
        encoding: Batch size and precision.
        address: SHA-256 of all that the items are made of, where the caller knows it: images, labels, prompts, VAE and
            text encoders. It is the items' digest then, with the encoding, and nothing is hashed.
        progress: Called with ("encoding" or "prompts", how many are done, of how many).

    Returns:
        Items, mapped from the cache if there is one.

    Raises:
        InputError: For what is missing, broken, of an unknown kind, or does not fit the model.
    """
    count = _count(images)
    _one_each("class_labels" in model.conditioning, labels, "label", count)
    _one_each("encoder_hidden_states" in model.conditioning, prompts, "prompt", count)
    if address is None and cache is not None and not isinstance(images, Tensor):
        raise InputError("Images that are read when they are needed can be kept under an address alone; give one.")
    keep = _Keep(None if cache is None else Path(cache), encoding, address, model.shape)
    given: dict[str, Tensor] = {}
    condition_of = None
    if prompts is not None:
        given, condition_of = _embedded(model, prompts, keep, progress)
    if sizes is not None and "time_ids" not in model.conditioning:
        raise InputError("The model takes no sizes; leave `sizes` out.")
    if "time_ids" in model.conditioning:
        given["time_ids"] = _time_ids(model, count, sizes)
    if labels is not None:
        values = torch.as_tensor(labels)
        given["class_labels"] = values if values.is_floating_point() else values.long()  # floats are refused below
    encoded = _encoded(model, images, count, keep, progress)
    digest = address and keep.digest("items")
    unshared = frozenset({"class_labels", "time_ids"} & given.keys())
    items = Items(encoded, given, condition_of, digest, keep.place("facts", ".json", digest), unshared)
    model.check(items, "images")
    return items


@dataclass(frozen=True)
class _Keep:
    """Where what is encoded is kept."""

    cache: Path | None
    encoding: Encoding
    address: str | None
    shape: tuple[int, ...]

    def digest(self, *about: Any) -> str:
        """SHA-256 over what is known of the items, and this code."""
        return hashlib.sha256(
            json.dumps([*about, asdict(self.encoding), self.address, self.shape, METHOD_SHA256]).encode()
        ).hexdigest()

    def place(self, kind: str, suffix: str, digest: str | None) -> Path | None:
        """The file of that digest; None without a cache or a digest."""
        return self.cache / kind / f"{digest}{suffix}" if self.cache is not None and digest else None

    def file(self, kind: str, suffix: str, folders: Callable[[], Iterable[Path]], *content: Any) -> Path | None:
        """The file for what is made of the files in the folders and of the content, neither of which is looked at where the address is known."""
        if self.cache is None:
            return None
        if self.address is not None:
            return self.place(kind, suffix, self.digest(kind))
        known = [each() if callable(each) else each for each in content]
        return self.place(kind, suffix, self.digest(kind, _hashed(folders()), *known))


def _hashed(folders: Iterable[Path]) -> list[str]:
    """The name and SHA-256 of every file in the folders."""
    found = []
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            with path.open("rb") as f:
                content = hashlib.file_digest(f, "sha256").hexdigest()
            found.append(f"{path.relative_to(folder.parent).as_posix()} {content}")
    return found


def _count(images: Tensor | ImageSource) -> int:
    """How many images there are; InputError if there are none, or they are no images."""
    if not isinstance(images, Tensor):
        if isinstance(images, list | tuple | str | bytes | dict | np.ndarray) or not hasattr(images, "__len__"):
            what = getattr(images, "dtype", None) or type(images).__name__
            raise InputError(f"The images are {what}; give uint8, or floats in [-1, 1], as a tensor.")
    elif not as_items(images).images.ndim:
        raise InputError("The images are a single number; give (N, 3, H, W).")
    if len(images) == 0:
        raise InputError("There are no images; give at least one.")
    return len(images)


def _content(images: Tensor | ImageSource) -> str:
    """The digest of images without an address, which are a tensor."""
    assert isinstance(images, Tensor)
    return as_items(images).digest


def _one_each(needed: bool, given: Sized | None, what: str, count: int) -> None:
    """InputError unless there is one for each image where they are needed, and none where they are not."""
    if needed and given is None:
        raise InputError(f"The model takes a {what} for each image; give them as `{what}s`.")
    if given is not None and not needed:
        raise InputError(f"The model takes no {what}s; leave `{what}s` out.")
    if given is not None and len(given) != count:
        raise InputError(f"There are {count} images and {len(given)} {what}s; give one each.")


def _read(images: Tensor | ImageSource, which: slice) -> Tensor:
    """Some of the images as they are; InputError if a source gives something else than it should."""
    given = images[which]
    if isinstance(images, Tensor):
        return given
    block = np.asarray(given)
    if block.dtype != np.uint8 or block.ndim != 4 or len(block) != which.stop - which.start:
        raise InputError(
            f"Images {which.start} to {which.stop} are {block.dtype} of shape {block.shape}; give uint8 (B, 3, H, W)."
        )
    return torch.from_numpy(np.ascontiguousarray(block))


def _encoded(
    model: DiffusionModel,
    images: Tensor | ImageSource,
    count: int,
    keep: _Keep,
    progress: Callable[[str, int, int], None] | None,
) -> Tensor:
    """The images (N, C, H, W) as the network takes them."""
    vae, done = vae_folder(model), partial(progress, "encoding") if progress else None
    first = _read(images, slice(0, 1))
    if vae is None:
        if isinstance(images, Tensor):
            return images
        path = keep.file("pixels", ".u8", list)
        return mapped(path, (count, *first.shape[1:]), torch.uint8, lambda which: _read(images, which), BLOCK, done)
    check_images(model, vae, (count, *first.shape[1:]))
    path = keep.file("latents", ".latents", lambda: [vae], lambda: _content(images))
    how = keep.encoding

    def read(which: slice) -> Tensor:
        return Items(_read(images, which))[:].images

    return latents(model, vae, count, read, path, how.batch_size, PRECISIONS[how.precision], done)


def _time_ids(model: DiffusionModel, count: int, sizes: Tensor | None) -> Tensor:
    """Original size, crop and target size of each image (Podell et al. 2023, arXiv 2307.01952, section 2.2): (N, 6) float32."""
    height, width = (side * model.pixels_per_latent for side in model.shape[1:])
    usual = torch.tensor([height, width, 0, 0], dtype=torch.float32).repeat(count, 1)
    given = torch.full_like(usual, torch.nan) if sizes is None else torch.as_tensor(sizes)
    if given.shape != usual.shape or given.is_complex():
        raise InputError(
            f"The sizes are of shape {tuple(given.shape)}; give ({count}, 4): original height and width, crop from top and left."
        )
    found = torch.where(given.isnan(), usual, given.float())
    if not (found.isfinite().all() and found[:, :2].min() >= 1 and found[:, 2:].min() >= 0):
        raise InputError("An image's original size is below one pixel, or its crop is below 0; mend the sizes.")
    return torch.cat([found, usual[:, :2]], dim=1)


def _embedded(
    model: DiffusionModel, prompts: Sequence[str], keep: _Keep, progress: Callable[[str, int, int], None] | None
) -> tuple[dict[str, Tensor], Tensor]:
    """The conditioning (U, …) of U different prompts, and which of them (N,) each image has."""
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise InputError('A prompt is not text; give a string for each image, "" where there is none.')
    different = sorted(set(prompts))
    place = {prompt: row for row, prompt in enumerate(different)}
    width = model.network.config.get("joint_attention_dim")  # of the zeros that stand for a missing T5
    path = keep.file("prompts", ".f32", lambda: text_folders(model), type(model.network).__name__, width, different)
    done = partial(progress, "prompts") if progress else None
    rows = conditioning(model, different, path, keep.encoding.batch_size, done)
    return rows, torch.tensor([place[prompt] for prompt in prompts])
