"""Pages, JSON and CSV over a real ledger: all linked, as of any time, and safe with whatever names there are."""

import csv
import datetime
import html
import io
import json
import random
import re
import time
from collections import deque
from decimal import Decimal
from html.parser import HTMLParser

import anyio
import pytest
from starlette.responses import Response
from starlette.testclient import TestClient

from mucs.evidence import holds
from mucs.explorer.address import address, inner, name_of, segment
from mucs.explorer.app import routes
from mucs.explorer.gate import POSTS, Gate, TooLarge
from mucs.ledger import Ledger
from mucs.ledger.rights import withdraw
from mucs.report.words import tie
from tests.factories import load, staged_run, writing
from tests.mucs.explorer.conftest import HOLDERS, ODD, explorer

pytestmark = pytest.mark.heavy
LINK = re.compile(r'(?:href|src|action)="([^"#]*)"(?! method="post")')


def links(text):
    return [html.unescape(each) for each in LINK.findall(text) if each]


class Acting(HTMLParser):
    """Finds whatever in a page could act: scripts, handlers, styles, addresses that are code."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        acts = [
            name
            for name, value in attributes
            if name.startswith("on") or name == "style" or (value or "").strip().lower().startswith("javascript:")
        ]
        own = tag == "script" and (dict(attributes).get("src") or "").startswith("/static/")
        self.found += [(tag, name) for name in acts] + (
            [(tag, None)] if tag in ("script", "style", "b", "iframe") and not own else []
        )


def statement(client):
    return client.get("/statements.json").json()["views"]["statements"]["rows"][0]["statement"]


def crawl(client, first, most_of_a_kind=4):
    """Every page that can be reached, but no more than some of a kind; gives addresses and answers."""
    known, waiting, kinds = {first}, deque([first]), {}
    while waiting:
        url = waiting.popleft()
        if url.startswith("/v1/exports/"):  # `test_exports` has these, of a run that is as audits make them
            continue
        kind = re.sub(r"=[^&]*", "", re.sub(r"(?<=/)[^/?]{20,}|\d+", "*", url))
        kinds[kind] = kinds.get(kind, 0) + 1
        if kinds[kind] > most_of_a_kind:
            continue
        answer = client.get(url)
        yield url, answer
        if answer.status_code == 303:
            found = [answer.headers["location"]]
        else:
            found = links(answer.text) if answer.headers["content-type"].startswith("text/html") else []
        waiting.extend(each for each in found if each not in known)
        known |= set(found)


def test_every_page_is_linked_and_answers_in_three_forms(client):
    pages = {route.path for route in routes(lambda *_: [], None, lambda _: None)}
    patterns = {path: re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + r"(\.json|\.csv|\.html)?") for path in pages}
    reached = set()
    for url, answer in crawl(client, "/"):
        assert answer.status_code in (200, 303), (url, answer.text[-300:])
        assert url.startswith("/"), url
        reached |= {path for path, pattern in patterns.items() if pattern.fullmatch(url.partition("?")[0])}
        if url.partition("?")[0].endswith(".json") and url != "/v1/openapi.json":
            assert {"title", "log", "views", "facts"} <= answer.json().keys(), url
    assert reached >= pages - {"/search", "/attribute", "/attributions/{address}"}  # no picture can be sent here


def test_a_time_is_carried_by_every_link_and_hides_what_came_later(client, before_statements):
    for url, answer in crawl(client, address("generated", as_of=before_statements), 2):
        assert answer.status_code in (200, 303), (url, answer.text[-300:])
        if "as_of=" in url and answer.headers.get("content-type", "").startswith("text/html"):
            found = [
                each
                for each in re.findall(r'href="([^"#]+)"', answer.text)
                if not each.startswith(("/static", "/v1/openapi"))
            ]
            assert len([each for each in found if "as_of=" not in each]) == 1, url  # the one that leads back to now
    name = statement(client)
    assert client.get(address("statements", name)).status_code == 200
    assert client.get(address("statements", name, as_of=before_statements)).status_code == 404
    assert (
        client.get(address("statements", as_of=before_statements, form="json")).json()["views"]["statements"]["rows"]
        == []
    )


@pytest.mark.parametrize("number", range(len(ODD)))
def test_an_item_of_any_name_has_a_page(client, number):
    rows = client.get("/generated.json").json()["views"]["items"]["rows"]
    (row,) = [each for each in rows if each["generated"] == ODD[number]]
    listed = [url for url in links(client.get("/generated").text) if url.startswith("/generated/")]
    pages = [
        url for url in listed if client.get(url).status_code == 200 and row["generated_sha256"] in client.get(url).text
    ]
    assert pages
    if ODD[number] != "..":
        answer = client.get(f"/v1/generated/{segment(ODD[number])}")
        assert answer.json()["facts"]["sha256"] == row["generated_sha256"]
        assert name_of(inner(address("x", ODD[number]).encode())[0].split("/")[2]) == ODD[number]
        twin = client.get(address("generated", ODD[number], form="json")).json()
        assert twin["facts"]["id"] == ODD[number]


def test_hostile_text_is_shown_as_text(client):
    for url, answer in crawl(client, "/", 3):
        if answer.headers.get("content-type", "").startswith("text/html"):
            assert Acting(answer.text).found == [], url
            assert "\u202e" not in answer.text, url
            assert len(answer.text) < 600_000
    assert "\\u202egnp.exe" in client.get("/generated").text
    text = client.get("/holders.csv").text
    assert "\n'=HYPERLINK(1)," in text
    assert next(iter(csv.DictReader(io.StringIO(text)))).keys() >= {"rights_holder", "share"}
    page = client.get(address("holders", HOLDERS[0]))
    assert (page.status_code, "&lt;img src=x" in page.text) == (200, True)


def test_a_page_says_what_it_rests_on_and_that_its_rows_were_cut(client):
    page = client.get(address("generated", "g0"))
    assert "Something stands out" in page.text or "Nothing stands out" in page.text
    assert "FROM lineage_as_of($as_of)" in html.unescape(page.text)
    many = client.get("/sql", params={"q": "SELECT * FROM range(5000)"}).text
    assert "These are the first 1000 rows; there are more." in many
    assert client.get("/sql", params={"q": "DELETE FROM edges"}).status_code == 400
    assert client.get("/questions/why").status_code == 200  # a form
    assert client.get("/questions/why", params={"generated": "g0"}).text.count("<tr>") > 1
    chosen = client.get("/generated.json", params={"verdict": "above chance"}).json()["views"]["items"]["rows"]
    assert chosen == [
        row
        for row in client.get("/generated.json").json()["views"]["items"]["rows"]
        if row["verdict"] == "above chance"
    ]


def test_a_line_leads_down_to_the_edges_that_make_it(client, told):
    name = statement(client)
    rows = client.get(f"/statements/{name}.json").json()["views"]["lines"]["rows"]
    (line,) = [row for row in rows if (row["rights_holder"], row["basis"]) == ("Ada", "attribution")]
    found = client.get(f"/statements/{name}/lines/{line['line']}.json").json()["views"]["line_edges"]["rows"]
    assert sum(row["score"] for row in found) == pytest.approx(float(line["score_mass"]))
    with Ledger.open(told / "ledger") as ledger:
        used = {row["generated"] for row in ledger.rows("SELECT DISTINCT generated FROM usage")}
    assert {row["generated"] for row in found} == used


def test_a_holders_document_has_nobody_elses_account(client):
    page = client.get(f"/statements/{statement(client)}/holders/Ada")
    assert (page.status_code, "Ada" in page.text) == (200, True)
    assert not re.search(r"\bBen\b|Cleo|HYPERLINK", page.text)
    data = client.get(f"/statements/{statement(client)}/holders/Ada.json").text
    assert not re.search(r"\bBen\b|Cleo|HYPERLINK", data)
    assert client.get(f"/statements/{statement(client)}/holders/Nobody").status_code == 404


def plain_text(answer):
    """What a page says, without marks and with one blank between words."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.text.partition("<main")[2])).split())


def test_who_is_most_exposed_since_when_and_how_sure_that_is_stands_first(client):
    rows = client.get("/holders.json").json()["views"]["holders"]["rows"]
    top, items = rows[0], client.get("/index.json").json()["facts"]["generated_items"]
    said = plain_text(client.get("/"))
    name = " ".join(top["rights_holder"].split())
    assert f"{name} is the most exposed of {len(rows)} rights holders: works among the ten best training images" in said
    share = f"of {top['generated_items']} of {items} generated images, and {100 * top['share']:.1f} % of all"
    assert share in said
    assert "since " + datetime.date.fromisoformat(top["since"][:10]).strftime("%B %Y") in said
    assert said.index("How sure is that?") < said.index("Generated items")
    for place, row in enumerate(rows, start=1):
        told = plain_text(client.get(address("holders", row["rights_holder"])))
        begin = "The most exposed" if place == 1 else f"Number {place}"
        exposed = (
            f"{begin} of {len(rows)} rights holders" if row["generated_items"] else "No generated image has a work"
        )
        assert exposed in told, row["rights_holder"]


def test_what_a_holder_is_owed_and_why_stands_first_in_the_document(client):
    place = "statements", statement(client), "holders", "Ada"
    facts = client.get(address(*place, form="json")).json()["facts"]
    said = plain_text(client.get(address(*place)))
    assert re.search(r"October 2026 brings \d+\.\d\d EUR after deductions; ", facts["owed"][0])
    order = [said.index(each) for each in (*facts["owed"], *(row["why"] for row in facts["why"]), "Carried in")]
    assert order == sorted(order)
    brought = [Decimal(re.match(r"[\d.]+", row["why"])[0]) for row in facts["why"]]
    assert sum(brought) == Decimal(facts["account"]["net"])


def test_taking_out_what_touches_nothing_says_so(client):
    page = client.get(f"/takedown/{3:064d}")
    assert (page.status_code, "It would touch no generated image" in page.text) == (200, True)


def test_what_is_known_from_a_derivation_alone_has_a_page(client):
    source = "e" * 64
    assert client.get(f"/sha256/{source}").headers["location"] == f"/artifacts/{source}"
    page = client.get(f"/artifacts/{source}")
    assert ("no run used it" in page.text, "made into" in page.text) == (True, True)
    assert client.get(f"/lineage/artifacts/{source}").status_code == 200


def test_what_is_not_there_is_404_with_the_nearest(client):
    for url, words in {
        "/holders/Adda": "did you mean &#39;Ada&#39;",
        "/generated/g00": "did you mean",
        "/runs/ffffffff": "0 runs",
        "/sha256/ffffffffff": "Nothing in the ledger",
        "/nothing": "no page at this address",
        "/questions/what": "no question",
        "/entries/999": "no entry",
    }.items():
        answer = client.get(url)
        assert (answer.status_code, words in answer.text) == (404, True), (url, answer.text[-300:])
    assert client.get("/holders/Adda.json").json() == {
        "error": "The ledger has no rights holder called 'Adda'; did you mean 'Ada'?"
    }
    assert client.get("/?as_of=soon").status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1:8787", "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "https://127.0.0.1:8787"}, 200),  # as a proxy that ends TLS passes it on
        ({"origin": "http://127.0.0.1:8788"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:8787"}, 403),
    ],
)
def test_what_another_sites_page_sends_is_refused(monkeypatch, headers, status):
    monkeypatch.setitem(POSTS, "/taken", 100)
    client = TestClient(Gate(Response("taken")), base_url="http://127.0.0.1:8787")
    assert client.post("/taken", headers=headers).status_code == status
    assert client.post("/nowhere", headers=headers).status_code == (405 if status == 200 else 403)


def test_a_body_is_read_up_to_its_bound(monkeypatch):
    monkeypatch.setitem(POSTS, "/taken", 100)
    read = []

    async def app(scope, receive, send):
        more = True
        while more:
            message = await receive()
            read.append(len(message["body"]))
            more = message["more_body"]

    async def asked(length, **headers):
        pieces = iter(range(0, length, 30))

        async def receive():
            at = next(pieces)
            return {"type": "http.request", "body": b"x" * min(30, length - at), "more_body": at + 30 < length}

        async def send(message):
            read.append(message.get("status"))

        told = [(b"host", b"127.0.0.1"), *((key.encode(), value.encode()) for key, value in headers.items())]
        scope = {"type": "http", "method": "POST", "path": "/taken", "query_string": b"", "headers": told}
        await Gate(app)(scope, receive, send)

    anyio.run(asked, 100)
    assert read == [30, 30, 30, 10]
    read.clear()
    with pytest.raises(TooLarge, match="at most 100 bytes"):
        anyio.run(asked, 10_000)
    assert read == [30, 30, 30]
    read.clear()
    anyio.run(lambda: asked(101, **{"content-length": "101"}))
    assert read == [413, None]


def test_only_this_machine_reads_and_nothing_long_comes_in(client):
    assert client.get("/", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/", headers={"host": "localhost:1"}).status_code == 200
    assert client.post("/sql", data={"q": "x"}).status_code == 405
    assert client.get("/search", params={"q": "x" * 9000}).status_code == 414
    assert client.request("GET", "/", content=b"x" * 70_000).status_code == 413
    policy = client.get("/").headers["content-security-policy"]
    assert ("unsafe" in policy, "default-src 'none'" in policy) == (False, True)
    for url in ("/", "/nothing", "/v1/generated/nothing", "/static/explorer.css", "/pictures/x"):
        assert client.get(url).headers["x-content-type-options"] == "nosniff", url


def test_whoever_asks_for_the_head_is_told_what_a_reader_is_told(client):
    generated = f"/v1/generated/{segment(ODD[0])}"
    for url in ("/", "/holders.csv", generated, "/v1/openapi.json", "/v1/questions/edges", "/v1/generated/nothing"):
        read, head = client.get(url), client.head(url)
        assert (head.status_code, head.content) == (read.status_code, b""), url
        for name in ("content-type", "etag", "cache-control"):
            assert head.headers.get(name) == read.headers.get(name), url
    assert "head" not in {method for path in client.get("/v1/openapi.json").json()["paths"].values() for method in path}


def test_an_image_that_may_be_a_copy_is_marked(client):
    found = client.get("/v1/questions/ties").json()["rows"]
    assert [(row["generated"], row["tie_p_value"]) for row in found] == [("g0", 0.03125)]
    sentences = {name: tie(p) for name, p in (("g0", 0.03125), ("g1", 0.6))}
    for name, sentence in sentences.items():
        page = client.get(address("generated", name)).text
        assert sentence in plain_text(client.get(address("generated", name)))
        assert ('<p class="warn">It is tied' in page) == (name == "g0")
        assert client.get(address("generated", name, form="json")).json()["facts"]["tie_p_value"] is not None
    assert "tie p" in plain_text(client.get("/glossary"))


def test_what_would_be_paid_for_nothing_is_said_of_a_run_a_statement_and_a_holders_account(client):
    rows = client.get("/v1/questions/false_payments", params={"decoy_p_value": 1}).json()["rows"]
    odd, told = rows  # the latest first
    assert told["share"] == pytest.approx(
        0.2 / 1.5 / 2
    )  # beside 0.9, 0.3 and 0.1 of one image, and nothing of the other
    assert (told["held_out_items"], told["training_items"], odd["held_out_items"], odd["training_items"]) == (
        2,
        4,
        4,
        12,
    )
    facts = client.get(address("runs", odd["run"], form="json")).json()["facts"]
    assert facts["false_payments"] == [odd]  # it has no calibration, and so is asked without a bound
    said = plain_text(client.get(address("runs", odd["run"])))
    assert f"candidates of each image, {100 * odd['share']:.2f} would go to images" in said
    assert "they are 4 of 16 candidates." in said
    name = statement(client)
    usage = client.get(address("statements", name, form="json")).json()["facts"]["header"]["usage"]
    assert usage["false_payments"]["candidates"] == [{"held_out": 2, "training": 4}]
    of_hundred = f"{100 * float(usage['false_payments']['share']):.2f} would go to images"
    for place in (("statements", name), ("statements", name, "holders", "Ada")):
        assert of_hundred in plain_text(client.get(address(*place)))


def test_programs_read_page_by_page_and_are_told_when_nothing_changed(client):
    first = client.get("/v1/questions/edges", params={"run": statement_run(client), "limit": 3})
    rows, cursor = first.json()["rows"], first.json()["next"]
    while cursor:
        answer = client.get(
            "/v1/questions/edges", params={"run": statement_run(client), "limit": 3, "cursor": cursor}
        ).json()
        rows, cursor = rows + answer["rows"], answer["next"]
    assert rows == client.get("/v1/questions/edges", params={"run": statement_run(client)}).json()["rows"]
    tag = first.headers["etag"]
    again = client.get(
        "/v1/questions/edges", params={"run": statement_run(client), "limit": 3}, headers={"if-none-match": tag}
    )
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/v1/runs/ffffffff").status_code == 404
    assert client.get("/v1/questions/edges?limit=x").status_code == 400
    assert client.get(f"/v1/questions/runs?cursor={'0' * 16}.0").status_code == 409
    described = client.get("/v1/openapi.json").json()["paths"]
    page = html.unescape(client.get("/docs").text)
    for path, methods in described.items():
        for method, said in methods.items():
            assert f"{method.upper()} {path}" in page
            assert all(each["example"] for each in said["responses"]["200"]["content"].values())


def statement_run(client):
    return client.get("/runs.json").json()["views"]["runs"]["rows"][-1]["run"]


def test_a_proof_is_one(client):
    proof = client.get("/v1/generated/g0/edges/t0/proof").json()
    run = client.get(f"/v1/runs/{proof['run']}").json()
    assert holds(proof, run["facts"]["edges_root"])
    assert not holds(proof | {"index": proof["index"] + 1}, run["facts"]["edges_root"])
    assert client.get("/v1/generated/g0/edges/nothing/proof").status_code == 404


def test_lineage_draws_few_and_counts_the_rest(tmp_path):
    load(tmp_path / "ledger", staged_run(tmp_path, generated=30, training=300, edges=20))
    app, snapshots = explorer(tmp_path / "ledger")
    with TestClient(app, base_url="http://127.0.0.1") as client:
        run = statement_run(client)
        around = client.get(f"/lineage/runs/{run}.json").json()["facts"]
        assert {"around": run[:12], "kind": "generated", "count": 18} in around["not_drawn"]
        everything = [
            f"generated:{row['generated_sha256']}"
            for row in client.get("/generated.json").json()["views"]["items"]["rows"]
        ]
        page = client.get(f"/lineage/runs/{run}.json", params={"open": ",".join(everything)}).json()["facts"]
        assert around["nodes"] < page["nodes"] <= 200
    snapshots.close()


def test_a_ledger_that_moves_on_or_goes_away_is_followed(own):
    app, snapshots = explorer(own)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        before = client.get("/")
        assert client.get("/", headers={"if-none-match": before.headers["etag"]}).status_code == 304
        with writing(own) as ledger:
            withdraw(ledger, ledger.one("SELECT sha256 FROM runs WHERE run_id = 2"), "no longer")
        wait(lambda: client.get("/", headers={"if-none-match": before.headers["etag"]}).status_code == 200)
        own.rename(own.with_name("elsewhere"))
        wait(lambda: client.get("/").status_code == 503)
        assert "comes back when it can" in client.get("/").text
        own.with_name("elsewhere").rename(own)
        wait(lambda: client.get("/").status_code == 200)
    snapshots.close()


def wait(condition):
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_whatever_is_asked_is_answered_and_changes_nothing(client, told):
    drawn = random.Random(0)
    before = {path: path.read_bytes() for path in told.rglob("*.parquet")}
    words = [
        "%00",
        "%FF",
        "..",
        "%2e%2e",
        "'; DROP TABLE edges; --",
        "999999999999",
        "-1",
        "${x}",
        "{{7*7}}",
        "%F0%9F",
        "\\",
        "a" * 300,
        "=1",
        "infinity",
        "0001-01-01",
    ]
    paths = [route.path for route in routes(lambda *_: [], None, lambda _: None)] + [
        "/v1/generated/{item}",
        "/v1/questions/{name}",
        "/pictures/{name}",
        "/static/{name}",
    ]
    for _ in range(300):
        path = re.sub(
            r"\{\w+\}",
            lambda _: segment(drawn.choice(words)) if drawn.random() < 0.5 else drawn.choice(words).replace(" ", "+"),
            drawn.choice(paths),
        )
        query = "&".join(
            f"{drawn.choice(['as_of', 'q', 'top', 'open', 'verdict', 'cursor', 'limit', 'generated'])}={segment(drawn.choice(words))}"
            for _ in range(drawn.randrange(3))
        )
        answer = client.get(f"{path}?{query}")
        assert answer.status_code < 500, (path, query, answer.text[-300:])
        assert "49" not in answer.text or "{{7*7}}" not in path + query or answer.status_code == 200
    assert client.get("/").status_code == 200
    assert {path: path.read_bytes() for path in told.rglob("*.parquet")} == before
    assert json.loads(client.get("/index.json").text)["log"]["position"]
