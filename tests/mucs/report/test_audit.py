"""A run's page shows what it must, and reads no other picture."""

import dataclasses
import re

import pytest

from mucs.evidence.thumbnails import Thumbnails
from mucs.ledger import say_run
from mucs.report import audit_page
from tests.factories import CPU, item_row, staged_run, writing


@pytest.fixture
def made(tmp_path):
    """Load a run and make its page: (the page, the images whose pictures were asked for)."""

    def make(run):
        asked: list[str] = []

        class Asked(Thumbnails):
            def webp(self, object_sha256, image_sha256):
                asked.append(image_sha256)
                return super().webp(object_sha256, image_sha256)

        with writing(tmp_path / "ledger") as ledger:
            say_run(ledger, run)
            shares = ledger.ask("shares", run=run.sha256, top=10)
            return "".join(audit_page(ledger, Asked(ledger.log), run.sha256, shares, 10)), asked

    return make


def test_items_come_in_the_runs_order_with_the_pictures_of_what_is_shown(made, tmp_path):
    page, asked = made(staged_run(tmp_path, generated=3, training=9, edges=7))
    assert re.findall(r"generated image (g\d)", page) == ["g0", "g1", "g2"]
    assert [len(re.findall("<li>", part)) for part in page.split('class="item"')[1:]] == [5, 5, 5]
    ids = re.findall(r'alt="(?:generated image|training image drawing) g?(\d)"', page)
    assert sorted(asked) == sorted(item_row("gt"[k % 6 > 0], int(number))["sha256"] for k, number in enumerate(ids))
    assert len(re.findall(r'src="data:image/webp;base64,\w', page)) == len(asked) == 18
    assert "against the 9 images it was trained on, by 3 rights holders" in page
    assert "torch 2.13.0 on cpu (a processor)." in page
    assert "Not attributed" not in page
    assert "What would be paid for nothing" not in page  # it had no held-out images


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


def test_a_run_of_before_there_were_thumbnails_has_a_page_without_pictures(made, tmp_path):
    page, asked = made(dataclasses.replace(staged_run(tmp_path), thumbnails=()))
    assert (asked, "data:" in page, page.count("no picture in the log")) == ([], False, 3 + 12)


def test_what_is_named_leads_to_its_place_on_the_page(made, tmp_path):
    page, _ = made(staged_run(tmp_path, generated=3, training=9, edges=7))
    ids = re.findall(r'\bid="([^"]+)"', page)
    named = re.findall(r'href="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert {each.removeprefix("#") for each in named} <= set(ids)
    assert {"item-3", "holder-1", "shares", "meaning"} <= {each.removeprefix("#") for each in named}


def test_a_verdict_stands_first_and_its_figures_behind(made, tmp_path):
    page, _ = made(staged_run(tmp_path))
    verdict = re.search(r'class="verdict">([^<]+)<', page)[1]
    assert "generated images" in verdict
    assert page.index(verdict) < page.index("<details")
    for old in ("if nothing were known", "spread evenly", "Distance from even", "cannot fall below 1/"):
        shown = re.sub(r"<details.*?</details>", "", page, flags=re.DOTALL)
        assert old not in shown, old


def test_what_unseen_images_would_get_stands_among_what_a_score_means(made, tmp_path):
    page, _ = made(staged_run(tmp_path, generated=3, training=9, edges=7, held_out=4))
    said = re.search(r"What would be paid for nothing\.</strong> (Of each 100 euros [^<]*)</p>", page)[1]
    assert re.search(r"of each image, \d+\.\d\d would go to images .* they are 4 of 13 candidates\.", said)
    assert "<td>unseen edges</td>" in page
