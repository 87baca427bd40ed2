"""The chain: entries in canonical JSON, each holding the digest of the one before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mucs.canonical import canonical

GENESIS = "0" * 64


@dataclass(frozen=True)
class Entry:
    """One link. entry: its canonical JSON. sha256: of that text."""

    position: int
    kind: str
    sha256: str
    entry: str


def link(position: int, previous: str, kind: str, at: str, body: dict[str, Any]) -> Entry:
    """The entry at a position (from 1), after the entry whose digest is `previous` (GENESIS for the first).

    at: RFC 3339 time. body: what is committed to, as JSON.
    """
    text = canonical({"position": position, "previous": previous, "kind": kind, "at": at, "body": body})
    return Entry(position, kind, hashlib.sha256(text).hexdigest(), text.decode())


def first_fault(entries: Iterable[Entry]) -> str | None:
    """What is wrong with the first entry that does not hold; None if the whole chain holds."""
    previous = GENESIS
    for position, entry in enumerate(entries, start=1):
        if hashlib.sha256(entry.entry.encode()).hexdigest() != entry.sha256:
            return f"entry {entry.position} was edited: its text does not have its digest"
        content = json.loads(entry.entry)
        if entry.position != position or content["position"] != position:
            return f"entry {position} is missing: {entry.position} stands in its place"
        if content["previous"] != previous:
            return (
                f"entry {position} does not follow entry {position - 1}: it names another digest as the one before it"
            )
        if content["kind"] != entry.kind:
            return f"entry {position} was edited: its kind is {entry.kind!r}, its text says {content['kind']!r}"
        previous = entry.sha256
    return None
