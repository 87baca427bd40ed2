"""Verify a log: whether it holds by itself, with nothing but what lies in it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mucs import InputError
from mucs.evidence.chain import Entry
from mucs.evidence.entries import objects_of
from mucs.evidence.leaves import edges_root
from mucs.evidence.log import Broken, Log, entry_name
from mucs.evidence.signing import open_envelope, read_public_key
from mucs.parse import load_json

log_of_verify = logging.getLogger("mucs.verify")

AT_ONCE = 2  # objects that are hashed side by side
MALFORMED = (LookupError, TypeError, AttributeError, ValueError)


def log_fault(log: Log, entries: Sequence[Entry], key: Path | None = None) -> str | None:
    """What is wrong with the first thing in a log that does not hold; None if all of it holds.

    Reads every object that an entry commits to and holds it to its SHA-256, and a run's edges to the Merkle root of its record.

    Args:
        log: The log.
        entries: All of its entries, which follow each other.
        key: A public key that every run must be signed with.

    Raises:
        InputError: If the log's store does not answer, or the key is none.
    """
    if key:
        read_public_key(key)
    last = entry_name(len(entries))
    beyond = [name for name in log.store.names("log/") if name > last or not entries]
    if beyond:
        return f"{beyond[0]} follows on nothing: entry {len(entries) + 1} is missing"
    checked: set[str] = set()
    checks: list[Callable[[], str | None]] = []
    brought = [entry.body.get("runs", {}) for entry in entries if entry.kind == "import"]
    objects = {run: given for runs in brought for run, given in runs.items()}
    for entry in entries:
        try:
            new = [(what, sha256) for what, sha256 in objects_of(entry) if sha256 not in checked]
            checked.update(sha256 for _, sha256 in new)
            if entry.kind == "run":
                if entry.version > 1:
                    objects[entry.body["run"]] = entry.body["objects"]
                edges = objects[entry.body["run"]]["edges"]
                new = [(what, sha256) for what, sha256 in new if sha256 != edges]  # read for its root anyway
                checks.append(_Run(log, entry, edges, key))
        except MALFORMED as error:
            return f"entry {entry.position} is not of the form of a {entry.kind} ({type(error).__name__}: {error})"
        checks += [_Object(log, entry, what, sha256) for what, sha256 in new]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for fault in pool.map(_checked, checks):
            if fault:
                pool.shutdown(cancel_futures=True)
                return fault
    return None


def _checked(check: Callable[[], str | None]) -> str | None:
    return check()


class _Object:
    """Whether an object is there, and has its digest."""

    def __init__(self, log: Log, entry: Entry, what: str, sha256: str) -> None:
        self.log, self.entry, self.what, self.sha256 = log, entry, what, sha256

    def __call__(self) -> str | None:
        try:
            with self.log.file(self.sha256):
                return None
        except Broken as error:
            return f"the {self.what} of entry {self.entry.position} does not hold: {_lowered(error)}"


class _Run:
    """Whether a run's edges have the root of its record, and whether it is signed."""

    def __init__(self, log: Log, entry: Entry, edges: str, key: Path | None) -> None:
        self.log, self.entry, self.edges, self.key = log, entry, edges, key

    def __call__(self) -> str | None:
        run = self.entry.body["run"]
        log_of_verify.info("verify    run %s", run[:16])
        try:
            record = record_of(self.log, self.entry)
            with self.log.file(self.edges) as path:
                try:
                    root = edges_root(path)
                except InputError as error:  # what is no Parquet of edges
                    return f"the edges of run {run[:12]} do not hold: {_lowered(error)}"
            if root != record["results"]["edges_root"]:
                return f"the edges of run {run[:12]} do not have the Merkle root of its record"
            return _signature_fault(self.log, self.entry, self.key) if self.key else None
        except Broken as error:
            return f"entry {self.entry.position} does not hold: {_lowered(error)}"
        except InputError:  # the store does not answer
            raise
        except MALFORMED as error:
            return f"entry {self.entry.position} is not of the form of a run ({type(error).__name__}: {error})"


def record_of(log: Log, entry: Entry) -> Mapping[str, Any]:
    """The run record of a run's entry."""
    found: Mapping[str, Any] = entry.body["record"] if entry.version == 1 else load_json(log.object(entry.body["run"]))
    return found


def _signature_fault(log: Log, entry: Entry, key: Path) -> str | None:
    run = str(entry.body["run"])
    sha256 = entry.body.get("objects", {}).get("envelope")
    if sha256 is None:
        return f"run {run[:12]} was never signed"
    envelope = log.object(sha256)
    try:
        said = open_envelope(load_json(envelope), key)
    except ValueError:  # InputError, too
        return f"the envelope of run {run[:12]} is no signed statement"
    if said is None:
        return f"run {run[:12]} was not signed with {key}"
    if run not in {subject["digest"]["sha256"] for subject in said["subject"]}:
        return f"the envelope of run {run[:12]} was signed for another run"
    return None


def _lowered(error: Exception) -> str:
    said = str(error)
    return said[:1].lower() + said[1:].rstrip(".")
