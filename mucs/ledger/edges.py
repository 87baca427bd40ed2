"""Edges as they are published: a Parquet file that anyone can read without the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mucs.files import replacing

EDGE_SCHEMA = pa.schema(
    [
        ("generated_row_sha256", pa.string()),
        ("generated", pa.string()),
        ("generated_sha256", pa.string()),
        ("training_row_sha256", pa.string()),
        ("training", pa.string()),
        ("training_sha256", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
        ("standard_error", pa.float32()),
        ("p_value", pa.float64()),
    ]
)


def write_edges(columns: Mapping[str, Sequence[object]], path: Path) -> None:
    """Write edges (columns of EDGE_SCHEMA) in one step; the same edges give the same bytes."""
    with replacing(path) as partial:
        pq.write_table(pa.table(dict(columns), schema=EDGE_SCHEMA), partial, compression="zstd", store_schema=False)
