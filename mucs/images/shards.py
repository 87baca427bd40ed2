"""Shards: Parquet files with the images in them, as Hugging Face's `datasets` writes them, and the manifest beside."""

from __future__ import annotations

import bisect
import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mucs import InputError
from mucs.images.columns import check_columns, check_kinds, reading
from mucs.images.manifest import MOST_BYTES, read_columns
from mucs.text import for_terminal

IMAGE = "image"  # the column, a struct of bytes and path
KEPT = 2  # row groups
MOST_GROUP = 500_000_000  # bytes of a row group's images, unpacked
BATCH = 64  # images read at once, so that more than that many bytes are soon noticed


@dataclass(frozen=True)
class Group:
    """A row group. shard: the file's name in the folder. at: its place in it. first: the row of the file that it begins with."""

    shard: str
    at: int
    first: int


@dataclass(frozen=True, eq=False)
class Shards:
    """Images in row groups of Parquet files, of which the last two are kept in memory.

    groups, starts: the row groups, and the image that each begins with. places: which of all images each of this source is.
    set: what a sentence calls the images.
    """

    folder: Path
    groups: tuple[Group, ...]
    starts: tuple[int, ...]
    places: Sequence[int]
    set: str
    columns: tuple[str, ...] = ()

    def content(self, k: int) -> bytes:
        content = self._content(k)
        if content is None:
            raise InputError(f"{self.place(k)} has no image in it; write its bytes.")
        return content

    def place(self, k: int) -> str:
        group, row = self._find(k)
        return f"{for_terminal(group.shard, 200)}, row {group.first + row} (from 0), of the {self.set}"

    def is_inside(self, k: int) -> bool:
        return True

    def exists(self, k: int) -> bool:
        return self._content(k) is not None

    def take(self, places: Sequence[int]) -> Shards:
        return dataclasses.replace(self, places=[self.places[k] for k in places])

    def _find(self, k: int) -> tuple[Group, int]:
        """The row group of image k, and its place in there."""
        place = self.places[k]
        at = bisect.bisect_right(self.starts, place) - 1
        return self.groups[at], place - self.starts[at]

    def _content(self, k: int) -> bytes | None:
        group, row = self._find(k)
        content: bytes | None = self._read(group)[row].as_py()
        return content

    @functools.cached_property
    def _read(self) -> Callable[[Group], pa.ChunkedArray]:
        return functools.lru_cache(KEPT)(self._read_group)

    def _read_group(self, group: Group) -> pa.ChunkedArray:
        what = f"{for_terminal(group.shard, 200)} of the {self.set}"
        size, blocks = 0, []
        with reading(what, "Parquet"), pq.ParquetFile(self.folder / group.shard) as file:
            for block in file.iter_batches(BATCH, row_groups=[group.at], columns=[f"{IMAGE}.bytes"]):
                blocks.append(pc.struct_field(block[IMAGE], "bytes"))
                size += blocks[-1].nbytes
                if size > MOST_GROUP:
                    raise InputError(
                        f"{what} has more than {MOST_GROUP:,} bytes of images in row group {group.at}; write it with smaller"
                        " row groups."
                    )
        return pa.chunked_array(blocks)

    def __getstate__(self) -> dict[str, Any]:
        """Without the row groups in memory, for another process."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def find_shards(folder: Path) -> list[str]:
    """The names of a folder's Parquet files, in order; none where there is a manifest beside the images."""
    if any((folder / f"metadata.{kind}").is_file() for kind in ("parquet", "csv", "jsonl")):
        return []
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet") if path.is_file())


def read_shards(folder: Path, shards: list[str], name: str) -> tuple[pa.Table, Shards]:
    """Read the manifest of a set of shards, and where its images are.

    Args:
        folder: Where the shards lie.
        shards: Their names, in order.
        name: What a sentence calls the images, such as "training set".

    Returns:
        The rows of all shards, every column but `image` a string, null where a value is missing; and the images.

    Raises:
        InputError: If a shard is no Parquet, lacks the column `image` with `bytes`, or is no plain table besides.
    """
    tables, groups, starts = [], [], []
    start, left = 0, MOST_BYTES
    for shard in shards:
        what = f"{for_terminal(shard, 200)} of the {name}"
        with reading(what, "Parquet"), pq.ParquetFile(folder / shard) as file:
            names = _manifest_columns(file.schema_arrow, what)
            table = read_columns(file, names, left, what)
            tables.append(table)
            left -= table.nbytes
            first = 0
            for at in range(file.num_row_groups):
                if rows := file.metadata.row_group(at).num_rows:
                    groups.append(Group(shard, at, first))
                    starts.append(start + first)
                    first += rows
            start += first
    rows = pa.concat_tables(tables, promote_options="default")
    return rows, Shards(folder, tuple(groups), tuple(starts), range(start), name)


def _manifest_columns(schema: pa.Schema, what: str) -> list[str]:
    """The columns beside the image."""
    place = schema.get_all_field_indices(IMAGE)
    kind = schema.field(place[0]).type if len(place) == 1 else None
    parts = {field.name: field.type for field in kind} if kind is not None and pa.types.is_struct(kind) else {}
    if not any(test(parts.get("bytes", pa.null())) for test in (pa.types.is_binary, pa.types.is_large_binary)):
        raise InputError(
            f"{what} has no column image of bytes and path with the image's file in bytes; write it as Hugging Face's"
            " datasets does."
        )
    rest = schema.remove(place[0])
    check_columns(rest.names, what)
    check_kinds(rest, what)
    return list(rest.names)
