"""Files that are there whole or not at all, within bounds, and whether a folder takes any."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mucs import InputError
from mucs.text import is_fit

PART = ".mucs-part-"  # a folder that one writer works in, locked for as long as the writer lives
SWEPT: set[Path] = set()  # folders that this process has looked through for what killed writers left


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place of the writer's own to write to; when the block ends well it takes the place of `path` in one step.

    Any number of threads and processes may write one path: readers see what one of them wrote, and nothing of two.

    Raises:
        InputError: If there is something else than a file.
    """
    with _part(path) as partial:
        yield partial
        partial.replace(path)


@contextlib.contextmanager
def creating(path: Path) -> Iterator[Path]:
    """As `replacing`, but what has come to be at `path` in the meantime stays."""
    with _part(path) as partial:
        yield partial
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)


def reserve(path: Path, size: int) -> None:
    """Make a file of so many bytes, 0 all of them, that can be mapped and written to.

    Raises:
        InputError: If the disk has no room for it: found out by writing to the map, that would end the process.
    """
    with path.open("wb") as f:
        try:
            os.posix_fallocate(f.fileno(), 0, max(1, size))
        except OSError as error:
            reason = str(error.strerror).lower()
            raise InputError(
                f"There is no room for {size:,} bytes in {path.parents[1]} ({reason}); free some, or give another folder."
            ) from None


def read_at_most(path: Path, most: int) -> bytes:
    """The bytes of a file, which may be a pipe.

    Raises:
        ValueError: If there are more than `most`.
        OSError: As `open` does.
    """
    with path.open("rb") as f:
        found = f.read(most + 1)
    if len(found) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return found


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal, read in blocks.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        with path.open("rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({str(error.strerror).lower()}); put it back, or make it anew."
        ) from None


@contextlib.contextmanager
def _part(path: Path) -> Iterator[Path]:
    if path.exists() and not path.is_file():  # a device would be no device any more
        raise InputError(f"{path} is there and is not a file; give another place.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent not in SWEPT:
        _sweep(path.parent)
        SWEPT.add(path.parent)
    folder, lock = _locked_folder(path.parent)
    try:
        yield folder / path.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """A new folder, and the open handle that holds its lock: the system frees it when the process ends, however it ends."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PART, dir=parent))
        with contextlib.suppress(FileNotFoundError):  # swept away before it was locked
            lock = os.open(folder, os.O_RDONLY)
            with contextlib.suppress(OSError):  # a file system without locks, where nothing is swept either
                fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _sweep(parent: Path) -> None:
    """Remove what killed writers left in a folder."""
    with os.scandir(parent) as entries:
        parts = [entry.path for entry in entries if entry.name.startswith(PART)]
    for part in parts:
        with contextlib.suppress(OSError):  # gone, or locked by a writer that lives
            lock = os.open(part, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(part, ignore_errors=True)
            finally:
                os.close(lock)


def check_writable(folder: Path, what: str) -> None:
    """InputError, which names `what`, unless files can be made in a folder; it need not be there yet."""
    whole = folder.absolute()
    there = next(place for place in (whole, *whole.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise InputError(f"{there} is not a folder; give another place for {what}.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{there} cannot be written to; give another place for {what}, or mend its permissions.")


def is_inside(path: str) -> bool:
    """Whether a path with / stays in its folder, is written in one way alone, and can be shown."""
    parts = path.split("/")
    return (
        is_fit(path)
        and "\\" not in path
        and not set(parts) & {"", ".", ".."}
        and all(len(p.encode()) < 256 for p in parts)
    )
