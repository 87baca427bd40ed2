"""Edges as they are published: a Parquet file that anyone can read without the ledger, and a Merkle root over them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from mucs.evidence import merkle
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
        ("decoy_z", pa.float32()),
    ]
)
NUMBERS = EDGE_SCHEMA.names[EDGE_SCHEMA.get_field_index("score") :]
# What is published has the digits that were measured and no others, so that it can be quoted, and is stored in a third of the
# space. A p-value is rounded up, so that it is never smaller than it was.
DECIMALS = {"score": 6, "standard_error": 6, "seed_spread": 6, "p_value": 6, "decoy_p_value": 6, "decoy_z": 3}
# What SQL selects to get the numbers of the ledger's `edges` as they were published
PUBLISHED = ", ".join(
    f"{name}::DOUBLE{'::FLOAT' if EDGE_SCHEMA.field(name).type == pa.float32() else ''} AS {name}" for name in NUMBERS
)
# digests repeat: with room for a dictionary of half a million, each takes two or three bytes and not forty
PARQUET = {"compression": "zstd", "store_schema": False, "dictionary_pagesize_limit": 2**25}
LEAF = np.dtype(
    [
        ("generated_row_sha256", "V32"),
        ("training_row_sha256", "V32"),
        ("rank", "<i4"),
        *((name, "<f8") for name in NUMBERS),
    ]
)


def write_edges(columns: Mapping[str, Sequence[object]], path: Path) -> None:
    """Write edges (columns of EDGE_SCHEMA) in one step, rounded to DECIMALS, NaN as null; the same edges give the same bytes."""
    arrays = []
    for field in EDGE_SCHEMA:
        values: Sequence[object] | NDArray[np.float64] = columns[field.name]
        if field.name in DECIMALS:
            values = rounded(np.asarray(values, np.float64), DECIMALS[field.name], up=field.name.endswith("p_value"))
        arrays.append(pa.array(values, field.type, from_pandas=True))
    with replacing(path) as partial:
        pq.write_table(pa.table(arrays, schema=EDGE_SCHEMA), partial, **PARQUET)


def pack(generated: np.ndarray, training: np.ndarray, rank: np.ndarray, numbers: Mapping[str, np.ndarray]) -> bytes:
    """The leaves of edges, one after the other; `leaf_hashes` says what is in one.

    generated, training: (N,) or a single V32; rank: (N,) integers; numbers: (N,) by NUMBERS, NaN for null.
    """
    packed = np.empty(len(rank), LEAF)
    packed["generated_row_sha256"] = generated
    packed["training_row_sha256"] = training
    packed["rank"] = rank
    for name in NUMBERS:
        values = packed[name] = numbers[name]
        packed[name][np.isnan(values)] = np.nan
    return packed.tobytes()


def rounded(values: NDArray[np.float64], decimals: int, *, up: bool) -> NDArray[np.float64]:
    """To so many decimals: to the nearest, or up (but for what a float's last digit may be off)."""
    found = np.ceil(values * 10**decimals - 1e-6) / 10**decimals if up else values.round(decimals)
    return found + 0.0  # and not -0.0


def given_back(name: str, values: ArrayLike, decoys: int | None) -> NDArray[Any]:
    """What the ledger gives back of a column of published numbers (N,), NaN for null: the same, if they are of `write_edges`.

    decoys: how many there were of them; a decoy p-value is kept as how many of these score as high.
    """
    given = np.asarray(values, np.float64)
    if name == "decoy_p_value":
        number = np.nan if decoys is None else 1 + decoys
        return rounded(np.round(given * number) / number, DECIMALS[name], up=True)
    return rounded(given, DECIMALS[name], up=False).astype(EDGE_SCHEMA.field(name).type.to_pandas_dtype())


def leaf_hashes(edges: pa.Table) -> list[bytes]:
    """The leaf hash of each edge, in the table's order. A leaf has 116 bytes.

    The SHA-256 of the generated item's row and of the training item's (32 bytes each), the rank (4 bytes) and NUMBERS
    (IEEE 754, 8 bytes each), little-endian; what is null is the quiet NaN 0x7ff8000000000000.
    """
    generated, training = (raw_digests(edges[f"{kind}_row_sha256"].to_pylist()) for kind in ("generated", "training"))
    numbers = {name: edges[name].cast(pa.float64()).to_numpy() for name in NUMBERS}
    return hash_leaves(pack(generated, training, edges["rank"].to_numpy(), numbers))


def raw_digests(hexadecimal: Sequence[str]) -> np.ndarray:
    """SHA-256 digests as (N,) V32."""
    return np.frombuffer(bytes.fromhex("".join(hexadecimal)), "V32")


def hash_leaves(raw: bytes) -> list[bytes]:
    """The leaf hashes of what `pack` gives."""
    size, sha256 = LEAF.itemsize, hashlib.sha256
    # as merkle.leaf_hash does it, without a call for each
    return [sha256(b"\x00" + raw[at : at + size]).digest() for at in range(0, len(raw), size)]


def edges_root(edges: pa.Table) -> str:
    """Merkle root over edges (with the columns of LEAF), whatever the order of the rows, in hexadecimal."""
    ordered = edges.sort_by([("generated_row_sha256", "ascending"), ("rank", "ascending")])
    return merkle.root(leaf_hashes(ordered)).hex()
