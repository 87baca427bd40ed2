"""Tables: a digest for each, which two ledgers of one log have in common, whoever made them and where."""

from __future__ import annotations

import hashlib

import duckdb

from mucs.ledger import catalogue
from mucs.ledger.edges import Digest, edges_digest, edges_of
from mucs.ledger.lake import FILE

NAMES = tuple(name for name in catalogue.NAMES if name != "ledger")
AT_ONCE = 200_000  # rows that are hashed at a time


def table_digests(connection: duckdb.DuckDBPyConnection, names: tuple[str, ...] = NAMES) -> dict[str, str]:
    """A SHA-256 for each table of the attached ledger, in hexadecimal.

    Of `edges` it is over the SHA-256 of each run's columns, as they were published. Of the others it is over the rows as JSON,
    sorted, each with a line's end. Which log a ledger follows, and how far, is in none of them.

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
    runs = connection.execute(
        f"SELECT run_id FROM {FILE}.main.runs UNION SELECT run_id FROM {FILE}.main.edges ORDER BY run_id"
    ).fetchall()
    found: dict[int, str] = {}
    for (run_id,) in runs:
        of_run = Digest()
        for edges in edges_of(connection, run_id):
            of_run.add(edges)
        found[run_id] = of_run.hexdigest()
    return edges_digest(found)
