"""Image set: images with their manifest, opened once; nothing of an image is read before it is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import pyarrow as pa

from mucs import InputError
from mucs.files import is_inside
from mucs.images.decode import read_image
from mucs.images.manifest import read_manifest
from mucs.images.rows import canonical_rows
from mucs.images.shards import find_shards, read_shards
from mucs.text import for_terminal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Source(Protocol):
    """Where the images of a set lie."""

    def content(self, k: int) -> bytes:
        """The file of image k as it was encoded; InputError, which names it, if it cannot be read."""

    def place(self, k: int) -> str:
        """What a sentence calls image k."""

    def is_inside(self, k: int) -> bool:
        """Whether image k lies where the set does, and nowhere else."""

    def exists(self, k: int) -> bool:
        """Whether there is a file for image k."""

    def take(self, places: Sequence[int]) -> Source:
        """Some of the images alone, which are given by their places, in order."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What a manifest must have for the images to be found."""


Cut = TypeVar("Cut", pa.Table, pa.ChunkedArray)
T = TypeVar("T")


def _taken(values: Cut, places: Sequence[int]) -> Cut:
    """A copy of what lies at places, in order: a slice would be pickled with all that it was cut from."""
    first, behind = (places[0], places[-1] + 1) if len(places) else (0, 0)
    part = values.slice(first, behind - first)  # of the whole, Arrow would make one piece each time
    return part.take(pa.array([place - first for place in places], pa.int64()))


@dataclass(frozen=True, eq=False)
class Files:
    """Images that are files in a folder. names: by row, null where a row names none; set: what a sentence calls them all."""

    folder: Path
    names: pa.ChunkedArray | None
    set: str
    columns: tuple[str, ...] = ("file_name",)

    def content(self, k: int) -> bytes:
        name = self._name(k)
        if not self.is_inside(k):
            raise InputError(
                f"The manifest of the {self.set} names {for_terminal(str(name), 200)!r}, which is no file in it; mend it."
            )
        try:
            return (self.folder / str(name)).read_bytes()
        except OSError:
            raise InputError(f"{self.place(k)} is not there, or cannot be read; restore it.") from None

    def place(self, k: int) -> str:
        return f"{for_terminal(str(self._name(k)), 200)} of the {self.set}"

    def is_inside(self, k: int) -> bool:
        name = self._name(k)
        return name is not None and is_inside(name)

    def exists(self, k: int) -> bool:
        return self.is_inside(k) and (self.folder / str(self._name(k))).is_file()

    def take(self, places: Sequence[int]) -> Files:
        return dataclasses.replace(self, names=None if self.names is None else _taken(self.names, places))

    def _name(self, k: int) -> str | None:
        if self.names is None:
            raise InputError(f"The manifest of the {self.set} has no column file_name; name each row's image.")
        name: str | None = self.names[k].as_py()
        return name


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A set of images with its manifest, opened once.

    Attributes:
        folder: Where it lies.
        name: What sentences call it, such as "training set".
        rows: One row an image, in the manifest's order; every column a string, null where a value is missing.
        source: Where the images' files are.
    """

    folder: Path
    name: str
    rows: pa.Table
    source: Source

    @classmethod
    def open(cls, folder: Path, name: str) -> ImageSet:
        """Read the manifest of a folder of images.

        Args:
            folder: With `metadata.parquet`, `.csv` or `.jsonl` beside the images, or Parquet files with the images in
                them.
            name: What sentences call the set, such as "training set".

        Returns:
            The set. That a column is there, or an image is one, is seen only when it is asked for.

        Raises:
            InputError: If there is no manifest, it is no plain table, or a Parquet file has no images in it.
        """
        if shards := find_shards(folder):
            rows, source = read_shards(folder, shards, name)
            return cls(folder, name, rows, source)
        rows = read_manifest(folder, name)
        names = rows["file_name"] if "file_name" in rows.column_names else None
        return cls(folder, name, rows, Files(folder, names, name))

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def take(self, places: Sequence[int]) -> ImageSet:
        """Some images alone, which are given by their places, in order; a few are small enough to be sent to another process."""
        return ImageSet(self.folder, self.name, _taken(self.rows, places), self.source.take(places))

    def part(self, start: int, stop: int) -> ImageSet:
        """Images `start` to `stop` alone."""
        return self.take(range(start, min(stop, len(self))))

    @cached_property
    def canonical_rows(self) -> pa.Table:
        """The columns `row_sha256` and `said`: each row's canonical JSON without missing values, and its SHA-256."""
        return canonical_rows(self.rows)

    @property
    def row_sha256(self) -> pa.ChunkedArray:
        """SHA-256 of each row's canonical JSON, in hexadecimal: what `mucs.canonical.digest` gives for `row(k)`."""
        return self.canonical_rows["row_sha256"]

    def row(self, k: int) -> dict[str, str]:
        """Row k without its missing values."""
        return _without_missing(self.rows.slice(k, 1))[0]

    def to_rows(self) -> list[dict[str, str]]:
        """All rows without their missing values; for sets of a few thousand, as it takes a kilobyte a row."""
        return _without_missing(self.rows)

    def column(self, name: str) -> list[str | None]:
        """A column's values, None where one is missing, as all are of a column that the manifest does not have."""
        return self.rows[name].to_pylist() if name in self.rows.column_names else [None] * len(self)

    def content(self, k: int) -> bytes:
        """The file of image k, as it was encoded. Raises InputError if there is none that can be read."""
        return self.source.content(k)

    def pixels(self, k: int) -> NDArray[np.uint8]:
        """The pixels of image k: (H, W, 3). Raises InputError if it is no image that can be taken."""
        return self.decoded(k, read_image)

    def decoded(self, k: int, decode: Callable[[bytes], T]) -> T:
        """What a function makes of the file of image k. Raises InputError where it raises ValueError, as of what is no image."""
        try:
            return decode(self.content(k))
        except InputError:
            raise
        except ValueError as error:
            raise InputError(
                f"{self.source.place(k)} is not a PNG, JPEG or WebP image that can be taken ({error}); restore it."
            ) from None

    def __getitem__(self, which: slice) -> NDArray[np.uint8]:
        """The pixels of a slice of the images: (B, 3, H, W).

        Raises:
            InputError: If one is no image that can be taken, or they are of several sizes.
        """
        import numpy as np

        found = [self.pixels(k).transpose(2, 0, 1) for k in range(*which.indices(len(self)))]
        if len({image.shape for image in found}) > 1:
            raise InputError(f"The images of the {self.name} are of several sizes; give them one size.")
        return np.stack(found) if found else np.empty((0, 3, 0, 0), np.uint8)


def _without_missing(rows: pa.Table) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if value is not None} for row in rows.to_pylist()]
