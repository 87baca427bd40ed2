"""The pages that are written as files, in Chromium: on a phone nothing is cut off, and on paper nothing stays folded."""

import io

import pytest
from pypdf import PdfReader

from mucs.evidence.thumbnails import Thumbnails
from mucs.ledger import say_run
from mucs.report import audit_page
from mucs.royalties import Period, issue, read_contract, read_usage
from mucs.royalties.export import write_files
from tests import chromium
from tests.factories import staged_run, writing
from tests.mucs.ledger.test_ledger import make_run
from tests.mucs.royalties.test_statement import CONTRACT, USAGE

pytestmark = [pytest.mark.heavy, chromium.needed]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A run's page and a statement's, with names that do not break by themselves."""
    folder = tmp_path_factory.mktemp("pages")
    with writing(folder / "ledger") as ledger:
        say_run(ledger, make_run(folder, "once", (0.4, 0.2, -0.1, -0.3)))
        (folder / "contract.yaml").write_text(CONTRACT + f"splits:\n  t0: {{{'N' * 300}: 100}}\n")
        (folder / "usage.csv").write_text(USAGE)
        month = Period.month("2026-10")
        made = issue(ledger, read_contract(folder / "contract.yaml"), month, read_usage(folder / "usage.csv", month))
        statement = next(path for path in write_files(made, folder) if path.suffix == ".html")
    (folder / "another").mkdir()
    run = staged_run(folder / "another", generated=3, training=9, edges=7, holders=("H" * 300, "Ada"))
    with writing(folder / "another/ledger") as ledger:
        say_run(ledger, run)
        shares = ledger.ask("shares", run=run.sha256, top=10)
        audit = folder / "audit.html"
        audit.write_text("".join(audit_page(ledger, Thumbnails(ledger.log), run.sha256, shares, 10)))
    return {"audit": audit.as_uri(), "statement": statement.as_uri()}


@pytest.fixture(scope="module")
def browser():
    with chromium.launched() as made:
        yield made


@pytest.mark.parametrize("width", [1280, 400, 390])
@pytest.mark.parametrize("name", ["audit", "statement"])
def test_no_page_is_wider_than_its_window(pages, browser, name, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(pages[name])
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@pytest.mark.parametrize("width", [1280, 400])
def test_what_is_paid_is_seen_with_its_label(pages, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(pages["statement"])
    cells = page.locator("[id^=account-] [data-label=Paid]")
    for box in [cells.nth(place).bounding_box() for place in range(cells.count())]:
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    label = cells.first.evaluate("each => getComputedStyle(each, '::before').content")
    assert (cells.count() > 1, label) == (True, '"Paid"' if width == 400 else "none")
    page.close()


def test_on_paper_what_is_folded_on_the_screen_is_read(pages, browser):
    page = browser.new_page()
    page.goto(pages["audit"])
    assert not page.get_by_text("passed the test of having forgotten").first.is_visible()
    text = " ".join(each.extract_text() for each in PdfReader(io.BytesIO(page.pdf(format="A4"))).pages)
    assert "passed the test of having forgotten" in " ".join(text.split())
    page.close()
