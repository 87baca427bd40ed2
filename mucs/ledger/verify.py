"""Verification: recompute everything that the chain commits to, and name the first thing that does not hold."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import logging
import multiprocessing
import os
import re
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from mucs import InputError
from mucs.canonical import digest
from mucs.evidence import merkle
from mucs.evidence.edges import NUMBERS, PUBLISHED
from mucs.evidence.leaves import hash_leaves, pack
from mucs.evidence.outcome import OUTCOME
from mucs.evidence.reading import raw_digests
from mucs.ledger import catalogue, chain
from mucs.ledger.ledger import SCHEMAS, Ledger
from mucs.ledger.load import members_sha256
from mucs.text import first_line

log = logging.getLogger("mucs.verify")

INVARIANTS = Path(__file__).parent / "invariants"
BATCH = 500_000  # edges that are hashed at a time
SLICE = 5_000_000  # edges that an invariant looks at, at a time
SECONDS_BETWEEN_REPORTS = 5
SHA256 = re.compile(r"[0-9a-f]{64}")
Subtrees = list[tuple[int, bytes]]
Submit = Callable[..., Future[Subtrees]]


def first_fault(ledger: Ledger, head: str | None = None) -> str | None:
    """What is wrong with the first thing in the ledger that does not hold; None if all of it holds.

    Checks, in this order: that the file defines what a ledger does and nothing else; the chain; that a remembered head
    (the SHA-256 of an entry) is in it; every item's row; the artifacts; each run's row, training set, outcomes, validations
    and edges against its entries; what else was registered; statements; and the invariants. Nothing that the file defines is
    run. Edges are read a batch at a time. Raises InputError if the head is no SHA-256.
    """
    if head is not None and not SHA256.fullmatch(head):
        raise InputError(f"{head!r} is not the head of a chain; give the 64 digits that `mucs verify` printed.")
    try:
        defined = catalogue.fault(catalogue.read(ledger.connection))
        if defined:
            return defined
        entries = ledger.entries()
        return (
            _schema_fault(ledger)
            or chain.first_fault(entries)
            or _head_fault(entries, head)
            or _item_fault(ledger)
            or _artifact_fault(ledger, entries)
            or _run_fault(ledger, entries)
            or _registered_fault(ledger, entries)
            or _content_fault(ledger)
            or _statement_fault(ledger, entries)
            or _invariant_fault(ledger)
        )
    except duckdb.Error as error:
        return f"the file is damaged, or its tables are not a ledger's ({first_line(error)})"
    except (
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        RecursionError,
    ) as error:  # whoever forges an entry may leave things out
        return f"something in it is not of the form that a ledger has ({type(error).__name__}: {error})"


def later_than(entries: Sequence[chain.Entry], head: str) -> int:
    """How many entries follow the one whose SHA-256 is `head`."""
    return len(entries) - next(entry.position for entry in entries if entry.sha256 == head)


def _schema_fault(ledger: Ledger) -> str | None:
    versions = [row["schema_version"] for row in ledger.rows("FROM ledger")]
    known = len(versions) == 1 and versions[0] in SCHEMAS
    return None if known else f"the table ledger says {versions}, and not one of {SCHEMAS} once"


def _head_fault(entries: Sequence[chain.Entry], head: str | None) -> str | None:
    if head is None or head in {entry.sha256 for entry in entries}:
        return None
    return f"the chain of {len(entries)} entries has none with the remembered head {head[:12]}: entries were removed from its end, or it is another ledger's"


def _item_fault(ledger: Ledger) -> str | None:
    columns = {"training": ("id", "sha256", "rights_holder", "licence", "date"), "generated": ("id", "sha256")}
    for kind, names in columns.items():
        for item in ledger.rows(f"SELECT * FROM {kind}_items ORDER BY {kind}_id"):
            row = json.loads(item["manifest_row"])
            as_loaded = {name: row[name][:10] if name == "date" else row[name] for name in names}
            if digest(row) != item["row_sha256"] or as_loaded != {name: str(item[name]) for name in names}:
                return f"the {kind} item {item['id']} is not the one that was registered"
    return None


def _artifact_fault(ledger: Ledger, entries: Sequence[chain.Entry]) -> str | None:
    """The first artifact that is not the one which the entries of runs bring, numbered in their order."""
    committed: dict[tuple[str, str], tuple[int, str, str, int, int]] = {}
    for entry in entries:
        if entry.kind == "run":
            body = json.loads(entry.entry)["body"]
            for a in body["artifacts"]:
                row = (len(committed) + 1, a["kind"], a["sha256"], a["files"], a["bytes"])
                if committed.setdefault((a["kind"], a["sha256"]), row)[3:] != row[3:]:
                    return f"run {body['run'][:12]} says another size of the {a['kind']} {a['sha256'][:12]} than a run before it"
    rows = ledger.connection.execute(
        "SELECT artifact_id, kind, sha256, files, bytes FROM artifacts ORDER BY ALL"
    ).fetchall()
    for (_, kind, sha256, *_), row in zip(committed.values(), rows, strict=False):
        if row != committed[kind, sha256]:
            return f"the {row[1]} {row[2][:12]} stands where the entries of runs have the {kind} {sha256[:12]}, or says another size"
    if len(rows) > len(committed):
        return f"the {rows[len(committed)][1]} {rows[len(committed)][2][:12]} is an artifact of no run"
    return (
        None
        if len(rows) == len(committed)
        else f"of {len(committed)} artifacts that the entries of runs bring, {len(rows)} are there"
    )


def _run_fault(ledger: Ledger, entries: Sequence[chain.Entry]) -> str | None:
    """The first fault of a run, of what its entries commit to besides its record, or of its edges."""
    bodies = [(entry.kind, json.loads(entry.entry)["body"]) for entry in entries if entry.kind in ("run", "validation")]
    committed = {body["run"]: body for kind, body in bodies if kind == "run"}
    gates: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for kind, body in bodies:
        if kind == "validation":
            gates[body["run"]].append((body["suite"], body["result"]))
    runs = ledger.rows("SELECT * FROM runs ORDER BY run_id")
    artifacts = {row["artifact_id"]: row for row in ledger.rows("SELECT * FROM artifacts ORDER BY artifact_id")}
    for run in runs:
        sha256, record = run["sha256"], json.loads(run["record"])
        body = committed.get(sha256)
        if (
            body is None
            or digest(record) != sha256
            or body["record"] != record
            or not _row_agrees(run, body, artifacts)
        ):
            return f"run {sha256[:12]} is not the one that its entry commits to"
        for what, agrees in _COMMITTED.items():
            if not agrees(ledger, run["run_id"], body):
                return f"the {what} of run {sha256[:12]} are not those that its entry commits to"
        if not _validations_agree(ledger, run["run_id"], gates[sha256]):
            return f"the validations of run {sha256[:12]} are not those that its entries commit to"
    missing = committed.keys() - {run["sha256"] for run in runs}
    if missing:
        return f"run {min(missing)[:12]} has an entry but no rows"
    validated = ledger.one("SELECT count(*) FROM validations")
    return None if validated == sum(map(len, gates.values())) else "a validation belongs to no run"


def _row_agrees(run: Mapping[str, Any], body: Mapping[str, Any], artifacts: Mapping[int, Mapping[str, Any]]) -> bool:
    """Whether a run's row says what its record does."""
    record = body["record"]
    inputs = {**record["inputs"], "calibration": record["calibration"]}
    for kind in ("checkpoint", "training_set", "held_out", "calibration", "batch"):
        given, found = inputs.get(kind), artifacts.get(run[f"{kind}_id"])
        if (given and (kind, given["sha256"])) != (found and (found["kind"], found["sha256"])):
            return False
    committed = (record["method"], body["location"], digest(record["settings"]))
    return committed == (run["method"], run["location"], run["settings_sha256"])


def _members_agree(ledger: Ledger, run_id: int, body: Mapping[str, Any]) -> bool:
    rows = (
        "SELECT row_sha256 FROM members JOIN training_items USING (training_id)"
        " WHERE training_set_id = (SELECT training_set_id FROM runs WHERE run_id = ?)"
    )
    return bool(members_sha256(ledger, rows, run_id) == body.get("members"))


def _outcomes_agree(ledger: Ledger, run_id: int, body: Mapping[str, Any]) -> bool:
    found = ledger.rows(
        f"SELECT row_sha256, {', '.join(OUTCOME.names)} FROM attributions JOIN generated_items USING (generated_id)"
        " WHERE run_id = ? ORDER BY row_sha256",
        [run_id],
    )
    for row in found:
        row["recall"] = row["recall"] and json.loads(row["recall"])
    committed = body["record"]["results"]["attributions"]
    names = ("row_sha256", *OUTCOME.names)
    return found == sorted(({name: a[name] for name in names} for a in committed), key=_by_row)


def _by_row(outcome: Mapping[str, Any]) -> str:
    return str(outcome["row_sha256"])


def _edges_agree(ledger: Ledger, run_id: int, body: Mapping[str, Any]) -> bool:
    results = body["record"]["results"]
    found = ledger.connection.execute(
        "SELECT row_sha256, generated_id, count(*) FROM edges LEFT JOIN generated_items USING (generated_id)"
        " WHERE run_id = ? GROUP BY ALL ORDER BY ALL",
        [run_id],
    ).fetchall()
    expected = {a["row_sha256"]: a["survivors"] for a in results["attributions"] if a["survivors"]}
    counts = {row_sha256: count for row_sha256, _, count in found}
    if counts != expected or sum(counts.values()) != results["edges"]:
        return False
    return bool(edges_root(ledger, run_id, found) == results["edges_root"])


_COMMITTED: dict[str, Callable[[Ledger, int, Mapping[str, Any]], bool]] = {
    "members of the training set": _members_agree,
    "outcomes": _outcomes_agree,
    "edges": _edges_agree,
}


def _validations_agree(ledger: Ledger, run_id: int, committed: Sequence[tuple[str, str]]) -> bool:
    found = ledger.rows("SELECT suite, success, sha256, result FROM validations WHERE run_id = ?", [run_id])
    for row in found:
        result = json.loads(row["result"])
        if digest(result) != row["sha256"] or (result["suite"], result["success"]) != (row["suite"], row["success"]):
            return False
    return sorted((row["suite"], row["sha256"]) for row in found) == sorted(committed)


def edges_root(ledger: Ledger, run_id: int, items: Sequence[tuple[str, int, int]]) -> str:
    """The Merkle root over a run's edges as they lie in the ledger, a batch at a time, in hexadecimal.

    items: SHA-256 of row, number and edge count of each generated item, in the order of the first.
    """
    training = ledger.connection.execute("SELECT training_id, row_sha256 FROM training_items").to_arrow_table()
    numbers = training["training_id"].to_numpy()
    digests = np.zeros(numbers.max(initial=0) + 1, "V32")
    digests[numbers] = raw_digests(training["row_sha256"].combine_chunks())
    tree, total, done, told = merkle.Growing(), sum(count for *_, count in items), 0, time.monotonic()
    with _hashers(total) as submit:
        waiting: deque[Future[Subtrees]] = deque()
        for batch in _batches(items):
            waiting.append(submit(_subtrees, _leaves(ledger, run_id, batch, digests), done))
            done += sum(count for *_, count in batch)
            while len(waiting) > (os.cpu_count() or 1):
                tree.add(waiting.popleft().result())
            if time.monotonic() - told > SECONDS_BETWEEN_REPORTS:
                told = time.monotonic()
                log.info("verify    run %d: %.1f of %.1f million edges", run_id, done / 1e6, total / 1e6)
        for future in waiting:
            tree.add(future.result())
    return tree.root().hex()


@contextlib.contextmanager
def _hashers(edges: int) -> Iterator[Submit]:
    """Where to hash that many edges: for many in processes of their own, as the interpreter hashes in one thread only."""
    if edges <= 2 * BATCH:
        yield _at_once
        return
    # forked, so that a script which calls this needs no guard; the children do nothing but hash
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("fork")) as pool:
        try:
            yield pool.submit
        finally:
            pool.shutdown(cancel_futures=True)


def _at_once(function: Callable[..., Subtrees], *arguments: Any) -> Future[Subtrees]:
    done: Future[Subtrees] = Future()
    done.set_result(function(*arguments))
    return done


def _subtrees(raw: bytes, start: int) -> Subtrees:
    return merkle.complete(hash_leaves(raw), start)


def _batches(items: Sequence[tuple[str, int, int]]) -> Iterator[list[tuple[str, int, int]]]:
    batch: list[tuple[str, int, int]] = []
    size = 0
    for item in items:
        batch.append(item)
        size += item[2]
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _leaves(ledger: Ledger, run_id: int, batch: Sequence[tuple[str, int, int]], digests: np.ndarray) -> bytes:
    """The leaves of some generated items, by row and rank. digests: of training rows, (N,) V32 by number; 0 is none."""
    numbers = [number for _, number, _ in batch]
    found = ledger.connection.execute(
        f"SELECT generated_id, training_id, rank, {PUBLISHED}"
        f" FROM edges WHERE run_id = ? AND generated_id IN ({', '.join(map(str, numbers))})",
        [run_id],
    ).to_arrow_table()
    generated, training, rank = (found[name].to_numpy() for name in ("generated_id", "training_id", "rank"))
    by_number = np.argsort(numbers)
    place = by_number[np.searchsorted(np.sort(numbers), generated)]
    order = np.argsort(place * 2**32 + rank, kind="stable")  # mostly sorted already, which this kind is quick with
    training = np.where((training < 1) | (training >= len(digests)), 0, training)
    rows = raw_digests(pa.array([row_sha256 for row_sha256, *_ in batch], pa.string()))
    values = {name: found[name].to_numpy()[order] for name in NUMBERS}
    return pack(rows[place[order]], digests[training[order]], rank[order], values)


def _registered_fault(ledger: Ledger, entries: Sequence[chain.Entry]) -> str | None:
    """The first table of what was registered whose rows are not those that the entries of its kind commit to."""
    for kind, (table, bodies) in _REGISTERED.items():
        found: dict[int, list[tuple[Any, datetime.datetime]]] = defaultdict(list)
        for position, body, at in bodies(ledger):
            found[position].append((body, at))
        for entry in entries:
            content = json.loads(entry.entry)
            committed = (
                [(content["body"], datetime.datetime.fromisoformat(content["at"]))] if entry.kind == kind else []
            )
            if found.pop(entry.position, []) != committed:
                return f"the {table} of entry {entry.position} are not those that it commits to"
        if found:
            return f"the {table} of entry {min(found)} have no entry"
    return None


Bodies = Iterator[tuple[int, dict[str, Any], datetime.datetime]]


def _rights(ledger: Ledger) -> Bodies:
    """The body of each entry of rights, and its time, as the rows have it."""
    grouped: dict[tuple[int, datetime.datetime], list[dict[str, Any]]] = defaultdict(list)
    for row in ledger.rows("SELECT * FROM rights ORDER BY position, line"):
        days = {name: row[name] and row[name].isoformat() for name in ("valid_from", "valid_to")}
        grouped[row.pop("position"), row.pop("recorded_at")].append(row | days)
    for (position, at), rows in grouped.items():
        yield position, {"rows": len(rows), "sha256": digest(rows)}, at


def _derivations(ledger: Ledger) -> Bodies:
    for row in ledger.rows("SELECT * FROM derivations"):
        yield row["position"], {"child": row["child_sha256"], "parent": row["parent_sha256"]}, row["recorded_at"]


def _withdrawals(ledger: Ledger) -> Bodies:
    for row in ledger.rows("SELECT w.*, r.sha256 FROM withdrawals w LEFT JOIN runs r USING (run_id)"):
        yield row["position"], {"run": row["sha256"], "reason": row["reason"]}, row["recorded_at"]


_REGISTERED: dict[str, tuple[str, Callable[[Ledger], Bodies]]] = {
    "rights": ("rights", _rights),
    "derivation": ("derivations", _derivations),
    "withdrawal": ("withdrawals", _withdrawals),
}


def _content_fault(ledger: Ledger) -> str | None:
    """The first statement or usage report whose name is not the SHA-256 of its content."""
    for table, what in (("usage_reports", "usage report"), ("statements", "statement")):
        found = ledger.connection.execute(f"SELECT position, sha256, content FROM {table} ORDER BY ALL")
        while row := found.fetchone():
            position, sha256, content = row
            if hashlib.sha256(content.encode()).hexdigest() != sha256:
                return f"the {what} of entry {position} was edited: its content does not have its digest"
    return None


def _statement_fault(ledger: Ledger, entries: Sequence[chain.Entry]) -> str | None:
    """The first statement whose header does not agree with what the chain held when it was issued."""
    before: dict[str, dict[str, Any]] = {}  # records of the runs so far
    sets: set[str] = set()
    headers = {row["position"]: json.loads(row["content"])["header"] for row in ledger.rows("FROM statements")}
    for entry, last in zip(entries, [None, *entries], strict=False):
        if entry.kind == "run":
            body = json.loads(entry.entry)["body"]
            before[body["run"]] = body["record"]
            sets.add(body["record"]["inputs"]["training_set"]["sha256"])
        header = headers.get(entry.position)
        if header is None or entry.kind != "statement":
            continue
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
    """The first invariant with a row that violates it; those named edges_* are asked of some generated items at a time."""
    for path in sorted(INVARIANTS.glob("*.sql")):
        text = path.read_text()
        for _ in _slices(ledger) if path.stem.startswith("edges_") else (None,):
            result = ledger.connection.execute(text)
            row = result.fetchone()
            if row is not None:
                names = [column[0] for column in result.description or ()]
                where = ", ".join(f"{name} {value}" for name, value in zip(names, row, strict=True))
                what = text.partition("\n")[0].removeprefix("-- ").removesuffix(".")
                return f"the invariant {path.stem} is violated ({what}) by {where}"
    return None


def _slices(ledger: Ledger) -> Iterator[None]:
    """While it goes on, `edges` means some of the generated items' edges, in turn."""
    counts = ledger.connection.execute("SELECT generated_id, count(*) FROM edges GROUP BY ALL ORDER BY ALL").fetchall()
    ranges, size = [], SLICE
    for number, count in counts:
        if size >= SLICE:
            ranges.append([number, number])
            size = 0
        ranges[-1][1] = number
        size += count
    try:
        for first, last in ranges:
            ledger.connection.execute(
                f"CREATE OR REPLACE TEMP VIEW edges AS SELECT * FROM {catalogue.FILE}.main.edges WHERE generated_id BETWEEN {first} AND {last}"
            )
            yield
    finally:
        ledger.connection.execute("DROP VIEW IF EXISTS temp.edges")
