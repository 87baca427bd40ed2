"""What the gate over edges looks at: of each edge, its numbers and whether it is as it must be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mucs import InputError
from mucs.evidence.edges import NUMBERS, given_back
from mucs.evidence.reading import RowGroup, edge_counts, read_groups

SHOWN = ("score", "standard_error", "seed_spread", "p_value", "decoy_p_value")  # numbers whose range is looked at
DIGITS = 12  # of a SHA-256, to name a row


def edge_checks(path: Path, expected: Mapping[str, int], decoys: int | None = None) -> pa.Table:
    """Each edge of a file: what to call it, its numbers that have a range, and what holds of it.

    Args:
        path: a file as `write_edges` writes it.
        expected: how many edges each generated item must have, by its row's SHA-256.
        decoys: how many the calibration has; None without one.

    Returns:
        (N,) rows in the order of the file: `edge` as text, SHOWN as float32, or float64 where they are published so, and
        booleans.

    Raises:
        InputError: if the file is none of edges, or has none.
    """
    counts = edge_counts(path)
    before = _Before()
    tables, pairs = [], []
    for group in read_groups(path):
        whole = np.array([counts[item] == expected.get(item) for item in group.items])
        position, falls = before.continued_by(group)
        tables.append(
            pa.table(
                {
                    "edge": _names(group),
                    **{name: group.numbers[name].astype(_kind(name)) for name in SHOWN},
                    "numbers are finite": ~np.any([np.isinf(values) for values in group.numbers.values()], axis=0),
                    "decimals are right": _decimals_are_right(group, decoys),
                    "rank is right": group.rank == position,
                    "score falls with rank": falls,
                    "edges are complete": whole[group.item],
                }
            )
        )
        pairs.append(_pairs(group))
    if not tables:
        raise InputError(f"{path} has no edges; publish the run again.")
    return pa.concat_tables(tables).append_column("pair is named once", pa.array(_is_first(np.concatenate(pairs))))


class _Before:
    """The last edge of the row groups so far, which the next may go on from."""

    def __init__(self) -> None:
        self.item, self.position, self.score = "", 0, np.inf

    def continued_by(self, group: RowGroup) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Of each edge: its place among its item's, from 1, and whether its score is no higher than the one's before it."""
        count, score = len(group.rank), group.numbers["score"]
        first = np.flatnonzero(np.diff(group.item, prepend=-1))  # edge of each stretch of one item's
        goes_on = group.items[group.item[0]] == self.item
        position = np.arange(1, count + 1) - np.repeat(first, np.diff([*first, count]))
        position[: first[1] if len(first) > 1 else count] += self.position if goes_on else 0
        higher = np.diff(score, prepend=self.score) > 0
        higher[first[1:] if goes_on else first] = False
        self.item, self.position, self.score = group.items[group.item[-1]], int(position[-1]), score[-1]
        return position, ~higher


def _kind(name: str) -> type:
    return np.float64 if name.endswith("p_value") else np.float32


def _names(group: RowGroup) -> pa.Array:
    """The start of both rows' SHA-256, as text such as 0123456789ab/cdef01234567."""
    count, width = len(group.rank), 2 * DIGITS + 1
    texts = np.full((count, width), ord("/"), "u1")
    texts[:, :DIGITS] = _digits(group.generated)[group.item]
    texts[:, DIGITS + 1 :] = _digits(group.training)
    offsets = np.arange(0, width * count + 1, width, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(texts))


def _digits(raw: np.ndarray) -> NDArray[np.uint8]:
    """The first DIGITS of digests (N,) V32, as characters."""
    starts = raw.view("u1").reshape(-1, 32)[:, : DIGITS // 2]
    return np.frombuffer(starts.tobytes().hex().encode(), "u1").reshape(-1, DIGITS)


def _decimals_are_right(group: RowGroup, decoys: int | None) -> NDArray[np.bool_]:
    """Whether the ledger gives back each number as it was published."""
    right = np.ones(len(group.rank), bool)
    for name in NUMBERS:
        values = group.numbers[name]
        right &= np.isnan(values) | (values == given_back(name, values, decoys))
    return right


def _pairs(group: RowGroup) -> NDArray[np.uint64]:
    """A number for each pair of rows: of different pairs, two in 10^19 have the same."""
    generated, training = (raw.view("<u8").reshape(-1, 4) for raw in (group.generated, group.training))
    pairs: NDArray[np.uint64] = generated[group.item, 0] * np.uint64(0x9E3779B97F4A7C15) ^ training[:, 0]
    return pairs


def _is_first(values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether none before is the same."""
    ordered = np.sort(values)
    found = np.ones(len(values), bool)
    if (ordered[1:] == ordered[:-1]).any():
        found[:] = False
        found[np.unique(values, return_index=True)[1]] = True
    return found
