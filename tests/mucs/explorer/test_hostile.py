"""A hostile client gets sentences, and hostile text is shown as text: whatever comes, the server answers on and changes nothing."""

import csv
import io
import json
import random
import re
import socket
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from mucs.explorer.gate import POSTS
from mucs.ledger.questions import names, question
from mucs.ledger.rights import withdraw
from mucs.royalties.dispute import open_dispute
from mucs.text import NUMBER, is_fit
from tests import chromium
from tests.factories import contents, load, staged_run, writing
from tests.mucs.explorer.conftest import CONTRACT, OTHER_INPUTS, explorer, say_statement
from tests.mucs.explorer.served import ROOT, serving
from tests.mucs.ledger.test_ledger import make_run

pytestmark = pytest.mark.heavy
REQUESTS, AT_ONCE = 2000, 8
MEMORY = 300  # MiB that the server may take on while it is asked all that
HOSTILE = [
    "",
    "..",
    "../../etc/passwd",
    "\x00",
    "\x1b[31m",
    "\u202e",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "'; DROP TABLE edges; --",
    "' OR 1=1 --",
    "1); SELECT * FROM read_csv('/etc/passwd'); --",
    "<script>alert(1)</script>",
    "javascript:alert(1)",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "%s%n",
    "-1",
    "0",
    "1e999",
    "NaN",
    "infinity",
    "99999999999999999999",
    "2026-02-30",
    "0001-01-01",
    "9999-12-31T23:59:59.999999-23:59",
    "a" * 300,
    "n" * 7000,
    "g0",
    "Ada",
    "why",
]
METHODS = ["GET"] * 8 + [
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "get",
    "G\x00T",
    "",
    "X" * 5000,
]
VERSIONS = ["HTTP/1.1"] * 8 + ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/9.9", "", "ICY"]
ENCODINGS = [
    lambda text: quote(text, safe=""),
    lambda text: quote(quote(text, safe=""), safe=""),
    lambda text: quote(text, safe="/"),
    lambda text: text.replace(" ", "+"),
    lambda text: text + "%",
    lambda text: text + "%c0%af%ff",
    lambda text: "%2e%2e%2f" + quote(text, safe=""),
]
FORM = b"""--x\r\nContent-Disposition: form-data; name="picture"; filename="../\x00.png"\r\n\r\nno picture\r\n--x
Content-Disposition: form-data; name="class"\r\n\r\n\xff\r\n--x--\r\n"""
HEADERS = [
    "Content-Length: -1",
    "Content-Length: 99999999999999999999",
    "Content-Length: x",
    "Content-Length: 5\r\nContent-Length: 6",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked, identity",
    "Content-Length: 3\r\nTransfer-Encoding: chunked",
    "Expect: 100-continue",
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13",
    "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    "Range: bytes=0-0,5-,-1",
    "If-None-Match: *",
    'If-None-Match: W/"' + "x" * 3000 + '"',
    "Accept-Encoding: gzip;q=NaN",
    "Cookie: " + "c" * 9000,
    "X-\x00: y",
    "X: \x1b]0;title\x07",
    " folded: line",
    "Origin: http://evil.example",
    "Host: evil.example",
    "Content-Type: image/png",
    *["Content-Type: multipart/form-data; boundary=x"] * 3,
    *[f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(FORM)}"] * 3,
    "Content-Type: multipart/form-data",
    "\r\n".join(f"X-{number}: y" for number in range(300)),
]
BODIES = [
    b"",
    b"",
    b"x",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"zz\r\n",
    b"ffffffffffffffff\r\nx",
    b"x" * 200_000,
    b"\x00" * 1000,
]


def addresses(ledger):
    """All paths of pages and of /v1, with names in braces, and some that are none."""
    app, snapshots = explorer(ledger)
    snapshots.close()
    paths = {getattr(route, "path", "/") for route in app.app.pages.routes} | app.app.pages.openapi()["paths"].keys()
    return [*sorted(paths), "/nothing", "*"]


def drawn_address(drawn, paths):
    """An address with hostile names in it, and hostile words behind it; half the time one of a question."""
    if drawn.random() < 0.4:
        name = drawn.choice(names())
        path = drawn.choice(
            [f"/questions/{name}", f"/questions/{name}.json", f"/questions/{name}.csv", f"/v1/questions/{name}"]
        )
        asked = [parameter.name for parameter in question(name).parameters]
    else:
        encode = drawn.choice(ENCODINGS)
        path = re.sub(r"\{\w+\}", lambda _: encode(drawn.choice(HOSTILE)), drawn.choice(paths))
        path += drawn.choice(["", "", "", ".json", ".csv", ".html", "/", "//", ";x=y", "#x"])
        asked = drawn.choices(
            ["as_of", "q", "top", "open", "verdict", "cursor", "limit", "rights_holder"], k=drawn.randrange(4)
        )
    query = "&".join(f"{each}={quote(drawn.choice(HOSTILE), safe='')}" for each in asked)
    return f"{path}?{query}" if query else path


def status_of(answer):
    """The status of a raw answer; None if there was none."""
    found = re.match(rb"HTTP/1\.[01] ([0-9]{3})", answer)
    return int(found[1]) if found else None


def sent_raw(port, drawn, paths):
    """A request that is hardly one, and what is answered: its status, and the answer."""
    method, address = drawn.choice(METHODS), drawn_address(drawn, paths)
    if drawn.random() < 0.2:
        method, address = "POST", drawn.choice([*POSTS])
    lines = [f"{method} {address} {drawn.choice(VERSIONS)}"]
    lines += [f"Host: 127.0.0.1:{port}"] * drawn.choice([1, 1, 1, 1, 1, 0, 2]) + ["Connection: close"]
    lines += drawn.sample(HEADERS, drawn.choice([0, 0, 1, 1, 3]))
    whole = "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + drawn.choice(BODIES)
    if drawn.random() < 0.15:
        whole = whole[: drawn.randrange(len(whole))]
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=1) as there:
        try:
            there.sendall(whole)
            while piece := there.recv(65536):
                answer += piece
        except (TimeoutError, ConnectionError):  # it waits for the rest, or has answered before it came
            pass
    return status_of(answer), answer


def sent(client, drawn, paths):
    """A request as a well-behaved client makes it."""
    method = drawn.choice(["GET"] * 9 + ["HEAD", "POST", "PUT", "OPTIONS"])
    body, address = drawn.choice(BODIES) if method == "POST" else None, drawn_address(drawn, paths)
    try:
        answer = client.request(method, address, content=body)
    except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError):
        return None, b""  # the client itself refuses it
    except (httpx.NetworkError, httpx.RemoteProtocolError):
        if body:  # it is refused while it is still being sent
            return None, b""
        with httpx.Client(
            base_url=client.base_url, timeout=60
        ) as other:  # the connection was one of a request that was refused
            answer = other.request(method, address)
    return answer.status_code, answer.content


def resident(pid):
    """Of a process, in MiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def kept(folder):
    """All files of a ledger and its log, but those that SQLite lays beside its own where somebody reads it: an empty one, and a lock."""
    found = contents(folder)
    assert found.pop("ledger/catalogue.sqlite-wal", b"") == b""
    found.pop("ledger/catalogue.sqlite-shm", None)
    return found


@pytest.mark.slow
def test_2000_hostile_requests_leave_it_answering_and_nothing_changed(told, tmp_path):
    before = kept(told)
    with serving(told, tmp_path / "errors") as served, httpx.Client(base_url=served.address, timeout=60) as client:
        home, paths = client.get("/").text, addresses(told / "ledger")
        memory = resident(served.process.pid)

        def ask(number):
            drawn = random.Random(number)
            return sent(client, drawn, paths) if number % 2 else sent_raw(served.port, drawn, paths)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(ask, range(REQUESTS)))
        assert client.get("/").text == home
        assert resident(served.process.pid) < memory + MEMORY
        assert served.said() == ""
    statuses = {status for status, _ in answers}
    assert statuses >= {200, 400, 404, 405, 413, 414, 421, None}
    failed = [(number, answer) for number, (status, answer) in enumerate(answers) if (status or 0) >= 500]
    assert [each for each in failed if not re.search(b"This takes longer|No picture can be sent here", each[1])] == []
    assert kept(told) == before


RAN = "window.ran = true; alert(document.domain)"
TEXTS = [
    f"<script>{RAN}</script>",
    f'"><img src=x onerror="{RAN}">',
    f"</title></textarea></script><svg onload='{RAN}'>",
    f"javascript:{RAN}",
    '=HYPERLINK("http://evil.example")',
    "+1+cmd|' /C calc'!A1",
    "-1+1",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "a\u202egnp.exe\u2066\u200b\x1b]0;t\x07",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "N" * 10_000_000,
]
FIT = TEXTS[:4]  # which those who write contracts and reasons may use as well
MOST = 400_000  # bytes of a page, whatever the names are


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A ledger in which every text that somebody wrote is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    count = len(TEXTS)
    columns = ("annotation", "licence", "prompt", *TEXTS[:5])
    others = [{**dict.fromkeys(columns, text[:20_000]), "annotation": text} for text in TEXTS]
    load(folder / "ledger", make_run(folder))
    run = staged_run(
        folder, count, count, 8, ids=tuple(TEXTS), holders=tuple(TEXTS), others=others, inputs=OTHER_INPUTS
    )
    load(folder / "ledger", run)
    contract = CONTRACT.replace("Collecting Society", json.dumps(FIT[0])).replace("Picture <Maker>", json.dumps(FIT[1]))
    used = io.StringIO()
    csv.writer(used).writerows(
        [("generated", "date", "units", "revenue"), *((each, "2026-10-02", 1, 9) for each in FIT)]
    )
    statement = say_statement(folder, used.getvalue(), contract)
    with writing(folder / "ledger") as ledger:
        open_dispute(ledger, statement, FIT[0], FIT[1])
        withdraw(ledger, ledger.one("SELECT sha256 FROM runs WHERE run_id = 1"), FIT[2])
    return folder


@pytest.fixture(scope="module")
def attacked(hostile, tmp_path_factory):
    with serving(hostile, tmp_path_factory.mktemp("served") / "errors") as served:
        yield served.address
        assert served.said() == ""


def of_a_kind(address):
    """A page's address without what differs between things of one kind: every second part of its path."""
    return tuple(part for number, part in enumerate(address.partition("?")[0].split("/")) if number % 2)


LINKS = """() => [...document.querySelectorAll("[href], [src], [action]")].flatMap(
    each => ["href", "src", "action"].map(name => each.getAttribute(name)).filter(Boolean))"""


@pytest.mark.slow
@chromium.needed
def test_no_text_acts_on_any_page(attacked):
    wrong, waiting, known, seen = {}, ["/"], {"/"}, Counter()
    with chromium.launched() as browser, chromium.opened(browser, attacked) as (page, faults):
        while waiting:
            address = waiting.pop(0)
            seen[of_a_kind(address)] += 1
            if seen[of_a_kind(address)] > 3:
                continue
            answer = page.goto(address)
            found = page.evaluate(LINKS)
            outside = [each for each in found if not each.startswith(("/", "#"))]
            ran = page.evaluate("'ran' in window")
            turned = [mark for mark in "\u202e\u2066\u200b\x1b" if mark in page.content()]
            size = len(answer.body())
            if faults or outside or ran or turned or answer.status >= 500 or size > MOST:
                wrong[address] = (list(faults), outside, ran, turned, answer.status, size)
                faults.clear()
            new = {each.partition("#")[0] for each in found} - known
            known |= new
            waiting += sorted(
                each for each in new if not re.search(r"\.(json|csv)(\?|$)|^/(static|pictures|v1)/", each)
            )
    assert wrong == {}
    assert len(seen) > 20


def test_no_cell_is_a_formula_and_json_holds_the_text_itself(attacked):
    formula = re.compile(r'[\s"]*[=+\-@]')
    shown = set()
    with httpx.Client(base_url=attacked, timeout=60) as client:
        run = client.get("/runs.json").json()["views"]["runs"]["rows"][0]["run"]
        paths = ["/holders", "/generated", "/training", "/runs", f"/runs/{run}", "/statements", "/entries", "/search"]
        for path in [*paths, "/questions/disputes", "/questions/shares", "/questions/items", "/questions/unlicensed"]:
            answer = client.get(f"{path}.csv", params={"q": "a"})
            assert answer.status_code == 200, path
            for row in csv.reader(io.StringIO(answer.text)):
                assert [each for each in row if formula.match(each) and not NUMBER.fullmatch(each)] == []
                assert all(map(is_fit, (each[:1000] for each in row)))
                shown |= set(row)
        names = {row["rights_holder"] for row in client.get("/holders.json").json()["views"]["holders"]["rows"]}
        assert names >= set(TEXTS)
        assert re.search(r"[^\x00-\x7f]", client.get("/holders.json").text) is None
    assert shown >= {"'" + text for text in TEXTS if text[0] in "=-@"}  # they were there


@pytest.mark.parametrize(
    "words", [("ask", "holders"), ("ask", "disputes"), ("why", TEXTS[10]), ("ask", "items", "--json")]
)
def test_no_text_acts_on_a_terminal(hostile, words):
    command = [sys.executable, "-m", "flows.cli", words[0], "--ledger", str(hostile / "ledger"), *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert [mark for mark in "\x1b\x07\r\t\u202e\u2066\u200b" if mark in done.stdout] == []
    assert "\\u202e" in done.stdout or "script" in done.stdout
