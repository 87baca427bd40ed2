"""Logs of each form that entries had, as users have them, are read by this program."""

import datetime
import json
import shutil
from pathlib import Path

import pytest

from mucs.evidence.log import Log
from mucs.evidence.store import Folder
from mucs.evidence.thumbnails import Thumbnails
from mucs.ledger import Ledger
from mucs.ledger.rights import say_derivation
from mucs.ledger.verify import verify

pytestmark = pytest.mark.heavy

GOLDEN = Path(__file__).parents[2] / "golden"
KINDS = ["run", "run", "rights", "derivation", "withdrawal", "usage", "statement", "dispute", "dispute", "dispute"]


def golden(name: str, folder: Path) -> Log:
    """A copy of a golden log in a folder."""
    return Log(Folder(Path(shutil.copytree(GOLDEN / name, folder / "log"))))


@pytest.mark.parametrize(("version", "thumbnails"), [(2, 0), (3, 6)])
def test_a_ledger_is_made_of_it_that_holds_answers_and_goes_on(tmp_path, version, thumbnails):
    log = golden(f"log-{version}", tmp_path)
    entries = list(log.after())
    assert ([entry.kind for entry in entries], {entry.version for entry in entries}) == (KINDS, {version})
    with Ledger.rebuild(tmp_path / "ledger", log) as ledger:
        done = verify(ledger, log)
        assert (done.fault, done.position, done.head) == (None, 10, entries[-1].sha256)
        assert ledger.one("SELECT count(*) FROM thumbnails") == thumbnails
        for row in ledger.rows("FROM thumbnails"):
            assert Thumbnails(log).webp(row["object_sha256"], row["image_sha256"])[:4] == b"RIFF"
        why = ledger.ask("why", generated="g0")
        assert [(row["training"], float(row["score"])) for row in why] == [
            ("t0", 0.4),
            ("t1", 0.2),
            ("t2", -0.1),
            ("t3", -0.3),
        ]
        assert {row["rights_holder"] for row in why} == {"Ada", "Ben"}
        assert ledger.rows("SELECT state, amount::DOUBLE AS amount FROM disputes") == [
            {"state": "upheld", "amount": 12.5}
        ]
        assert say_derivation(ledger, "1" * 64, "2" * 64)
        assert verify(ledger, log).fault is None


def test_where_rights_were_said_and_up_to_which_share_is_known(tmp_path):
    """Rights with a cap and a source, and those that a list of opt-outs came to."""
    log = golden("log-3-rights", tmp_path)
    assert [(entry.kind, entry.version) for entry in log.after()] == [("run", 3), ("rights", 3), ("rights", 3)]
    with Ledger.rebuild(tmp_path / "ledger", log) as ledger:
        assert verify(ledger, log).fault is None
        said = "SELECT line, standing, cap::DOUBLE AS cap, source, valid_from::VARCHAR AS day FROM rights ORDER BY position"
        assert [tuple(row.values()) for row in ledger.rows(said)] == [
            (2, "granted", 0.25, "contract of 2023", "2024-01-01"),
            (2, "opted out", None, "robots.txt", "2026-10-01"),
        ]
        assert {row["rights_holder"] for row in ledger.ask("over_cap")} == {"Ben"}


def test_what_held_out_items_would_get_is_known(tmp_path):
    """A run that kept the scores of its held-out items, as an object of its entry, and a statement that says what they would get."""
    log = golden("log-3-unseen", tmp_path)
    entries = list(log.after())
    assert [(entry.kind, entry.version) for entry in entries] == [("run", 3), ("usage", 3), ("statement", 3)]
    with Ledger.rebuild(tmp_path / "ledger", log) as ledger:
        assert (verify(ledger, log).fault, ledger.at()) == (None, (3, entries[-1].sha256))
        assert ledger.one("SELECT count(*) FROM edges") == 8
        assert ledger.rows(
            "SELECT held_out, score::DOUBLE AS score FROM unseen_edges WHERE generated_id = 1 ORDER BY rank"
        ) == [
            {"held_out": "h1", "score": 0.3},
            {"held_out": "h2", "score": 0.1},
            {"held_out": "h3", "score": -0.2},
        ]
        (found,) = ledger.ask("false_payments", top=3, decoy_p_value=1)
        assert found["share"] == pytest.approx(1 / 6)
        said = json.loads(ledger.one("SELECT content FROM statements"))["header"]["usage"]["false_payments"]
        assert said == {"share": "0.250000000000", "generated_items": 2, "candidates": [{"held_out": 3, "training": 4}]}
        assert say_derivation(ledger, "1" * 64, "2" * 64)
        assert verify(ledger, log).fault is None


def test_what_an_index_said_is_known(tmp_path):
    """A picture that an index was asked about before its run."""
    log = golden("log-3-provisional", tmp_path)
    entries = list(log.after())
    assert [(entry.kind, entry.version) for entry in entries] == [("index", 3), ("provisional", 3), ("run", 3)]
    with Ledger.rebuild(tmp_path / "ledger", log) as ledger:
        assert (verify(ledger, log).fault, ledger.at()) == (None, (3, entries[-1].sha256))
        found = ledger.ask("provisional", generated=entries[1].body["generated"]["id"])
        assert [(row["training"], row["predicted"], row["low"], row["high"], row["among_best"]) for row in found] == [
            ("t0", 0.5, 0.2, 0.7, 0.75),
            ("t1", 0.4, 0.1, 0.6, 0.75),
            ("t2", 0.3, 0.0, 0.5, 0.75),
        ]
        assert {(row["pictures"], row["spearman"]) for row in found} == {(8, 0.625)}
        measured = {row["training"]: row["rank"] for row in ledger.ask("why", generated=found[0]["generated"])}
        assert [row["measured_rank"] for row in found] == [measured.get(f"t{k}") for k in range(3)]
        assert say_derivation(ledger, "1" * 64, "2" * 64)
        assert verify(ledger, log).fault is None


def test_who_changed_and_took_out_what_is_known(tmp_path):
    """The log of version 3 went on: its entries of kind access, and all with `by`, as the explorer said them."""
    log = golden("log-3-by", tmp_path)
    entries = list(log.after())
    assert [entry.kind for entry in entries] == [
        *(*KINDS, "access", "access", "access", "access", "rights", "dispute", "dispute", "withdrawal")
    ]
    with Ledger.rebuild(tmp_path / "ledger", log) as ledger:
        assert (verify(ledger, log).fault, ledger.at()) == (None, (18, entries[-1].sha256))
        rows = ledger.ask("accesses")[::-1]
        assert [(row["position"], row["who"], row["role"], row["what"]) for row in rows] == [
            (11, "ann@example.org", "analyst", "csv"),
            (12, "ann@example.org", "analyst", "sql"),
            (13, "Ada", "holder", "document"),
            (14, "Ada", "holder", "proof"),
            (15, "Olive Ö", "officer", "rights"),
            (16, "Ada", "holder", "dispute"),
            (17, "Olive Ö", "officer", "dispute"),
            (18, "Olive Ö", "officer", "withdrawal"),
        ]
        assert [row["answered_from"] for row in rows] == [
            *(entry.body["position"] for entry in entries[10:14]),
            *[None] * 4,
        ]
        assert [row["sha256"] for row in rows] == [*(entry.body["sha256"] for entry in entries[10:14]), *[None] * 4]
        assert rows[0]["address"] == "/holders/Ada.csv?as_of=2026-11-29T05:31:58Z"
        assert rows[0]["as_of"] == datetime.datetime(2026, 11, 29, 5, 31, 58, tzinfo=datetime.UTC)
        assert rows[1]["address"].endswith("FROM lineage WHERE rights_holder = 'Ada'")
        assert "Ada" not in "".join(entry.entry for entry in entries)
        assert ledger.one("SELECT state FROM disputes WHERE dispute = 16") == "under review"
        assert ledger.one("SELECT count(*) FROM withdrawals") == 2
        assert say_derivation(ledger, "1" * 64, "2" * 64)
        assert verify(ledger, log).fault is None
