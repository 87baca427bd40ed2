"""Leaves: what the Merkle tree over a run's edges commits to of each edge, and the tree's root."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from mucs import InputError
from mucs.evidence import merkle
from mucs.evidence.edges import NUMBERS
from mucs.evidence.hashing import DIGEST, sha256_each
from mucs.evidence.reading import DIGESTS, edge_counts, raw_digests, read_numbers, read_parts

LEAF = np.dtype(  # with the prefix, as the tree hashes it
    [
        ("prefix", "u1"),
        ("generated_row_sha256", DIGEST),
        ("training_row_sha256", DIGEST),
        ("rank", "<i4"),
        *((name, "<f8") for name in NUMBERS),
    ]
)


def pack(
    generated: np.ndarray, training: np.ndarray, rank: np.ndarray, numbers: Mapping[str, np.ndarray]
) -> np.ndarray:
    """The leaves of edges, (N,) LEAF; `leaf_hashes` says what is in one.

    Args:
        generated: (N,) or a single V32, the SHA-256 of rows.
        training: (N,) V32.
        rank: (N,) integers.
        numbers: (N,) floats by NUMBERS, NaN for null.
    """
    packed = np.empty(len(rank), LEAF)
    packed["prefix"] = merkle.LEAF_PREFIX
    packed["generated_row_sha256"] = generated
    packed["training_row_sha256"] = training
    packed["rank"] = rank
    for name in NUMBERS:
        values = packed[name] = numbers[name]
        packed[name][np.isnan(values)] = np.nan
    return packed


def leaf_hashes(edges: pa.Table) -> np.ndarray:
    """The leaf hash of each edge, in the table's order, (N,) V32. A leaf has 116 bytes.

    The SHA-256 of the generated item's row and of the training item's (32 bytes each), the rank (4 bytes) and NUMBERS
    (IEEE 754, 8 bytes each), little-endian; what is null is the quiet NaN 0x7ff8000000000000.
    """
    generated, training = (raw_digests(edges[name].combine_chunks()) for name in DIGESTS)
    return sha256_each(pack(generated, training, edges["rank"].to_numpy(), read_numbers(edges)))


def edges_root(path: Path) -> str:
    """Merkle root over the edges of a file, by generated row and rank, in hexadecimal; no more than a row group is held.

    Raises:
        InputError: if the file cannot be read as edges, or those of an item do not come by rank, from 1.
    """
    counts = edge_counts(path)
    firsts = np.cumsum([0, *(counts[item] for item in sorted(counts))]).tolist()
    first = dict(zip(sorted(counts), firsts, strict=False))  # place in the tree of each item's first edge
    done = dict.fromkeys(first, 0)  # edges that were read of it
    subtrees: list[merkle.Subtree] = []
    for part in read_parts(path):
        cuts = [0, *(np.flatnonzero(np.diff(part.item)) + 1).tolist(), len(part.item)]
        for start, end in itertools.pairwise(cuts):
            item = part.items[part.item[start]]
            if not np.array_equal(part.rank[start:end], np.arange(1, 1 + end - start) + done[item]):
                raise InputError(f"The edges of {path} are not in the order of their ranks; publish the run again.")
            done[item] += end - start
        places = np.array([first.get(item, 0) for item in part.items])[part.item] + part.rank - 1
        hashes = sha256_each(pack(part.generated[part.item], part.training[part.place], part.rank, part.numbers))
        subtrees += merkle.complete(hashes, places)
    tree = merkle.Growing()
    tree.add(sorted(subtrees))
    return tree.root().hex()
