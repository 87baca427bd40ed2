"""The explorer in Chromium, as people meet it: every page on a desk and on a phone, by keyboard alone, and on paper."""

import dataclasses
import io
import re
import time
from operator import itemgetter
from urllib.parse import parse_qs, urlsplit

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.cbook import get_sample_data
from PIL import Image

from mucs.images.thumbnail import PARQUET, SCHEMA, thumbnail
from mucs.ledger import Ledger
from tests import chromium
from tests.chromium import COLOURS, violations
from tests.factories import load, log_of, staged_run, training_row
from tests.mucs.explorer.conftest import explorer, say_statement
from tests.mucs.explorer.served import serving

pytestmark = [pytest.mark.heavy, chromium.needed]
SIZES = {"desk": (1280, 800), "phone": (390, 844)}
MOST = 600_000  # bytes of a page with 50 items

# An address for each of the explorer's pages. What is in braces is looked up in the ledger by `names`.
PAGES = {
    "/": "/",
    "/index": "/index",
    "/search": "/search?q=a",
    "/glossary": "/glossary",
    "/sha256/{digest}": "/sha256/{run}",
    "/generated": "/generated",
    "/generated/{item}": "/generated/g0",
    "/training": "/training",
    "/training/{item}": "/training/t1",
    "/holders": "/holders",
    "/holders/{name}": "/holders/Ada",
    "/takedown/{name}": "/takedown/Ada",
    "/runs": "/runs",
    "/runs/{run}": "/runs/{run}",
    "/runs/{run}/against/{other}": "/runs/{run}/against/{other}",
    "/statements": "/statements",
    "/statements/{statement}": "/statements/{statement}",
    "/statements/{statement}/lines/{line}": "/statements/{statement}/lines/1",
    "/statements/{statement}/holders/{name}": "/statements/{statement}/holders/Ada",
    "/disputes": "/disputes",
    "/disputes/{dispute}": "/disputes/{dispute}",
    "/lineage/{kind}/{name}": "/lineage/statements/{statement}",
    "/artifacts/{name}": "/artifacts/{batch}",
    "/entries": "/entries",
    "/entries/{position}": "/entries/7",
    "/questions": "/questions",
    "/questions/{name}": "/questions/why?generated=g0",
    "/sql": "/sql?q=SELECT+*+FROM+lineage+LIMIT+20",
    "/attribute": "/attribute",
    "/attributions/{address}": "/attributions/{run}",
    "/docs": "/docs",
}
# The same pages with what is long, odd, empty or wrong, and as of another time.
MORE = [
    "/generated/{long}",
    "/holders/%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E%20%26%20%22Co%22",
    "/search?q=nothing+has+this",
    "/questions/exposure?rights_holder=Ada",
    "/generated?rights_holder=Ada&as_of=2100-01-01T00:00",
    "/holders/Nobody",
]


@pytest.fixture(scope="module")
def address(told, tmp_path_factory):
    with serving(told, tmp_path_factory.mktemp("served") / "errors") as served:
        yield served.address
        assert served.said() == ""


@pytest.fixture(scope="module")
def names(address):
    """What the pages' addresses are made from."""

    def first(page, view, column):
        rows = httpx.get(f"{address}/{page}.json").json()["views"][view]["rows"]
        return [row[column] for row in rows]

    runs = first("runs", "runs", "run")
    long = max(
        httpx.get(f"{address}/generated.json").json()["views"]["items"]["rows"], key=lambda row: len(row["generated"])
    )
    batch = httpx.get(f"{address}/runs/{runs[0]}.json").json()["facts"]["batch"]
    return {
        "run": runs[1],
        "other": runs[2],
        "batch": batch,
        "statement": first("statements", "statements", "statement")[0],
        "dispute": str(first("disputes", "disputes", "dispute")[0]),
        "long": long["generated_sha256"],
    }


@pytest.fixture
def page(browser, address, request):
    """A page of a new window of that size, in which nothing may go wrong."""
    with chromium.opened(browser, address, *SIZES[getattr(request, "param", "desk")]) as (made, faults):
        yield made
        assert faults == []


def test_every_page_of_the_explorer_has_an_address_here(told):
    app, snapshots = explorer(told / "ledger")
    snapshots.close()
    paths = {route.path for route in app.app.pages.routes if "GET" in (getattr(route, "methods", None) or ())}
    others = ("/v1/", "/pictures/", "/static/", "/health", "/ready", "/metrics", "/{rest:path}")
    assert {path for path in paths if not path.startswith(others)} == PAGES.keys()


@pytest.mark.slow
@pytest.mark.parametrize("page", SIZES, indirect=True)
def test_every_page_is_for_everyone(page, names):
    wrong, width = {}, page.viewport_size["width"]
    for path in [*PAGES.values(), *MORE]:
        answer = page.goto(path.format(**names))
        found = violations(page)
        if answer.status not in (200, 404, 503):  # the last where nobody attributes pictures
            found.append(f"status {answer.status}")
        if not re.fullmatch(r".{3,90} · mucs", page.title()):
            found.append(f"title {page.title()}")
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append("wider than the window")
        if width == SIZES["desk"][0]:  # a phone has the same colours
            page.emulate_media(color_scheme="dark")
            found += [(f"{rule} in the dark", node) for rule, node in violations(page, COLOURS)]
            page.emulate_media(color_scheme="light")
        wrong |= {path: found} if found else {}
    assert wrong == {}


# All that can be reached by keyboard, in order, and what of it has the focus.
REACHABLE = """() => [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")]
    .filter(each => each.checkVisibility({visibilityProperty: true})).map((each, place) => each.dataset.place = String(place))"""
FOCUSED = """() => {
    const here = document.activeElement, style = getComputedStyle(here), box = here.getBoundingClientRect();
    const seen = parseFloat(style.outlineWidth) > 0 && style.outlineStyle != "none" && box.width > 0 && box.height > 0
        && box.left < innerWidth && box.right > 0 && box.top < innerHeight && box.bottom > 0;
    return {place: here.dataset.place, seen, html: here.outerHTML.slice(0, 150)};
}"""


@pytest.mark.parametrize("path", ["/generated/g0", "/questions/why", "/lineage/statements/{statement}", "/sql"])
def test_all_of_a_page_is_reached_by_keyboard_and_seen_there(page, names, path):
    page.goto(path.format(**names))
    waiting = page.evaluate(REACHABLE)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached, unseen = [], []
    for _ in range(3 * len(waiting)):
        focused = page.evaluate(FOCUSED)
        if focused["place"] is None:  # the end of the page
            break
        if focused["place"] not in reached:  # a field of several parts is stopped at several times
            reached.append(focused["place"])
            unseen += [] if focused["seen"] else [focused["html"]]
        page.keyboard.press("Tab")
    assert (reached, unseen) == (waiting, [])


def test_the_header_is_skipped_and_a_term_is_told_by_keyboard(page):
    page.goto("/generated/g0")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    term = page.locator("main .term").first
    while not term.evaluate("each => each.contains(document.activeElement)"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.tagName") != "BODY"
    tip = term.locator("[role=tooltip]")
    assert tip.is_visible()
    assert term.locator("a").get_attribute("aria-describedby") == tip.get_attribute("id")
    page.keyboard.press("Escape")
    assert (tip.is_visible(), term.evaluate("each => each.contains(document.activeElement)")) == (False, True)
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert tip.is_visible()
    page.keyboard.press("Enter")
    page.wait_for_url("**/glossary#*")


def test_forms_are_sent_by_enter(page):
    page.goto("/")
    page.get_by_label("Search").fill("t1")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=t1")
    page.goto("/questions/why")
    page.get_by_label("generated").fill("g0")
    page.keyboard.press("Enter")
    page.wait_for_url("**/questions/why?generated=g0*")
    assert page.locator("table tbody tr").count() == 4
    page.goto("/sql")
    page.get_by_label("Query").fill("SELECT 41 + 1 AS answer")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/sql?q=*")
    assert page.locator("table td").inner_text().strip() == "42"


def test_a_time_is_set_on_all_links_and_taken_away(page, names):
    page.goto("/generated?rights_holder=Ada")
    page.get_by_label("As of").fill("2100-01-02T03:04")
    page.get_by_role("button", name="Set").click()
    page.wait_for_url("**as_of=*")
    assert parse_qs(urlsplit(page.url).query) == {"rights_holder": ["Ada"], "as_of": ["2100-01-02T03:04"]}
    assert "what was known at 2100-01-02 03:04 UTC" in page.get_by_role("status").inner_text()
    for path in ("/generated/g0", "/statements/{statement}", "/search?q=t", "/holders/Ada"):
        page.goto(path.format(**names) + ("&" if "?" in path else "?") + "as_of=2100-01-02T03:04")
        links = page.eval_on_selector_all("body a[href]", "found => found.map(each => each.getAttribute('href'))")
        without = [each for each in links if "as_of=" not in each and not each.startswith(("#", "/v1/openapi"))]
        assert without == [page.get_by_role("link", name="Now", exact=True).get_attribute("href")]
    page.get_by_role("link", name="Now", exact=True).click()
    page.wait_for_url(lambda url: "as_of" not in url)
    assert page.get_by_role("status").count() == 0


# What would be cut off at the edge of the sheet: wider than what it stands in.
CUT = """() => [...document.querySelectorAll("main *")].filter(each => each.checkVisibility()
    && each.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(each => each.outerHTML.slice(0, 150))"""


@pytest.mark.parametrize("path", ["/runs/{run}", "/statements/{statement}", "/statements/{statement}/holders/Ada"])
def test_it_prints_whole_and_without_what_leads_elsewhere(page, names, path):
    page.goto(path.format(**names))
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 without its margins
    hidden = ("header", "footer", "nav", "form", ".actions", ".skip", ".sql", "[role=tooltip]")
    assert [each for each in hidden for found in page.locator(each).all() if found.is_visible()] == []
    assert page.evaluate(CUT) == []
    sheets = page.pdf(format="A4", margin=dict.fromkeys(("top", "right", "bottom", "left"), "10mm"))
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", sheets)) <= 4


def parts_of_a_photograph(count):
    """Squares of 300 pixels, as PNG, each from another place."""
    with get_sample_data("grace_hopper.jpg") as file, Image.open(file) as opened:
        photograph = opened.convert("RGB")
    for place in range(count):
        left, top = place % 5 * 50, place // 5 * 30
        body = io.BytesIO()
        photograph.crop((left, top, left + 300, top + 300)).save(body, "PNG", compress_level=1)
        yield body.getvalue()


def test_a_page_of_50_items_is_light(browser, tmp_path):
    """The document of a holder with 50 works that are photographs."""
    run = staged_run(tmp_path, generated=2, training=50, edges=50, holders=("Ada",) * 50)
    parts = enumerate(parts_of_a_photograph(50))
    rows = [{"image_sha256": training_row(k)["sha256"], "webp": thumbnail(part)} for k, part in parts]
    rows.sort(key=itemgetter("image_sha256"))
    pictures = tmp_path / "pictures.parquet"
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), pictures, **PARQUET)
    load(tmp_path / "ledger", dataclasses.replace(run, thumbnails=[pictures]))
    statement = say_statement(tmp_path, "generated,date,units,revenue\ng0,2026-10-02,3,300\n")
    with (
        serving(tmp_path, tmp_path / "errors") as served,
        chromium.opened(browser, served.address, 1280, 8000) as (page, faults),
    ):
        sent = []
        page.on("requestfinished", lambda each: sent.append(each))
        page.goto(f"/statements/{statement}/holders/Ada", wait_until="networkidle")
        sizes = {each.url: each.sizes() for each in sent}
        assert faults == []
    pictures = [url for url in sizes if url.endswith(".webp")]
    assert len(pictures) == 50
    weight = sum(each["responseBodySize"] + each["responseHeadersSize"] for each in sizes.values())
    assert sum(len(row["webp"]) for row in rows) < weight < MOST


@pytest.mark.slow
def test_a_ledger_that_goes_away_is_told_and_comes_back(browser, own, tmp_path):
    """It comes back as another one, made anew from the log; the page that waits for it shows it by itself."""
    with (
        serving(own.parent, tmp_path / "errors") as served,
        chromium.opened(browser, served.address) as (page, faults),
    ):
        page.goto("/holders/Ada")
        own.rename(own.with_name("elsewhere"))
        end = time.monotonic() + 20
        while page.reload().status != 503:
            assert time.monotonic() < end
            time.sleep(0.2)
        said = page.locator("main").inner_text()
        assert "The ledger cannot be read just now: there is no ledger" in said
        assert "This page comes back when it can." in said
        assert violations(page) == []
        with Ledger.rebuild(own, log_of(own)):
            pass
        page.get_by_role("heading", name="Ada", exact=True).wait_for(timeout=20_000)
        assert (faults, served.said()) == ([], "")
