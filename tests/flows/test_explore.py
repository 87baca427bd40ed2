"""The explorer as a person starts it: a real server, asked by a real client."""

import json
import re
import signal
import subprocess
import sys

import httpx
import pytest

from mucs.ledger import Ledger
from tests.factories import load, staged_run

pytestmark = pytest.mark.heavy

ADDRESS = re.compile(r"Serving (.*) at (http://127\.0\.0\.1:\d+) until Ctrl-C\.")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The address of an explorer over a folder with a small ledger in it."""
    folder = tmp_path_factory.mktemp("explored")
    load(folder / "ledger", staged_run(folder))
    command = [sys.executable, "-m", "flows.cli", "explore", str(folder), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        found = ADDRESS.fullmatch(server.stderr.readline().strip())
        assert found, server.stderr.read()
        yield found[2]
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 143


@pytest.mark.slow
def test_the_first_page_tells_whether_all_of_it_last_held(tmp_path):
    place, outbox = tmp_path / "ledger", tmp_path / "outbox"
    load(place, staged_run(tmp_path))
    verify = [sys.executable, "-m", "flows.cli", "verify", "--ledger", str(place), "--outbox", str(outbox)]
    command = [sys.executable, "-m", "flows.cli", "explore", str(tmp_path), "--port", "0", "--outbox", str(outbox)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            base = ADDRESS.fullmatch(server.stderr.readline().strip())[2]
            with httpx.Client(base_url=base) as client:
                assert "No verification of the log is on record" in client.get("/").text
                assert client.get("/index.json").json()["facts"]["verified"] is None
                assert subprocess.run(verify, capture_output=True).returncode == 0
                assert "up to entry 1: it held" in client.get("/").text
                assert "No verification" in client.get("/?as_of=2026-01-01").text
                edges = max((tmp_path / "log").rglob("*.*"), key=lambda path: path.stat().st_size)
                edges.chmod(0o644)
                edges.write_bytes(edges.read_bytes()[:-1])
                assert subprocess.run(verify, capture_output=True).returncode == 1
                assert "It did not hold" in client.get("/").text
                assert client.get("/index.json").json()["facts"]["verified"]["holds"] is False
        finally:
            server.terminate()


def test_pages_pictures_json_csv_and_sql_are_served(served):
    with httpx.Client(base_url=served) as client:
        page = client.get("/generated/g0")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        picture = client.get(re.search(r"/pictures/[0-9a-f]{64}\.webp", page.text)[0])
        assert (picture.headers["content-type"], picture.content[:4]) == ("image/webp", b"RIFF")
        assert client.get("/pictures/" + "f" * 64 + ".webp").headers["content-type"] == "image/svg+xml"
        assert client.get("/generated/g0.json").json()["facts"]["id"] == "g0"
        assert client.get("/holders.csv").text.startswith("rights_holder,")
        assert "<td" in client.get("/sql", params={"q": "SELECT count(*) AS n FROM edges"}).text
        again = client.get("/generated/g0", headers={"if-none-match": page.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert client.get("/generated/nothing").status_code == 404


def test_it_serves_this_machine_alone_and_is_only_read(served):
    with httpx.Client(base_url=served) as client:
        assert client.get("/", headers={"host": "elsewhere.example"}).status_code == 421
        assert client.post("/sql", content=b"q=1").status_code == 405
        headers = client.get("/").headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]


def test_what_is_no_ledger_and_a_port_that_is_taken_are_a_sentence(served, tmp_path):
    port = served.rpartition(":")[2]
    for words, said in (
        (["--ledger", str(tmp_path / "none")], "There is no ledger at"),
        (["--ledger", str(tmp_path)], "There is no ledger at"),
        (["--port", port], f"Port {port} cannot be used"),
    ):
        if "--port" in words:
            (tmp_path / "own").mkdir()
            load(tmp_path / "own/ledger", staged_run(tmp_path))
            words = [str(tmp_path / "own"), *words]
        command = [sys.executable, "-m", "flows.cli", "explore", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr


@pytest.mark.slow
def test_it_is_opened_to_a_network_only_with_a_word_on_who_may_come_in(served, tmp_path):
    load(tmp_path / "ledger", staged_run(tmp_path))
    explore = [sys.executable, "-m", "flows.cli", "explore", str(tmp_path), "--port", "0"]
    tokens = ["--tokens", str(tmp_path / "tokens")]
    for words, said in (
        (["--host", "0.0.0.0"], "Everybody who reaches 0.0.0.0 could read and change"),
        (["--host", "::"], "Everybody who reaches :: could read and change"),
        (["--host", "example.org"], "is no address"),
        (["--host", "0.0.0.0", "--proxy", "10.0.0.7"], "give --proxy and --group, or neither"),
        (["--host", "0.0.0.0", "--group", "a=viewer"], "give --proxy and --group, or neither"),
        (["--host", "0.0.0.0", "--proxy", "10.0.0.7", "--group", "a=boss"], "The group 'a=boss' cannot be used"),
        (["--host", "0.0.0.0", "--proxy", "proxy", "--group", "a=viewer"], "The proxy 'proxy' is no address"),
        (["--host", "0.0.0.0", *tokens], "make one with `mucs token new`"),
    ):
        done = subprocess.run([*explore, *words], capture_output=True, text=True, timeout=60)
        assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr


def test_with_tokens_whoever_asks_has_to_show_one(tmp_path):
    load(tmp_path / "ledger", staged_run(tmp_path))
    mucs, tokens = [sys.executable, "-m", "flows.cli"], ["--tokens", str(tmp_path / "tokens")]
    made = subprocess.run(
        [*mucs, "token", "new", "--role", "analyst", "--name", "Ann", *tokens],
        capture_output=True,
        text=True,
        timeout=60,
    )
    secret = made.stdout.strip()
    listed = json.loads(
        subprocess.run([*mucs, "token", "list", "--json", *tokens], capture_output=True, timeout=60).stdout
    )
    assert ([row["name"] for row in listed], made.returncode) == (["Ann"], 0)
    command = [*mucs, "explore", str(tmp_path), "--port", "0", "--host", "0.0.0.0", "--name", "Mucs.example", *tokens]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        port = re.search(r":(\d+) until", server.stderr.readline())[1]
        own = {"authorization": f"Bearer {secret}", "host": "mucs.example"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            assert client.get("/").status_code == 401
            forwarded = {
                "x-forwarded-email": "x@example.org",
                "x-forwarded-groups": "officer",
                "x-forwarded-for": "127.0.0.1",
            }
            assert client.get("/", headers=forwarded).status_code == 401
            assert client.get("/", headers=own | {"host": "evil.example"}).status_code == 421
            assert client.get("/holders.csv", headers=own).text.startswith("rights_holder,")
            with Ledger.open(tmp_path / "ledger") as ledger:
                (row,) = ledger.ask("accesses")
            assert (row["who"], row["what"], row["address"]) == ("Ann", "csv", "/holders.csv")
            ended = subprocess.run([*mucs, "token", "end", listed[0]["id"], *tokens], capture_output=True, timeout=60)
            assert (ended.returncode, client.get("/", headers=own).status_code) == (0, 401)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 143
