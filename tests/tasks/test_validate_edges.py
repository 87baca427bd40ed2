"""The gate over edges stops what is out of range, incomplete or out of order, and what the ledger would round."""

import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mucs.canonical import digest
from mucs.evidence import EDGE_SCHEMA, write_edges
from mucs.evidence.edges import NUMBERS
from tasks.validate import GateFailed
from tasks.validate_edges import validate_edges

G, *T = (digest(name) for name in ("g", "t0", "t1", "t2"))
EXPECTED = [{"row_sha256": G, "survivors": 3}]
EDGES = {
    "p_value": (0.0, f"on column 'p_value_min': 1 of 1 rows: {G} (0.0)"),
    "decoy_p_value": (1.5, "on column 'decoy_p_value_max': 1 of 1"),
    "seed_spread": (-1.0, "on column 'seed_spread_min': 1 of 1"),
    "decoy_z": (math.inf, "'numbers are finite': 1 of 1"),
    "score": (1.0, "on column 'score_max': 1 of 1"),
}
# as no other program may have written them: 3 decoys give p-values of quarters
ROUNDED = {
    "score": 0.1234567,
    "standard_error": 0.10000001,
    "decoy_z": 1.0001,
    "decoy_p_value": 0.3,
    "p_value": 0.50000001,
}


def edge_file(folder, **spoiled):
    """Three edges of one generated item, values of the second changed."""
    numbers = dict.fromkeys(NUMBERS, math.nan) | {"standard_error": 0.1, "p_value": 0.5}
    columns = {name: [(G if "generated" in name else T[k]) for k in range(3)] for name in EDGE_SCHEMA.names}
    columns |= {
        name: [spoiled.get(name, value) if k == 1 else value for k in range(3)] for name, value in numbers.items()
    }
    columns |= {"rank": [1, 2, 3], "score": [1.0, 1.0, 0.2] if "score" in spoiled else [0.3, 0.2, 0.1]}
    write_edges([pa.table(columns)], folder / "edges.parquet")
    return folder / "edges.parquet"


def test_edges_may_lack_what_was_not_measured(tmp_path):
    assert validate_edges.fn(edge_file(tmp_path), EXPECTED, bounded=True)[0]["success"]


@pytest.mark.parametrize("column", EDGES)
def test_edges_out_of_range_are_stopped(tmp_path, column):
    value, message = EDGES[column]
    with pytest.raises(GateFailed) as stopped:
        validate_edges.fn(edge_file(tmp_path, **{column: value}), EXPECTED, bounded=True)
    assert message in str(stopped.value)


@pytest.mark.parametrize("column", ROUNDED)
def test_edges_that_the_ledger_would_round_are_stopped(tmp_path, column):
    path = edge_file(tmp_path, decoy_p_value=0.25)
    assert validate_edges.fn(path, EXPECTED, bounded=True, decoys=3)[0]["success"]
    table = pq.read_table(path)
    place, values = table.column_names.index(column), table[column].to_pylist()
    values[1] = ROUNDED[column]
    pq.write_table(table.set_column(place, column, pa.array(values, table.schema.types[place])), path)
    with pytest.raises(GateFailed, match="'decimals are right': 1 of 1"):
        validate_edges.fn(path, EXPECTED, bounded=True, decoys=3)


def test_decoy_p_values_need_decoys(tmp_path):
    with pytest.raises(GateFailed, match="'decimals are right': 1 of 1"):
        validate_edges.fn(edge_file(tmp_path, decoy_p_value=0.25), EXPECTED, bounded=True)


def test_differences_are_not_bounded(tmp_path):
    assert validate_edges.fn(edge_file(tmp_path, score=1.0), EXPECTED, bounded=False)[0]["success"]
