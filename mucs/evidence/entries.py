"""Entries: what each kind of entry commits to besides what it says."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping

from mucs.evidence.chain import Entry

# the member of a body that is the SHA-256 of the object with all that the entry is about
CONTENT = {
    "validation": "result",
    "rights": "sha256",
    "usage": "usage",
    "statement": "sha256",
    "index": "index",
    "provisional": "edges",
}


def objects_by_run(entries: Iterable[Entry]) -> dict[str, Mapping[str, str]]:
    """The SHA-256 of a run's objects by name, for each run.

    An entry of before there was a log names no objects: the one that brought it there does.
    """
    found: dict[str, Mapping[str, str]] = {}
    for entry in entries:
        if entry.kind == "import":
            found |= entry.body["runs"]
        elif entry.kind == "run" and entry.version > 1:
            found[entry.body["run"]] = entry.body["objects"]
    return found


def objects_of(entry: Entry) -> Iterator[tuple[str, str]]:
    """Each object that an entry commits to: what it is, in words, and its SHA-256.

    Raises:
        LookupError, TypeError, AttributeError: If the entry is not of the form of its kind.
    """
    body = entry.body
    if entry.kind in CONTENT:
        yield entry.kind, body[CONTENT[entry.kind]]
    elif entry.kind == "run" and entry.version > 1:
        yield "record", body["run"]
        for name, sha256 in body["objects"].items():
            yield name.replace("_", " "), sha256
        for sha256 in body["thumbnails"] if entry.version > 2 else ():
            yield "thumbnails", sha256
    elif entry.kind == "import":
        for objects in body["runs"].values():
            for name, sha256 in objects.items():
                yield name, sha256


def retained_until(entry: Entry) -> datetime.datetime | None:
    """Until when, as it says, an entry and its objects are kept from being deleted; None if it does not say.

    Raises:
        TypeError, ValueError: If that is no time with a zone.
    """
    said = entry.body.get("retained_until")
    if said is None:
        return None
    until = datetime.datetime.fromisoformat(said)
    if until.tzinfo is None:
        raise ValueError("retained_until has no time zone")
    return until
