"""Edges: those of a run, as a ledger gives them back, held to the object that they were published as."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mucs.evidence.checks import Before
from mucs.evidence.edges import NUMBERS, PUBLISHED
from mucs.evidence.reading import Part, raw_digests, read_parts
from mucs.ledger.lake import FILE, in_order

AT_ONCE = 2**17  # edges that are held at a time
COLUMNS = ("generated_id", "training_id", "rank", *NUMBERS)
RUN = f"""SELECT generated_id::BIGINT, training_id::BIGINT, rank::BIGINT, {", ".join(f"{name}::DOUBLE" for name in NUMBERS)}
FROM (SELECT generated_id, training_id, rank, {PUBLISHED} FROM {FILE}.main.edges WHERE run_id = ?)"""
Edges = list[NDArray[Any]]  # of some edges, a column each: COLUMNS, of 8 bytes a value, NaN for null


class Digest:
    """SHA-256 of each column of a run's edges: values little-endian, of 8 bytes, in the order of the edges."""

    def __init__(self) -> None:
        self._columns = [hashlib.sha256() for _ in COLUMNS]

    def add(self, edges: Edges) -> None:
        """Go on with the next edges."""
        for column, values in zip(self._columns, edges, strict=True):
            column.update(np.where(np.isnan(values), np.nan, values).data if values.dtype == float else values.data)

    def hexdigest(self) -> str:
        """One for all columns."""
        return hashlib.sha256("".join(column.hexdigest() for column in self._columns).encode()).hexdigest()


def edges_of(connection: duckdb.DuckDBPyConnection, run_id: int) -> Generator[Edges]:
    """A run's edges in a ledger, in the order in which they were published, some at a time."""
    with in_order(connection):
        for batch in connection.execute(RUN, [run_id]).to_arrow_reader(AT_ONCE):
            yield [column.to_numpy(zero_copy_only=False) for column in batch.columns]


def edges_digest(runs: Mapping[int, str]) -> str:
    """That of the table of edges, from those of its runs by number."""
    return hashlib.sha256(json.dumps(sorted(runs.items())).encode()).hexdigest()


@dataclass(frozen=True)
class Known:
    """Numbers by the SHA-256 of rows, which are in order.

    Attributes:
        row_sha256: (N,) V32.
        number: (N,) int64.
    """

    row_sha256: np.ndarray
    number: NDArray[np.int64]

    @classmethod
    def of(cls, rows: pa.Table) -> Known:
        """From `row_sha256` in hexadecimal, in order, and `number`."""
        return cls(raw_digests(rows["row_sha256"].combine_chunks()), rows["number"].to_numpy())

    def numbers(self, row_sha256: np.ndarray) -> NDArray[np.int64]:
        """(M,) V32 to (M,) numbers, 0 for what is not known."""
        if not len(self.number):
            return np.zeros(len(row_sha256), np.int64)
        asked, known = (each.view("S32") for each in (row_sha256, self.row_sha256))
        place = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        return np.where(known[place] == asked, self.number[place], 0)


def edges_fault(
    edges: Iterator[Edges], path: Path, generated: Known, training: Known, decoys: bool, digest: Digest
) -> str | None:
    """What is wrong with a run's edges: that they are not those of their object, or that those are not as edges are.

    An item's edges lie together, with ranks from 1 and scores that do not rise; a pair is named once; errors are not negative;
    p-values are above 0 and at most 1, and those against decoys are there where the run was calibrated.

    Args:
        edges: As `edges_of` gives them.
        path: The object.
        generated: The items that the run attributed.
        training: Those of its training set.
        decoys: Whether it was calibrated.
        digest: Goes on with the edges.

    Raises:
        InputError: If the object does not hold edges.
    """
    before, there = Before(), _Rows(edges)
    last, places = np.empty(0, "V32"), np.empty(0, np.int64)
    for part in read_parts(path):
        position, falls, once = before.continued_by(part)
        if part.training is not last:  # several parts have one
            last, places = part.training, training.numbers(part.training)
        said: Edges = [generated.numbers(part.generated)[part.item], places[part.place]]
        said += [part.rank.astype(np.int64)] + [part.numbers[name] for name in NUMBERS]
        found = there.take(len(part.item))
        if not all(np.array_equal(*each, equal_nan=each[0].dtype == float) for each in zip(said, found, strict=True)):
            return "are not those that the log has"
        digest.add(found)
        for name, held in (
            ("have ranks that do not follow each other from 1", part.rank == position),
            ("have scores that rise", falls),
            ("name a pair of items twice", once),
            ("have numbers that are out of range", _in_range(part, decoys)),
        ):
            if not held.all():
                return name
    return None if not len(there.take(1)[0]) else "are not those that the log has"


def _in_range(part: Part, decoys: bool) -> NDArray[np.bool_]:
    """Of each edge, whether its numbers are such as an edge may have."""
    numbers = part.numbers
    held: NDArray[np.bool_] = ~np.isnan(numbers["score"]) & (np.isnan(numbers["decoy_p_value"]) != decoys)
    for name in ("standard_error", "seed_spread"):
        held &= ~(numbers[name] < 0)
    for name in ("p_value", "decoy_p_value"):
        held &= ~((numbers[name] <= 0) | (numbers[name] > 1))
    return held


class _Rows:
    """Edges that come some at a time, and are taken by other numbers."""

    def __init__(self, edges: Iterator[Edges]) -> None:
        self._edges = edges
        self._waiting: list[Edges] = []

    def take(self, count: int) -> Edges:
        """The next so many, or what is left."""
        while sum(len(each[0]) for each in self._waiting) < count and (more := next(self._edges, None)) is not None:
            self._waiting.append(more)
        whole = [np.concatenate(columns) for columns in zip(*self._waiting, strict=True)] or [np.empty(0)] * len(
            COLUMNS
        )
        self._waiting = [[column[count:] for column in whole]]
        return [column[:count] for column in whole]
