"""Verify a log: whether it holds by itself, with nothing but what lies in it."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from mucs import InputError
from mucs.evidence.chain import Entry
from mucs.evidence.entries import objects_by_run, objects_of, retained_until
from mucs.evidence.leaves import edges_root
from mucs.evidence.log import Broken, Log, entry_name, object_name
from mucs.evidence.signing import open_envelope, read_public_key
from mucs.parse import load_json
from mucs.text import as_clause

log_of_verify = logging.getLogger("mucs.verify")

AT_ONCE = 2  # objects that are hashed side by side
MALFORMED = (LookupError, TypeError, AttributeError, ValueError)

_Retained = tuple[str, datetime.datetime]  # what it is, in words, and until when it is to be kept


def log_fault(log: Log, entries: Sequence[Entry], key: Path | None = None) -> str | None:
    """What is wrong with the first thing in a log that does not hold; None if all of it holds.

    Reads every object that an entry commits to and holds it to its SHA-256, and a run's edges to the Merkle root of its record; and,
    where the store can retain, sees whether it keeps what is said to be kept.

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
    named: list[list[tuple[str, str]]] = []
    retained: dict[str, _Retained] = {}
    for entry in entries:
        try:
            named.append(list(objects_of(entry)))
            until = retained_until(entry)
        except MALFORMED as error:
            return form_fault(entry, error)
        if until and until > datetime.datetime.now(datetime.UTC):
            retained |= _longer(retained, entry, named[-1], until)
    objects = objects_by_run(entries)
    checks: list[Callable[[], str | None]] = []
    checked: set[str] = set()
    for entry, of_entry in zip(entries, named, strict=True):
        if entry.kind == "run":
            checks.append(partial(_run_fault, log, entry, objects, key))
        for what, sha256 in of_entry:
            # a run's edges are read for their root anyway
            if sha256 not in checked and (entry.kind, what) != ("run", "edges"):
                checks.append(partial(_object_fault, log, entry, what, sha256))
                checked.add(sha256)
    if log.store.can_retain:
        checks += [partial(_retention_fault, log, name, *said) for name, said in retained.items()]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(check) for check in checks]:
            fault = done.result()
            if fault:
                pool.shutdown(cancel_futures=True)
                return fault
    return None


def form_fault(entry: Entry, error: Exception) -> str:
    """That an entry, or an object that it commits to, is not of the form of its kind, as its reading showed."""
    return f"entry {entry.position} is not of the form of a {entry.kind} ({type(error).__name__}: {error})"


def _object_fault(log: Log, entry: Entry, what: str, sha256: str) -> str | None:
    """Whether an object is there, and has its digest."""
    try:
        with log.file(sha256):
            return None
    except Broken as error:
        return f"the {what} of entry {entry.position} does not hold: {as_clause(error)}"


def _longer(
    known: Mapping[str, _Retained], entry: Entry, objects: Sequence[tuple[str, str]], until: datetime.datetime
) -> dict[str, _Retained]:
    """By its name in the store, what of an entry and its objects is to be kept for longer than is known."""
    names = {entry_name(entry.position): f"entry {entry.position}"}
    names |= {object_name(sha256): f"the {what} of entry {entry.position}" for what, sha256 in objects}
    return {name: (what, until) for name, what in names.items() if name not in known or known[name][1] < until}


def _retention_fault(log: Log, name: str, what: str, until: datetime.datetime) -> str | None:
    """Whether the store keeps it for as long as its entry says."""
    kept = log.store.retained_until(name)
    if kept is not None and kept >= until:
        return None
    really = f"until {kept:%Y-%m-%d %H:%M:%S} alone" if kept else "from nobody who would delete it"
    return f"{what} is to be kept until {until:%Y-%m-%d %H:%M:%S} UTC, as it says, and {log.place} keeps it {really}"


def _run_fault(log: Log, entry: Entry, objects: Mapping[str, Mapping[str, str]], key: Path | None) -> str | None:
    """Whether a run's edges have their digest and the root of its record, and whether it is signed."""
    try:
        run = entry.body["run"]
        log_of_verify.info("verify    run %s", run[:16])
        record = record_of(log, entry)
        with log.file(objects[run]["edges"]) as path:
            try:
                root = edges_root(path)
            except InputError as error:  # what is no Parquet of edges
                return f"the edges of run {run[:12]} do not hold: {as_clause(error)}"
        if root != record["results"]["edges_root"]:
            return f"the edges of run {run[:12]} do not have the Merkle root of its record"
        return _signature_fault(log, entry, key) if key else None
    except Broken as error:
        return f"entry {entry.position} does not hold: {as_clause(error)}"
    except InputError:  # the store does not answer
        raise
    except MALFORMED as error:
        return form_fault(entry, error)


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
