"""What officers and rights holders say from pages is an entry of the log with who said it; what is taken out is told first."""

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from mucs.explorer.access import Access
from mucs.explorer.tokens import Tokens
from mucs.ledger import Ledger
from mucs.ledger.rights import forget
from tests.factories import fault, log_of, writing
from tests.mucs.explorer.conftest import explorer
from tests.mucs.explorer.test_pages import wait

pytestmark = pytest.mark.heavy
BASE = "http://127.0.0.1:8787"


@pytest.fixture
def tokens(tmp_path):
    return Tokens(tmp_path / "tokens")


@pytest.fixture
def app(own, tokens):
    made, snapshots = explorer(own, access=Access(tokens))
    yield made
    snapshots.close()


@pytest.fixture
def open_page(app, tokens):
    """A client that sends a token with each request, by role or rights holder."""

    def opened(role, holder=None):
        secret, _ = tokens.add(f"{role}@example.org", role, holder, 1)
        own = {"authorization": f"Bearer {secret}"}
        return TestClient(app, base_url=BASE, headers=own, follow_redirects=False)

    return opened


@pytest.fixture
def browser(app, tokens):
    """A client that has logged in, by role or rights holder."""

    def opened(role, holder=None):
        secret, _ = tokens.add(f"{role}@example.org", role, holder, 1)
        client = TestClient(app, base_url=BASE, follow_redirects=False)
        assert client.post("/login", data={"token": secret}).status_code == 303
        return client

    return opened


def entries(ledger):
    return list(log_of(ledger).after())


def accesses(ledger):
    with writing(ledger) as opened:
        return opened.ask("accesses")


def form_token(page):
    return re.search(r'id="say">\s*<input type="hidden" name="form_token" value="(\w+)"', page.text)[1]


def test_an_officer_withdraws_a_run(own, browser):
    client = browser("officer")
    with Ledger.open(own) as ledger:
        run = ledger.one("SELECT sha256 FROM runs WHERE run_id = 2")
    page = client.get(f"/runs/{run}")
    sent = {"run": run, "reason": "<b>another</b> batch", "form_token": form_token(page)}
    done = client.post("/withdrawals", data=sent)
    assert (done.status_code, done.headers["location"]) == (303, f"/runs/{run}")
    assert "&lt;b&gt;another&lt;/b&gt; batch" in client.get(f"/runs/{run}").text  # at once
    last = entries(own)[-1]
    assert (last.kind, last.body) == (
        "withdrawal",
        {"run": run, "reason": "<b>another</b> batch", "by": {"who": "officer@example.org", "role": "officer"}},
    )
    row = accesses(own)[0]
    assert (row["who"], row["role"], row["what"], row["position"], row["address"]) == (
        *("officer@example.org", "officer", "withdrawal"),
        *(last.position, None),
    )
    assert fault(own) is None


def test_an_officer_records_a_right_and_a_wrong_one_is_told_where_it_was_typed(own, browser):
    client = browser("officer")
    page = client.get("/training/t0")
    sent = {"item": "t0", "rights_holder": "Ben", "licence": "CC-BY", "standing": "granted", "uses": "output"}
    sent |= {"valid_from": "31.12.2026", "valid_to": "", "form_token": form_token(page)}
    before = len(entries(own))
    wrong = client.post("/rights", data=sent)
    assert wrong.status_code == 400
    assert "valid_from cannot be &#39;31.12.2026&#39;; write a day as 2026-10-31." in wrong.text
    for typed in ('value="31.12.2026"', 'value="CC-BY"', "selected>output alone"):
        assert typed in wrong.text
    assert len(entries(own)) == before
    sent["valid_from"] = "2026-01-01"
    done = client.post("/rights", data=sent)
    assert done.status_code == 303
    rows = client.get(f"{done.headers['location']}.json").json()["views"]["history"]["rows"]
    assert (rows[-1]["rights_holder"], rows[-1]["uses"], rows[-1]["valid_from"]) == ("Ben", "output", "2026-01-01")
    assert fault(own) is None


def test_a_takedown_is_confirmed_and_opts_all_works_out(own, browser):
    client = browser("officer")
    page = client.get("/takedown/Ada")
    sent = {"target": "Ada", "valid_from": "2026-01-01", "form_token": form_token(page)}
    before = len(entries(own))
    for typed in ("", "ada", "Ben"):
        wrong = client.post("/takedowns", data=sent | {"confirmation": typed})
        assert (wrong.status_code, "Nothing was recorded" in wrong.text) == (400, True)
    assert len(entries(own)) == before
    assert client.post("/takedowns", data=sent | {"confirmation": "Ada"}).status_code == 303
    works = client.get("/holders/Ada.json").json()["views"]["works"]["rows"]
    assert {row["standing"] for row in works} == {"opted out"}
    others = client.get("/holders/Cleo.json").json()["views"]["works"]["rows"]
    assert {row["standing"] for row in others} == {"granted"}
    assert len(entries(own)) == before + 1
    client.post("/takedowns", data=sent | {"target": "Nobody", "confirmation": "Nobody"})
    assert (len(entries(own)), fault(own)) == (before + 1, None)


def test_a_rights_holder_disputes_and_an_officer_decides(own, browser):
    ben, officer = browser("holder", "Ben"), browser("officer")
    account = ben.get("/holders/Ben.json").json()["views"]["account"]["rows"][0]
    page = ben.get(f"/statements/{account['statement']}/holders/Ben")
    sent = {
        "statement": account["statement"],
        "holder": "Ada",
        "reason": "line 2 is short",
        "form_token": form_token(page),
    }
    done = ben.post("/disputes", data=sent)
    number = done.headers["location"].rpartition("/")[2]
    assert ben.get(f"/disputes/{number}.json").json()["facts"]["state"] == "open"
    step = entries(own)[-1].body
    assert (step["by"]["role"], step["by"]["who"], step["rights_holder"]) == (
        "holder",
        step["rights_holder"],
        step["by"]["who"],
    )
    assert accesses(own)[0]["who"] == "Ben"
    sent = {"dispute": number, "state": "under review", "reason": "looked at"}
    sent["form_token"] = form_token(officer.get(f"/disputes/{number}"))
    early = officer.post("/disputes/steps", data=sent | {"state": "upheld", "amount": "5"})
    assert (early.status_code, "it can become under review next" in early.text) == (400, True)
    assert officer.post("/disputes/steps", data=sent).status_code == 303
    wrong = officer.post("/disputes/steps", data=sent | {"state": "upheld", "amount": "5.001", "reason": "true"})
    assert (wrong.status_code, 'value="5.001"' in wrong.text) == (400, True)
    assert officer.post("/disputes/steps", data=sent | {"state": "upheld", "amount": "5"}).status_code == 303
    assert ben.get(f"/disputes/{number}.json").json()["facts"]["amount"] == "5.0000"
    assert officer.post("/disputes/steps", data=sent | {"dispute": "x"}).status_code == 404
    assert fault(own) is None


def test_a_form_counts_from_its_own_session_alone(own, browser, open_page):
    client, other = browser("officer"), browser("officer")
    with Ledger.open(own) as ledger:
        run = ledger.one("SELECT sha256 FROM runs WHERE run_id = 2")
    good = form_token(client.get(f"/runs/{run}"))
    foreign = form_token(other.get(f"/runs/{run}"))
    before = len(entries(own))
    for token in ("", "x", foreign, good[:-1], good + "0", "é"):
        assert client.post("/withdrawals", data={"run": run, "reason": "x", "form_token": token}).status_code == 403
    assert client.post("/withdrawals", data={"run": run, "reason": "x"}).status_code == 403
    assert client.post("/withdrawals", json={"run": run, "reason": "x", "form_token": good}).status_code == 403
    sent = {"run": run, "reason": "x", "form_token": good}
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        assert client.post("/withdrawals", data=sent, headers=headers).status_code == 403
    assert len(entries(own)) == before
    assert client.post("/withdrawals", data=sent, headers={"origin": BASE}).status_code == 303
    assert open_page("officer").post("/withdrawals", data={"run": run, "reason": "x"}).status_code == 303  # as before
    assert len(entries(own)) == before + 1


def test_what_is_taken_out_is_told_with_who_took_it(own, open_page):
    client = open_page("analyst")
    with Ledger.open(own) as ledger:
        position, _ = ledger.at()
    said = client.get("/statements.json").json()["views"]["statements"]["rows"][0]["statement"]
    for address in ("/", "/holders", "/holders.json", "/sql", "/questions/why", f"/statements/{said}"):
        assert client.get(address).status_code == 200
    assert client.head("/holders.csv").status_code == 200
    assert len(entries(own)) == position
    query = "SELECT count(*) AS n FROM training_items WHERE rights_holder = 'Ada' OR rights_holder = 'Nobody'"
    asked = {
        "/holders/Ada.csv?as_of=2199-01-01": "csv",
        f"/sql.json?q={query.replace(' ', '+')}": "sql",
        f"/statements/{said}/holders/Ada": "document",
        "/v1/generated/g0/edges/t0/proof": "proof",
    }
    answers = {address: client.get(address) for address in asked}
    told = entries(own)[position:]
    rows = {row["address"]: row for row in accesses(own)}
    for (address, what), entry in zip(asked.items(), told, strict=True):
        shown = address.replace("+", " ")
        row = rows[shown]
        assert (row["who"], row["role"], row["what"]) == ("analyst@example.org", "analyst", what)
        assert row["sha256"] == hashlib.sha256(answers[address].content).hexdigest() == entry.body["sha256"]
        wait(lambda row=row: client.get(f"/sha256/{row['sha256']}").status_code == 303)
        assert client.get(f"/sha256/{row['sha256']}").headers["location"] == f"/entries/{entry.position}"
        assert position <= row["answered_from"] <= entry.position
        assert (row["as_of"] is not None) == ("as_of" in address)
        assert "Ada" not in entry.entry
    with writing(own) as ledger:
        pseudonym = forget(ledger, "Ada")
    assert all("Ada" not in row["address"] for row in accesses(own))
    assert any("erased" in row["address"] for row in accesses(own)), pseudonym
    assert fault(own) is None


def test_a_rights_holders_exports_are_told_under_his_pseudonym(own, open_page):
    client = open_page("holder", "Ada")
    assert client.get("/holders/Ada.csv").status_code == 200
    entry = entries(own)[-1]
    assert (entry.kind, "Ada" in entry.entry, entry.body["by"]["role"]) == ("access", False, "holder")
    assert accesses(own)[0]["who"] == "Ada"


def test_what_cannot_be_told_is_not_given(own, open_page):
    client = open_page("analyst")
    good = client.get("/holders.csv")
    assert good.status_code == 200
    log = own.with_name("log")
    log.rename(own.with_name("away"))
    for address in ("/holders.csv", "/sql.json?q=SELECT+1+AS+n", "/v1/generated/g0/edges/t0/proof"):
        answer = client.get(address)
        assert (answer.status_code, "told to the log first" in answer.json()["error"]) == (503, True)
    assert client.get("/holders").status_code == 200  # reading goes on
    own.with_name("away").rename(log)
    assert client.get("/holders.csv").status_code == 200


def test_many_who_take_out_at_once_are_all_told(own, open_page):
    client = open_page("analyst")
    before = len(entries(own))
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda k: client.get(f"/generated.csv?k={k}").status_code, range(6)))
    assert found == [200] * 6
    assert {row["address"] for row in accesses(own)} == {f"/generated.csv?k={k}" for k in range(6)}
    assert (len(entries(own)), fault(own)) == (before + 6, None)


def test_on_this_machine_without_a_login_nothing_is_told_of_reading(own):
    made, snapshots = explorer(own)
    with TestClient(made, base_url=BASE, follow_redirects=False) as client:
        before = len(entries(own))
        assert client.get("/holders.csv").status_code == 200
        assert len(entries(own)) == before
        page = client.get("/takedown/Ben")
        sent = {"target": "Ben", "valid_from": "2026-01-01", "confirmation": "Ben", "form_token": form_token(page)}
        assert client.post("/takedowns", data=sent | {"form_token": ""}).status_code == 403
        assert client.post("/takedowns", data=sent).status_code == 303
        assert accesses(own)[0]["who"] == "Olive"
    snapshots.close()


def test_a_reader_goes_on_page_by_page_while_others_take_something_out(open_page):
    client = open_page("analyst")
    for _ in range(2):
        assert client.get("/holders.csv").status_code == 200  # which the log is told
    runs, accesses = (f"/v1/questions/{name}?limit=1" for name in ("runs", "accesses"))
    wait(lambda: client.get(accesses).json()["next"])
    first, told = client.get(runs).json(), client.get(accesses).json()
    assert client.get("/holders.csv").status_code == 200
    wait(lambda: client.get(runs).json()["log"]["position"] > first["log"]["position"])
    second = client.get(f"{runs}&cursor={first['next']}")
    assert (second.status_code, len(second.json()["rows"])) == (200, 1)
    assert second.json()["rows"] != first["rows"]
    changed = client.get(f"{accesses}&cursor={told['next']}")
    assert (changed.status_code, "has changed" in changed.json()["error"]) == (409, True)
