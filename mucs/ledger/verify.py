"""Verification: the log is held to itself, and the ledger to what the log says; the first thing that does not hold is named."""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import logging
import queue
import re
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from mucs import InputError
from mucs.canonical import digest
from mucs.evidence.chain import GENESIS, Entry
from mucs.evidence.entries import objects_by_run
from mucs.evidence.log import Broken, Log
from mucs.evidence.verify import MALFORMED, form_fault, log_fault, record_of
from mucs.ledger import catalogue
from mucs.ledger.edges import Digest, Known, edges_digest, edges_fault, edges_of
from mucs.ledger.lake import FILE, Credentials, literal
from mucs.ledger.ledger import Ledger
from mucs.ledger.tables import NAMES, table_digests
from mucs.text import as_clause, first_line

log_of_verify = logging.getLogger("mucs.verify")

INVARIANTS = Path(__file__).parent / "invariants"
REST = tuple(name for name in NAMES if name != "edges")
AT_ONCE = 2  # runs whose edges are compared side by side
SHA256 = re.compile(r"[0-9a-f]{64}")
PROJECTED = "projected"  # the name that the tables which the log gives are attached under


@dataclass(frozen=True)
class Verified:
    """What came of a verification.

    Attributes:
        fault: What is wrong with the first thing that does not hold; None if all holds.
        position: Of the last entry that was looked at; 0 if there is none.
        head: Its SHA-256.
        digests: A SHA-256 for each table, where all holds and there is a ledger.
    """

    fault: str | None
    position: int = 0
    head: str = GENESIS
    digests: dict[str, str] | None = None


def verify_log(log: Log, head: str | None = None, key: Path | None = None) -> Verified:
    """Hold a log to itself, with nothing but what lies in it: chain, objects, Merkle roots, signatures, statements.

    Args:
        log: The log.
        head: SHA-256 of an entry that is remembered, and must still be there.
        key: A public key that every run must be signed with.

    Raises:
        InputError: If the head is no SHA-256, the key is none, or the log's store does not answer.
    """
    if head is not None and not SHA256.fullmatch(head):
        raise InputError(f"{head!r} is not the head of a log; give the 64 digits that `mucs head` printed.")
    entries: list[Entry] = []
    try:
        entries.extend(log.after())
    except Broken as error:
        return Verified(as_clause(error), len(entries))
    last = entries[-1] if entries else None
    fault = _head_fault(entries, head) or log_fault(log, entries, key) or _statement_fault(log, entries)
    return Verified(fault, len(entries), last.sha256 if last else GENESIS)


def verify(
    ledger: Ledger, log: Log, head: str | None = None, key: Path | None = None, credentials: Credentials | None = None
) -> Verified:
    """Hold the log to itself, and a ledger to what the log says: what it defines, each row of each table, and the invariants.

    The tables are made anew from the log and compared; edges are compared with what their objects say, a run at a time. Nothing
    that the ledger defines is run.

    Args:
        ledger: The ledger.
        log: The log that it was made from; what the log has besides does not count against the ledger.
        head: As `verify_log` takes it.
        key: As `verify_log` takes it.
        credentials: Of S3, where the ledger's files lie there.

    Raises:
        InputError: As `verify_log` does.
    """
    verified = verify_log(log, head, key)
    if verified.fault:
        return verified
    try:
        position, sha256 = ledger.at()
        # read once more, as the ledger may have gone on since
        entries = [entry for entry in log.after() if entry.position <= position]
        digests: dict[str, str] = {}
        fault = catalogue.fault(catalogue.read(ledger.connection)) or _place_fault(entries, position, sha256)
        if fault is None:
            digests = table_digests(ledger.connection, REST)
            fault = _table_fault(ledger, log, entries, digests) or _edges_fault(
                ledger, log, entries, credentials, digests
            )
    except duckdb.Error as error:
        fault = f"the ledger is damaged, or its tables are not a ledger's ({first_line(error)})"
    return Verified(fault, verified.position, verified.head, None if fault else digests)


def _head_fault(entries: Sequence[Entry], head: str | None) -> str | None:
    if head is None or head in {entry.sha256 for entry in entries}:
        return None
    return (
        f"the log of {len(entries)} entries has none with the remembered head {head[:12]}: entries were removed from its end, or"
        " it is another log"
    )


def _place_fault(entries: Sequence[Entry], position: int, sha256: str) -> str | None:
    last = entries[-1] if entries else None
    if (position, sha256) == ((last.position, last.sha256) if last else (0, GENESIS)):
        return None
    return f"the ledger says that it was made from entry {position} {sha256[:12]}, and the log has no such entry"


def _table_fault(ledger: Ledger, log: Log, entries: Sequence[Entry], digests: Mapping[str, str]) -> str | None:
    """The first table, but for edges, that is not what the log gives, or the first invariant of them that is violated.

    Args:
        ledger: The ledger.
        log: Its log.
        entries: Those that the ledger has.
        digests: Those of its tables.
    """
    with tempfile.TemporaryDirectory(prefix="mucs-verify-") as folder:
        path = Path(folder) / "projected.duckdb"
        threads = ledger.one("SELECT current_setting('threads')")
        with Ledger.projected(path, log, entries, threads) as projected:
            expected = table_digests(projected.connection, REST)
            wrong = [name for name in REST if digests[name] != expected[name]]
            if not wrong:
                return _invariant_fault(projected)
        ledger.connection.execute(f"ATTACH '{literal(str(path))}' AS {PROJECTED} (READ_ONLY)")
        try:
            return _row_fault(ledger, wrong[0])
        finally:
            ledger.connection.execute(f"DETACH {PROJECTED}")


def _row_fault(ledger: Ledger, table: str) -> str:
    """The first row in which a table differs from what the log gives."""
    there, given = f"FROM {FILE}.main.{table}", f"FROM {PROJECTED}.main.{table}"
    for one, other, what in ((there, given, "has a row that the log does not give"), (given, there, "lacks a row")):
        rows = ledger.rows(f"SELECT * FROM (({one}) EXCEPT ALL ({other})) ORDER BY ALL LIMIT 1")
        if rows:
            told = ", ".join(f"{name} {_short(value)}" for name, value in rows[0].items() if value is not None)
            return f"the table {table} {what}: {told}"
    return f"the table {table} is not what the log gives"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


GENERATED = f"""SELECT row_sha256, generated_id::BIGINT AS number
FROM {FILE}.main.attributions JOIN {FILE}.main.generated_items USING (generated_id) WHERE run_id = ? ORDER BY row_sha256"""
TRAINING = f"""SELECT row_sha256, training_id::BIGINT AS number
FROM {FILE}.main.members JOIN {FILE}.main.training_items USING (training_id) WHERE training_set_id = ? ORDER BY row_sha256"""


def _edges_fault(
    ledger: Ledger, log: Log, entries: Sequence[Entry], credentials: Credentials | None, digests: dict[str, str]
) -> str | None:
    """The first run whose edges in the ledger are not those of its object, or not as edges are; `digests` is told that of edges."""
    objects = objects_by_run(entries)
    runs = ledger.rows(
        f"SELECT run_id, sha256, training_set_id, calibration_id IS NOT NULL AS calibrated FROM {FILE}.main.runs ORDER BY run_id"
    )
    if ledger.one(
        f"SELECT count(*) FROM (SELECT run_id FROM {FILE}.main.edges) ANTI JOIN {FILE}.main.runs USING (run_id)"
    ):
        return "there are edges of a run that the log does not have"
    of_runs = {run["run_id"]: Digest() for run in runs}
    free: queue.SimpleQueue[Ledger] = queue.SimpleQueue()

    @functools.lru_cache(AT_ONCE)  # many runs have one training set
    def training(training_set: int) -> Known:
        return Known.of(ledger.cursor().execute(TRAINING, [training_set]).to_arrow_table())

    def compare(run: Mapping[str, Any]) -> str | None:
        own = free.get()
        try:
            generated = Known.of(own.connection.execute(GENERATED, [run["run_id"]]).to_arrow_table())
            members = training(run["training_set_id"])
            with (
                log.file(objects[run["sha256"]]["edges"]) as path,
                contextlib.closing(edges_of(own.connection, run["run_id"])) as edges,
            ):
                fault = edges_fault(edges, path, generated, members, run["calibrated"], of_runs[run["run_id"]])
        finally:
            free.put(own)
        log_of_verify.info("verify    edges of run %d", run["run_id"])
        return f"the edges of run {run['sha256'][:12]} {fault}" if fault else None

    with contextlib.ExitStack() as stack, ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in runs[:AT_ONCE]:
            free.put(stack.enter_context(Ledger.open(ledger.place, credentials)))
        for fault in pool.map(compare, runs):
            if fault:
                pool.shutdown(cancel_futures=True)
                return fault
    digests["edges"] = edges_digest({number: each.hexdigest() for number, each in of_runs.items()})
    return None


def _statement_fault(log: Log, entries: Sequence[Entry]) -> str | None:
    """The first statement whose header does not agree with what the log held when it was issued."""
    before: dict[str, Mapping[str, Any]] = {}  # records of the runs so far
    sets: set[str] = set()
    reports: set[str] = set()
    for entry, last in zip(entries, [None, *entries], strict=False):
        try:
            if entry.kind == "run":
                record = before[entry.body["run"]] = record_of(log, entry)
                sets.add(record["inputs"]["training_set"]["sha256"])
            elif entry.kind == "usage":
                reports.add(entry.body["usage"])
            elif entry.kind == "statement":
                header = json.loads(log.object(entry.body["sha256"]))["header"]
                fault = _header_fault(header, entry, last, before, sets, reports)
                if fault:
                    return fault
        except InputError:
            raise
        except MALFORMED as error:
            return form_fault(entry, error)
    return None


def _header_fault(
    header: Mapping[str, Any],
    entry: Entry,
    last: Entry | None,
    before: Mapping[str, Mapping[str, Any]],
    sets: set[str],
    reports: set[str],
) -> str | None:
    """What in a statement's header does not agree with its entry, or with what was there before."""
    if any(header[name] != entry.body[name] for name in ("statement", "version", "supersedes")):
        return f"statement {header['statement']} is not the one that its entry names"
    if header["usage"]["sha256"] not in reports:
        return f"statement {header['statement']} rests on a usage report that was not there when it was issued"
    at = last and {"position": last.position, "head": last.sha256}
    if header["ledger"] != at:
        return f"statement {header['statement']} was not issued at the head of the chain that it names"
    if not set(header["runs"]) <= before.keys() or not set(header["training_sets"]) <= sets:
        return f"statement {header['statement']} names runs or training sets that were not there when it was issued"
    rest_on = [before[run] for run in header["runs"]]
    of_runs = {
        "methods": {record["method"] for record in rest_on},
        "checkpoints": {record["inputs"]["checkpoint"]["sha256"] for record in rest_on},
        "settings": {digest(record["settings"]) for record in rest_on},
        "noise_banks": {record["noise_bank"] for record in rest_on if record.get("noise_bank")},
    }
    for name, values in of_runs.items():
        if header[name] != sorted(values):
            return f"the {name.replace('_', ' ')} of statement {header['statement']} are not those of its runs"
    if datetime.datetime.fromisoformat(header["as_of"]) > datetime.datetime.fromisoformat(header["issued_at"]):
        return f"statement {header['statement']} rests on what was known after it was issued"
    return None


def _invariant_fault(ledger: Ledger) -> str | None:
    """The first invariant with a row that violates it."""
    for path in sorted(INVARIANTS.glob("*.sql")):
        text = path.read_text()
        result = ledger.connection.execute(text)
        row = result.fetchone()
        if row is not None:
            names = [column[0] for column in result.description or ()]
            where = ", ".join(f"{name} {value}" for name, value in zip(names, row, strict=True))
            what = text.partition("\n")[0].removeprefix("-- ").removesuffix(".")
            return f"the invariant {path.stem} is violated ({what}) by {where}"
    return None
