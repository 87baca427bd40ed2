"""The explorer in Chromium, as each role meets it: logging in and out, a rights holder's pages, an officer's forms, and where links lead."""

import re
import shutil

import pytest

from mucs.explorer.tokens import Tokens
from mucs.ledger import Ledger
from tests import chromium
from tests.chromium import COLOURS, violations
from tests.factories import log_of
from tests.mucs.explorer.served import serving

pytestmark = [pytest.mark.heavy, chromium.needed]
STAFF = ("viewer", "analyst", "officer")
HOLDERS = ("Ada", "Ben")
WIDTHS = (1280, 390)


@pytest.fixture(scope="module")
def folder(told, tmp_path_factory):
    """A copy of the ledger, whose log is told what is taken out and changed here."""
    folder = tmp_path_factory.mktemp("roles")
    shutil.copytree(told / "log", folder / "log")
    with Ledger.rebuild(
        folder / "ledger", log_of(folder / "ledger")
    ):  # a copy of the ledger would follow the first log
        return folder


@pytest.fixture(scope="module")
def secrets(folder):
    """Tokens, by role or rights holder."""
    tokens = Tokens(folder / "tokens")
    return {role: tokens.add(f"{role}@example.org", role, None, 1)[0] for role in STAFF} | {
        name: tokens.add("", "holder", name, 1)[0] for name in HOLDERS
    }


@pytest.fixture(scope="module")
def address(folder, secrets, tmp_path_factory):
    errors = tmp_path_factory.mktemp("served") / "errors"
    with serving(folder, errors, "--tokens", str(folder / "tokens")) as served:
        yield served.address
        assert served.said() == ""


@pytest.fixture(scope="module")
def names(folder):
    """What addresses are made from."""
    with Ledger.open(folder / "ledger") as ledger:
        line = "SELECT min(line) FROM statement_lines WHERE statement = ? AND rights_holder = 'Ada'"
        statement = ledger.one("SELECT sha256 FROM statements ORDER BY version DESC LIMIT 1")
        return {
            "statement": statement,
            "line": ledger.one(line, statement),
            "dispute": ledger.one("SELECT max(dispute) FROM disputes"),
            "run": ledger.one("SELECT sha256 FROM runs WHERE run_id = 2"),
        }


@pytest.fixture
def page(browser, address):
    """A page of a new window, in which nothing may go wrong."""
    with chromium.opened(browser, address) as (made, faults):
        yield made
        assert faults == []


def log_in(page, secret):
    page.goto("/login")
    page.get_by_label("Token").fill(secret)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: not url.endswith("/login"))


def tab_to(page, found):
    """Go to something by keyboard."""
    while not found.evaluate("each => each === document.activeElement"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.tagName") != "BODY", "it is not reached"


def faults_of(page):
    """What is wrong with a page for somebody: at each width, by light and in the dark."""
    found = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        found += [(width, *each) for each in violations(page)]
        page.emulate_media(color_scheme="dark")
        found += [(width, f"{rule} in the dark", node) for rule, node in violations(page, COLOURS)]
        page.emulate_media(color_scheme="light")
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append((width, "wider than the window", ""))
    page.set_viewport_size({"width": WIDTHS[0], "height": 800})
    return found


def test_one_logs_in_by_keyboard_alone_comes_where_he_wanted_to_go_and_logs_out(page, secrets, names):
    wanted = f"/statements/{names['statement']}/holders/Ada?as_of=2100-01-02T03:04"
    assert page.goto(wanted).status == 401
    assert faults_of(page) == []
    for secret in (secrets["Ada"][:-1], secrets["Ada"]):
        tab_to(page, page.get_by_label("Token"))
        page.keyboard.type(secret)
        page.keyboard.press("Enter")
        if secret != secrets["Ada"]:
            page.get_by_role("alert").wait_for()
            assert "That token does not count." in page.get_by_role("alert").inner_text()
            assert page.get_by_label("Token").input_value() == ""
            assert faults_of(page) == []
    page.wait_for_url(f"**{wanted}")
    assert page.get_by_role("heading", level=1).inner_text() == "Ada"
    tab_to(page, page.get_by_role("button", name="Log out"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/login")
    assert page.goto(wanted).status == 401


def test_the_pages_of_a_rights_holder_are_for_everyone(page, secrets, names):
    log_in(page, secrets["Ada"])
    paths = ["/", "/training/t0", "/generated/g0", "/statements/{statement}", "/statements/{statement}/lines/{line}"]
    paths += ["/disputes/{dispute}", "/glossary", "/holders/Ada?as_of=2020-01-01T00:00", "/holders/Ben"]
    wrong = {}
    for path in paths:
        status = page.goto(path.format(**names)).status
        found = faults_of(page)
        assert status == (404 if path == "/holders/Ben" else 200), path
        wrong |= {path: found} if found else {}
    assert wrong == {}


# By the address of each form's page: its button, what is typed, and what is wrong with it.
FORMS = {
    "/runs/{run}": ("Withdraw", {"Why": " "}, "reason"),
    "/training/t0": ("Record", {"Licence": "CC-BY-4.0", "From": "2026-12-01", "To": "2026-11-01"}, "valid_to"),
    "/takedown/Ada": ("Record it", {"From": "2026-12-01", "To confirm, write its name": "Adam"}, "to confirm it"),
    "/statements/{statement}/holders/Ben": ("Open a dispute", {"What is wrong": " "}, "reason"),
    "/disputes/{dispute}": ("Record", {"Why": " "}, "reason"),
}


@pytest.mark.slow
def test_an_officers_forms_are_for_everyone_and_keep_what_was_typed(page, secrets, names):
    log_in(page, secrets["officer"])
    wrong = {}
    for path, (button, typed, said) in FORMS.items():
        page.goto(path.format(**names))
        form = page.locator("form.say")
        if not form.is_visible():
            page.locator("details:has(form.say) > summary").click()
        found = faults_of(page)
        for label, value in typed.items():
            form.get_by_label(label, exact=True).fill(value)
        form.get_by_role("button", name=button, exact=True).click()
        alert = page.get_by_role("alert")
        alert.wait_for()
        assert said in alert.inner_text(), path
        assert {label: form.get_by_label(label, exact=True).input_value() for label in typed} == typed
        found += faults_of(page)
        wrong |= {path: found} if found else {}
    assert wrong == {}


def test_a_right_is_recorded_by_keyboard_alone(page, secrets):
    log_in(page, secrets["officer"])
    page.goto("/training/t2")
    tab_to(page, page.locator("details:has(form.say) > summary"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_label("Licence", exact=True))
    page.keyboard.press("Control+A")
    page.keyboard.type("from a page")
    tab_to(page, page.get_by_label("From", exact=True))
    page.keyboard.type("12012026")
    tab_to(page, page.get_by_role("button", name="Record", exact=True))
    page.keyboard.press("Enter")
    row = page.locator("#history tr", has_text="from a page")
    row.wait_for()
    assert "2026-12-01" in row.inner_text()


# The status of each answer that links lead to from the first page; of one kind, of so many at the most.
# Twins of pages are asked for without their body, as the log would be told of each CSV.
WALK = """async (most) => {
    const found = {}, waiting = [new URL("/", location)], known = new Set(), kinds = {}, parser = new DOMParser();
    while (waiting.length) {
        const url = waiting.shift(), twin = /[.](csv|pdf|json)$/.test(url.pathname);
        const answer = await fetch(url, {method: twin ? "HEAD" : "GET"});
        found[url.href] = answer.status;
        if (twin || !answer.headers.get("content-type").startsWith("text/html")) continue;
        const page = parser.parseFromString(await answer.text(), "text/html");
        for (const link of page.querySelectorAll("a[href], img[src]")) {
            const to = new URL(link.getAttribute("href") ?? link.getAttribute("src"), answer.url);
            to.hash = "";
            if (to.origin !== location.origin || known.has(to.href)) continue;
            known.add(to.href);
            const [, first, ...rest] = to.pathname.split("/"), end = to.pathname.match(/[.](csv|pdf|json)$/)?.[1];
            const kind = [first.split(".")[0], first === "questions" ? rest[0] : rest.length, end, ...to.searchParams.keys()].join();
            kinds[kind] = (kinds[kind] ?? 0) + 1;
            if (kinds[kind] <= most) waiting.push(to);
        }
    }
    return found;
}"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "most"),
    [
        pytest.param("viewer", 20, marks=pytest.mark.slow),
        ("viewer", 3),
        ("analyst", 3),
        ("officer", 3),
        ("Ada", 100),
        ("Ben", 100),
    ],
)
def test_no_link_leads_a_role_to_what_it_may_not_see_or_what_is_not_there(page, secrets, role, most):
    """The staff see the same things, so that all of them are walked to but once, where time allows; what else there is depends on the role."""
    log_in(page, secrets[role])
    found = page.evaluate(WALK, most)
    assert len(found) > 90
    no_digest = re.compile(
        "/sha256/[a-z_]+f+$|/v1/exports/"
    )  # of what the tests' own runs were made from, and of such runs
    assert {url: status for url, status in found.items() if status != 200 and not no_digest.search(url)} == {}
