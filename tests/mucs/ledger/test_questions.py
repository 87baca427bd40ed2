"""Named questions: right against plain Python, and from what the ledger knew at any time."""

import datetime
import decimal
import itertools
import shutil
from collections import defaultdict

import pytest

from mucs import InputError
from mucs.ledger import say_run
from mucs.ledger.questions import names, question
from mucs.ledger.rights import artifact, read_rights, say_derivation, say_rights, withdraw
from tests.factories import fault, load, log_of, writing
from tests.mucs.ledger.test_ledger import GENERATED, TRAINING, make_run

pytestmark = pytest.mark.heavy

SCORES = {"a": (0.4, 0.2, -0.1, -0.3), "b": (0.9, 0.3, 0.1, 0.0)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("questions")


@pytest.fixture(scope="module")
def runs(folder):
    return {name: make_run(folder, name, scores) for name, scores in SCORES.items()}


@pytest.fixture(scope="module")
def path(folder, runs):
    """A ledger with run a, and then run b, which stays so."""
    for run in runs.values():
        load(folder / "ledger", run)
    return folder / "ledger"


@pytest.fixture(scope="module")
def shared(path):
    """The same, open, for tests that change nothing."""
    with writing(path) as ledger:
        yield ledger


@pytest.fixture
def own(path, tmp_path):
    """A copy, open to be written."""
    for name in ("ledger", "log"):
        shutil.copytree(path.with_name(name), tmp_path / name)
    with writing(tmp_path / "ledger") as ledger:
        yield ledger


def times(ledger) -> list[str]:
    """When each run was loaded."""
    return [row["loaded_at"].isoformat() for row in ledger.rows("SELECT loaded_at FROM runs ORDER BY run_id")]


def record(ledger, tmp_path, *rows: str, more: str = "") -> bool:
    file = tmp_path / "rights.csv"
    file.write_text("\n".join([f"item,rights_holder,licence,standing,uses,valid_from,valid_to{more}", *rows]))
    return say_rights(ledger, read_rights(ledger, file))


GIVEN = {
    "generated": "g0",
    "training": "t1",
    "item": "t1",
    "rights_holder": "Ada",
    "target": "Ada",
    **dict.fromkeys(("checkpoint", "training_set", "settings", "row"), "x"),
    "statement": "0" * 8,
    "line": 1,
}
# what has no answer in this ledger, which has no statements, and all of whose items are attributed and licensed
EMPTY = (
    "accesses",
    "attributed",
    "covered",
    "lapsed",
    "coverage",
    "unlicensed",
    "over_cap",
    "disputes",
    "statements",
    "lines",
    "line_edges",
    "ties",
    "missed",
    "false_payments",
    "index",
    "provisional",
)


@pytest.mark.parametrize("name", names())
def test_every_question_says_what_it_answers_and_answers_as_of_any_time(shared, runs, name):
    asked = question(name)
    assert asked.about
    assert asked.parameters[-1].name == "as_of"
    assert all(p.about for p in asked.parameters)
    known = GIVEN | {"run": runs["a"].sha256, "first": runs["a"].sha256[:8], "second": runs["b"].sha256[:8]}
    given = {p.name: known[p.name] for p in asked.parameters if p.default is None}
    now = shared.ask(name, **given)
    assert bool(now) == (name not in EMPTY)
    assert not shared.ask(name, **given, as_of="2020-01-01")
    said = {"run", "runs", "latest_run", "first_run", "run_id", "because", "state", "event"}
    assert not now or said & set(now[0]) or name in ("edges", "known", "takedown")


def test_the_latest_run_speaks_unless_it_is_withdrawn_or_not_there_yet(own, runs):
    def best(**given):
        return [(r["training"], round(r["score"], 3), r["run"]) for r in own.ask("why", generated="g0", top=1, **given)]

    a, b = (("t0", scores[0], runs[name].sha256) for name, scores in SCORES.items())
    assert best() == [b]
    assert best(as_of=times(own)[0]) == [a]
    before = datetime.datetime.now(datetime.UTC).isoformat()
    assert withdraw(own, runs["b"].sha256[:10], "wrong data")
    assert not withdraw(own, runs["b"].sha256, "again")
    with pytest.raises(InputError, match="0 runs called 'feedfeed'"):
        withdraw(own, "feedfeed", "")
    assert best() == [a]
    assert best(as_of=before) == [b]


def divided(scores, top, taken=()):
    """Shares by holder of two generated items with the same scores, in plain Python."""
    left = [(t["rights_holder"], s) for t, s in zip(TRAINING, scores, strict=True) if t["rights_holder"] not in taken]
    left = [(holder, score) for holder, score in left if score > 0][:top]
    shares = defaultdict(float)
    for holder, score in left:
        shares[holder] += score / sum(score for _, score in left)
    return shares


@pytest.mark.parametrize("top", [1, 2, 3, 4])
def test_shares_and_takedown_agree_with_plain_python(shared, top):
    now = divided(SCORES["b"], top)
    assert {s["rights_holder"]: s["share"] for s in shared.ask("shares", top=top)} == pytest.approx(now)
    for holder in ("Ada", "Ben"):
        without = divided(SCORES["b"], top, taken=[holder])
        found = {s["rights_holder"]: s for s in shared.ask("takedown_shares", target=holder, top=top)}
        for each in found.keys() | now.keys() | without.keys():
            assert found[each]["share_now"] == pytest.approx(now.get(each, 0))
            assert found[each]["share_without"] == pytest.approx(without.get(each, 0))
        items = shared.ask("takedown_items", target=holder, top=top)
        assert [i["share"] for i in items] == pytest.approx([now[holder]] * 2 if holder in now else [])
    assert [i["share"] for i in shared.ask("takedown_items", target="t1", top=2)] == pytest.approx([0.25, 0.25])


def test_concentration_overlap_and_drift(shared, runs):
    (first, _) = shared.ask("concentration")
    shares = [0.9 / 1.3, 0.3 / 1.3, 0.1 / 1.3]
    assert first["first"] == pytest.approx(shares[0])
    assert first["effective_edges"] == pytest.approx(1 / sum(s * s for s in shares))
    assert [(o["training"], o["of_all"]) for o in shared.ask("overlap", best=2)] == [("t0", 1.0), ("t1", 1.0)]
    for d in shared.ask("drift", first=runs["a"].sha256, second=runs["b"].sha256, top=2):
        assert (d["overlap"], d["same_best"]) == (1, True)
        assert d["largest_score_change"] == pytest.approx(0.5)


def test_ties_that_stand_out_are_named_with_what_they_tie_to(own, tmp_path):
    run = make_run(tmp_path, "c", (0.4, 0.2, -0.1, -0.3))
    outcomes = run.record["results"]["attributions"]
    run.record["results"]["attributions"] = [
        outcome | {"tie_p_value": p} for outcome, p in zip(outcomes, (0.03125, 0.6), strict=True)
    ]
    assert say_run(own, run)
    (found,) = own.ask("ties")
    best = own.rows(
        "SELECT training, decoy_z FROM lineage WHERE run = $run AND generated = $generated ORDER BY decoy_z DESC, rank LIMIT 1",
        {"run": run.sha256, "generated": found["generated"]},
    )
    assert (found["tie_p_value"], found["run"]) == (0.03125, run.sha256)
    assert [{"training": found["training"], "decoy_z": found["decoy_z"]}] == best
    assert len(own.ask("ties", most=1)) == 2
    for most in ("0", "1.01", "nan", "x"):
        with pytest.raises(InputError, match=r"most cannot be .* give a number above 0 and at most 1"):
            own.ask("ties", most=most)


def test_what_unseen_images_would_get_is_asked_of_a_run_by_a_rule(own, tmp_path):
    assert own.ask("false_payments", decoy_p_value=1) == []  # these runs kept no scores of held-out images
    run = make_run(tmp_path, "c", (0.4, 0.2, -0.1, -0.3), unseen=((0.3, 0.1, -0.2), (0.0, -0.1, -0.2)))
    assert say_run(own, run)
    assert own.ask("false_payments") == []  # nothing keeps to the bound
    for top, share in ((1, 0), (2, 0.3 / 0.7), (3, 0.3 / 0.9), (4, 0.4), (100, 0.4)):
        for given in ({}, {"run": run.sha256[:8]}):
            (found,) = own.ask("false_payments", top=top, decoy_p_value=0.25, **given)
            assert found.pop("share") == pytest.approx(share / 2)  # and nothing of the other image
            assert found.pop("share_of_candidates") == pytest.approx(3 / 7)
            assert found == {"run": run.sha256, "generated_items": 2, "held_out_items": 3, "training_items": 4}
    assert own.ask("false_payments", decoy_p_value=1, p_value=0.4) == []
    assert own.ask("false_payments", decoy_p_value=1, tie_p_value=0.5) == []


def test_rights_are_those_of_the_day_as_they_were_known(own, tmp_path):
    sha = {t["id"]: t["sha256"] for t in TRAINING}
    start = datetime.datetime.now(datetime.UTC).isoformat()

    def standing(day, use="output", **given):
        return {
            r["training"]: r["standing"] for r in own.ask("lapsed", day=day, use=use, **given) if r["generated"] == "g0"
        }

    assert standing("2024-06-01") == {}
    assert standing("2023-06-01") == dict.fromkeys(("t0", "t1", "t2"), "not yet")
    assert record(
        own,
        tmp_path,
        "t0,Ada,CC0,,training output,2024-01-01,2025-01-01",
        f"{sha['t1']},Ben,CC0,,training,2024-01-01,",
    )
    assert not record(
        own,
        tmp_path,
        "t0,Ada,CC0,,training output,2024-01-01,2025-01-01",
        f"{sha['t1']},Ben,CC0,,training,2024-01-01,",
    )
    then = datetime.datetime.now(datetime.UTC).isoformat()
    assert standing("2024-12-31") == {"t1": "not for output"}
    assert standing("2025-01-01") == {"t0": "lapsed", "t1": "not for output"}
    assert standing("2025-01-01", use="training") == {"t0": "lapsed"}
    assert record(
        own, tmp_path, "t0,Cleo,private,opted out,,2024-07-01,"
    )  # sold, we hear later, and withdrawn from use
    assert standing("2024-06-30") == {"t1": "not for output"}
    assert standing("2024-07-01") == {"t0": "opted out", "t1": "not for output"}
    assert standing("2024-07-01", as_of=then) == {"t1": "not for output"}
    assert standing("2024-07-01", as_of=start) == {}
    assert [r["rights_holder"] for r in own.ask("lapsed", day="2024-07-01", top=1)] == ["Cleo", "Cleo"]
    # the run stays tied to what it used, whoever holds the right now; that stands beside it
    for rows in (own.ask("why", generated="g0", top=1), own.ask("used", training="t0")):
        assert {(r["rights_holder"], r["licence"]) for r in rows} == {("Ada", "CC0")}
        assert {(r["holder_today"], r["licence_today"], r["standing_today"]) for r in rows} == {
            ("Cleo", "private", "opted out")
        }
    (t1, *_) = own.ask("used", training="t1")
    assert t1["standing_today"] == "granted for training"
    before = own.ask("why", generated="g0", top=1, as_of=start)
    assert {(r["holder_today"], r["standing_today"]) for r in before} == {("Ada", "granted")}
    assert [i["best_rank"] for i in own.ask("takedown_items", target="Cleo")] == [1, 1]
    assert fault(own.place) is None


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("t9,Ada,CC0,,,2024-01-01,", "line 2: the ledger has no training item called 't9'"),
        ("t0,,CC0,,,2024-01-01,", "line 2: rights_holder is empty"),
        ("t0,Ada,CC0,,,1 May,", "valid_from cannot be '1 May'"),
        ("t0,Ada,CC0,,,2024-01-01,2024-01-01", "valid_to is not after"),
        ("t0,Ada,CC0,maybe,,2024-01-01,", "write granted or opted out"),
        ("t0,Ada,CC0,opted-out,,2024-01-01,", r"cannot be 'opted-out' \(did you mean 'opted out'\?\)"),
        ("t0,Ada,CC0,,outptu,2024-01-01,", r"line 2: uses cannot have 'outptu' \(did you mean 'output'\?\)"),
        ("t0,Ada,CC0,,commercial,2024-01-01,", "line 2: uses cannot have 'commercial'; write training, output"),
        ('t0,Ada,CC0,,"training,output",2024-01-01,', "line 2: uses cannot have 'training,output'"),
        ("t0,Ada,CC0,,,20240101,", "valid_from cannot be '20240101'"),
        ("t0,Ada,CC0,,,2024-W01-1,", "valid_from cannot be '2024-W01-1'"),
        ("t0,Ada,CC0,,,２０２４-01-01,", "valid_from cannot be"),
        ("t0,Ada,Ltd,CC0,,,2024-01-01,", "line 2: there are more values than columns"),
        ("t0,A\x1bda,CC0,,,2024-01-01,", "line 2: rights_holder has characters that cannot be printed"),
    ],
)
def test_wrong_rights_change_nothing(shared, tmp_path, row, sentence):
    before = shared.at()
    with pytest.raises(InputError, match=sentence):
        record(shared, tmp_path, row)
    assert log_of(shared.place).entry(before[0] + 1) is None


def test_ancestry_has_no_depth_limit(own):
    generations = [f"{i:064x}" for i in range(1, 40)]
    base = artifact(own, "checkpoint")
    for child, parent in itertools.pairwise([base, *generations]):
        assert say_derivation(own, child, parent)
    assert not say_derivation(own, base, generations[0])
    with pytest.raises(InputError, match="was made from"):
        say_derivation(own, generations[-1], base)
    with pytest.raises(InputError, match="names no artifact"):
        artifact(own, "abc")
    found = own.ask("ancestry", generated="g0")
    assert [row["sha256"] for row in found if row["kind"] == "not in any run"] == generations
    assert [row["items"] for row in found if row["kind"] == "training_set"] == [len(TRAINING)]
    (path_found,) = own.ask("path", generated="g0", training="t1")
    assert path_found["way"].count("→") == 2
    assert (path_found["training"], path_found["rank"]) == ("t1", 2)
    # the last ancestor was trained on the same set
    say_derivation(own, generations[-1], artifact(own, "training_set"))
    assert [row["way"].count("→") for row in own.ask("path", generated="g0", training="t1")] == [2, 41]


def test_wrong_parameters_are_refused(shared):
    for given, sentence in (
        ({}, "needs generated"),
        ({"generated": "g0", "tip": 1}, "no parameter 'tip'; it has generated, top, as_of"),
        ({"generated": "g0", "top": "many"}, "top cannot be 'many'; give a whole number"),
        ({"generated": "g0", "top": "１０"}, "top cannot be '１０'"),
        ({"generated": "g0", "top": "1_0"}, "top cannot be '1_0'"),
        ({"generated": "g0", "as_of": "yesterday"}, "as_of cannot be 'yesterday'"),
        ({"generated": "g0", "as_of": "20261031"}, "as_of cannot be '20261031'"),
        ({"generated": "g0", "as_of": "2026-W44"}, "as_of cannot be '2026-W44'"),
    ):
        with pytest.raises(InputError, match=sentence):
            shared.ask("why", **given)
    for question_, given, sentence in (
        (
            "lapsed",
            {"use": "outptu"},
            r"use cannot be 'outptu' \(did you mean 'output'\?\); give training or output",
        ),
        ("unlicensed", {"use": "commercial"}, "use cannot be 'commercial'; give training or output"),
        ("lapsed", {"day": "20261031"}, "day cannot be '20261031'; give a day, such as 2026-10-31"),
    ):
        with pytest.raises(InputError, match=sentence):
            shared.ask(question_, **given)
    for written in ("2099-10-31", "2099-10-31T12:00", "2099-10-31T12:00:00.123456+02:00", "2099-10-31 12:00:00Z"):
        assert shared.ask("why", generated="g0", as_of=written)
    with pytest.raises(InputError, match="no question 'what'"):
        shared.ask("what")
    assert len(GENERATED) == 2


def test_what_has_no_valid_licence_is_listed_with_what_rests_on_it(own, tmp_path):
    def found(**given):
        return {
            r["training"]: (r["rights_holder"], r["standing"], str(r["since"] or ""), r["generated_items"])
            for r in own.ask("unlicensed", **given)
        }

    assert found() == {}
    start = datetime.datetime.now(datetime.UTC).isoformat()
    record(
        own,
        tmp_path,
        "t0,Cleo,private,opted out,,2026-03-01,",
        "t1,Ben,CC0,,training,2024-01-01,",
        "t2,Ada,CC0,,,2024-01-01,2025-01-01",
        "t3,Ben,CC0,,,2090-01-01,",
    )
    assert found(as_of=start) == {}
    assert found() == {
        "t0": ("Cleo", "opted out", "2026-03-01", 2),
        "t1": ("Ben", "not for output", "2024-01-01", 2),
        "t2": ("Ada", "lapsed", "2025-01-01", 2),
        "t3": ("Ben", "not yet", "", 0),  # its score is not positive
    }
    assert found(use="training", day="2024-06-01") == {
        "t0": ("Cleo", "not yet", "", 2),
        "t3": ("Ben", "not yet", "", 0),
    }
    assert {each[3] for each in found(top=1).values()} == {2, 0}


def test_what_rests_on_a_holder_by_more_than_was_granted_is_listed(own, tmp_path):
    def found(**given):
        return {(r["generated"], r["rights_holder"]): (r["share"], r["cap"]) for r in own.ask("over_cap", **given)}

    shares = divided(SCORES["b"], 10)
    assert set(shares) == {"Ada", "Ben"}
    both = {(g["id"], "Ada"): (pytest.approx(shares["Ada"]), 0.5) for g in GENERATED}
    start = datetime.datetime.now(datetime.UTC).isoformat()
    record(own, tmp_path, "t0,Ada,CC0,,,2024-01-01,,0.5", "t2,Ada,CC0,,,2024-01-01,,0.9", more=",cap")
    assert found() == both  # of several caps the smallest
    assert found(as_of=start) == found(day="2023-12-31") == {}
    assert found(top=1) == {(g["id"], "Ada"): (1.0, 0.5) for g in GENERATED}
    record(own, tmp_path, "t0,Ada,CC0,,,2024-01-01,,1", "t2,Ada,CC0,,,2024-01-01,,", more=",cap")
    assert found() == {}  # what was recorded last counts, and a share of 1 is not above 1
    record(own, tmp_path, "t1,Ben,CC0,,,2024-01-01,,0.000001", more=",cap")
    assert set(found()) == {(g["id"], "Ben") for g in GENERATED}
    record(own, tmp_path, "t1,Ben,CC0,opted out,,2024-01-01,,", more=",cap")
    assert found() == {}
    assert [row["cap"] for row in own.ask("history", training="t1")] == [None, decimal.Decimal("0.000001"), None]


@pytest.mark.parametrize("cap", ["0", "1.1", "-0.5", "50%", "0,5", "1e-1", "0.1234567", "nan"])
def test_a_cap_is_a_share(own, tmp_path, cap):
    with pytest.raises(InputError, match=r"line 2: cap cannot be '.*'; give a share above 0 and at most 1"):
        record(own, tmp_path, f't0,Ada,CC0,,,2024-01-01,,"{cap}"', more=",cap")
    with pytest.raises(InputError, match="cap is that of a right that is granted; leave it empty"):
        record(own, tmp_path, "t0,Ada,CC0,opted out,,2024-01-01,,0.5", more=",cap")
