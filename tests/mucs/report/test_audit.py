"""A run's page shows what it must, and reads no other picture."""

import re

import pytest

from mucs.ledger import say_run
from mucs.report import audit_page
from tests.factories import CPU, staged_run, writing


@pytest.fixture
def made(tmp_path):
    """Load a run and make its page: (the page, the pictures that were asked for)."""

    def make(run):
        asked: list[str] = []

        def picture(row):
            asked.append(row["id"])
            return f"data:{row['file_name']}"

        with writing(tmp_path / "ledger") as ledger:
            say_run(ledger, run)
            shares = ledger.ask("shares", run=run.sha256, top=10)
            return "".join(audit_page(ledger, run.sha256, shares, 10, picture, picture)), asked

    return make


def test_items_come_in_the_runs_order_with_the_pictures_of_what_is_shown(made, tmp_path):
    page, asked = made(staged_run(tmp_path, generated=3, training=9, edges=7))
    assert re.findall(r"generated image (g\d)", page) == ["g0", "g1", "g2"]
    assert [len(re.findall("<li>", part)) for part in page.split('class="item"')[1:]] == [5, 5, 5]
    assert sorted(asked) == sorted(re.findall(r'src="data:(\w+)\.png"', page))
    assert "against the 9 images it was trained on, by 3 rights holders" in page
    assert "torch 2.13.0 on cpu (a processor)." in page
    assert "Not attributed" not in page


def test_items_that_failed_are_named_with_the_reason_above_the_others(made, tmp_path):
    page, _ = made(staged_run(tmp_path, failed=2))
    sentence = "g4 could not be attributed: The GPU ran out of memory three times."
    assert page.index(sentence) < page.index("Behind each image")
    assert "<dt>Not attributed</dt><dd>2</dd>" in page


def test_several_machines_are_counted_and_an_earlier_records_one_is_shown(made, tmp_path):
    run = staged_run(tmp_path)
    items = run.record["results"]["attributions"]
    items[2]["device"] = {"type": "cuda", "name": "a GPU", "torch": "2.13.0"}
    page, _ = made(run)
    assert "on cpu (a processor) for 2 images; torch 2.13.0 on cuda (a GPU) for 1 image." in page


def test_the_page_of_an_earlier_record_has_its_device(made, tmp_path):
    run = staged_run(tmp_path)
    run.record["device"] = {**CPU, "name": "another"}
    for item in run.record["results"]["attributions"]:
        del item["device"]
    assert "torch 2.13.0 on cpu (another)." in made(run)[0]
