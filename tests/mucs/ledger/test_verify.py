"""Verification finds the first thing that was changed, whatever it is, and reads a big ledger in parts."""

import json

import duckdb
import pytest

from mucs import InputError
from mucs import ledger as store
from mucs.ledger import Ledger, first_fault, verify
from mucs.ledger.rights import Right, record_derivation, record_rights, withdraw
from tests.mucs.ledger.test_ledger import TRAINING, make_run

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A ledger with two runs, two rights, a derivation and a withdrawal."""
    folder = tmp_path_factory.mktemp("whole")
    path = folder / "ledger.duckdb"
    with Ledger.open(path, read_only=False) as ledger:
        for name in "ab":
            store.load(ledger, make_run(folder, name))
        image, other = TRAINING[0]["sha256"], TRAINING[1]["sha256"]
        rights = [
            Right(2, image, "Ada", "CC0", "granted", ["training", "output"], "2024-01-01", "2026-01-01"),
            Right(3, other, "Ben", "CC0", "opted out", None, "2025-01-01", None),
        ]
        assert record_rights(ledger, rights)
        assert record_derivation(ledger, "c" * 64, "d" * 64)
        assert withdraw(ledger, make_run(folder, "a").sha256, "wrong batch")
    return path


@pytest.fixture
def changed(whole, tmp_path):
    """Make a copy, change it behind the ledger's back, and say what verification finds."""

    def change(*statements: str, head: str | None = None) -> str | None:
        path = tmp_path / "ledger.duckdb"
        path.write_bytes(whole.read_bytes())
        with duckdb.connect(str(path)) as connection:
            for statement in statements:
                assert connection.execute(statement).fetchall() != [(0,)], "the change changes nothing"
        with Ledger.open(path) as ledger:
            return first_fault(ledger, head)

    return change


def test_what_nobody_touched_holds(changed):
    assert changed() is None


FAULTS = {
    "UPDATE runs SET location = 's3://elsewhere' WHERE run_id = 2": "run {b} is not the one",
    "UPDATE runs SET method = 'another' WHERE run_id = 2": "run {b} is not the one",
    "UPDATE runs SET settings_sha256 = 'x' WHERE run_id = 1": "run {a} is not the one",
    "UPDATE runs SET calibration_id = NULL WHERE run_id = 1": "run {a} is not the one",
    "UPDATE runs SET checkpoint_id = 3 WHERE run_id = 1": "run {a} is not the one",
    "UPDATE runs SET loaded_at = loaded_at + INTERVAL 1 SECOND WHERE run_id = 1": "items_belong",
    "UPDATE runs SET loaded_at = loaded_at + INTERVAL 1 SECOND WHERE run_id = 2": "runs_dated",
    "UPDATE artifacts SET bytes = 3 WHERE kind = 'checkpoint'": "the checkpoint checkpointff stands where",
    "UPDATE artifacts SET files = 2 WHERE kind = 'batch'": "the batch batchfffffff stands where",
    "INSERT INTO artifacts VALUES (99, 'checkpoint', 'x', 1, 1)": "the checkpoint x is an artifact of no run",
    "DELETE FROM members WHERE training_id = 4": "members of the training set of run {a}",
    "INSERT INTO members SELECT * FROM members WHERE training_id = 4": "members of the training set of run {a}",
    "INSERT INTO members VALUES (99, 1)": "members_refer",
    "UPDATE attributions SET steps = 4 WHERE run_id = 2 AND generated_id = 1": "outcomes of run {b}",
    "UPDATE attributions SET converged = false WHERE run_id = 1": "outcomes of run {a}",
    "UPDATE attributions SET recall = NULL WHERE run_id = 1": "outcomes of run {a}",
    "UPDATE attributions SET probe_after = 0.9000000000000001 WHERE run_id = 1": "outcomes of run {a}",
    "DELETE FROM attributions WHERE run_id = 1 AND generated_id = 2": "outcomes of run {a}",
    "INSERT INTO attributions SELECT * REPLACE (9 AS run_id) FROM attributions": "attributions_refer",
    "UPDATE validations SET success = false WHERE run_id = 1": "validations of run {a}",
    "UPDATE validations SET result = '{{}}' WHERE run_id = 2": "validations of run {b}",
    "DELETE FROM validations WHERE run_id = 1": "validations of run {a}",
    "INSERT INTO validations SELECT * REPLACE (9 AS run_id) FROM validations": "a validation belongs to no run",
    "UPDATE edges SET score = 0.39 WHERE run_id = 2 AND rank = 1 AND generated_id = 2": "edges of run {b}",
    "UPDATE edges SET training_id = training_id % 4 + 1 WHERE run_id = 1": "edges of run {a}",
    "UPDATE edges SET training_id = 77 WHERE run_id = 1 AND rank = 1": "edges of run {a}",
    "UPDATE edges SET training_id = -1 WHERE run_id = 1 AND rank = 1": "edges of run {a}",
    "UPDATE edges SET generated_id = 77 WHERE run_id = 1 AND rank = 1": "edges of run {a}",
    "UPDATE edges SET generated_id = 2 WHERE run_id = 1 AND rank = 1 AND generated_id = 1": "edges of run {a}",
    "INSERT INTO edges SELECT * EXCLUDE (decoy_p_value) FROM edges WHERE run_id = 1 AND rank = 4": "edges of run {a}",
    "DELETE FROM edges WHERE run_id = 2": "edges of run {b}",
    "INSERT INTO edges SELECT * EXCLUDE (decoy_p_value) REPLACE (3 AS run_id) FROM edges WHERE run_id = 1": "edges_refer",
    "UPDATE training_items SET date = '2023-01-01' WHERE training_id = 1": "the training item t0",
    "UPDATE training_items SET recorded_at = recorded_at - INTERVAL 1 DAY WHERE training_id = 1": "items_belong",
    "UPDATE generated_items SET manifest_row = manifest_row::VARCHAR || ' '": None,
    'UPDATE generated_items SET manifest_row = \'{{"id": "g0"}}\'': "not of the form",
    "UPDATE artifacts SET artifact_id = 44 WHERE kind = 'batch'": "the calibration calibration stands where",
    "INSERT INTO ledger VALUES (7)": "the table ledger says [7, 7]",
    "UPDATE rights SET rights_holder = 'Eve' WHERE line = 2": "the rights of entry 5",
    "UPDATE rights SET uses = ['training'] WHERE line = 2": "the rights of entry 5",
    "UPDATE rights SET valid_to = NULL WHERE line = 2": "the rights of entry 5",
    "UPDATE rights SET recorded_at = recorded_at - INTERVAL 1 DAY": "the rights of entry 5",
    "UPDATE rights SET recorded_at = recorded_at - INTERVAL 1 DAY WHERE line = 3": "the rights of entry 5",
    "UPDATE rights SET position = 6 WHERE line = 3": "the rights of entry 5",
    "DELETE FROM rights": "the rights of entry 5",
    "INSERT INTO rights SELECT * REPLACE (99 AS position) FROM rights": "the rights of entry 99 have no entry",
    "UPDATE derivations SET parent_sha256 = 'x'": "the derivations of entry 6",
    "INSERT INTO derivations SELECT * FROM derivations": "the derivations of entry 6",
    "UPDATE withdrawals SET reason = 'no reason'": "the withdrawals of entry 7",
    "UPDATE withdrawals SET run_id = 2": "the withdrawals of entry 7",
    "DELETE FROM withdrawals": "the withdrawals of entry 7",
}


@pytest.mark.parametrize("change", FAULTS)
def test_one_change_is_found_and_named(changed, tmp_path, change):
    names = {name: make_run(tmp_path, name).sha256[:12] for name in "ab"}
    found, expected = changed(change.format()), FAULTS[change]
    assert found is None if expected is None else expected.format(**names) in (found or "nothing was found")


def test_edges_that_were_swapped_between_two_runs_are_found(changed):
    assert "edges of run" in changed("UPDATE edges SET run_id = 3 - run_id, score = score + 0.01")


def test_a_removed_tail_is_found_by_who_remembers_the_head(whole, changed):
    with Ledger.open(whole) as ledger:
        heads = [entry.sha256 for entry in ledger.entries()]
        assert verify.later_than(ledger.entries(), heads[-3]) == 2
    gone = ("DELETE FROM entries WHERE position = 7", "DELETE FROM withdrawals")
    assert changed(*gone) is None
    assert changed(*gone, head=heads[-2]) is None
    assert "none with the remembered head" in changed(*gone, head=heads[-1])
    with pytest.raises(InputError, match="not the head of a chain"):
        changed(head="7")


def test_a_fault_before_the_edges_is_named_first(changed):
    found = changed("UPDATE edges SET score = 0 WHERE rank = 1", "UPDATE entries SET kind = 'x' WHERE position = 4")
    assert found.startswith("entry 4 was edited")


INVARIANTS = {
    "edges_complete": ["UPDATE edges SET rank = 7 WHERE rank = 4 AND generated_id = 2"],
    "edges_fall": ["UPDATE edges SET score = -0.4 WHERE rank = 2 AND generated_id = 2"],
    "edges_once": ["UPDATE edges SET training_id = 1 WHERE rank = 2 AND run_id = 2"],
    "edges_in_range": ["UPDATE edges SET p_value = 0 WHERE rank = 2 AND run_id = 2"],
    "edges_refer": ["DELETE FROM members WHERE training_id = 2"],
    "attributions_refer": ["INSERT INTO attributions SELECT * FROM attributions LIMIT 1"],
    "items_belong": ["DELETE FROM attributions WHERE generated_id = 2"],
    "items_once": [
        "INSERT INTO training_items SELECT * REPLACE (9 AS training_id) FROM training_items WHERE training_id = 1",
        "INSERT INTO members SELECT training_set_id, 9 FROM members WHERE training_id = 1",
    ],
    "members_refer": ["INSERT INTO members SELECT * FROM members LIMIT 1"],
    "runs_dated": ['UPDATE entries SET entry = replace(entry, \'"at":"20\', \'"at":"30\') WHERE position = 1'],
    "times_rise": ['UPDATE entries SET entry = replace(entry, \'"at":"20\', \'"at":"30\') WHERE position = 2'],
}


@pytest.mark.parametrize("name", INVARIANTS)
def test_each_invariant_is_violated_by_what_it_forbids_and_by_nothing_else(whole, tmp_path, name, monkeypatch):
    monkeypatch.setattr(verify, "SLICE", 3)
    path = tmp_path / "ledger.duckdb"
    path.write_bytes(whole.read_bytes())
    query = (verify.INVARIANTS / f"{name}.sql").read_text()
    assert query.startswith("-- ")
    with duckdb.connect(str(path)) as connection:
        assert connection.execute(query).fetchall() == []
        for statement in INVARIANTS[name]:
            connection.execute(statement)
        assert connection.execute(query).fetchall()
    with Ledger.open(path) as ledger:
        assert " is violated (" in verify._invariant_fault(ledger)


def test_a_big_run_is_read_in_parts_and_by_several_processes(whole, changed, monkeypatch):
    monkeypatch.setattr(verify, "BATCH", 3)
    monkeypatch.setattr(verify, "SLICE", 3)
    assert changed() is None
    assert "edges of run" in changed("UPDATE edges SET decoy_z = 1.25 WHERE rank = 4 AND run_id = 2")
    assert "edges_refer" in changed(
        "INSERT INTO edges SELECT * EXCLUDE (decoy_p_value) REPLACE (3 AS run_id) FROM edges WHERE run_id = 1"
    )


def test_the_entry_of_a_run_commits_to_its_artifacts_and_training_set(whole):
    with Ledger.open(whole) as ledger:
        body = json.loads(ledger.entries()[0].entry)["body"]
    assert len(body["artifacts"]) == 5
    assert len(body["members"]) == 64
