"""Stores: named bytes that are written once, in a folder or, with the same methods, in a bucket of S3 (`tasks/bucket.py`)."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from mucs import InputError
from mucs.files import check_writable, creating, file_sha256, replacing


class Store(Protocol):
    """Where bytes are kept under names with slashes; whole or not at all, and of several that are put under one name the first.

    Every method raises InputError if the store does not answer or refuses.

    Attributes:
        place: A folder, or `s3://bucket/prefix`.
        can_retain: Whether it can refuse to delete, so that `until` means something.
    """

    place: str
    can_retain: bool

    def get(self, name: str) -> bytes | None:
        """The bytes under a name, or None if there are none."""

    def fetch(self, name: str, path: Path) -> bool:
        """Copy what is under a name into a file, which is there whole or not at all; False if there is nothing."""

    def has(self, name: str) -> bool:
        """Whether there is something under a name."""

    def put(self, name: str, body: bytes | Path, until: datetime.datetime | None = None) -> bool:
        """Keep bytes under a name, unless there is something.

        Args:
            name: Their name.
            body: Bytes, or a file with them.
            until: Until when the store is to refuse to delete or replace them, where it can.

        Returns:
            Whether these bytes are under the name now: False if others were there before.
        """

    def retain(self, name: str, until: datetime.datetime) -> None:
        """Have the store refuse to delete or replace what is under a name until a time, unless it does so for longer already."""

    def retained_until(self, name: str) -> datetime.datetime | None:
        """Until when the store refuses anyone to delete what is under a name; None if it does not."""

    def delete(self, name: str) -> None:
        """Remove what is under a name, if there is something."""

    def names(self, prefix: str) -> Iterator[str]:
        """The names that begin so, in order."""

    def check(self) -> None:
        """See whether the store can be written to."""


class Folder:
    """A store in a folder, for one machine, or for several that mount it. It cannot keep anybody from deleting."""

    can_retain = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = str(folder.absolute())

    def get(self, name: str) -> bytes | None:
        with self._plain_errors(name):
            try:
                return (self.folder / name).read_bytes()
            except FileNotFoundError:
                return None

    def fetch(self, name: str, path: Path) -> bool:
        if not self.has(name):
            return False
        with self._plain_errors(name), replacing(path) as partial:
            shutil.copyfile(self.folder / name, partial)
        return True

    def has(self, name: str) -> bool:
        with self._plain_errors(name):
            return (self.folder / name).is_file()

    def put(self, name: str, body: bytes | Path, until: datetime.datetime | None = None) -> bool:
        path = self.folder / name
        with self._plain_errors(name):
            if not path.is_file():
                with creating(path) as partial:
                    if isinstance(body, Path):
                        shutil.copyfile(body, partial)
                    else:
                        partial.write_bytes(body)
                    _to_disk(partial)
                _to_disk(path.parent)
            if isinstance(body, Path):
                return file_sha256(path) == file_sha256(body)
            return path.read_bytes() == body

    def retain(self, name: str, until: datetime.datetime) -> None:
        pass

    def retained_until(self, name: str) -> datetime.datetime | None:
        return None

    def delete(self, name: str) -> None:
        with self._plain_errors(name):
            (self.folder / name).unlink(missing_ok=True)

    def names(self, prefix: str) -> Iterator[str]:
        found = []
        with self._plain_errors(prefix):
            for folder, inner, files in os.walk(self.folder / prefix.rpartition("/")[0], onerror=_unless_gone):
                inner[:] = [name for name in inner if not name.startswith(".")]  # what is being written
                start = Path(folder).relative_to(self.folder)
                found += [(start / name).as_posix() for name in files]
        yield from sorted(name for name in found if name.startswith(prefix))

    def check(self) -> None:
        check_writable(self.folder, f"the store {self.folder}")

    @contextlib.contextmanager
    def _plain_errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{self.folder / name} cannot be used ({str(error.strerror).lower()}); mend that, or give another place."
            ) from None


def _unless_gone(error: OSError) -> None:
    """Let a folder go that went away while it was looked into, or never was, as those of writers do."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _to_disk(path: Path) -> None:
    """Have a file, or a folder's list of names, survive a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
