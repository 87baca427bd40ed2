"""The log: what happened, as entries in order and the objects that they commit to. It is the truth; ledgers are made from it.

An entry is `log/000000000042.json`, an object `objects/<SHA-256 of its bytes>`. Both are written once. Appending is a
compare-and-swap: an entry is put under the next number only if nothing is there, so that any number of writers make one chain.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mucs import InputError
from mucs.evidence.chain import GENESIS, Entry, fault_after
from mucs.evidence.entries import retained_until
from mucs.evidence.store import Folder, Store
from mucs.files import file_sha256

ONE_BY_ONE = 8  # entries that are read in turn; where so few are new, what is asked for beyond the last would cost more
AT_ONCE = 64  # entries that are read side by side


class Broken(InputError):
    """The log does not hold: an entry or an object is missing, was altered, or does not follow."""


def entry_name(position: int) -> str:
    """Where the entry at a position (from 1) lies."""
    return f"log/{position:012d}.json"


def object_name(sha256: str) -> str:
    """Where the object of a digest lies."""
    return f"objects/{sha256}"


class Log:
    """A log in a store.

    Attributes:
        store: Where it lies.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def place(self) -> str:
        """The store's."""
        return self.store.place

    def entry(self, position: int) -> Entry | None:
        """The entry at a position, or None.

        Raises:
            Broken: If what is there is no entry.
        """
        text = self.store.get(entry_name(position))
        return None if text is None else self._read(position, text)

    def after(self, position: int = 0, previous: str = GENESIS) -> Iterator[Entry]:
        """The entries behind a position, in order, each of which follows the one before.

        Args:
            position: That of the last entry that is known; 0 for none.
            previous: Its digest.

        Raises:
            Broken: If one does not follow.
        """
        known, width = position, 1
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while True:
                asked = range(position + 1, position + 1 + width)
                texts = (
                    map(self.store.get, map(entry_name, asked))
                    if width == 1
                    else pool.map(self.store.get, map(entry_name, asked))
                )
                for number, text in zip(asked, list(texts), strict=True):
                    if text is None:
                        return
                    entry = self._read(number, text)
                    wrong = fault_after(entry, number, previous)
                    if wrong:
                        raise Broken(f"The log {self.place} is broken: {wrong}; restore it from a copy.")
                    yield entry
                    position, previous = number, entry.sha256
                width = 1 if position < known + ONE_BY_ONE else min(max(2 * width, ONE_BY_ONE), AT_ONCE)

    def append(self, entry: Entry) -> bool:
        """Put an entry in its place, retained for as long as it says; False if another is there already."""
        return self.store.put(entry_name(entry.position), entry.entry.encode(), retained_until(entry))

    def keep(self, body: bytes | Path, until: datetime.datetime | None = None) -> str:
        """Keep an object, unless it is there; gives its SHA-256.

        Args:
            body: Bytes, or a file with them.
            until: Until when the store is to refuse to delete or replace it, where it can.

        Raises:
            Broken: If something else lies in its place.
        """
        sha256 = file_sha256(body) if isinstance(body, Path) else hashlib.sha256(body).hexdigest()
        if not self.store.put(object_name(sha256), body, until):
            raise Broken(f"The object {sha256} of the log {self.place} was altered; restore it from a copy.")
        return sha256

    def retain(self, sha256: str, until: datetime.datetime) -> None:
        """Have the store refuse to delete an object that is there until a time, where it can."""
        self.store.retain(object_name(sha256), until)

    def object(self, sha256: str) -> bytes:
        """An object's bytes.

        Raises:
            Broken: If it is missing or was altered.
        """
        body = self.store.get(object_name(sha256))
        self._check(sha256, None if body is None else hashlib.sha256(body).hexdigest())
        assert body is not None
        return body

    @contextlib.contextmanager
    def file(self, sha256: str) -> Iterator[Path]:
        """An object as a file, for as long as the block goes on; where it lies, or a copy.

        Raises:
            Broken: If it is missing or was altered.
        """
        if isinstance(self.store, Folder):
            path = self.store.folder / object_name(sha256)
            self._check(sha256, file_sha256(path) if path.is_file() else None)
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="mucs-object-") as folder:
            path = Path(folder) / sha256
            there = self.store.fetch(object_name(sha256), path)
            self._check(sha256, file_sha256(path) if there else None)
            yield path

    def _read(self, position: int, text: bytes) -> Entry:
        try:
            return Entry.of(text)
        except ValueError as error:
            raise Broken(
                f"The log {self.place} is broken: entry {position} cannot be read ({error}); restore it from a copy."
            ) from None

    def _check(self, sha256: str, found: str | None) -> None:
        if found != sha256:
            what = "is missing" if found is None else f"was altered: its SHA-256 is {found[:12]}"
            raise Broken(f"The object {sha256} of the log {self.place} {what}; restore it from a copy.")
