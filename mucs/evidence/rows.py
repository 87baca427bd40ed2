"""Rows: what a manifest says of items, as canonical JSON under its SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import pyarrow as pa

from mucs.canonical import canonical


def canonical_rows(rows: Iterable[Mapping[str, str]]) -> pa.Table:
    """Manifest rows as a load takes them: `row_sha256`, and `said`, the canonical JSON text that it is over."""
    texts = [canonical(dict(row)) for row in rows]
    return pa.table(
        {
            "row_sha256": pa.array([hashlib.sha256(text).hexdigest() for text in texts], pa.string()),
            "said": pa.array([text.decode() for text in texts], pa.string()),
        }
    )
