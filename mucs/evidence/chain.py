"""The chain: entries in canonical JSON, each holding the digest of the one before it."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mucs.canonical import canonical
from mucs.parse import load_json

GENESIS = "0" * 64
# of what entries say; 1 is what ledgers kept before there was a log, and does not say so; a run of 2 has no thumbnails
VERSION = 3


@dataclass(frozen=True)
class Entry:
    """One link.

    Attributes:
        position: From 1.
        kind: What it is of, such as `run` or `rights`.
        sha256: Of its text, in hexadecimal.
        entry: Its text, in canonical JSON.
    """

    position: int
    kind: str
    sha256: str
    entry: str

    @classmethod
    def of(cls, text: bytes) -> Entry:
        """An entry from its text.

        Raises:
            ValueError: If it has not the form of one.
        """
        said = load_json(text)
        if not isinstance(said, dict) or not {"position", "previous", "kind", "at", "body"} <= said.keys():
            raise ValueError("it has not the form of an entry")
        if type(said["position"]) is not int or not isinstance(said["body"], dict):
            raise ValueError("it has not the form of an entry")
        return cls(said["position"], str(said["kind"]), hashlib.sha256(text).hexdigest(), text.decode())

    @cached_property
    def said(self) -> dict[str, Any]:
        """All that it says."""
        said: dict[str, Any] = json.loads(self.entry)
        return said

    @property
    def body(self) -> dict[str, Any]:
        """What it commits to."""
        body: dict[str, Any] = self.said["body"]
        return body

    @property
    def version(self) -> int:
        """By which of its forms the body is to be read."""
        return int(self.said.get("version", 1))

    @property
    def at(self) -> datetime.datetime:
        """When it was made."""
        return datetime.datetime.fromisoformat(self.said["at"])

    @property
    def previous(self) -> str:
        """The digest of the entry before it."""
        return str(self.said["previous"])


def link(position: int, previous: str, kind: str, at: str, body: dict[str, Any]) -> Entry:
    """The entry at a position (from 1), after the entry whose digest is `previous` (GENESIS for the first).

    Args:
        position: Its place.
        previous: SHA-256 of the entry before.
        kind: What it is of.
        at: RFC 3339 time.
        body: What is committed to, as JSON.
    """
    said = {"version": VERSION, "position": position, "previous": previous, "kind": kind, "at": at, "body": body}
    text = canonical(said)
    return Entry(position, kind, hashlib.sha256(text).hexdigest(), text.decode())


def fault_after(entry: Entry, position: int, previous: str) -> str | None:
    """Why an entry cannot stand at a position after another, whose digest is `previous`; None if it can."""
    if entry.position != position:
        return f"entry {position} is missing: {entry.position} stands in its place"
    if entry.previous != previous:
        return f"entry {position} does not follow entry {position - 1}: it names another digest as the one before it"
    return None


def first_fault(entries: Iterable[Entry]) -> str | None:
    """What is wrong with the first entry that does not hold; None if the whole chain holds."""
    previous = GENESIS
    for position, entry in enumerate(entries, start=1):
        if hashlib.sha256(entry.entry.encode()).hexdigest() != entry.sha256:
            return f"entry {entry.position} was edited: its text does not have its digest"
        said = Entry.of(entry.entry.encode())
        if said.kind != entry.kind:
            return f"entry {position} was edited: its kind is {entry.kind!r}, its text says {said.kind!r}"
        wrong = fault_after(said, position, previous) or fault_after(entry, position, previous)
        if wrong:
            return wrong
        previous = entry.sha256
    return None
