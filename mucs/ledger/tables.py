"""Tables: a digest for each, which two ledgers of one log have in common, whoever made them and where."""

from __future__ import annotations

import hashlib
import json

import duckdb

from mucs.ledger import catalogue
from mucs.ledger.lake import FILE

NAMES = tuple(name for name in catalogue.NAMES if name != "ledger")
AT_ONCE = 200_000  # rows that are hashed at a time
NULL = -(2**63)
# of the last decimal: what an edge says, as whole numbers
EDGES = {
    **dict.fromkeys(("run_id", "generated_id", "training_id", "rank"), 1),
    **dict.fromkeys(("score", "standard_error", "seed_spread", "p_value", "decoy_p_value"), 10**6),
    "decoy_z": 10**3,
}


def table_digests(connection: duckdb.DuckDBPyConnection, names: tuple[str, ...] = NAMES) -> dict[str, str]:
    """A SHA-256 for each table of the attached ledger, in hexadecimal.

    Of `edges` it is over the SHA-256 of each column, whose values are signed integers of 64 bits, little-endian, in units of the
    column's last decimal, with -2^63 for null; by run, generated item and rank. Of the others it is over the rows as JSON, sorted,
    each with a line's end. Which log a ledger follows, and how far, is in none of them.

    Args:
        connection: A ledger is attached to it.
        names: Of the tables.
    """
    return {name: _edges(connection) if name == "edges" else _rows(connection, name) for name in names}


def _rows(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    sha256 = hashlib.sha256()
    found = connection.execute(
        f"SELECT to_json(t)::VARCHAR AS row FROM (SELECT * FROM {FILE}.main.{name}) t ORDER BY ALL"
    )
    for batch in found.to_arrow_reader(AT_ONCE):
        if len(batch):
            sha256.update("\n".join(batch[0].to_pylist()).encode() + b"\n")
    return sha256.hexdigest()


def _edges(connection: duckdb.DuckDBPyConnection) -> str:
    columns = {name: hashlib.sha256() for name in EDGES}
    asked = ", ".join(f"coalesce(({name} * {unit})::BIGINT, {NULL}) AS {name}" for name, unit in EDGES.items())
    # a run at a time, as few runs fit into memory sorted
    runs = connection.execute(f"SELECT DISTINCT run_id FROM {FILE}.main.edges ORDER BY run_id").fetchall()
    for (run_id,) in runs:
        found = connection.execute(
            f"SELECT {asked} FROM {FILE}.main.edges WHERE run_id = ? ORDER BY generated_id, rank, training_id", [run_id]
        )
        for batch in found.to_arrow_reader(AT_ONCE):
            for column, name in zip(batch.columns, columns, strict=True):
                columns[name].update(column.to_numpy().tobytes())
    return hashlib.sha256(json.dumps({n: c.hexdigest() for n, c in columns.items()}).encode()).hexdigest()
