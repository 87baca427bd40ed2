"""Lists of opt-outs: which training images a domain or a work names, from which day, and what is said of it afterwards."""

import json

import pytest

from mucs import InputError
from mucs.ledger import Ledger
from mucs.ledger.opt_outs import read_opt_outs
from mucs.ledger.rights import say_rights
from tests.factories import fault, load, log_of, staged_run, training_row, writing

pytestmark = pytest.mark.heavy

URLS = (
    "https://art.example.org/a.png",
    "http://EXAMPLE.org:8080/b.png?x=https://other.example.net/",
    "https://notexample.org/c.png",
    "see https://example.org/",  # which is a text, and no address
    "https://bücher.example/d.png",
    "https://[broken/e.png",
    "",
)


@pytest.fixture
def place(tmp_path):
    load(tmp_path / "ledger", staged_run(tmp_path, training=7, others=[{"found_at": url} for url in URLS]))
    return tmp_path / "ledger"


def listed(folder, *rows):
    path = folder / "opt-outs.csv"
    path.write_text("\n".join(("domain,work,source,seen", *rows)) + "\n")
    return path


def told(place, *rows):
    """What a list comes to: days and sources by image, and lines that name none; said to the log."""
    with writing(place) as ledger:
        found = read_opt_outs(ledger, listed(place.parent, *rows))
        if found.rights:
            say_rights(ledger, found.rights)
        ids = {row["sha256"]: row["id"] for row in ledger.rows("SELECT sha256, id FROM training_items")}
    return {ids[right.sha256]: (right.valid_from, right.source) for right in found.rights}, found.unknown


@pytest.mark.parametrize(
    ("row", "images"),
    [
        ("example.org,", {"t0", "t1"}),
        ("*.Example.ORG.,", {"t0", "t1"}),
        ("art.example.org,", {"t0"}),
        ("xn--bcher-kva.example,", {"t4"}),
        ("bücher.example,", {"t4"}),
        ("example.net,", set()),
        (",t2", {"t2"}),
        (f",{training_row(3)['sha256']}", {"t3"}),
        (",https://notexample.org/c.png", {"t2"}),
        (",nothing", set()),
    ],
)
def test_a_domain_or_a_work_names_images(place, row, images):
    found, unknown = told(place, f"{row},robots.txt,2026-10-01")
    assert found == dict.fromkeys(images, ("2026-10-01", "robots.txt"))
    assert unknown == ([] if images else [2])


def test_they_hold_from_the_day_that_they_were_seen_and_say_where(place):
    told(place, "example.org,,robots.txt of the 1st,2026-10-01")
    with Ledger.open(place) as ledger:
        day = {"item": "t0", "day": "2026-09-30"}
        standing = "SELECT standing, licence, rights_holder FROM rights_on($day, 'infinity') r JOIN training_items USING (sha256) WHERE id = $item"
        (before,), (after,) = (
            ledger.rows(standing.replace("licence, rights_holder", "r.licence, r.rights_holder"), day | {"day": each})
            for each in ("2026-09-30", "2026-10-01")
        )
        assert (before["standing"], after["standing"]) == ("not yet", "opted out")
        assert (after["licence"], after["rights_holder"]) == ("CC0", "Ada")
        assert [row["source"] for row in ledger.ask("history", training="t0")] == [None, "robots.txt of the 1st"]
        assert any("said in robots.txt of the 1st" in row["detail"] for row in ledger.ask("trail", item="t0"))
    assert fault(place) is None


def test_what_was_said_before_is_not_said_again(place):
    rows = ("example.org,,robots.txt,2026-10-01", ",t2,a letter,2026-10-02", "example.net,,robots.txt,2026-10-01")
    assert told(place, *rows) == (
        {"t0": ("2026-10-01", "robots.txt"), "t1": ("2026-10-01", "robots.txt"), "t2": ("2026-10-02", "a letter")},
        [4],
    )
    entries = len(list(log_of(place).after()))
    assert told(place, *rows) == ({}, [4])
    assert told(place, "example.org,,robots.txt,2026-11-01") == ({}, [])
    assert len(list(log_of(place).after())) == entries
    earlier, _ = told(place, "art.example.org,,a letter,2026-09-01")  # than it was known to hold
    assert earlier == {"t0": ("2026-09-01", "a letter")}


def test_the_last_row_that_names_an_image_counts(place):
    found, unknown = told(place, "example.org,,robots.txt,2026-10-01", ",t0,a letter,2026-09-01")
    assert (found["t0"], unknown) == (("2026-09-01", "a letter"), [])


def test_a_right_without_a_source_is_said_as_it_always_was(place):
    with writing(place) as ledger:
        (right,) = read_opt_outs(ledger, listed(place.parent, ",t0,x,2026-10-01")).rights
    assert json.loads(json.dumps(right.record()))["source"] == "x"
    plain = type(right)(*list(vars(right).values())[:-1])
    assert "source" not in plain.record()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([",,robots.txt,2026-10-01"], "line 2: it must name a domain or a work, and not both"),
        (["a.org,t0,robots.txt,2026-10-01"], "line 2: it must name a domain or a work, and not both"),
        (["a.org,,,2026-10-01"], "line 2: source is empty; say where"),
        (["a.org,,x,1.10.2026"], "line 2: seen cannot be '1.10.2026'; write a day as 2026-10-31"),
        (["a.org,,x,2026-10-01", "https://a.org/x,,x,2026-10-01"], "line 3: domain cannot be 'https://a.org/x'"),
        (["org,,x,2026-10-01"], "domain cannot be 'org'"),
        (["a..org,,x,2026-10-01"], "domain cannot be 'a..org'"),
        (["a.org,,x\u202e,2026-10-01"], "source has characters that cannot be printed"),
        (["a.org,,x,2026-10-01,more"], "there are more values than columns"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(place, rows, words):
    with Ledger.open(place) as ledger, pytest.raises(InputError, match=r"opt-outs\.csv") as refused:
        read_opt_outs(ledger, listed(place.parent, *rows))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"domain,source,seen\n", "has other columns than a list of opt-outs; give domain, work, source, seen"),
        (b"", "has other columns"),
        (b"\xff\xfe\x00", "cannot be read as CSV"),
        (None, "cannot be read as CSV"),
    ],
)
def test_what_is_no_list_is_named(place, tmp_path, text, words):
    path = tmp_path / "list.csv"
    if text is not None:
        path.write_bytes(text)
    with Ledger.open(place) as ledger, pytest.raises(InputError, match=r"list\.csv") as refused:
        read_opt_outs(ledger, path)
    assert words in str(refused.value)


def test_the_command_says_how_many(mucs, place, tmp_path):
    path = listed(tmp_path, "example.org,,robots.txt,2026-10-01", "example.net,,robots.txt,2026-10-01")
    command = ("opt-out", path, "--ledger", place)
    told = "by 2 rows, of which 1 name no training image.\n"
    assert mucs(*command) == (0, f"Opted out 2 images, {told}", "")
    assert mucs(*command) == (0, f"Nothing to do: no more images are opted out, {told}", "")
