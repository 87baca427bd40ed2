"""Leaves: what the Merkle tree over a run's edges commits to of each edge, and the tree's root."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from mucs import InputError
from mucs.evidence import merkle
from mucs.evidence.edges import NUMBERS
from mucs.evidence.reading import DIGESTS, edge_counts, raw_digests, read_numbers, read_parts

LEAF = np.dtype(
    [
        ("generated_row_sha256", "V32"),
        ("training_row_sha256", "V32"),
        ("rank", "<i4"),
        *((name, "<f8") for name in NUMBERS),
    ]
)


def pack(generated: np.ndarray, training: np.ndarray, rank: np.ndarray, numbers: Mapping[str, np.ndarray]) -> bytes:
    """The leaves of edges, one after the other; `leaf_hashes` says what is in one.

    Args:
        generated: (N,) or a single V32, the SHA-256 of rows.
        training: (N,) V32.
        rank: (N,) integers.
        numbers: (N,) floats by NUMBERS, NaN for null.
    """
    packed = np.empty(len(rank), LEAF)
    packed["generated_row_sha256"] = generated
    packed["training_row_sha256"] = training
    packed["rank"] = rank
    for name in NUMBERS:
        values = packed[name] = numbers[name]
        packed[name][np.isnan(values)] = np.nan
    return packed.tobytes()


def leaf_hashes(edges: pa.Table) -> list[bytes]:
    """The leaf hash of each edge, in the table's order. A leaf has 116 bytes.

    The SHA-256 of the generated item's row and of the training item's (32 bytes each), the rank (4 bytes) and NUMBERS
    (IEEE 754, 8 bytes each), little-endian; what is null is the quiet NaN 0x7ff8000000000000.
    """
    generated, training = (raw_digests(edges[name].combine_chunks()) for name in DIGESTS)
    return hash_leaves(pack(generated, training, edges["rank"].to_numpy(), read_numbers(edges)))


def hash_leaves(raw: bytes) -> list[bytes]:
    """The leaf hashes of what `pack` gives."""
    size, sha256 = LEAF.itemsize, hashlib.sha256
    # as merkle.leaf_hash does it, without a call for each
    return [sha256(b"\x00" + raw[at : at + size]).digest() for at in range(0, len(raw), size)]


def edges_root(path: Path) -> str:
    """Merkle root over the edges of a file, by generated row and rank, in hexadecimal; no more than a row group is held.

    Raises:
        InputError: if the file cannot be read as edges, or those of an item do not come by rank, from 1.
    """
    counts = edge_counts(path)
    firsts = np.cumsum([0, *(counts[item] for item in sorted(counts))]).tolist()
    place = dict(zip(sorted(counts), firsts, strict=False))  # in the tree, of an item's first edge that is to come
    rank = dict.fromkeys(place, 1)  # which that edge must have
    subtrees: dict[str, list[tuple[int, bytes]]] = {item: [] for item in place}
    for item, ranks, hashes in _hashed(path):
        if not np.array_equal(ranks, np.arange(rank[item], rank[item] + len(ranks))):
            raise InputError(f"The edges of {path} are not in the order of their ranks; publish the run again.")
        subtrees[item] += merkle.complete(hashes, place[item])
        place[item] += len(hashes)
        rank[item] += len(hashes)
    tree = merkle.Growing()
    for item in place:
        tree.add(subtrees[item])
    return tree.root().hex()


def _hashed(path: Path) -> Iterator[tuple[str, np.ndarray, list[bytes]]]:
    """Ranks and leaf hashes of edges of one generated item each, in the order of the file."""
    for part in read_parts(path):
        hashes = hash_leaves(pack(part.generated[part.item], part.training, part.rank, part.numbers))
        cuts = [0, *(np.flatnonzero(np.diff(part.item)) + 1).tolist(), len(hashes)]
        for first, last in itertools.pairwise(cuts):
            yield part.items[part.item[first]], part.rank[first:last], hashes[first:last]
