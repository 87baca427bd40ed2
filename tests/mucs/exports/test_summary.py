"""Summaries of a training set: what the ledger knows, what the provider says, and what is missing."""

import json

import pytest

from mucs import InputError
from mucs.exports.summary import FORMS, as_json, as_markdown, blank, facts, missing, read_answers, summary
from mucs.ledger import Ledger
from mucs.ledger.rights import Right, say_rights
from tests.factories import fault, load, staged_run, training_row, writing
from tests.flows.test_cli import refused

pytestmark = pytest.mark.heavy
DAY = "2026-11-30"
KNOWN = {
    name: f"{name} is known." for _, points in FORMS.values() for name in {point.known for point in points} if name
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A ledger of a training set of nine images, of which one was opted out."""
    folder = tmp_path_factory.mktemp("summary")
    load(folder / "ledger", staged_run(folder, training=9))
    with writing(folder / "ledger") as ledger:
        say_rights(ledger, [Right(2, training_row(1)["sha256"], "Ben", "CC0", "opted out", None, "2026-01-01", None)])
    return folder


@pytest.mark.parametrize("kind", FORMS)
def test_the_command_writes_a_form_then_what_is_said_in_it(mucs, folder, tmp_path, kind):
    answers, out = tmp_path / "answers.yaml", tmp_path / "summary.md"
    given = ("--answers", answers, "--output", out, "--ledger", folder / "ledger", "--day", DAY)
    status, said, _ = mucs("export", kind, *given)
    assert status == 0
    assert "Missing: " in said
    assert read_answers(answers, kind) == {}
    answers.write_text("".join(f"{point.key}: What we say of {point.key}.\n" for point in FORMS[kind][1]))
    status, said, _ = mucs("export", kind, *given)
    count = len(FORMS[kind][1])
    assert (status, said.splitlines()) == (0, [f"{out}: {count} of {count} points are answered."])
    text, found = out.read_text(), json.loads(out.with_suffix(".json").read_text())
    assert "9 images" in text
    assert "What we say of synthetic." in text
    assert "Missing" not in text
    assert missing(found) == []
    assert fault(folder / "ledger") is None
    with Ledger.open(folder / "ledger") as ledger:
        assert ledger.one("SELECT what FROM accesses ORDER BY position DESC LIMIT 1") == kind


def test_facts_are_those_of_the_ledger_on_a_day(folder):
    with Ledger.open(folder / "ledger") as ledger:
        known = facts(ledger, None, DAY)
        assert known["training_set"] == f"{'training_set':f<64}"
        assert known["amount"].startswith("9 images, ")
        assert "8 were granted, 1 opted out" in known["reservations"]
        assert "8 were granted, 0 opted out, and of 1 what" in facts(ledger, "training", "2025-12-31")["reservations"]
        assert known["licences"] == f"By licence, as it stands on {DAY}: CC0: 9."
        assert known["holders"].startswith("3 rights holders")
        assert "from 2024-01-01 to 2024-01-01" in known["dates"]
        with pytest.raises(InputError, match="has 0 training sets called 'abc'; name one of training_set"):
            facts(ledger, "abc", DAY)
        with pytest.raises(InputError, match="has 0 training sets; name one of none"):
            facts(ledger, None, DAY, "2020-01-01T00:00:00+00:00")


@pytest.mark.parametrize("kind", FORMS)
def test_the_same_gives_the_same_and_what_is_missing_is_named(kind):
    known, at = KNOWN | {"training_set": "ab" * 32}, (3, "cd" * 32)
    first = FORMS[kind][1][0].key
    said = [summary(kind, known, {first: "So it is."}, DAY, at) for _ in range(2)]
    assert as_json(said[0]) == as_json(said[1])
    assert as_markdown(said[0]) == as_markdown(said[1])
    assert first not in missing(said[0])
    assert all(f"(`{key}`)" in as_markdown(said[0]) for key in missing(said[0]))
    assert len(missing(said[0])) + 1 + sum(point.is_answered for point in FORMS[kind][1]) == len(FORMS[kind][1])


def test_text_is_shown_as_text():
    known = KNOWN | {"training_set": "ab" * 32, "amount": "<script>alert(1)</script>"}
    said = summary("ab2013", known, {"sources": "# no heading\n**not bold** [no](link)"}, DAY, (1, "00" * 32))
    text = as_markdown(said)
    assert "<script>" not in text
    assert r"\# no heading" in text
    assert "**not" not in text
    assert "[no]" not in text


BAD = {
    "surces: x": "line 1: 'surces' is no point of ab2013",
    "- a\n- b": "is no list of answers",
    "sources: [a]": "is no text",
    'sources: "a\\u202eb"': "has characters that cannot be shown",
    "sources: {": "cannot be read as YAML",
    "sources: a\nsources: b": "line 2: sources is answered twice",
}


@pytest.mark.parametrize("text", BAD)
def test_answers_that_are_none_are_refused(mucs, folder, tmp_path, text):
    (tmp_path / "answers.yaml").write_text(text)
    out = tmp_path / "out.md"
    given = ("--answers", tmp_path / "answers.yaml", "--output", out, "--ledger", folder / "ledger")
    assert BAD[text] in refused(mucs("export", "ab2013", *given))
    assert not out.exists()


def test_a_form_has_every_point():
    for kind, (_, points) in FORMS.items():
        assert [
            line.partition(":")[0] for line in blank(kind).splitlines() if line.endswith(":") and "#" not in line
        ] == [point.key for point in points]
