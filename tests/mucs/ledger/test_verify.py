"""Verification finds the first thing that was changed, in the log or in the ledger, and names it."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mucs import InputError
from mucs.evidence.chain import link
from mucs.evidence.log import object_name
from mucs.ledger import Ledger, say_run, verify
from mucs.ledger.rights import Right, say_derivation, say_rights, withdraw
from mucs.ledger.tables import NAMES, table_digests
from mucs.ledger.verify import verify_log
from tests.factories import fault, log_of, writing
from tests.mucs.ledger.test_ledger import TRAINING, attached, make_run

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A ledger with two runs, two rights, a derivation and a withdrawal."""
    folder = tmp_path_factory.mktemp("whole")
    with writing(folder / "ledger") as ledger:
        for name in "ab":
            say_run(ledger, make_run(folder, name))
        image, other = TRAINING[0]["sha256"], TRAINING[1]["sha256"]
        rights = [
            Right(2, image, "Ada", "CC0", "granted", ["training", "output"], "2024-01-01", "2026-01-01"),
            Right(3, other, "Ben", "CC0", "opted out", None, "2025-01-01", None),
        ]
        assert say_rights(ledger, rights)
        assert say_derivation(ledger, "c" * 64, "d" * 64)
        assert withdraw(ledger, make_run(folder, "a").sha256, "wrong batch")
    return folder / "ledger"


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of the ledger and its log, to be changed behind their backs."""
    for name in ("ledger", "log"):
        shutil.copytree(whole.with_name(name), tmp_path / name)
    return tmp_path / "ledger"


def test_what_nobody_touched_holds_and_two_ledgers_of_a_log_are_alike(whole, tmp_path):
    with Ledger.open(whole) as ledger:
        done = verify.verify(ledger, log_of(whole))
    assert (done.fault, done.position) == (None, 5)
    assert done.digests.keys() == set(NAMES)
    with Ledger.rebuild(tmp_path / "anew", log_of(whole)) as anew:
        assert table_digests(anew.connection) == done.digests


FILES = """SELECT count(*) FROM __ducklake_metadata_file.ducklake_data_file JOIN __ducklake_metadata_file.ducklake_table t
USING (table_id) WHERE table_name = 'edges' AND ducklake_data_file.end_snapshot IS NULL AND t.end_snapshot IS NULL"""


@pytest.mark.slow
def test_after_many_loads_files_are_merged_and_say_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("mucs.ledger.catalogue.MANY", 4)
    files = []
    with writing(tmp_path / "ledger") as ledger:
        ledger.connection.execute("CALL file.set_option('data_inlining_row_limit', 0)")
        for name in "abcdefghij":
            assert say_run(ledger, make_run(tmp_path, name))
            files.append(ledger.one(FILES))
    assert files == [1, 2, 3, 1, 2, 3, 1, 2, 3, 1]
    with Ledger.open(tmp_path / "ledger") as ledger:
        done = verify.verify(ledger, log_of(tmp_path / "ledger"))
        edges = ledger.rows("SELECT run_id, generated_id, rank FROM edges")
    assert done.fault is None
    assert edges == sorted(edges, key=lambda edge: tuple(edge.values()))  # as they were written
    monkeypatch.setattr("mucs.ledger.catalogue.MANY", 100)
    with Ledger.rebuild(tmp_path / "anew", log_of(tmp_path / "ledger")) as anew:
        assert table_digests(anew.connection) == done.digests


def test_it_does_not_matter_how_many_edges_are_looked_at_at_a_time(whole, monkeypatch):
    with Ledger.open(whole) as ledger:
        digests = table_digests(ledger.connection)
        for part, read in ((3, 5), (5, 3), (1, 2**17)):
            monkeypatch.setattr("mucs.evidence.reading.PART", part)
            monkeypatch.setattr("mucs.ledger.edges.AT_ONCE", read)
            done = verify.verify(ledger, log_of(whole))
            assert (done.fault, done.digests) == (None, digests)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scores": (0.4, 0.2, 0.3, -0.3)}, "have scores that rise"),
        ({"chance": (0.0, 0.25, 1.5)}, "have numbers that are out of range"),
        ({"chance": (0.5, 1.25, 1.5)}, "have numbers that are out of range"),
        ({"chance": (0.5, math.nan, math.nan)}, "have numbers that are out of range"),
    ],
)
def test_edges_that_were_published_without_a_gate_are_named(tmp_path, changes, said):
    with writing(tmp_path / "ledger") as ledger:
        assert say_run(ledger, make_run(tmp_path, "a"))
        bad = make_run(tmp_path, "b", **changes)
        assert say_run(ledger, bad)
    assert fault(tmp_path / "ledger") == f"the edges of run {bad.sha256[:12]} {said}"


FAULTS = {
    "UPDATE file.runs SET method = 'another' WHERE run_id = 2": "the table runs has a row that the log does not give: run_id 2",
    "UPDATE file.artifacts SET bytes = 3 WHERE kind = 'checkpoint'": "the table artifacts has a row",
    "DELETE FROM file.members WHERE training_id = 4": "the table members lacks a row: training_set_id 2, training_id 4",
    "INSERT INTO file.members SELECT * FROM file.members LIMIT 1": "the table members has a row",
    "UPDATE file.attributions SET recall = NULL WHERE run_id = 1": "the table attributions has a row",
    "DELETE FROM file.validations": "the table validations lacks a row",
    "DELETE FROM file.thumbnails": "the table thumbnails lacks a row: image_sha256 0000",
    "UPDATE file.thumbnails SET object_sha256 = image_sha256": "the table thumbnails has a row that the log does not give",
    "UPDATE file.training_items SET rights_holder = 'Eve' WHERE training_id = 1": "the table training_items has a row",
    "UPDATE file.generated_items SET recorded_at = recorded_at - INTERVAL 1 DAY": "the table generated_items has a row",
    "UPDATE file.edges SET score = 0.39 WHERE run_id = 2 AND rank = 1 AND generated_id = 2": "the edges of run {b}",
    "UPDATE file.edges SET training_id = training_id % 4 + 1 WHERE run_id = 1": "the edges of run {a}",
    "UPDATE file.edges SET decoy_z = NULL WHERE run_id = 1 AND rank = 4": "the edges of run {a}",
    "DELETE FROM file.edges WHERE run_id = 2 AND rank = 4": "the edges of run {b}",
    "INSERT INTO file.edges SELECT * FROM file.edges WHERE run_id = 1 AND rank = 4": "the edges of run {a}",
    "INSERT INTO file.edges SELECT * REPLACE (3 AS run_id) FROM file.edges WHERE run_id = 1": "edges of a run that the log does not",
    "UPDATE file.rights SET uses = ['training'] WHERE line = 2": "the table rights has a row that the log does not give: position 3",
    "UPDATE file.derivations SET parent_sha256 = 'x'": "the table derivations has a row",
    "DELETE FROM file.withdrawals": "the table withdrawals lacks a row: position 5",
    "UPDATE file.entries SET kind = 'x' WHERE position = 4": "the table entries has a row",
    "UPDATE file.ledger SET head = repeat('0', 64)": "the log has no such entry",
    "UPDATE file.ledger SET position = 4": "the log has no such entry",
    "INSERT INTO file.ledger FROM file.ledger": "its table ledger has 2 rows",
}


@pytest.mark.parametrize("change", FAULTS)
def test_one_change_of_a_table_is_found_and_named(copy, change):
    names = {name: make_run(copy.parent, name).sha256[:12] for name in "ab"}
    with attached(copy) as connection:
        assert connection.execute(change).fetchall() != [(0,)], "the change changes nothing"
    try:
        found = fault(copy)
    except InputError as error:
        found = str(error)
    assert FAULTS[change].format(**names) in (found or "nothing was found")


UNSEEN = ((0.3, 0.1, -0.2), (0.05, -0.1, -0.2))


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """A ledger with a run that kept the scores of held-out items."""
    folder = tmp_path_factory.mktemp("beside")
    with writing(folder / "ledger") as ledger:
        say_run(ledger, make_run(folder, unseen=UNSEEN))
    return folder / "ledger"


def test_unseen_edges_are_kept_apart_from_edges_held_to_the_log_and_made_anew(beside, tmp_path):
    log = log_of(beside)
    body = log.entry(1).body
    assert json.loads(log.object(body["run"]))["results"]["unseen_edges_sha256"] == body["objects"]["unseen_edges"]
    with Ledger.open(beside) as ledger:
        done = verify.verify(ledger, log)
        assert done.fault is None
        assert ledger.one("SELECT count(*) FROM edges") == 8
        rows = ledger.rows(
            "SELECT held_out, rank, score::DOUBLE AS score FROM unseen_edges WHERE generated_id = 1 ORDER BY rank"
        )
        assert [tuple(row.values()) for row in rows] == [("h1", 1, 0.3), ("h2", 2, 0.1), ("h3", 3, -0.2)]
        assert ledger.rows("SELECT DISTINCT held_out, candidates FROM attributions") == [
            {"held_out": 3, "candidates": 4}
        ]
    with Ledger.rebuild(tmp_path / "anew", log) as anew:
        assert table_digests(anew.connection) == done.digests


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE file.unseen_edges SET score = 0.01 WHERE rank = 1", "has a row that the log does not give: run_id 1"),
        ("UPDATE file.unseen_edges SET held_out = 'h9' WHERE rank = 2", "has a row that the log does not give"),
        ("DELETE FROM file.unseen_edges WHERE rank = 3", "lacks a row: run_id 1"),
        (
            "INSERT INTO file.unseen_edges SELECT * REPLACE (4 AS rank) FROM file.unseen_edges WHERE rank = 3",
            "has a row",
        ),
    ],
)
def test_one_change_of_unseen_edges_is_found_and_named(beside, tmp_path, change, said):
    for name in ("ledger", "log"):
        shutil.copytree(beside.with_name(name), tmp_path / name)
    with attached(tmp_path / "ledger") as connection:
        assert connection.execute(change).fetchall() != [(0,)]
    assert f"the table unseen_edges {said}" in fault(tmp_path / "ledger")


@pytest.mark.parametrize(
    "changes", [{"unseen": ((0.1, 0.3), (0.2, 0.1))}, {"unseen": UNSEEN, "unseen_chance": (0.0, 0.25, 1.5)}]
)
def test_unseen_edges_that_are_not_as_edges_are_violate_an_invariant(tmp_path, changes):
    with writing(tmp_path / "ledger") as ledger:
        assert say_run(ledger, make_run(tmp_path, **changes))
    assert "the invariant unseen_edges_ranked is violated" in fault(tmp_path / "ledger")


def test_an_entry_whose_unseen_edges_are_not_those_of_its_record_is_refused(tmp_path):
    run, other = make_run(tmp_path, unseen=UNSEEN), make_run(tmp_path, "b", unseen=(UNSEEN[1], UNSEEN[0]))
    for unseen in (other.unseen, None):
        with (
            writing(tmp_path / "ledger") as ledger,
            pytest.raises(InputError, match="is not the one that entry 1 commits to"),
        ):
            say_run(ledger, replace(run, unseen=unseen))


def alter(path):
    """Turn one bit in the middle of a file."""
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def test_each_object_that_was_altered_or_is_gone_is_found_with_nothing_but_the_log(copy):
    log = log_of(copy)
    assert verify_log(log).fault is None
    objects = sorted(log.store.names("objects/"))
    assert len(objects) == 10
    for name in objects:
        path = Path(log.place) / name
        whole = path.read_bytes()
        alter(path)
        assert "was altered" in verify_log(log).fault
        path.unlink()
        assert "is missing" in verify_log(log).fault
        path.write_bytes(whole)


def test_a_log_that_was_cut_forked_or_edited_is_named_with_the_first_entry_that_differs(copy):
    log = log_of(copy)
    entries = {k: Path(log.place) / f"log/{k:012d}.json" for k in range(1, 6)}
    texts = {k: path.read_bytes() for k, path in entries.items()}
    head = log.entry(5).sha256

    def put_back():
        for k, path in entries.items():
            path.write_bytes(texts[k])

    entries[3].unlink()
    assert "entry 3 is missing" in verify_log(log).fault
    put_back()
    entries[5].unlink()
    assert verify_log(log).fault is None  # by itself it cannot know
    assert f"none with the remembered head {head[:12]}" in verify_log(log, head).fault
    with writing_without_sync(copy) as ledger, pytest.raises(InputError, match="ends before entry 5"):
        ledger.sync()
    assert "the log has no such entry" in fault(copy)
    put_back()
    entries[2].write_bytes(texts[2].replace(b'"kind":"run"', b'"kind":"nur"'))
    assert "entry 3 does not follow entry 2" in verify_log(log).fault
    put_back()
    said = json.loads(texts[5])
    entries[5].write_bytes(texts[5].replace(said["body"]["reason"].encode(), b"right batch"))
    assert verify_log(log).fault is None
    with writing_without_sync(copy) as ledger, pytest.raises(InputError, match="entry 5 is the first that differs"):
        ledger.sync()
    put_back()
    entries[5].write_bytes(b"{}")
    assert "entry 5 cannot be read" in verify_log(log).fault
    with pytest.raises(InputError, match="not the head of a log"):
        verify_log(log, "7")


@pytest.mark.parametrize(
    "said",
    [b"{", b"[]", b"{}", b'{"header":7}', b'{"header":{"statement":"m/2025-01/1","version":1,"supersedes":null}}'],
)
def test_a_statement_that_somebody_forged_and_that_is_none_is_named_by_its_entry(copy, said):
    log = log_of(copy)
    *_, last = log.after()
    body = {"statement": "m/2025-01/1", "version": 1, "supersedes": None, "sha256": log.keep(said)}
    at = "2026-01-01T00:00:00.000000+00:00"
    assert log.append(link(last.position + 1, last.sha256, "statement", at, body))
    assert f"entry {last.position + 1} is not of the form of a statement" in verify_log(log).fault


def writing_without_sync(path):
    return Ledger.write(path, log_of(path))


def test_a_ledger_behind_its_log_holds_and_an_object_that_is_gone_breaks_no_entry_before_it(copy):
    log = log_of(copy)
    behind = copy.with_name("behind")
    with Ledger.rebuild(behind, log):
        pass
    with writing(copy) as ledger:
        assert say_derivation(ledger, "e" * 64, "f" * 64)
        assert say_rights(ledger, [Right(2, TRAINING[0]["sha256"], "Eve", "CC0", "granted", None, "2024-01-01", None)])
    assert fault(behind) is None
    (Path(log.place) / object_name(log.entry(7).body["sha256"])).unlink()
    with writing_without_sync(behind) as ledger, pytest.raises(InputError, match="is missing; restore it from a copy"):
        ledger.sync()
    with Ledger.open(behind) as ledger:
        assert ledger.at()[0] == 5


INVARIANTS = {
    "attributions_refer": ["INSERT INTO file.attributions SELECT * FROM file.attributions LIMIT 1"],
    "items_belong": ["DELETE FROM file.attributions WHERE generated_id = 2"],
    "items_once": [
        "INSERT INTO file.training_items SELECT * REPLACE (9 AS training_id) FROM file.training_items WHERE training_id = 1",
        "INSERT INTO file.members SELECT training_set_id, 9 FROM file.members WHERE training_id = 1",
    ],
    "members_refer": ["INSERT INTO file.members SELECT * FROM file.members LIMIT 1"],
    "times_rise": ['UPDATE file.entries SET entry = replace(entry, \'"at":"20\', \'"at":"30\') WHERE position = 2'],
}


@pytest.mark.parametrize("name", INVARIANTS)
def test_each_invariant_is_violated_by_what_it_forbids(copy, name):
    query = (verify.INVARIANTS / f"{name}.sql").read_text()
    assert query.startswith("-- ")
    with Ledger.open(copy) as ledger:
        assert ledger.rows(query) == []
    with attached(copy) as connection:
        for statement in INVARIANTS[name]:
            connection.execute(statement)
    with Ledger.open(copy) as ledger:
        assert ledger.rows(query)
        assert " is violated (" in verify._invariant_fault(ledger)


def test_the_entry_of_a_run_commits_to_its_artifacts_and_training_set(whole):
    body = log_of(whole).entry(1).body
    assert len(body["artifacts"]) == 5
    assert len(body["members"]) == 64
    assert body["objects"].keys() == {"edges", "noise_bank", "validations", "training", "generated", "calibration"}
