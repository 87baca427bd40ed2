"""Questions and records from the command line, over a small ledger."""

import json

import pytest

from mucs.ledger import Ledger
from mucs.ledger.questions import names
from tests.factories import load, log_of
from tests.mucs.ledger.test_ledger import make_run


@pytest.fixture
def path(tmp_path, monkeypatch):
    path = tmp_path / "ledger"
    for run in (make_run(tmp_path), make_run(tmp_path, "b", scores=(0.9, 0.3, 0.1, 0.0))):
        load(path, run)
    monkeypatch.setenv("MUCS_LEDGER", str(path))
    return path


def kept(path) -> list[str]:
    """What lies in the log."""
    return list(log_of(path).store.names(""))


def test_questions_are_listed_shown_and_asked(mucs, path):
    status, out, _ = mucs("questions")
    assert status == 0
    assert all(name in out for name in names())
    assert "[top=10]" in out
    shown = mucs("questions", "why")[1]
    assert "lineage_as_of($as_of)" in shown
    assert json.loads(mucs("questions", "why", "--json")[1])["sql"].strip() == shown.strip()
    rows = json.loads(mucs("ask", "why", "generated=g0", "top=2", "--json")[1])
    assert [row["training"] for row in rows] == ["t0", "t1"]
    assert rows == json.loads(mucs("why", "g0", "--top", 2, "--json")[1])
    table = mucs("ask", "why", "generated=g0", "top=2")[1]
    assert "t1" in table
    assert "training_sha256" not in table
    assert rows[0]["run"][:16] in table
    assert rows[0]["run"] not in table
    assert "No rows." in mucs("ask", "why", "generated=g0", "--as-of", "2020-01-01")[1]
    with Ledger.open(path) as ledger:
        first = ledger.one("SELECT loaded_at FROM runs WHERE run_id = 1").isoformat()
    (then,) = json.loads(mucs("why", "g0", "--top", 1, "--as-of", first, "--json")[1])
    assert round(then["score"], 3) == 0.4


def test_rights_descent_and_withdrawals_are_recorded_once(mucs, path, tmp_path):
    file = tmp_path / "rights.csv"
    file.write_text("item,rights_holder,licence,valid_from,valid_to\nt0,Ada,CC0,2024-01-01,2025-01-01\n")
    assert "Recorded 1 rights." in mucs("rights", file)[1]
    before = kept(path)
    assert "Nothing to do" in mucs("rights", file)[1]
    assert kept(path) == before
    lapsed = json.loads(mucs("ask", "lapsed", "day=2025-06-01", "--json")[1])
    assert {(row["generated"], row["standing"]) for row in lapsed} == {("g0", "lapsed"), ("g1", "lapsed")}
    assert "was made from" in mucs("derive", "checkpoint", "f" * 64)[1]
    assert "Nothing to do" in mucs("derive", "checkpoint", "f" * 64)[1]
    assert len(json.loads(mucs("ask", "ancestry", "generated=g0", "--json")[1])) == 3
    (run,) = json.loads(mucs("why", "g0", "--top", 1, "--json")[1])
    assert "speaks no longer" in mucs("withdraw", run["run"][:12], "--reason", "wrong settings")[1]
    assert round(json.loads(mucs("why", "g0", "--top", 1, "--json")[1])[0]["score"], 3) == 0.4
    assert mucs("verify")[0] == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["ask", "what"], "There is no question 'what'"),
        (["questions", "what"], "There is no question 'what'"),
        (["ask", "why"], "needs generated"),
        (["ask", "why", "g0"], "'g0' is not a parameter"),
        (["ask", "why", "generated=g0", "--as-of", "soon"], "as_of cannot be 'soon'"),
        (["rights", "none.csv"], "cannot be read as CSV"),
        (["derive", "abc", "def"], "'abc' names no artifact"),
        (["withdraw", "abc", "--reason", "x"], "'abc' names no run"),
    ],
)
def test_what_cannot_be_asked_or_recorded_is_refused(mucs, path, words, sentence):
    before = kept(path)
    status, out, err = mucs(*words)
    assert (status, out) == (2, "")
    assert sentence in err
    assert kept(path) == before


def test_a_missing_ledger_is_not_made_by_recording(mucs, tmp_path):
    status, _, err = mucs("withdraw", "abc", "--reason", "x", "--ledger", tmp_path / "none")
    assert status == 2
    assert "There is no ledger" in err
    assert list(tmp_path.iterdir()) == []
