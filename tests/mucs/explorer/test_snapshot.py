"""A snapshot answers as its ledger does, and follows it."""

import datetime
import gc
import shutil
import time

import pytest

from mucs import InputError
from mucs.explorer import snapshot
from mucs.explorer.snapshot import Snapshots, take
from mucs.ledger import Ledger, analyst
from mucs.ledger.asked import Unavailable
from mucs.ledger.questions import names, question
from mucs.ledger.rights import withdraw
from tests.factories import load, log_of, writing
from tests.mucs.explorer.conftest import tell
from tests.mucs.ledger.test_ledger import make_run

pytestmark = pytest.mark.heavy
WAIT = 15  # seconds that a snapshot may take to come


def nearly(rows):
    """Rows with floats to nine digits: sums of them depend on their order."""
    return [{k: round(v, 9) if isinstance(v, float) else v for k, v in row.items()} for row in rows]


def test_it_answers_every_question_as_the_ledger_does(told, before_statements):
    with Ledger.open(told / "ledger") as there, take(Ledger.open(told / "ledger"), best=5).ledger() as here:
        assert there.at() == here.at()
        assert here.one("SELECT max(rank) FROM edges") == 12
        runs = [row["sha256"] for row in there.rows("SELECT sha256 FROM runs ORDER BY run_id")]
        known = {
            "generated": "g0",
            "training": "t1",
            "item": "t1",
            "rights_holder": "Ada",
            "target": "Ada",
            "run": runs[0],
        }
        known |= {
            "first": runs[0],
            "second": runs[1],
            "statement": there.one("SELECT max(sha256) FROM statements"),
            "line": 1,
            "row": there.one("SELECT max(row_sha256) FROM generated_items JOIN attributions USING (generated_id)"),
        }
        known |= {"checkpoint": f"{'checkpoint':f<64}", "training_set": f"{'training_set':f<64}", "settings": "x"}
        answered = set()
        for name in names():
            given = {p.name: known[p.name] for p in question(name).parameters if p.default is None}
            if name == "false_payments":  # there are no decoys
                given["decoy_p_value"] = 1
            expected = there.ask(name, **given)
            assert nearly(here.ask(name, **given)) == nearly(expected), name
            answered |= {name} if expected else set()
            for other in ({"as_of": before_statements}, {"day": "2025-01-01"}):  # neither now nor today
                if set(other) <= {p.name for p in question(name).parameters}:
                    assert nearly(here.ask(name, **given, **other)) == nearly(there.ask(name, **given, **other)), name
        assert answered == set(names()) - {
            "accesses",
            "covered",
            "coverage",
            "index",
            "missed",
            "over_cap",
            "provisional",
        }


def until(condition):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def databases(snapshot):
    with snapshot.ledger() as ledger:
        found = ledger.rows("SELECT database_name AS name FROM duckdb_databases() WHERE NOT internal ORDER BY name")
    return [row["name"] for row in found if row["name"] != "memory"]


def test_a_ledger_that_goes_on_is_followed_with_the_edges_that_were_copied_before(own, monkeypatch):
    monkeypatch.setattr(snapshot, "SHARE", 1.0)  # three runs of two items each come to one of nine and two of two
    first = take(Ledger.open(own), best=5)
    second = first
    for name in ("c", "d", "e"):
        load(own, make_run(own.parent, name, scores=(0.8, 0.7, 0.6, 0.5)))
        second = take(Ledger.open(own), before=second)
    assert (second.earlier, second.most_rank, second.number) == (first, 5, 3)
    with Ledger.open(own) as there, second.ledger() as here, first.ledger() as old:
        assert there.at() == here.at() != old.at()
        for ask in (lambda ledger: ledger.ask("why", generated="g0", top=50), lambda ledger: ledger.ask("shares")):
            assert nearly(ask(here)) == nearly(ask(there)) != nearly(ask(old))
        for count in ("SELECT count(*) FROM edges", "SELECT sum(score) FROM edges WHERE rank > 5"):
            assert here.one(count) == there.one(count)
    gc.collect()
    assert databases(second) == ["kept_0", "kept_3", "views_0", "views_3"]  # of those between, memory was given back
    del first
    gc.collect()
    assert len(databases(second)) == 4


def test_a_ledger_of_another_log_or_with_much_more_is_copied_anew(told, own, tmp_path):
    first = take(Ledger.open(own), best=5)
    for name in ("c", "d"):
        load(own, make_run(own.parent, name))
    assert take(Ledger.open(own), before=first).earlier is None
    shutil.rmtree(own)
    (tmp_path / "other").mkdir()
    tell(tmp_path / "other")
    shutil.copytree(tmp_path / "other/ledger", own)  # as many entries, at other times
    second = take(Ledger.open(own), before=first)
    assert (second.position, second.earlier) == (first.position, None)
    assert second.head != first.head


def test_it_follows_its_ledger_and_says_when_that_is_away(own):
    snapshots = Snapshots(str(own), lambda: Ledger.open(own))
    try:
        first = snapshots.current()
        with writing(own) as ledger:
            withdraw(ledger, ledger.one("SELECT sha256 FROM runs WHERE run_id = 2"), "no longer")
            last = ledger.at()
        until(lambda: snapshots.current().position == last[0])
        with first.ledger() as old:
            assert old.at()[0] == last[0] - 1  # whoever reads it goes on
        own.rename(own.with_name("elsewhere"))
        with pytest.raises(Unavailable, match="cannot be read just now: there is no ledger"):
            until(lambda: snapshots.current() is None)
        with Ledger.rebuild(own, log_of(own)) as made:
            assert made.at() == last

        def is_back():
            try:
                return snapshots.current().head == last[1]
            except Unavailable:
                return False

        until(is_back)
        shutil.rmtree(own.with_name("elsewhere"))
        with snapshots.current().ledger() as ledger:
            assert ledger.one("SELECT max(rank) FROM edges") == 12
    finally:
        snapshots.close()


def test_another_day_makes_another_snapshot(told, monkeypatch):
    snapshots = Snapshots(str(told / "ledger"), lambda: Ledger.open(told / "ledger"))
    try:
        first = snapshots.current()
        tomorrow = snapshot.today() + datetime.timedelta(days=1)
        monkeypatch.setattr(snapshot, "today", lambda: tomorrow)
        until(lambda: snapshots.current() is not first)
        assert snapshots.current().head == first.head
    finally:
        snapshots.close()


def test_an_analysts_query_ends_and_takes_nothing_with_it(told):
    path = str(told / "ledger")
    (row,) = analyst.select(
        path, "SELECT 1.50::DECIMAL(4, 2) AS a, [1, NULL] AS b, 'x' AS c, DATE '2026-10-31' AS d", 9, 10
    )
    assert (str(row["a"]), row["b"], row["c"], row["d"].isoformat()) == ("1.50", [1, None], "x", "2026-10-31")
    with pytest.raises(InputError, match=r"longer than 0.5 seconds"):
        analyst.select(path, "SELECT count(*) FROM range(100000000000) t(x) WHERE x * x % 7 = 3", 9, 0.5)
    with pytest.raises(InputError, match="must be one SELECT"):
        analyst.select(path, "DROP TABLE edges", 9, 10)
    with pytest.raises(InputError, match="more than 64,000,000 characters"):
        analyst.select(path, "SELECT repeat('x', 100000000)", 9, 10)
