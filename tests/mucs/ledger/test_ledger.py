"""The store: whole loads or none, plain refusals, readers that cannot write."""

import contextlib
import hashlib
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mucs import InputError
from mucs.canonical import digest
from mucs.evidence import EDGE_SCHEMA, edges_root, holds, write_edges
from mucs.evidence.edges import NUMBERS, UNSEEN_SCHEMA
from mucs.evidence.log import Log
from mucs.files import file_sha256
from mucs.images.rows import canonical_rows, rows_and_holders
from mucs.ledger import Ledger, Run, catalogue, lake, prove
from mucs.ledger.lake import Lake
from mucs.ledger.run import without_thumbnail
from tests.factories import fault, load, log_of, row_digest, staged_run, thumbnails_file

TRAINING = [
    {
        "id": f"t{i}",
        "sha256": f"{i:064d}",
        "rights_holder": ["Ada", "Ben"][i % 2],
        "licence": "CC0",
        "date": "2024-01-01",
    }
    for i in range(4)
]
GENERATED = [{"id": f"g{i}", "sha256": f"{90 + i:064d}", "seed": str(i)} for i in range(2)]


def make_run(
    tmp_path,
    name="a",
    scores=(0.4, 0.2, -0.1, -0.3),
    chance=(0.5, 0.25, 1.5),
    decoys=3,
    unseen=(),
    unseen_chance=(0.5, 0.25, 1.5),
    **changes,
) -> Run:
    """A run of two generated items and four training items. chance: p-value, decoy p-value and decoy z of every edge.

    unseen: scores of the held-out items for each of the two; best first; none were given without it. unseen_chance: as `chance`, of theirs.
    """
    edges = [
        (digest(g), g["id"], g["sha256"], row_digest(t), t["id"], t["sha256"], rank, score, 0.01, math.nan, *chance)
        for g in GENERATED
        for rank, (t, score) in enumerate(zip(TRAINING, scores, strict=True), start=1)
    ]
    path, bank, calibration = (tmp_path / each for each in (f"{name}.parquet", "bank", "calibration"))
    bank.write_bytes(b"noise")
    calibration.write_bytes(b"decoys")
    columns = [list(values) for values in zip(*edges, strict=True)]
    write_edges([pa.table(columns, EDGE_SCHEMA.names)], path)
    unseen_path = tmp_path / f"{name}-unseen.parquet" if unseen else None
    if unseen_path:
        rows = [
            (digest(g), g["id"], g["sha256"], *held_out(rank), rank, score, 0.01, math.nan, *unseen_chance)
            for g, of_item in zip(GENERATED, unseen, strict=True)
            for rank, score in enumerate(of_item, start=1)
        ]
        named = [list(values) for values in zip(*rows, strict=True)]
        write_edges([pa.table(named, UNSEEN_SCHEMA.names)], unseen_path, UNSEEN_SCHEMA)
    kinds = ("checkpoint", "training_set", "held_out", "batch")
    outcome = {
        "converged": True,
        "steps": 3,
        "null_loss": 1.0,
        "forget_loss": 0.96,
        "retain_loss": 0.1,
        "probe_before": 0.2,
        "probe_after": 0.9,
        "candidates": len(TRAINING),
        "survivors": len(TRAINING),
        "seen_auc": 0.7,  # as records of earlier versions have it, which is read no more
        "held_out_ks": None,
        "recall": {"2%": 1.0},
    }
    if unseen:
        outcome["held_out"] = len(unseen[0])
    attributions = [{"row_sha256": digest(row), **outcome} for row in GENERATED]
    record = {
        "name": name,
        "method": "MUCS (arXiv 2605.17938)",
        "inputs": {kind: {"path": kind, "commit": "c", "sha256": f"{kind:f<64}"} for kind in kinds},
        "noise_bank": file_sha256(bank),
        "calibration": {"sha256": file_sha256(calibration), "decoys": decoys},
        "generated": [{"id": g["id"], "sha256": g["sha256"]} for g in GENERATED],
        "settings": {"num_noises": 2},
        "results": {
            "edges_root": edges_root(path),
            "edges_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "edges": len(edges),
            "attributions": attributions,
        },
    }
    files = {"calibration": calibration}
    if unseen_path:
        record["results"]["unseen_edges_sha256"] = file_sha256(unseen_path)
        files["unseen_edges"] = unseen_path
    run = {
        "record": record,
        "artifacts": [
            *({"kind": kind, "sha256": f"{kind:f<64}", "files": 1, "bytes": 2} for kind in kinds),
            *({"kind": kind, "sha256": file_sha256(file), "files": 1, "bytes": 2} for kind, file in files.items()),
        ],
        "training": rows_and_holders(pa.Table.from_pylist(TRAINING)),
        "generated": canonical_rows(pa.Table.from_pylist(GENERATED)),
        "edges": path,
        "validations": [{"suite": "edges", "success": True, "results": []}],
        "noise_bank": bank,
        "unseen": unseen_path,
        "calibration": calibration,
        "thumbnails": [thumbnails_file(tmp_path / "thumbnails", [row["sha256"] for row in (*TRAINING, *GENERATED)])],
    }
    return Run(**(run | changes))


def held_out(number: int) -> tuple[str, str, str]:
    """What unseen edges say of a held-out item: its row, its id and its image."""
    return f"{70 + number:064d}", f"h{number}", f"{80 + number:064d}"


@contextlib.contextmanager
def attached(path):
    """A ledger as another program has it, to be changed behind our back."""
    lake = Lake.at(path)
    with lake.connect() as connection:
        lake.attach(connection, read_only=False)
        yield connection


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger"


def test_a_run_loads_once(path, tmp_path):
    run = make_run(tmp_path)
    assert load(path, run)
    assert not load(path, run)
    with Ledger.open(path) as ledger:
        assert ledger.select("SELECT count(*) AS n FROM edges") == [{"n": 8}]
        assert [e.kind for e in ledger.entries()] == ["run"]
    assert fault(path) is None


def test_a_large_ledger_is_asked_on_all_cores_and_a_small_one_with_one_thread(path, tmp_path, monkeypatch):
    load(path, staged_run(tmp_path, generated=9, training=60, edges=60))
    asked = "SELECT current_setting('threads')"
    with Ledger.open(path) as ledger:
        assert ledger.one(asked) == 1
    monkeypatch.setattr(lake, "LARGE", 1)
    cores = len(os.sched_getaffinity(0))
    with Ledger.open(path) as ledger:
        assert ledger.one(asked) == cores
        with lake.in_order(ledger.connection):
            assert ledger.one(asked) == 1
        assert ledger.one(asked) == cores


def test_of_several_thumbnails_of_an_image_the_first_counts_and_what_has_one_is_not_asked_for_again(path, tmp_path):
    first, *_, last = (row["sha256"] for row in TRAINING)
    files = [thumbnails_file(tmp_path / name, images) for name, images in (("one", [first]), ("two", [last, first]))]
    with Ledger.write(path, log_of(path)) as ledger:
        assert without_thumbnail(ledger, pa.chunked_array([[first, last, first, "f" * 64]])) == [0, 1, 3]
    for name, thumbnails in (
        ("a", files),
        ("b", [*files[::-1], thumbnails_file(tmp_path / "three", [last])]),
        ("c", ()),
    ):
        load(path, make_run(tmp_path, name, thumbnails=thumbnails))
    with Ledger.open(path) as ledger:
        assert ledger.connection.execute("FROM thumbnails ORDER BY image_sha256").fetchall() == [
            (image, file_sha256(file)) for image, file in zip((first, last), files, strict=True)
        ]
        assert without_thumbnail(ledger, pa.chunked_array([[first, "f" * 64], [last]])) == [1]
        assert without_thumbnail(ledger, pa.chunked_array([], pa.string())) == []
    assert [len(entry.body["thumbnails"]) for entry in log_of(path).after()] == [2, 3, 0]
    assert fault(path) is None


def test_items_are_numbered_in_the_order_in_which_they_came_and_once(path, tmp_path):
    load(path, make_run(tmp_path))
    new = [TRAINING[0] | {"id": name} for name in ("t8", "t7")]
    run = make_run(tmp_path, "b", training=rows_and_holders(pa.Table.from_pylist([new[0], *TRAINING[::-1], new[1]])))
    given = run.record["inputs"]["training_set"]
    given["sha256"] = "another"
    load(
        path,
        replace(
            run, artifacts=[*run.artifacts, {"kind": "training_set", "files": 1, "bytes": 1, "sha256": given["sha256"]}]
        ),
    )
    with Ledger.open(path) as ledger:
        numbered = ledger.rows("SELECT training_id, id FROM training_items ORDER BY training_id")
        assert [row["id"] for row in numbered] == ["t0", "t1", "t2", "t3", "t8", "t7"]
        assert [row["training_id"] for row in numbered] == [1, 2, 3, 4, 5, 6]
        assert ledger.rows("SELECT count(*) AS n FROM members GROUP BY training_set_id ORDER BY n") == [
            {"n": 4},
            {"n": 6},
        ]
    assert fault(path) is None


@pytest.mark.parametrize("kind", ["training", "generated"])
def test_a_manifest_that_has_a_row_twice_is_refused(path, tmp_path, kind):
    rows = (TRAINING if kind == "training" else GENERATED)[:1] * 2
    made = (rows_and_holders if kind == "training" else canonical_rows)(pa.Table.from_pylist(rows))
    with pytest.raises(InputError, match=f"The {kind} items have a row twice"):
        load(path, make_run(tmp_path, **{kind: made}))
    assert log_of(path).entry(1) is None


def test_what_was_not_measured_is_null_in_the_file_and_in_the_ledger(path, tmp_path):
    run = make_run(tmp_path)
    load(path, run)
    with Ledger.open(path) as ledger:
        (found,) = ledger.select(
            "SELECT count(seed_spread) AS spread, count(decoy_z) AS z, held_out_ks, recall"
            " FROM edges JOIN attributions USING (run_id, generated_id) GROUP BY ALL"
        )
    assert found | {"recall": json.loads(found["recall"])} == {
        "spread": 0,
        "z": 8,
        "held_out_ks": None,
        "recall": {"2%": 1.0},
    }
    assert duckdb.read_parquet(str(run.edges)).aggregate("count(seed_spread), count(decoy_z)").fetchone() == (0, 8)


def test_an_edge_is_proven_without_the_others(path, tmp_path):
    run = make_run(tmp_path)
    load(path, run)
    root = run.record["results"]["edges_root"]
    with Ledger.open(path) as ledger:
        proofs = [prove(ledger, g["id"], t["id"]) for g in GENERATED for t in TRAINING]
        for wrong, sentence in ((("g0", "t9"), "no training item called 't9'"), (("g9", "t0"), "did you mean 'g0'?")):
            with pytest.raises(InputError, match=re.escape(sentence)):
                prove(ledger, *wrong)
    for proof in (json.loads(json.dumps(proof)) for proof in proofs):
        assert proof["root"] == root
        assert holds(proof, root)
        assert not holds(proof, "0" * 64)
        assert not holds(proof | {"training": proof["training"] | {"licence": "none"}}, root)
        assert not holds(proof | {"edge": proof["edge"] | {"score": 0.41}}, root)
        assert not holds(proof | {"index": proof["index"] ^ 1}, root)
    assert proofs[0]["edge"]["rank"] == 1
    assert proofs[0]["edge"]["seed_spread"] is None
    for broken in (
        {},
        [],
        proofs[0] | {"path": ["xyz"]},
        proofs[0] | {"edge": {}},
        proofs[0] | {"generated": None},
        proofs[0] | {"edge": proofs[0]["edge"] | {"rank": 2**70}},
        # what no root covers is not passed on
        proofs[0] | {"edge": proofs[0]["edge"] | {"holds": True}},
        proofs[0] | {"edge": proofs[0]["edge"] | {"generated": {"id": "another"}}},
        proofs[0] | {"edge": proofs[0]["edge"] | {"score": True}},
        proofs[0] | {"edge": proofs[0]["edge"] | {"score": None}},
        proofs[0] | {"edge": proofs[0]["edge"] | {"rank": None}},
        proofs[0] | {"edges": "8"},
        proofs[0] | {"index": 0.5},
        proofs[0] | {"generated": [["id", "g0"]]},
    ):
        with pytest.raises(InputError, match="not a proof"):
            holds(broken, root)
    for none in ("", "0", root[:-1], "x" * 64):
        with pytest.raises(InputError, match="is no Merkle root; give the 64 digits"):
            holds(proofs[0], none)


def test_a_run_covers_its_items_while_there_is_no_other_calibration(path, tmp_path):
    run = make_run(tmp_path)
    load(path, run)
    asked = {kind: f"{kind:f<64}" for kind in ("checkpoint", "training_set", "held_out")}
    asked["settings"] = digest(run.record["settings"])
    made = file_sha256(run.calibration)
    with Ledger.open(path) as ledger:
        counts = [len(ledger.ask("covered", **asked, calibration=made)) for made in ("", made, "another")]
        rows = [row["row_sha256"] for row in ledger.ask("covered", **asked)]
        chosen = [ledger.ask("covered", **asked, items=items) for items in (rows[1], f"{'0' * 64} {rows[1]}", "0" * 64)]
    assert counts == [2, 2, 0]
    assert [[row["row_sha256"] for row in found] for found in chosen] == [[rows[1]], [rows[1]], []]


def test_questions_answer_from_the_latest_run(path, tmp_path):
    load(path, make_run(tmp_path))
    load(path, make_run(tmp_path, "b", scores=(0.9, 0.3, 0.1, 0.0)))
    with Ledger.open(path) as ledger:
        rows = ledger.ask("why", generated="g0", top=2)
        assert [(r["training"], r["rank"], round(r["score"], 3)) for r in rows] == [("t0", 1, 0.9), ("t1", 2, 0.3)]
        assert [r["generated"] for r in ledger.ask("used", training="t1", top=9)] == ["g0", "g1"]
        shares = ledger.ask("shares", run=make_run(tmp_path, "b", scores=(0.9, 0.3, 0.1, 0.0)).sha256, top=10)
        assert [(s["rights_holder"], round(s["share"], 6)) for s in shares] == [("Ada", 0.769231), ("Ben", 0.230769)]


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ("SELECT * FROM good UNION ALL SELECT * FROM good WHERE rank = 1", "should have 8 edges, of which 10"),
        (
            "SELECT * REPLACE ('t0' AS training) FROM good WHERE rank < 4 UNION ALL SELECT * FROM good WHERE rank = 1",
            "twice",
        ),
        ("SELECT * REPLACE ('stranger' AS training_row_sha256) FROM good", "of which 0 are between items"),
        ("SELECT * REPLACE (NULL::INTEGER AS rank) FROM good", "NOT NULL"),
        ("SELECT * REPLACE ('inf'::FLOAT AS score) FROM good", "not finite, or too large"),
        ("SELECT * REPLACE ('nan'::FLOAT AS decoy_z) FROM good", "not finite, or too large"),
        ("SELECT 1 AS x", "cannot be read as edges"),
        (None, "gone.parquet"),
    ],
)
def test_a_load_that_fails_leaves_nothing(path, tmp_path, select, message):
    load(path, make_run(tmp_path))
    bad = make_run(tmp_path, "b")
    if select:
        good = duckdb.read_parquet(str(tmp_path / "b.parquet"))  # noqa: F841
        duckdb.sql(select).write_parquet(str(tmp_path / "bad.parquet"))
        results = bad.record["results"] | {"edges_sha256": file_sha256(tmp_path / "bad.parquet")}
        bad = replace(bad, record=bad.record | {"results": results}, edges=tmp_path / "bad.parquet")
    else:
        bad = replace(bad, edges=tmp_path / "gone.parquet")
    with pytest.raises(InputError, match=message):
        load(path, bad)
    with Ledger.open(path) as ledger:
        assert ledger.rows("SELECT count(*) AS n FROM runs") == [{"n": 1}]
        assert ledger.rows("SELECT count(*) AS n FROM edges") == [{"n": 8}]
    assert log_of(path).entry(2) is None
    assert fault(path) is None


def test_objects_that_are_not_those_of_the_record_are_refused(path, tmp_path):
    run, other = make_run(tmp_path), make_run(tmp_path, "b", scores=(0.3, 0.2, 0.1, 0.0))
    (tmp_path / "other").write_bytes(b"other noise")
    for changes in ({"edges": other.edges}, {"noise_bank": tmp_path / "other"}, {"calibration": None}):
        with pytest.raises(
            InputError, match=f"The record of run {run.sha256[:12]} is not the one that entry 1 commits to"
        ):
            load(path, replace(run, **changes))
    assert log_of(path).entry(1) is None


@pytest.mark.heavy
@given(
    scores=st.lists(st.floats(-1, 1) | st.floats(-1e6, 1e6), min_size=4, max_size=4),
    p=st.floats(1e-6, 1) | st.just(math.nan),
    decoys=st.integers(1, 20_000),
    above=st.floats(0, 1),
    z=st.floats(-1e4, 1e4) | st.just(math.nan),
)
@settings(max_examples=10, deadline=None)
def test_the_ledger_gives_back_what_was_published(tmp_path_factory, scores, p, decoys, above, z):
    folder = tmp_path_factory.mktemp("published")
    chance = (p, (1 + round(above * decoys)) / (1 + decoys), z)
    run = make_run(folder, scores=sorted(scores, reverse=True), chance=chance, decoys=decoys)
    load(folder / "ledger", run)
    with Ledger.open(folder / "ledger") as ledger:
        assert ledger.edges(1).select(NUMBERS).to_pylist() == sorted_edges(run).select(NUMBERS).to_pylist()


def sorted_edges(run):
    return pq.read_table(run.edges).sort_by([("generated_row_sha256", "ascending"), ("rank", "ascending")])


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM edges",
        "CREATE TABLE x (i INTEGER)",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_csv('/etc/hostname')",
        "SELECT * FROM '/etc/hostname'",
        "COPY edges TO '/tmp/stolen.csv'",
        "ATTACH '/tmp/other.duckdb'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SELECT nothing FROM edges",
        "not SQL",
        "",
    ],
)
def test_a_query_can_only_read_the_ledger(path, tmp_path, query):
    load(path, make_run(tmp_path))
    with Ledger.open(path) as ledger, pytest.raises(InputError):
        ledger.select(query)


def test_what_is_not_a_ledger_is_refused(path, tmp_path):
    with pytest.raises(InputError, match="There is no ledger"):
        Ledger.open(path)
    with pytest.raises(InputError, match="does not exist"):
        Ledger.write(tmp_path / "no" / "ledger", log_of(path))
    (tmp_path / "text").write_text("not a database, but long enough to look at" * 100)
    with pytest.raises(InputError, match="is a file, and a ledger is a folder"):
        Ledger.open(tmp_path / "text")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "catalogue.sqlite").write_text("not a database, but long enough to look at" * 100)
    with pytest.raises(InputError, match="cannot be opened as a ledger"):
        Ledger.open(tmp_path / "other")
    for wrong in ("ducklake:", "ducklake:mysql:db=x", "ducklake:postgres:", "ducklake:postgres:nothing", "s3://a/b"):
        with pytest.raises(InputError, match="A ledger cannot lie at"):
            Ledger.open(wrong)
    load(path, make_run(tmp_path))
    with attached(path) as connection:
        connection.execute("UPDATE file.ledger SET schema_version = 1")
    with pytest.raises(
        InputError,
        match=f"is of schema 1, this program's is {catalogue.SCHEMA}; make the ledger anew with `mucs rebuild`",
    ):
        Ledger.open(path)
    with Ledger.rebuild(path, log_of(path)):
        pass
    assert fault(path) is None


READ = """
import sys
from mucs.ledger.lake import Lake
lake = Lake.at(sys.argv[1])
with lake.connect() as connection:
    lake.attach(connection, read_only=True)
    print(connection.execute("SELECT count(*) FROM file.edges").fetchone()[0])
"""


def test_readers_do_not_wait_for_a_writer_and_see_whole_loads_alone(path, tmp_path, monkeypatch):
    load(path, make_run(tmp_path))
    seen = []

    def meanwhile(log, entry):  # when all rows are there, and the entry is not
        done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
        seen.append(int(done.stdout))
        return append(log, entry)

    append = Log.append
    monkeypatch.setattr(Log, "append", meanwhile)
    load(path, make_run(tmp_path, "b"))
    with Ledger.open(path) as ledger:
        assert (seen, ledger.one("SELECT count(*) FROM edges")) == ([8], 16)


def test_the_definitions_are_those_of_the_schemas_number():
    """If this fails, the tables, views or macros changed: then SCHEMA is to be one more, and DEFINITIONS what this says."""
    assert catalogue.digest_of(catalogue.expected()) == catalogue.DEFINITIONS


def test_what_is_published_has_six_decimals_and_no_p_value_is_understated(tmp_path):
    one = {name: ["x"] for name in EDGE_SCHEMA.names}
    numbers = {"rank": 1, "score": 0.12345678, "standard_error": 0.1, "seed_spread": math.nan, "decoy_z": 1.23456}
    path = tmp_path / "edges.parquet"
    for p, kept in ((1 / 82, 0.012196), (0.05, 0.05), (2 / 3, 0.666667), (1.0, 1.0), (0.010000001, 0.010001)):
        columns = {**one, **{name: [v] for name, v in numbers.items()}, "p_value": [p], "decoy_p_value": [math.nan]}
        write_edges([pa.table(columns)], path)
        (row,) = pq.read_table(path).to_pylist()
        assert (row["p_value"], row["decoy_p_value"], row["seed_spread"]) == (kept, None, None)
        assert row["p_value"] >= p - 1e-12
        assert row["score"] == pytest.approx(0.123457, abs=1e-9)
        assert row["decoy_z"] == pytest.approx(1.235, abs=1e-6)


def test_a_long_text_is_not_in_the_catalogue_which_every_question_reads(tmp_path):
    address = "registry-" * 5000
    load(tmp_path / "ledger", staged_run(tmp_path, registry=address))
    load(tmp_path / "ledger", staged_run(tmp_path, registry="short-registry"))
    kept = b"".join(path.read_bytes() for path in (tmp_path / "ledger").glob("catalogue.*"))
    assert b"short-registry" in kept
    assert b"registry-" * 50 not in kept
    assert fault(tmp_path / "ledger") is None
    with Ledger.open(tmp_path / "ledger") as ledger:
        assert ledger.one("SELECT record->>'registry' FROM runs WHERE run_id = 1") == address
