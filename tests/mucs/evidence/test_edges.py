"""The bytes of a run's edge file, and its Merkle root, are the same however the edges were given."""

import dataclasses
import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from mucs import InputError
from mucs.canonical import digest
from mucs.evidence import edges, edges_root, item_edges, write_edges
from mucs.evidence.checks import edge_checks
from tests.factories import attribution, item_row, training_ends, training_row

# of three generated items with 50 edges each, as the program wrote them that kept each edge as Python objects
BYTES = "5624c116b82afad33f49d011b4e39694669d46db818b29bf84e57c6f6a03af53"
ROOT = "d42ec8a4c2d97eabb5967a3ce631c48a653cf4487a359c5a81e534d0a1c9ee4f"


def staged() -> list[pa.Table]:
    """The edges of three generated items, texts as they are and not by number."""
    rows, tables = [training_row(k) for k in range(50)], []
    # their rows as they were digested then, with the rights holder
    ends = training_ends(rows).set_column(0, "row_sha256", [[digest(row) for row in rows]])
    for k in range(3):
        random, made = np.random.default_rng(k), attribution(50, 50, k)
        p = torch.from_numpy((1 + random.integers(0, 33, 50)) / 33)
        made = dataclasses.replace(made, decoy_p_values=p, decoy_z=torch.from_numpy(random.normal(0, 1, 50)).float())
        row = item_row("g", k, seed=str(k))
        tables.append(item_edges({**row, "row_sha256": digest(row)}, made, ends))
    return tables


def in_full(tables: list[pa.Table]) -> pa.Table:
    """One table, texts as they are and not by number."""
    whole = pa.concat_tables(tables, promote_options="none")
    texts = [column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column for column in whole.columns]
    return pa.table(texts, whole.column_names)


def test_the_file_and_its_root_are_those_that_were_always_written(tmp_path):
    path = tmp_path / "edges.parquet"
    write_edges(staged(), path)
    assert (hashlib.sha256(path.read_bytes()).hexdigest(), edges_root(path)) == (BYTES, ROOT)


def test_row_groups_are_full_whatever_the_edges_were_cut_into(tmp_path, monkeypatch):
    monkeypatch.setattr(edges, "ROW_GROUP", 64)
    whole, written = in_full(staged()), set()
    for cut in (staged(), [whole], [whole[k : k + 7] for k in range(0, 150, 7)]):
        path = tmp_path / "edges.parquet"
        write_edges(cut, path)
        written.add(path.read_bytes())
        assert [pq.read_metadata(path).row_group(k).num_rows for k in range(3)] == [64, 64, 22]
        assert edges_root(path) == ROOT
    assert len(written) == 1


def changed(table: pa.Table, column: str, place: int, value: object) -> pa.Table:
    mask = pa.array(np.arange(len(table)) == place)
    number = table.column_names.index(column)
    kind = table.schema.field(column).type
    return table.set_column(number, column, pc.if_else(mask, pa.scalar(value, kind), table[column]))


def test_the_gate_sees_over_the_end_of_a_row_group(tmp_path, monkeypatch):
    monkeypatch.setattr(edges, "ROW_GROUP", 64)
    path, whole = tmp_path / "edges.parquet", in_full(staged())
    expected = dict.fromkeys(whole["generated_row_sha256"].unique().to_pylist(), 50)
    before = whole["training_row_sha256"][60].as_py()  # of the same item, in the row group before
    for column, value, check in (
        (None, None, None),
        ("rank", 14, "rank is right"),
        ("score", 0.99, "score falls with rank"),
        ("training_row_sha256", before, "pair is named once"),
        ("standard_error", float("inf"), "numbers are finite"),
    ):
        write_edges([changed(whole, column, 64, value) if column else whole], path)
        checks = edge_checks(path, expected, decoys=32).to_pylist()
        assert [row["item"] for row in checks] == list(expected)
        assert {name for name, held in checks[1].items() if held is False} == ({check} if check else set())
        assert all(value is not False for row in (checks[0], checks[2]) for value in row.values())
    assert checks[0]["score_max"] == pytest.approx(pc.max(whole["score"][:50]).as_py(), abs=1e-6)
    assert checks[0]["seed_spread_min"] is None
    short = edge_checks(path, dict.fromkeys(expected, 49), decoys=32)
    assert short["edges are complete"].to_pylist() == [False] * 3


def test_what_holds_no_edges_in_order_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "edges.parquet"
    path.write_bytes(b"no Parquet")
    with pytest.raises(InputError, match="does not hold edges as they are published"):
        edges_root(path)
    write_edges([in_full(staged())[::-1]], path)
    with pytest.raises(InputError, match="not in the order of their ranks"):
        edges_root(path)
    write_edges([changed(in_full(staged()), "training_row_sha256", 3, "no digest")], path)
    with pytest.raises(InputError, match="does not hold edges as they are published"):
        edges_root(path)
