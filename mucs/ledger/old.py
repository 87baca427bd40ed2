"""Ledgers of before there was a log: single DuckDB files of schema 6 or 7, which are brought over into a log, once."""

from __future__ import annotations

import datetime
import hashlib
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb

from mucs import InputError
from mucs.canonical import canonical, digest
from mucs.evidence.chain import Entry, first_fault, link
from mucs.evidence.edges import PUBLISHED
from mucs.evidence.entries import CONTENT
from mucs.evidence.leaves import edges_root
from mucs.evidence.log import Log
from mucs.ledger.lake import literal
from mucs.text import first_line

SCHEMAS = (6, 7)
PARQUET = "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 1048576)"
TRAINING = """SELECT manifest_row::VARCHAR AS said, row_sha256 FROM old.training_items
WHERE training_id IN (SELECT training_id FROM old.members WHERE training_set_id = {set}) ORDER BY training_id"""
GENERATED = """SELECT manifest_row::VARCHAR AS said, row_sha256 FROM old.generated_items
WHERE generated_id IN (SELECT generated_id FROM old.attributions WHERE run_id = {run}) ORDER BY generated_id"""
EDGES = f"""SELECT
    g.row_sha256 AS generated_row_sha256, g.id AS generated, g.sha256 AS generated_sha256,
    t.row_sha256 AS training_row_sha256, t.id AS training, t.sha256 AS training_sha256, e.rank, {PUBLISHED}
FROM old.edges e JOIN old.generated_items g USING (generated_id) JOIN old.training_items t USING (training_id)
WHERE run_id = {{run}} ORDER BY generated_id, rank"""


def bring_over(path: Path, log: Log) -> int:
    """Put an old ledger's entries into an empty log, word for word, with objects for all that they commit to.

    One entry more says which objects belong to its runs. What was put before a kill is found there by the next call.

    Args:
        path: The old ledger's file.
        log: Empty, or with a part of the same.

    Returns:
        How many entries the old ledger has.

    Raises:
        InputError: If the file is no such ledger, or does not hold, or the log has other entries.
    """
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    with connection:
        try:
            _attach(connection, path)
            return _bring_over(connection, path, log)
        except duckdb.Error as error:
            raise InputError(
                f"{path} is no ledger of before there was a log, or is damaged ({first_line(error)}); give one of schema 6 or 7."
            ) from None


def _attach(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    if not path.is_file():
        raise InputError(f"There is no file {path}; give that of an old ledger.")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"ATTACH '{literal(str(path.resolve()))}' AS old (TYPE duckdb, READ_ONLY)")
    versions = [row[0] for row in connection.execute("SELECT schema_version FROM old.ledger").fetchall()]
    if len(versions) != 1 or versions[0] not in SCHEMAS:
        raise InputError(
            f"The ledger {path} is of schema {versions}, and schemas 6 and 7 can be brought over; give one of those."
        )


def _bring_over(connection: duckdb.DuckDBPyConnection, path: Path, log: Log) -> int:
    rows = connection.execute("SELECT position, kind, sha256, entry FROM old.entries ORDER BY position").fetchall()
    entries = [Entry(*row) for row in rows]
    wrong = first_fault(entries)
    if wrong:
        raise InputError(f"The ledger {path} does not hold: {wrong}; restore it from a copy.")
    first = log.entry(1)
    if first is not None and (not entries or first != entries[0]):
        raise InputError(f"The log {log.place} has other entries than {path}; give an empty place as --log.")
    _keep_contents(connection, path, log, entries)
    runs = {e.body["run"]: _keep_run(connection, path, log, e) for e in entries if e.kind == "run"}
    for entry in entries:
        if not log.append(entry):
            raise InputError(
                f"The log {log.place} has another entry {entry.position} than {path}; give an empty place as --log."
            )
    _append_import(log, entries, runs)
    return len(entries)


def _append_import(log: Log, entries: list[Entry], runs: dict[str, dict[str, str]]) -> None:
    """Say which objects belong to the runs, unless that was said."""
    if not entries or log.entry(len(entries) + 1) is not None:
        return
    last = entries[-1]
    at = max(datetime.datetime.now(datetime.UTC), last.at + datetime.timedelta(microseconds=1))
    body = {"entries": len(entries), "runs": runs}
    log.append(link(len(entries) + 1, last.sha256, "import", at.isoformat(timespec="microseconds"), body))


def _keep_contents(connection: duckdb.DuckDBPyConnection, path: Path, log: Log, entries: list[Entry]) -> None:
    """Gate results, rights, usage reports and statements: what the entries commit to by digest."""
    contents: list[bytes] = []
    for table, column in (("validations", "result"), ("usage_reports", "content"), ("statements", "content")):
        found = connection.execute(f"SELECT {column}::VARCHAR FROM old.{table}").fetchall()
        contents += [text.encode() if table != "validations" else canonical(json.loads(text)) for (text,) in found]
    contents += map(canonical, _rights(connection).values())
    kept = {hashlib.sha256(body).hexdigest(): body for body in contents}
    for entry in entries:
        if entry.kind in CONTENT:
            body = kept.get(entry.body[CONTENT[entry.kind]])
            if body is None:
                raise InputError(
                    f"The ledger {path} does not hold: what entry {entry.position} ({entry.kind}) commits to is not in it; restore it"
                    " from a copy."
                )
            log.keep(body)


def _rights(connection: duckdb.DuckDBPyConnection) -> dict[int, list[dict[str, Any]]]:
    """The rows of each entry of rights, as it commits to them."""
    names = ("line", "sha256", "rights_holder", "licence", "standing", "uses", "valid_from", "valid_to")
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    found = connection.execute(
        f"SELECT position, {', '.join(names)} FROM old.rights ORDER BY position, line"
    ).fetchall()
    for position, *values in found:
        row = dict(zip(names, values, strict=True))
        rows[position].append(row | {n: row[n] and row[n].isoformat() for n in ("valid_from", "valid_to")})
    return rows


def _keep_run(connection: duckdb.DuckDBPyConnection, path: Path, log: Log, entry: Entry) -> dict[str, str]:
    """A run's manifests and edges, as objects; their SHA-256 by name."""
    sha256, record = entry.body["run"], entry.body["record"]
    found = connection.execute("SELECT run_id, training_set_id FROM old.runs WHERE sha256 = ?", [sha256]).fetchall()
    if len(found) != 1 or digest(record) != sha256:
        raise InputError(
            f"The ledger {path} does not hold: run {sha256[:12]} is not as its entry has it; restore it from a copy."
        )
    ((run_id, training_set_id),) = found
    queries = {
        "training": TRAINING.format(set=training_set_id),
        "generated": GENERATED.format(run=run_id),
        "edges": EDGES.format(run=run_id),
    }
    objects = {}
    with tempfile.TemporaryDirectory(prefix="mucs-old-") as folder:
        for name, query in queries.items():
            file = Path(folder) / f"{name}.parquet"
            connection.execute(f"COPY ({query}) TO '{literal(str(file))}' {PARQUET}")
            if name == "edges" and edges_root(file) != record["results"]["edges_root"]:
                raise InputError(
                    f"The ledger {path} does not hold: the edges of run {sha256[:12]} do not have the Merkle root of its record;"
                    " restore it from a copy."
                )
            objects[name] = log.keep(file)
    return objects
