"""Every route with every role: what each may see, what a rights holder never sees, and who gets in at all."""

import html
import io
import re
import shutil
from collections import deque

import pytest
from pypdf import PdfReader
from starlette.testclient import TestClient

from mucs.evidence import holds
from mucs.explorer.access import Access
from mucs.explorer.address import address
from mucs.explorer.entrance import Entrance
from mucs.explorer.gate import POSTS
from mucs.explorer.tokens import Tokens
from mucs.ledger import Ledger
from tests.mucs.explorer.conftest import HOLDERS, ODD, explorer

pytestmark = pytest.mark.heavy
BASE = "http://127.0.0.1:8787"
ROLES = ("none", "viewer", "analyst", "officer", "Ada", "Ben")
PAGE, OUT, NOBODY = (401, 200, 200, 200, 404, 404), (401, 403, 200, 200, 404, 404), (401, 404, 404, 404, 404, 404)
AWAY = (401, 503, 503, 503, 404, 404)  # as no pictures are taken here
# by route, what each of ROLES gets; addresses are of things that are Ada's, where somebody has them
TABLE = {
    "/": (401, 200, 200, 200, 303, 303),
    "/health": (200, 200, 200, 200, 200, 200),
    "/ready": (200, 200, 200, 200, 200, 200),
    "/metrics": (401, 200, 200, 200, 404, 404),
    "/index": PAGE,
    "/search": PAGE,
    "/glossary": (401, 200, 200, 200, 200, 200),
    "/sha256/{digest}": (401, 303, 303, 303, 404, 404),
    "/generated": PAGE,
    "/generated/{item}": (401, 200, 200, 200, 200, 200),  # rests on works of both
    "/training": PAGE,
    "/training/{item}": (401, 200, 200, 200, 200, 404),
    "/holders": PAGE,
    "/holders/{name}": (401, 200, 200, 200, 200, 404),
    "/takedown/{name}": PAGE,
    "/runs": PAGE,
    "/runs/{run}": PAGE,
    "/runs/{run}/against/{other}": PAGE,
    "/statements": PAGE,
    "/statements/{statement}": (401, 200, 200, 200, 303, 303),
    "/statements/{statement}/lines/{line}": (401, 200, 200, 200, 200, 404),
    "/statements/{statement}/holders/{name}": (401, 200, 200, 200, 200, 404),
    "/disputes": PAGE,
    "/disputes/{dispute}": (401, 200, 200, 200, 200, 404),
    "/lineage/{kind}/{name}": PAGE,
    "/artifacts/{name}": PAGE,
    "/entries": PAGE,
    "/entries/{position}": PAGE,
    "/questions": PAGE,
    "/questions/{name}": PAGE,
    "/sql": OUT,
    "/docs": PAGE,
    "/attribute": PAGE,
    "/attributions/{address}": AWAY,
    "/v1/attributions": (405,) * 6,  # there is nothing to be read, which the gate says
    "/v1/attributions/{address}": AWAY,
    "/v1/attributions/{address}/events": AWAY,
    "/pictures/{name}": (401, 200, 200, 200, 200, 404),
    "/static/{name}": (200, 200, 200, 200, 200, 200),
    "/v1/openapi.json": PAGE,
    "/v1/generated/{item}": PAGE,
    "/v1/generated/{item}/edges/{training}/proof": (401, 403, 200, 200, 200, 404),
    "/v1/training/{item}": PAGE,
    "/v1/holders/{name}": PAGE,
    "/v1/runs/{sha}": PAGE,
    "/v1/statements/{sha}": PAGE,
    "/v1/questions/{name}": PAGE,
    **dict.fromkeys(
        (
            *("/v1/exports/statement/{sha}", "/v1/exports/rocrate/{run}", "/v1/exports/openlineage/{run}"),
            *("/v1/exports/spdx/{checkpoint}", "/v1/exports/croissant/{training_set}"),
            *("/v1/exports/eu-summary/{training_set}", "/v1/exports/ab2013/{training_set}"),
        ),
        OUT,
    ),
    "/{rest:path}": NOBODY,
}
OFFICERS = (401, 403, 403, 400, 404, 404)
SAYING = {  # what each gets who sends a form without a reason: 400 where he might say it
    "/disputes": (401, 403, 403, 400, 400, 400),  # each of the two in his own name
    "/disputes/steps": OFFICERS,
    "/withdrawals": OFFICERS,
    "/rights": OFFICERS,
    "/takedowns": OFFICERS,
}
PICTURES = {"/attribute": (401, 403, 415, 415, 404, 404), "/v1/attributions": (401, 403, 415, 415, 404, 404)}
LOGINS = {"/login", "/logout"}  # have tests of their own


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return Tokens(tmp_path_factory.mktemp("tokens") / "tokens")


@pytest.fixture(scope="module")
def ledger_here(told, tmp_path_factory):
    """A copy of the ledger, whose log is told what is taken out here."""
    folder = tmp_path_factory.mktemp("walked")
    for name in ("ledger", "log"):
        shutil.copytree(told / name, folder / name)
    return folder / "ledger"


@pytest.fixture(scope="module")
def served(ledger_here, tokens):
    """The explorer with tokens, by role: headers for each of ROLES."""
    headers = {"none": {}}
    for role in ("viewer", "analyst", "officer"):
        headers[role] = {"authorization": f"Bearer {tokens.add(role, role, None, 1)[0]}"}
    for name in ("Ada", "Ben"):
        headers[name] = {"authorization": f"Bearer {tokens.add('', 'holder', name, 1)[0]}"}
    app, snapshots = explorer(ledger_here, access=Access(tokens))
    with TestClient(app, base_url=BASE, follow_redirects=False) as client:
        client.cookies.clear()
        yield client, headers
    snapshots.close()


@pytest.fixture(scope="module")
def things(told):
    """What addresses are made of."""
    with Ledger.open(told / "ledger") as ledger:
        runs = [row["sha256"] for row in ledger.rows("SELECT sha256 FROM runs ORDER BY run_id")]
        said = ledger.one("SELECT sha256 FROM statements ORDER BY version DESC LIMIT 1")
        line = ledger.one(
            "SELECT line FROM statement_lines WHERE statement = ? AND rights_holder = 'Ada' AND basis = 'attribution'",
            said,
        )
        images = [
            row["sha256"]
            for row in ledger.rows(
                "SELECT DISTINCT sha256, id FROM training_items WHERE id IN ('t0', 't1') ORDER BY id"
            )
        ]
        yield {
            **{"digest": runs[0], "item": "g0", "name": "Ada", "run": runs[0], "other": runs[1], "sha": runs[1]},
            **{"statement": said, "line": str(line), "dispute": str(ledger.one("SELECT max(dispute) FROM disputes"))},
            **{
                "kind": "runs",
                "address": "a" * 64,
                "position": "1",
                "rest:path": "nothing",
                "training": "t0",
                "checkpoint": "0" * 64,
                "training_set": "training_set",
                "images": images,
                "ledger": ledger,
            },
        }


def url_of(path, things):
    given = dict(things)
    if path.startswith(("/training", "/v1/training")):
        given["item"] = "t0"
    if path.startswith(("/v1/statements", "/v1/exports/statement")):
        given["sha"] = things["statement"]
    if path.startswith(("/v1/exports/rocrate", "/v1/exports/openlineage")):
        given["run"] = things["ledger"].one("SELECT sha256 FROM runs WHERE run_id = 3")  # which is as audits make them
    if path.startswith(("/questions", "/v1/questions")):
        given["name"] = "runs"
    if path.startswith("/artifacts"):
        given["name"] = things["ledger"].one("SELECT min(sha256) FROM artifacts WHERE kind = 'checkpoint'")
    if path.startswith("/lineage"):
        given["name"] = things["run"]
    if path.startswith("/pictures"):
        given["name"] = f"{things['images'][0]}.webp"
    if path.startswith("/static"):
        given["name"] = "explorer.css"
    return re.sub(r"\{([\w:]+)\}", lambda found: given[found[1]], path)


def fields(things):
    """What forms are sent with, but for a reason."""
    given = {"statement": things["statement"], "holder": "Ada", "dispute": things["dispute"], "run": things["other"]}
    return given | {"item": "t0", "target": "Ada", "valid_from": "2026-12-01", "state": "under review"}


@pytest.mark.parametrize("path", list(SAYING))
def test_each_role_says_what_is_for_it(served, things, path):
    client, headers = served
    for role, status in zip(ROLES, SAYING[path], strict=True):
        answer = client.post(path, data=fields(things), headers=headers[role])
        assert answer.status_code == status, (role, path, answer.text[:300])
        if status == 400:
            assert 'role="alert"' in answer.text
    nothing = client.post("/disputes", data={"statement": "e" * 64, "reason": "x"}, headers=headers["Ada"])
    assert (nothing.status_code, nothing.content) == (404, client.get("/nothing", headers=headers["Ada"]).content)


@pytest.mark.parametrize("path", list(PICTURES))
def test_each_role_sends_pictures_or_may_not(served, path):
    client, headers = served
    for role, status in zip(ROLES, PICTURES[path], strict=True):
        assert client.post(path, data={"a": "b"}, headers=headers[role]).status_code == status, (role, path)


def paths(app):
    """Every route that an application has, those of routers within too."""
    found = set()
    for route in app.routes:
        path = getattr(route, "path", None)
        found |= {path} if path else paths(route.original_router if hasattr(route, "original_router") else route)
    return found


def test_every_route_is_in_the_table(served):
    client, _ = served
    entrance = client.app.app
    assert isinstance(entrance, Entrance)
    found = paths(entrance.pages) | paths(entrance.own)
    assert found == {*TABLE, *SAYING}
    assert set(POSTS) == {*SAYING, *PICTURES, *LOGINS}


@pytest.mark.parametrize("path", list(TABLE))
def test_each_role_gets_what_is_for_it(served, things, path):
    client, headers = served
    url = url_of(path, things)
    for role, status in zip(ROLES, TABLE[path], strict=True):
        answer = client.get(url, headers=headers[role])
        assert answer.status_code == status, (role, url, answer.text[:300])
        bare = path.startswith(("/v1/", "/static/", "/pictures/", "/health", "/ready", "/metrics")) or path == "/"
        if bare:
            continue
        for form in ("json", "csv"):
            twin = client.get(f"{url}.{form}", headers=headers[role])
            expected = 403 if form == "csv" and role == "viewer" else status
            assert twin.status_code == expected, (role, f"{url}.{form}", twin.text[:300])
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            if method != "POST" or url not in PICTURES:
                refused = client.request(method, url, headers=headers[role])
                assert refused.status_code in (401, 403, 404, 405), (role, method)


LINK = re.compile(r'(?:href|src|action)="([^"#]*)"(?! method="post")')


def crawled(client, headers):
    """Every answer that can be reached from the first page, with the two twins of each page."""
    known, waiting = {"/"}, deque(["/"])
    while waiting:
        url = waiting.popleft()
        answer = client.get(url, headers=headers)
        yield url, answer
        found = [answer.headers["location"]] if answer.status_code == 303 else []
        if answer.headers.get("content-type", "").startswith("text/html"):
            found += [html.unescape(each) for each in LINK.findall(answer.text) if each]
            bare, _, query = url.partition("?")
            found += [
                f"{bare.removesuffix('.html')}.{form}?{query}" for form in ("json", "csv") if answer.status_code == 200
            ]
        waiting.extend(each for each in found if each not in known)
        known |= set(found)


def not_resting(ledger, holder):
    """The SHA-256 of generated items among whose ten best edges with a positive score is no work of a rights holder."""
    found = []
    for row in ledger.rows("SELECT DISTINCT sha256 FROM generated_items"):
        best = ledger.ask("why", generated=row["sha256"], top=10)
        if not any(each["holder_today"] == holder and each["score"] > 0 for each in best):
            found.append(row["sha256"])
    return found


@pytest.mark.parametrize(("holder", "others"), [("Ada", "Ben"), pytest.param("Ben", "Ada", marks=pytest.mark.slow)])
def test_a_rights_holder_reaches_nothing_of_anybody_else(served, things, holder, others):
    client, headers = served
    ledger = things["ledger"]
    theirs = "SELECT {} FROM training_items WHERE rights_holder <> ? UNION SELECT sha256 FROM rights WHERE rights_holder <> ?"
    hidden = [row["x"] for row in ledger.rows(theirs.format("sha256 AS x"), [holder, holder])]
    hidden += [
        row["x"] for row in ledger.rows("SELECT row_sha256 AS x FROM training_items WHERE rights_holder <> ?", [holder])
    ]
    hidden += not_resting(ledger, holder)
    words = [others, "Cleo", *HOLDERS]
    words += [html.escape(each) for each in words] + [address(each)[1:] for each in words]
    ids = {row["id"] for row in ledger.rows("SELECT id FROM training_items WHERE rights_holder <> ?", [holder])} - set(
        ODD
    )
    assert len(ids) > 3
    seen = {}
    for url, answer in crawled(client, headers[holder]):
        assert answer.status_code in (200, 303), (url, answer.text[-300:])
        shown = answer.text
        if answer.headers.get("content-type") == "application/pdf":
            shown = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(answer.content)).pages)
        text = re.sub(r'(id|aria-describedby)="t\d+"', "", shown) + str(answer.headers) + url
        for each in (*hidden, *words):
            assert each not in text, (url, each)
        for each in ids:
            assert not re.search(rf"\b{re.escape(each)}\b(?!\.png)", text), (url, each)
        assert url.startswith("/static/") or not re.search(r'"position":|etag', text), url
        seen[re.sub(r"[0-9a-f]{64}|\?.*", "*", url)] = answer
    kinds = {url.split("/")[1].partition(".")[0] for url in seen}
    assert kinds == {"", "holders", "training", "generated", "statements", "glossary", "pictures", "static", "v1"} | (
        {"disputes"} if holder == "Ada" else set()
    )
    assert any(answer.headers.get("content-type", "").startswith("image/") for answer in seen.values())
    assert any(answer.headers.get("content-type", "").startswith("text/csv") for answer in seen.values())


def test_what_is_somebody_elses_answers_as_what_does_not_exist(served, things):
    client, headers = served
    ledger = things["ledger"]
    bens = ledger.one(
        "SELECT line FROM statement_lines WHERE statement = ? AND rights_holder = 'Ben'", things["statement"]
    )
    (ada, ben) = things["images"]
    pairs = [
        ("/training/t1", "/training/t99"),
        (f"/training/{ben}", f"/training/{'e' * 64}"),
        (f"/training/{ben[:63]}", f"/training/{ada[:63]}"),
        ("/holders/Ben", "/holders/Nobody"),
        ("/holders/Bem", "/holders/Nobody"),
        (address("holders", HOLDERS[0]), "/holders/x"),
        *((f"/generated/{sha256}", "/generated/nothing") for sha256 in not_resting(ledger, "Ada")),
        *((f"/pictures/{sha256}.webp", "/pictures/nothing.webp") for sha256 in not_resting(ledger, "Ada")),
        ("/generated/g", "/generated/nothing"),
        (f"/statements/{things['statement']}/holders/Ben", f"/statements/{'e' * 64}/holders/Ada"),
        (f"/statements/{things['statement']}/lines/{bens}", f"/statements/{things['statement']}/lines/99"),
        ("/disputes/1", "/disputes/99"),
        (f"/runs/{things['run']}", f"/runs/{'e' * 64}"),
        ("/takedown/Ada", "/takedown/Nobody"),
        ("/questions/takedown?target=Ben", "/questions/nothing"),
        ("/sql?q=SELECT+1", "/nothing"),
        ("/entries/1", "/entries/99"),
        ("/search?q=Ben", "/search?q=nothing"),
        (f"/pictures/{ben}.webp", f"/pictures/{'e' * 64}.webp"),
        ("/v1/generated/g0/edges/t1/proof", "/v1/generated/g0/edges/t99/proof"),
        ("/v1/generated/g0/edges/t0/proofs", "/v1/nothing"),
        ("/v1/openapi.json", "/v1/nothing.json"),
    ]
    for theirs, nothing in pairs:
        for form in ("", ".json", ".csv"):
            one, other = (
                client.get(f"{url.partition('?')[0]}{form}?{url.partition('?')[2]}", headers=headers["Ada"])
                for url in (theirs, nothing)
            )
            assert (one.status_code, one.content, one.headers) == (404, other.content, other.headers), (theirs, form)


def test_a_rights_holder_whom_the_ledger_does_not_know_sees_an_empty_page(served, tokens):
    client, _ = served
    own = {"authorization": f"Bearer {tokens.add('', 'holder', 't0', 1)[0]}"}  # called as somebody's work is
    page = client.get("/holders/t0.json", headers=own).json()
    assert all(view["rows"] == [] for name, view in page["views"].items() if name != "exposure")
    assert all(row["exposed"] == 0 and row["share"] == 0 for row in page["views"]["exposure"]["rows"])
    assert client.get("/training/t0", headers=own).status_code == 404


def test_a_rights_holder_sees_his_own_in_two_times(served, things, before_statements):
    client, headers = served
    page = client.get("/holders/Ada.json", headers=headers["Ada"]).json()
    views = {name: view["rows"] for name, view in page["views"].items()}
    staff = client.get("/holders/Ada.json", headers=headers["viewer"]).json()
    assert [row["training"] for row in views["works"]] == ["right\u202egnp.exe", "t9", "z.json", "t0", "t2"]
    assert [row["share"] for row in views["exposure"]] == [
        pytest.approx(row["share"]) for row in staff["views"]["exposure"]["rows"]
    ]
    assert [row["paid"] for row in views["account"]] == [row["paid"] for row in staff["views"]["stated"]["rows"]]
    assert {row["why"] for row in views["lines"]} <= {
        "every licensed work gets the same",
        "by attribution: how much of what was used rests on them",
    }
    assert [row["state"] for row in views["disputes"]] == ["open"]
    then = client.get("/holders/Ada.json", params={"as_of": before_statements}, headers=headers["Ada"]).json()["views"]
    assert (then["lines"]["rows"], len(then["works"]["rows"])) == ([], 5)
    proof = client.get("/v1/generated/g0/edges/t0/proof", headers=headers["Ada"]).json()
    run = client.get(f"/v1/runs/{proof['run']}", headers=headers["viewer"]).json()
    assert holds(proof, run["facts"]["edges_root"])
