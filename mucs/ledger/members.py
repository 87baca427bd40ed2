"""Members: what the entry of a run commits to of its training set."""

from __future__ import annotations

import hashlib

import duckdb

AT_ONCE = 100_000  # that are hashed at a time


def members_sha256(connection: duckdb.DuckDBPyConnection, rows: str) -> str:
    """The digest of the SHA-256 of a training set's rows in order, as canonical JSON.

    Args:
        connection: Where to ask.
        rows: SQL that selects `row_sha256`.
    """
    found = connection.execute(f"SELECT row_sha256 FROM ({rows}) ORDER BY row_sha256")
    sha256, between = hashlib.sha256(b"["), b""
    for batch in found.to_arrow_reader(AT_ONCE):  # as one text, a million took four times the memory
        sha256.update(between + ",".join(f'"{each}"' for each in batch[0].to_pylist()).encode())
        between = b","
    sha256.update(b"]")
    return sha256.hexdigest()
