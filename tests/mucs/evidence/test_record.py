"""A run's record says on what machine each item was attributed, and which items were not; old and new forms are read."""

import json

import pytest

from mucs.canonical import digest
from mucs.evidence import holds
from mucs.evidence.outcome import OUTCOME, outcome
from mucs.evidence.record import devices
from mucs.evidence.replay import changes
from mucs.evidence.signing import run_statement
from mucs.ledger import prove, say_run
from tests.factories import CPU, attribution, fault, item_row, staged_run, writing

DUCKDB = {"bool": "BOOLEAN", "int32": "INTEGER", "double": "DOUBLE", "extension<arrow.json>": "JSON"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger"


def test_the_ledgers_outcomes_are_the_one_list(path):
    with writing(path) as ledger:
        columns = ledger.rows("PRAGMA table_info('file.attributions')")
    others = ("run_id", "generated_id", "best_p_value")  # the last is told from the edges
    named = [(c["name"], c["type"], c["notnull"]) for c in columns if c["name"] not in others]
    assert named == [(field.name, DUCKDB[str(field.type)], not field.nullable) for field in OUTCOME]


def test_an_outcome_has_null_for_what_was_not_measured():
    made = outcome(attribution(6, 4), candidates=6)
    assert list(made) == OUTCOME.names
    assert (made["candidates"], made["survivors"], made["held_out_ks"]) == (6, 4, None)


def test_a_run_with_failed_items_is_loaded_verified_proven_and_its_failures_are_left_to_the_next_audit(path, tmp_path):
    run = staged_run(tmp_path, generated=3, failed=1)
    with writing(path) as ledger:
        assert say_run(ledger, run)
        assert ledger.one("SELECT count(*) FROM generated_items") == 3
        assert ledger.ask("verdicts", run=run.sha256)[-1]["generated"] == "g2"
        assert holds(
            prove(ledger, "g1", ledger.ask("why", generated="g1", top=1)[0]["training"]),
            run.record["results"]["edges_root"],
        )
        asked = {kind: f"{kind:f<64}" for kind in ("checkpoint", "training_set", "held_out")}
        covered = ledger.ask("covered", **asked, calibration="", settings=digest(run.record["settings"]))
        failed = item_row("g", 3, seed="3")
        assert len(covered) == 3
        assert digest(failed) not in {row["row_sha256"] for row in covered}
        assert ledger.run(run.sha256)["record"]["failed"] == [
            {
                "id": "g3",
                "sha256": failed["sha256"],
                "row_sha256": digest(failed),
                "reason": "The GPU ran out of memory three times.",
            }
        ]
    assert fault(path) is None
    assert run_statement(run.record, {})["predicate"]["failed_items"] == 1


def test_a_record_says_nothing_of_failures_if_there_are_none(tmp_path):
    run = staged_run(tmp_path)
    assert "failed" not in run.record
    assert "failed_items" not in run_statement(run.record, {})["predicate"]
    assert json.loads(json.dumps(run.record)) == run.record


def test_the_device_is_read_from_records_of_both_forms(tmp_path):
    record = staged_run(tmp_path).record
    assert "device" not in record
    assert devices(record) == [CPU] * 3
    earlier = {**record, "device": CPU, "results": {"attributions": [{"row_sha256": "a"}, {"row_sha256": "b"}]}}
    assert devices(earlier) == [CPU] * 2
    other_order = dict(reversed(CPU.items()))
    assert changes(record, record["code"], devices(record), [other_order] * 3) == []
    gpu = {"type": "cuda", "name": "a GPU"}
    assert changes(record, record["code"], [CPU, CPU, gpu], [CPU, gpu, gpu]) == [
        "The machine is another: name a GPU, type cuda; the run recorded name a processor, torch 2.13.0, type cpu."
    ]
