"""Listing: the files of a pulled folder, and how they lay there when they were hashed, so that none is hashed twice."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from mucs.canonical import digest
from mucs.files import replacing

SCHEMA = pa.schema(
    [
        *[(name, pa.string()) for name in ("name", "md5", "sha256")],
        *[(name, pa.int64()) for name in ("size", "modified", "inode")],
    ]
)


class State(NamedTuple):
    """What changes when a file does: its size in bytes, when it was modified in ns, and which one it is."""

    size: int
    modified: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> State:
        """The state that the system tells of a file."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


class Hashed(NamedTuple):
    """A file's digests, and its state when it was hashed."""

    md5: str
    sha256: str
    state: State


@dataclass(frozen=True, eq=False)
class Listing:
    """A folder's files by name, in the order of their names."""

    files: Mapping[str, Hashed]

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the files' SHA-256 by name."""
        return digest({name: file.sha256 for name, file in self.files.items()})

    @property
    def bytes(self) -> int:
        """Of all different files."""
        return sum({file.md5: file.state.size for file in self.files.values()}.values())

    def is_of(self, folder: Path) -> bool:
        """Whether a folder has these files, none of which was touched since it was hashed, and no others."""
        seen = 0
        try:
            for name, state in _states(folder):
                file = self.files.get(name)
                if file is None or file.state != state:
                    return False
                seen += 1
        except OSError:
            return False
        return seen == len(self.files)

    @classmethod
    def read(cls, path: Path) -> Listing:
        """A listing as it was written. Raises OSError if there is none."""
        names, md5s, sha256s, *states = (column.to_pylist() for column in pq.read_table(path, schema=SCHEMA).columns)
        hashed = map(Hashed, md5s, sha256s, map(State, *states))
        return cls(dict(zip(names, hashed, strict=True)))

    def write(self, path: Path) -> None:
        """Put it to a file, whole or not at all."""
        rows = [(name, file.md5, file.sha256, *file.state) for name, file in self.files.items()]
        columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
        arrays = [pa.array(column, kind) for column, kind in zip(columns, SCHEMA.types, strict=True)]
        with replacing(path) as partial:
            pq.write_table(pa.table(arrays, schema=SCHEMA), partial)


def _states(folder: Path) -> Iterator[tuple[str, State]]:
    """Each file within a folder: its name with /, and its state."""
    todo = [""]
    while todo:
        at = todo.pop()
        with os.scandir(folder / at) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(f"{at}{entry.name}/")
                else:
                    yield at + entry.name, State.of(entry.stat(follow_symlinks=False))


def listing_path(folder: Path) -> Path:
    """Where the listing of a pulled folder lies."""
    return folder.with_name(f"{folder.name}.parquet")


class Known:
    """Which listings the cache has of a path in registries.

    A text for each version of it, named for what DVC says of it, gives the digest of the folder that it was.
    """

    def __init__(self, cache: Path, path: str, said: Mapping[str, str]) -> None:
        """said: MD5 by path of DVC's outputs."""
        self.folders, self.versions = cache / "folders", cache / "listings" / digest(path)[:16]
        self.place = self.versions / digest(dict(said))

    def listing(self) -> tuple[Path, Listing] | None:
        """The folder of this version, and its listing; None if the cache does not have them."""
        return self._read(self.place)

    def last(self) -> Listing:
        """That of the version which came last, for files that both have; empty if there is none."""
        try:
            places = sorted(self.versions.iterdir(), key=lambda place: place.stat().st_mtime_ns)
        except OSError:
            places = []
        found = self._read(self.place) or (self._read(places[-1]) if places else None)
        return found[1] if found else Listing({})

    def write(self, listing: Listing, folder: Path) -> None:
        """Keep a listing, and which folder it is of."""
        listing.write(listing_path(folder))
        with replacing(self.place) as partial:
            partial.write_text(folder.name)

    def _read(self, place: Path) -> tuple[Path, Listing] | None:
        try:
            folder = self.folders / place.read_text()
            return folder, Listing.read(listing_path(folder))
        except (OSError, ValueError, pa.ArrowException):
            return None
