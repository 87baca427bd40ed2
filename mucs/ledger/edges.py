"""Edges as they are published: a Parquet file that anyone can read without the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mucs.canonical import digest
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
        ("seed_spread", pa.float32()),
        ("p_value", pa.float64()),
        ("decoy_p_value", pa.float64()),
        ("decoy_z", pa.float64()),
    ]
)
NUMBERS = EDGE_SCHEMA.names[EDGE_SCHEMA.get_field_index("score") :]


def write_edges(columns: Mapping[str, Sequence[object]], path: Path) -> None:
    """Write edges (columns of EDGE_SCHEMA) in one step, NaN as null; the same edges give the same bytes."""
    arrays = [pa.array(columns[field.name], field.type, from_pandas=True) for field in EDGE_SCHEMA]
    with replacing(path) as partial:
        pq.write_table(pa.table(arrays, schema=EDGE_SCHEMA), partial, compression="zstd", store_schema=False)


def edge_rows_digest(rows: Sequence[Sequence[Any]]) -> str:
    """SHA-256 over edges (generated row, training row, rank, *NUMBERS), ordered by generated row and rank."""
    return digest([list(row) for row in rows])


def edges_digest(path: Path) -> str:
    """The same of an edge file, whatever the order of its rows."""
    table = pq.read_table(path).sort_by([("generated_row_sha256", "ascending"), ("rank", "ascending")])
    compared = ["generated_row_sha256", "training_row_sha256", "rank", *NUMBERS]
    return edge_rows_digest(list(zip(*(table[name].to_pylist() for name in compared), strict=True)))
