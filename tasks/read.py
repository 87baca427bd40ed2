"""Read: images with their classes, from a folder with a manifest or from a Parquet file with the images in it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mucs import InputError
from mucs.images import ImageSet
from mucs.images.decode import read_image

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Source:
    """Where images come from.

    Attributes:
        path: A folder with metadata.csv or .parquet, or a Parquet file with the columns image (bytes), label and split.
        per_class: How many of each class, in the source's order; None for all.
        classes, split: Of a Parquet file, which labels, and which part.
        size: Pixels a side, to which larger images are averaged down; None as they are.
    """

    path: Path
    per_class: int | None = None
    classes: tuple[str, ...] = ()
    split: str = "train"
    size: int | None = None


def read_images(source: Source) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 3, H, W) in [-1, 1] and classes (N,), 0 where the source names none.

    Raises:
        InputError: For what cannot be read.
    """
    import numpy as np
    import torch
    from PIL import Image

    rows = [*(_of_parquet(source) if source.path.suffix == ".parquet" else _of_folder(source))]
    pixels, classes = [], []
    for k in _chosen(source, [label for *_, label in rows]):
        name, content, label = rows[k]
        try:
            shown = Image.fromarray(read_image(content()))
        except ValueError as error:
            raise InputError(
                f"{name} is not a PNG, JPEG or WebP image that can be taken ({error}); restore it."
            ) from None
        if source.size is not None:
            shown = shown.resize((source.size, source.size), Image.Resampling.BOX)
        pixels.append(np.asarray(shown))
        classes.append(label)
    if not pixels:
        raise InputError(f"{source.path} has no images of what is asked for; give another.")
    if len({one.shape for one in pixels}) > 1:
        raise InputError(f"The images of {source.path} are of several sizes; give them one size.")
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return images, torch.tensor(classes)


def read_column(source: Source, name: str) -> tuple[str, ...]:
    """What a folder's manifest says of each image that `read_images` reads, in the same order; "" for nothing.

    Raises:
        InputError: If there is no such column.
    """
    if source.path.suffix == ".parquet":
        raise InputError(f"{source.path} says nothing of {name}; give a folder with a manifest that does.")
    images = _open(source)
    if name not in images.rows.column_names:
        raise InputError(f"The manifest of {source.path} has no column {name}; add it.")
    values = images.column(name)
    return tuple(values[k] or "" for k in _chosen(source, _labels(source, images)))


def _chosen(source: Source, labels: Sequence[int]) -> Iterator[int]:
    """The places of the images that are wanted, by the classes of all."""
    counts: dict[int, int] = {}
    for k, label in enumerate(labels):
        counts[label] = counts.get(label, 0) + 1
        if source.per_class is None or counts[label] <= source.per_class:
            yield k


Rows = Iterable[tuple[str, Callable[[], bytes], int]]  # name, content, class


def _open(source: Source) -> ImageSet:
    if not source.path.is_dir():
        raise InputError(f"There is no folder {source.path}; give one with images and metadata.csv.")
    return ImageSet.open(source.path, f"folder {source.path}")


def _labels(source: Source, images: ImageSet) -> list[int]:
    labels = images.column("class") if "class" in images.rows.column_names else ["0"] * len(images)
    try:
        return [int(str(label)) for label in labels]
    except ValueError:
        raise InputError(f"The manifest of {source.path} lacks a class; fill it in.") from None


def _of_folder(source: Source) -> Rows:
    images = _open(source)
    for k, label in enumerate(_labels(source, images)):
        yield images.source.place(k), functools.partial(images.content, k), label


def _of_parquet(source: Source) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(source.path, columns=["split", "label", "image"])
    except (OSError, ValueError, pa.ArrowException):
        raise InputError(
            f"{source.path} cannot be read as Parquet with the columns split, label and image; give another file."
        ) from None
    number = {name: k for k, name in enumerate(source.classes)}
    return [
        (f"row {k} of {source.path}", functools.partial(bytes, row["image"]), number[row["label"]])
        for k, row in enumerate(table.to_pylist())
        if row["split"] == source.split and row["label"] in number
    ]
