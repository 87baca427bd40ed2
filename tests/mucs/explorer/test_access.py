"""Who gets in: tokens, logins, a proxy's word; and who does not, whatever he shows."""

import datetime
import ipaddress
import json
import re
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from mucs import InputError
from mucs.explorer import access as access_module
from mucs.explorer.access import COOKIE, Access, Group, Refused, Unknown, Wait, read_groups, read_network
from mucs.explorer.tokens import Tokens
from tests.mucs.explorer.conftest import explorer

BASE = "http://127.0.0.1:8787"
PROXY = "10.0.0.7"
GROUPS = {
    "staff": Group("viewer", None),
    "legal": Group("officer", None),
    "ada": Group("holder", "Ada"),
    "ben": Group("holder", "Ben"),
}


@pytest.fixture
def tokens(tmp_path):
    return Tokens(tmp_path / "tokens")


@pytest.fixture
def proxied():
    return Access(proxies=(ipaddress.ip_network("10.0.0.0/24"),), groups=GROUPS)


def told(email="x@example.org", groups="staff", **more):
    return Headers({"x-forwarded-email": email, "x-forwarded-groups": groups, **more})


def bearer(secret):
    return Headers({"authorization": f"Bearer {secret}"})


def test_wrong_ended_and_expired_tokens_are_told_the_same_as_none(tokens):
    access = Access(tokens)
    good, _ = tokens.add("Ann", "analyst", None, 1)
    ended, one = tokens.add("Bob", "officer", None, 1)
    late, other = tokens.add("Cyd", "officer", None, 1)
    tokens.end(one.id)
    past = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1)).isoformat()
    said = [asdict(replace(each, until=past) if each.id == other.id else each) for each in tokens.all()]
    tokens.path.write_text(json.dumps({"tokens": said}))
    assert (access.person(bearer(good), "").name, access.person(bearer(good), "").form_token) == ("Ann", None)
    told = set()
    for headers in (Headers(), bearer(ended), bearer(late), bearer("mucs_" + "A" * 43), bearer(""), bearer("é")):
        with pytest.raises(Unknown) as caught:
            access.person(headers, "")
        told.add(str(caught.value))
    assert len(told) == 1


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters(codec="latin-1")), st.text(alphabet=st.characters(codec="latin-1")))
def test_no_header_lets_anybody_in(authorization, cookie):
    access = Access(proxies=(ipaddress.ip_network("10.0.0.0/24"),), groups=GROUPS)
    headers = {
        "authorization": authorization,
        "cookie": cookie,
        "x-forwarded-email": cookie,
        "x-forwarded-groups": "legal",
    }
    for name, value in headers.items():
        for peer in ("", "127.0.0.1", "10.0.1.7", "testclient"):
            with pytest.raises((Unknown, Wait)):
                access.person(Headers({name: value}), peer)
        with pytest.raises((Unknown, Wait)):
            access.person(Headers({"cookie": f"{COOKIE}={value}".encode("latin-1", "replace").decode("latin-1")}), "")


@pytest.mark.parametrize(
    ("groups", "role", "holder"),
    [
        ("staff", "viewer", None),
        ("other, legal,staff", "officer", None),
        ("ada", "holder", "Ada"),
        ("ada,staff", "viewer", None),
        ("", Refused, None),
        ("other", Refused, None),
        ("ada,ben", Refused, None),
        ("STAFF", Refused, None),
    ],
)
def test_a_proxys_groups_are_roles(proxied, groups, role, holder):
    if role is Refused:
        with pytest.raises(Refused, match=r"You are known as x@example\.org, but"):
            proxied.person(told(groups=groups), PROXY)
    else:
        found = proxied.person(told(groups=groups), PROXY)
        assert (found.name, found.role, found.holder) == ("x@example.org", role, holder)
        assert found.form_token != proxied.person(told("y@example.org", groups), PROXY).form_token


def test_a_proxys_word_counts_from_its_address_alone(proxied):
    for peer in ("10.0.1.7", "127.0.0.1", "", "testclient", "::1", "10.0.0.7.evil.example"):
        with pytest.raises(Unknown):
            proxied.person(told(groups="legal"), peer)
        assert not proxied.came_by_https(told(**{"x-forwarded-proto": "https"}), peer)
    assert proxied.person(told(groups="legal"), "::ffff:10.0.0.7").role == "officer"
    assert proxied.came_by_https(told(**{"x-forwarded-proto": "https"}), PROXY)
    twice = Headers(
        raw=[(b"x-forwarded-email", b"a@b"), (b"x-forwarded-email", b"c@d"), (b"x-forwarded-groups", b"legal")]
    )
    for headers in (twice, told("a\x7fb@example.org"), told("x" * 400)):
        with pytest.raises(Refused, match="does not name one person"):
            proxied.person(headers, PROXY)


def test_who_tries_too_often_waits(tokens, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("mucs.explorer.access.time.monotonic", lambda: now[0])
    good, _ = tokens.add("Ann", "analyst", None, 1)
    access = Access(tokens, (ipaddress.ip_network("10.0.0.0/24"),), GROUPS)
    for _ in range(10):
        with pytest.raises(Unknown):
            access.person(bearer("wrong"), "192.0.2.1")
    for headers in (bearer("wrong"), bearer(good)):
        with pytest.raises(Wait):
            access.person(headers, "192.0.2.1")
    with pytest.raises(Wait):
        access.login(good, Headers(), "192.0.2.1")
    assert access.person(bearer(good), "192.0.2.2").name == "Ann"
    now[0] += 61
    assert access.person(bearer(good), "192.0.2.1").name == "Ann"
    for k in range(12):  # behind a proxy each reader is known by his own address
        with pytest.raises(Unknown):
            access.login("wrong", Headers({"x-forwarded-for": f"1.1.1.1, 198.51.100.{k}"}), PROXY)
    for k in range(11_000):
        with pytest.raises(Unknown):
            access.login("wrong", Headers(), f"address {k}")
    assert len(access._wrong) <= access_module.MOST_ADDRESSES


@pytest.mark.parametrize(
    "text", ["", "x", "=viewer", "a=", "a=boss", "a=viewer:Ada", "a=holder", "a=holder:", "a=holder: "]
)
def test_groups_that_cannot_be_are_refused(text):
    with pytest.raises(InputError, match="cannot be used"):
        Group.read(text)


def test_groups_and_networks_are_read():
    assert Group.read("cn=staff,dc=x=viewer") == ("cn=staff,dc=x", Group("viewer", None))
    assert Group.read("a=holder:Æ/Œ: x") == ("a", Group("holder", "Æ/Œ: x"))
    with pytest.raises(InputError, match="given twice"):
        read_groups(["a=viewer", "a=officer"])
    with pytest.raises(InputError, match="is no address"):
        read_network("proxy.example.org")


@pytest.fixture
def client(told_ledger, tokens):
    app, snapshots = explorer(told_ledger, access=Access(tokens, (ipaddress.ip_network("10.0.0.0/24"),), GROUPS))
    with TestClient(app, base_url=BASE, follow_redirects=False) as made:
        yield made
    snapshots.close()


@pytest.fixture
def told_ledger(request):
    """The ledger that all tests share; nothing is taken out of it here."""
    return request.getfixturevalue("told") / "ledger"


@pytest.mark.heavy
def test_a_browser_logs_in_and_out(client, tokens):
    secret, token = tokens.add("Ann", "analyst", None, 1)
    page = client.get("/holders/Ada?as_of=2026-10-31")
    assert (page.status_code, page.headers["www-authenticate"]) == (401, "Bearer")
    assert 'name="to" value="/holders/Ada?as_of=2026-10-31"' in page.text
    assert client.post("/login", data={"token": "mucs_x", "to": "/"}).status_code == 401
    done = client.post("/login", data={"token": f" {secret} ", "to": "/holders/Ada?as_of=2026-10-31"})
    assert (done.status_code, done.headers["location"]) == (303, "/holders/Ada?as_of=2026-10-31")
    cookie = done.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/", "max-age=43200"))
    assert ("secure" in cookie, secret.lower() in cookie) == (False, False)
    page = client.get("/holders/Ada")
    assert (page.status_code, ">Ann</bdi>, analyst" in page.text) == (200, True)
    form_token = re.search(r'name="form_token" value="(\w+)"', page.text)[1]
    session = client.cookies[COOKIE]
    assert client.post("/logout", data={"form_token": "x"}).status_code == 403
    assert client.post("/logout").status_code == 403
    assert client.get("/logout").status_code == 403
    assert client.get("/").status_code == 200
    assert client.post("/logout", data={"form_token": form_token}).status_code == 303
    assert COOKIE not in client.cookies
    assert client.get("/", headers={"cookie": f"{COOKIE}={session}"}).status_code == 401
    client.post("/login", data={"token": secret})
    assert client.get("/").status_code == 200
    tokens.end(token.id)
    assert client.get("/").status_code == 401


@pytest.mark.heavy
@pytest.mark.parametrize("path", ["/attribute", "/v1/attributions"])
def test_who_has_logged_in_sends_a_picture_with_his_form_token(client, tokens, path):
    secret, _ = tokens.add("Ann", "analyst", None, 1)
    client.post("/login", data={"token": secret})
    form_token = re.search(r'name="form_token" value="(\w+)"', client.get("/").text)[1]
    for shown in ({}, {"x-form-token": "x"}):
        assert client.post(path, data={"a": "b"}, headers=shown).status_code == 403
    assert client.post(path, data={"a": "b"}, headers={"x-form-token": form_token}).status_code == 415
    assert client.post(f"{path}?form_token={form_token}", data={"a": "b"}).status_code == 415
    client.cookies.clear()
    assert client.post(path, data={"a": "b"}, headers={"authorization": f"Bearer {secret}"}).status_code == 415


@pytest.mark.heavy
@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "/a\nb", "", "/login"]
)
def test_a_login_leads_nowhere_else(client, tokens, to):
    secret, _ = tokens.add("Ann", "viewer", None, 1)
    done = client.post("/login", data={"token": secret, "to": to})
    assert done.headers["location"] in ("/", "/login")


@pytest.mark.heavy
def test_sessions_that_were_made_up_or_are_of_another_server_do_not_count(client, tokens):
    secret, _ = tokens.add("Ann", "officer", None, 1)
    client.post("/login", data={"token": secret})
    session = client.cookies[COOKIE]
    id, until, nonce, seal = session.split(".")
    client.cookies.clear()
    for made in (
        f"{id}.{int(until) + 1}.{nonce}.{seal}",
        f"{id}.{until}.{nonce}.",
        f"{id}.{until}.{nonce}.{'0' * 64}",
        Access(tokens).login(secret, Headers(), ""),
        f"{id}.{until}",
        "",
        "...",
        secret,
    ):
        assert client.get("/", headers={"cookie": f"{COOKIE}={made}"}).status_code == 401, made
    assert client.get("/", headers={"cookie": f"{COOKIE}={session}"}).status_code == 200


@pytest.mark.heavy
def test_programs_are_told_in_json_and_pages_of_others_are_not_cached(client, tokens):
    answer = client.get("/v1/holders/Ada")
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/json")
    assert client.get("/holders.json").json() == answer.json()
    secret, _ = tokens.add("Ann", "viewer", None, 1)
    own = {"authorization": f"Bearer {secret}"}
    first = client.get("/holders/Ada", headers=own)
    assert first.headers["cache-control"] == "private, no-cache"
    other, _ = tokens.add("Bob", "officer", None, 1)
    again = {"if-none-match": first.headers["etag"]}
    assert client.get("/holders/Ada", headers=own | again).status_code == 304
    assert client.get("/holders/Ada", headers={"authorization": f"Bearer {other}"} | again).status_code == 200
    tokens.path.unlink()
    assert client.get("/holders/Ada", headers=own).status_code == 503


@pytest.mark.heavy
def test_the_proxys_word_over_http(told_ledger):
    access = Access(proxies=(ipaddress.ip_network("10.0.0.0/24"),), groups=GROUPS)
    app, snapshots = explorer(told_ledger, access=access)
    headers = {"x-forwarded-email": "x@example.org", "x-forwarded-groups": "legal"}
    with (
        TestClient(app, base_url=BASE, client=(PROXY, 1)) as through,
        TestClient(app, base_url=BASE, client=("10.0.1.7", 1)) as around,
    ):
        assert through.get("/sql", headers=headers).status_code == 200
        assert through.get("/").status_code == 401
        assert through.get("/", headers=headers | {"x-forwarded-groups": "none"}).status_code == 403
        assert around.get("/", headers=headers).status_code == 401
        assert around.get("/", headers=headers | {"x-forwarded-for": PROXY}).status_code == 401
        assert "by the proxy" in around.get("/login").text
    snapshots.close()
