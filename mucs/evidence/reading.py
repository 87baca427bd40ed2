"""Reading published edges: a part of the file at a time, as numbers."""

from __future__ import annotations

import binascii
import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mucs import InputError
from mucs.evidence.edges import NUMBERS

PART = 2**17  # edges that are given at a time; a row group of the file, as it was read, is held beside them
DIGESTS = ["generated_row_sha256", "training_row_sha256"]


@dataclass(frozen=True, eq=False)
class Part:
    """N edges that lie together in a file.

    Attributes:
        items: SHA-256 of the rows of the generated items that the edges are of, in hexadecimal.
        item: (N,) which of them is each edge's.
        generated: the same digests, (len(items),) V32.
        training: SHA-256 of training rows, (M,) V32.
        place: (N,) which of them is each edge's.
        rank: (N,) int32.
        numbers: (N,) float64 by NUMBERS, NaN for null.
    """

    items: list[str]
    item: NDArray[np.int32]
    generated: np.ndarray
    training: np.ndarray
    place: NDArray[np.int32]
    rank: NDArray[np.int32]
    numbers: dict[str, NDArray[np.float64]]


def read_parts(path: Path) -> Iterator[Part]:
    """The edges of a file in its order, a part of a row group after the other. Raises InputError if it is none of edges."""
    with _opened(path) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number, [*DIGESTS, "rank", *NUMBERS])
            generated, training = (table[name].combine_chunks() for name in DIGESTS)
            if any(table[name].null_count for name in (*DIGESTS, "rank")):
                raise ValueError("an edge lacks an end or its rank")
            items, digests = (
                generated.dictionary.to_pylist(),
                [raw_digests(a.dictionary) for a in (generated, training)],
            )
            for start in range(0, len(table), PART):
                part = slice(start, start + PART)
                yield Part(
                    items=items,
                    item=generated.indices[part].to_numpy(),
                    generated=digests[0],
                    training=digests[1],
                    place=training.indices[part].to_numpy(),
                    rank=table["rank"][part].to_numpy(),
                    numbers=read_numbers(table[part]),
                )


def edge_counts(path: Path) -> Counter[str]:
    """How many edges each generated item has, by its row's SHA-256. Raises InputError if the file is none of edges."""
    counts: Counter[str] = Counter()
    with _opened(path) as file:
        for number in range(file.num_row_groups):
            for found in file.read_row_group(number, DIGESTS[:1])[DIGESTS[0]].value_counts().to_pylist():
                counts[found["values"]] += found["counts"]
    return counts


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path, read_dictionary=DIGESTS) as file:
            yield file
    except (OSError, ValueError, KeyError, pa.ArrowException):
        raise InputError(f"{path} does not hold edges as they are published; publish the run again.") from None


def read_numbers(edges: pa.Table) -> dict[str, NDArray[np.float64]]:
    """NUMBERS of edges, (N,) each, NaN for null."""
    return {name: edges[name].cast(pa.float64()).to_numpy() for name in NUMBERS}


def raw_digests(hexadecimal: pa.Array) -> np.ndarray:
    """SHA-256 digests as (N,) V32. Raises ValueError for what is none."""
    lengths = pc.min_max(pc.binary_length(hexadecimal)).as_py()
    if len(hexadecimal) and (hexadecimal.null_count or set(lengths.values()) != {64}):
        raise ValueError("a digest has 64 digits")
    if not len(hexadecimal):
        return np.empty(0, "V32")
    _, _, digits = hexadecimal.cast(pa.string()).buffers()
    first = hexadecimal.offset * 64
    return np.frombuffer(binascii.unhexlify(memoryview(digits)[first : first + 64 * len(hexadecimal)]), "V32")
