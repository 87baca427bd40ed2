"""What the gate over edges looks at: of each generated item, the range of its edges' numbers, and what holds of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mucs.evidence.edges import NUMBERS, given_back
from mucs.evidence.reading import Part, read_parts

RANGED = ("score", "standard_error", "seed_spread", "p_value", "decoy_p_value")  # numbers whose range is looked at
HOLDS = ("score is there", "numbers are finite", "decimals are right", "rank is right", "score falls with rank")
NAMED_ONCE, COMPLETE = "pair is named once", "edges are complete"


def edge_checks(path: Path, expected: Mapping[str, int], decoys: int | None = None) -> pa.Table:
    """What is to be looked at of a file's edges; no more than a row group of them is held, and a part of it as numbers.

    Args:
        path: a file as `write_edges` writes it.
        expected: how many edges each generated item must have, by its row's SHA-256.
        decoys: how many the calibration has; None without one.

    Returns:
        A row for each generated item in the file: `item` (its row's SHA-256), `NUMBER_min` and `NUMBER_max` over its edges
        for each of RANGED (null if no edge has one), and whether HOLDS, NAMED_ONCE and COMPLETE are so of all its edges.

    Raises:
        InputError: if the file is none of edges.
    """
    found, before = [_no_edges()], Before()
    for part in read_parts(path):
        position, falls, once = before.continued_by(part)
        score = part.numbers["score"]
        finite = ~np.any([np.isinf(values) for values in part.numbers.values()], axis=0)
        held = (~np.isnan(score), finite, _decimals_are_right(part, decoys), part.rank == position, falls)
        columns = {name: pa.array(part.numbers[name], from_pandas=True) for name in RANGED}
        columns |= {name: pa.array(values) for name, values in zip((*HOLDS, NAMED_ONCE), (*held, once), strict=True)}
        item = pa.DictionaryArray.from_arrays(pa.array(part.item), pa.array(part.items, pa.string()))
        edges = pa.table({"item": item.dictionary_decode(), "edges": pa.array(np.ones(len(item), np.int64)), **columns})
        found.append(_by_item(edges, {f"{name}_{bound}": name for name in RANGED for bound in ("min", "max")}))
    parts = pa.concat_tables(found)
    whole = _by_item(parts, {name: name for name in parts.column_names if name.endswith(("_min", "_max"))})
    counts = zip(whole["item"].to_pylist(), whole["edges"].to_pylist(), strict=True)
    complete = pa.array([count == expected.get(item) for item, count in counts], pa.bool_())
    return whole.drop_columns("edges").append_column(COMPLETE, complete)


def _by_item(table: pa.Table, bounds: Mapping[str, str]) -> pa.Table:
    """One row for each item, in the order of their first. bounds: by the name of a bound, the column that it is of."""
    asked = {"edges": ("edges", "sum")}
    asked |= {name: (column, name[-3:]) for name, column in bounds.items()}
    asked |= {name: (name, "all") for name in (*HOLDS, NAMED_ONCE)}
    grouped = table.group_by("item", use_threads=False).aggregate(list(asked.values()))
    return grouped.select(["item", *("_".join(each) for each in asked.values())]).rename_columns(["item", *asked])


def _no_edges() -> pa.Table:
    """What is found of no edges."""
    kinds = {f"{name}_{bound}": pa.float64() for name in RANGED for bound in ("min", "max")}
    kinds |= dict.fromkeys((*HOLDS, NAMED_ONCE), pa.bool_())
    return pa.schema([("item", pa.string()), ("edges", pa.int64()), *kinds.items()]).empty_table()


class Before:
    """The edges of the item that the last part ended with, which the next may go on with."""

    def __init__(self) -> None:
        self.item, self.position, self.score = "", 0, np.inf
        self.pairs = np.empty(0, np.uint64)

    def continued_by(self, part: Part) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
        """How each edge follows the one before it.

        Returns:
            Of each edge: its place among its item's, from 1; whether its score is no higher than the one's before it; and
            whether no edge before it is of the same pair.
        """
        count, score = len(part.rank), part.numbers["score"]
        first = np.flatnonzero(np.diff(part.item, prepend=-1))  # edge of each stretch of one item's
        goes_on = part.items[part.item[0]] == self.item
        position = np.arange(1, count + 1) - np.repeat(first, np.diff([*first, count]))
        position[: first[1] if len(first) > 1 else count] += self.position if goes_on else 0
        higher = np.diff(score, prepend=self.score) > 0
        higher[first[1:] if goes_on else first] = False
        pairs = np.concatenate([self.pairs, _pairs(part)]) if goes_on else _pairs(part)
        once = _is_first(pairs)[-count:]
        self.item, self.position, self.score = part.items[part.item[-1]], int(position[-1]), score[-1]
        self.pairs = pairs[-self.position :]
        return position, ~higher, once


def _decimals_are_right(part: Part, decoys: int | None) -> NDArray[np.bool_]:
    """Whether the ledger gives back each number as it was published."""
    right = np.ones(len(part.rank), bool)
    for name in NUMBERS:
        values = part.numbers[name]
        right &= np.isnan(values) | (values == given_back(name, values, decoys))
    return right


def _pairs(part: Part) -> NDArray[np.uint64]:
    """A number for each pair of rows: of different pairs, two in 10^19 have the same."""
    generated, training = (raw.view("<u8").reshape(-1, 4) for raw in (part.generated, part.training))
    pairs: NDArray[np.uint64] = generated[part.item, 0] * np.uint64(0x9E3779B97F4A7C15) ^ training[part.place, 0]
    return pairs


def _is_first(values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether none before is the same."""
    ordered = np.sort(values)
    found = np.ones(len(values), bool)
    if (ordered[1:] == ordered[:-1]).any():
        found[:] = False
        found[np.unique(values, return_index=True)[1]] = True
    return found
