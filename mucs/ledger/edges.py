"""Edges as they are published: a Parquet file that anyone can read without the ledger, and a Merkle root over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mucs.files import replacing
from mucs.ledger import merkle

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
LEAF = np.dtype(
    [
        ("generated_row_sha256", "V32"),
        ("training_row_sha256", "V32"),
        ("rank", "<i4"),
        *((name, "<f8") for name in NUMBERS),
    ]
)


def write_edges(columns: Mapping[str, Sequence[object]], path: Path) -> None:
    """Write edges (columns of EDGE_SCHEMA) in one step, NaN as null; the same edges give the same bytes."""
    arrays = [pa.array(columns[field.name], field.type, from_pandas=True) for field in EDGE_SCHEMA]
    with replacing(path) as partial:
        pq.write_table(pa.table(arrays, schema=EDGE_SCHEMA), partial, compression="zstd", store_schema=False)


def leaf_hashes(edges: pa.Table) -> list[bytes]:
    """The leaf hash of each edge, in the table's order. A leaf has 116 bytes.

    The SHA-256 of the generated item's row and of the training item's (32 bytes each), the rank (4 bytes) and NUMBERS
    (IEEE 754, 8 bytes each), little-endian; what is null is the quiet NaN 0x7ff8000000000000.
    """
    packed = np.empty(len(edges), LEAF)
    for name in ("generated_row_sha256", "training_row_sha256"):
        packed[name] = np.frombuffer(bytes.fromhex("".join(edges[name].to_pylist())), "V32")
    packed["rank"] = edges["rank"].to_numpy()
    for name in NUMBERS:
        values = edges[name].cast(pa.float64()).to_numpy().copy()
        values[np.isnan(values)] = np.nan
        packed[name] = values
    raw = packed.tobytes()
    return [merkle.leaf_hash(raw[at : at + LEAF.itemsize]) for at in range(0, len(raw), LEAF.itemsize)]


def edges_root(edges: pa.Table) -> str:
    """Merkle root over edges (with the columns of LEAF), whatever the order of the rows, in hexadecimal."""
    ordered = edges.sort_by([("generated_row_sha256", "ascending"), ("rank", "ascending")])
    return merkle.root(leaf_hashes(ordered)).hex()
