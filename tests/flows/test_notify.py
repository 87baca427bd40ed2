"""Others are told what happens: signed, again where they did not hear, and once where they did."""

import email.policy
import os
import signal
import socketserver
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from flows.notify import TYPES, collect, deliver
from flows.notify import receiver as opened
from mucs.ledger.run import say_run
from mucs.outbox import FAILED, HELD, PAUSES, TAKEN, Outbox
from mucs.royalties.export import state
from tasks.ledgers import open_log, writing
from tasks.webhook import VARIABLE, read_secret
from tests.flows.test_cli import refused
from tests.mucs.ledger.test_ledger import make_run

pytestmark = pytest.mark.heavy
CORPUS = Path(__file__).parents[1] / "corpus"
WORD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WAIT = 30.0


class Receiver:
    """A receiver of webhooks that answers with the statuses it is given, and with 204 after them."""

    def __init__(self, *statuses):
        self.heard, self.statuses = [], list(statuses)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.heard.append((dict(self.headers), body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                self.send_header("location", "/elsewhere")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/mucs"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def read(self, secret=WORD):
        """What it was told, each held to its signature by another implementation."""
        return [Webhook(secret).verify(body, headers) for headers, body in self.heard]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver(request):
    made = Receiver(*getattr(request, "param", ()))
    yield made
    made.close()


@pytest.fixture
def client():
    import httpx

    with httpx.Client() as made:
        yield made


@pytest.fixture
def told(tmp_path):
    """A ledger with a run, whose log and outbox stand beside it."""
    with writing(tmp_path / "ledger", str(tmp_path / "log")) as ledger:
        assert say_run(ledger, make_run(tmp_path))
    return tmp_path


def happen(folder):
    """Another run, and a statement."""
    with writing(folder / "ledger") as ledger:
        assert say_run(ledger, make_run(folder, "b", scores=(0.9, 0.3, 0.1, 0.0)))
    contract, usage = CORPUS / "contracts/good.yaml", CORPUS / "usage/good.csv"
    return state(contract, "2026-10", usage, lambda: writing(folder / "ledger"), folder / "statements").statement


def notify(folder, *urls, **more):
    environment = {
        **os.environ,
        VARIABLE: WORD,
        "MUCS_OUTBOX": str(folder / "outbox"),
        "MUCS_LEDGER": str(folder / "ledger"),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "notify", *urls], env=environment, stderr=subprocess.PIPE, text=True, **more
    )


def until(condition):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_happens_is_told_and_what_was_before_is_not(told, receiver, client):
    log, outbox = open_log(str(told / "log")), Outbox(told / "outbox")
    collect(log, outbox)
    assert deliver(outbox, opened(receiver.url, client, lambda: read_secret(WORD)), TYPES) == 0
    assert receiver.heard == []
    statement = happen(told)
    collect(log, outbox)
    outbox.put(HELD, {"position": 3})
    outbox.put(FAILED, {"position": 4, "fault": "entry 2 was altered"})
    for _ in range(2):  # the second time there is nothing to tell
        collect(log, outbox)
        assert deliver(outbox, opened(receiver.url, client, lambda: read_secret(WORD)), TYPES) == 0
    run, issued, failed = receiver.read()
    assert run["type"] == "run.published"
    assert log.entry(run["data"]["position"]).sha256 == run["data"]["entry"]
    assert log.entry(run["data"]["position"]).body["run"] == run["data"]["run"]
    assert (issued["type"], issued["data"]["statement"]) == ("statement.issued", statement.sha256)
    assert issued["data"]["page"] == f"/statements/{statement.sha256}"
    assert (failed["type"], failed["data"]["fault"]) == (FAILED, "entry 2 was altered")
    assert len({headers["webhook-id"] for headers, _ in receiver.heard}) == 3
    with pytest.raises(WebhookVerificationError):
        receiver.read("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")


@pytest.mark.parametrize("receiver", [(500, 302)], indirect=True)
def test_what_was_not_heard_is_told_again_later_and_later(told, receiver, client, monkeypatch):
    outbox = Outbox(told / "outbox")
    outbox.receive(receiver.url, TYPES)
    outbox.put(FAILED, {"fault": "x"})
    now = time.time()
    for wait, tries in ((0, 1), (PAUSES[0] - 1, 1), (PAUSES[0] + 1, 2), (PAUSES[0] + PAUSES[1] + 2, 3), (10**9, 3)):
        monkeypatch.setattr(time, "time", lambda wait=wait: now + wait)
        deliver(outbox, opened(receiver.url, client, lambda: read_secret(WORD)), TYPES)
        assert len(receiver.heard) == tries  # a redirection is no answer, and is not followed
    assert outbox.waiting(receiver.url) == 0
    assert len({headers["webhook-id"] for headers, _ in receiver.heard}) == 1


@pytest.mark.parametrize("receiver", [(500,) * 20, (410,)], indirect=True)
def test_it_is_given_up_in_the_end_or_when_the_receiver_wants_no_more(told, receiver, client, monkeypatch):
    outbox, now = Outbox(told / "outbox"), time.time()
    tries = 1 if receiver.statuses == [410] else len(PAUSES) + 1
    outbox.receive(receiver.url, TYPES)
    outbox.put(FAILED, {"fault": "x"})
    for day in range(20):
        monkeypatch.setattr(time, "time", lambda day=day: now + 86_401 * day)
        deliver(outbox, opened(receiver.url, client, lambda: read_secret(WORD)), TYPES)
    assert len(receiver.heard) == tries
    assert outbox.waiting(receiver.url) == 0


class Mailbox(socketserver.ThreadingTCPServer):
    """Takes e-mail, by as much of SMTP as it needs."""

    allow_reuse_address = daemon_threads = True

    def __init__(self):
        self.letters, mailbox = [], self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(b"220 here\r\n")
                while line := self.rfile.readline():
                    if line.upper().startswith(b"DATA"):
                        self.wfile.write(b"354 go on\r\n")
                        mailbox.letters.append(b"".join(iter(self.rfile.readline, b".\r\n")))
                    self.wfile.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 well\r\n")

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.address = f"mailto://127.0.0.1:{self.server_address[1]}?from=audit@example.org&to=ops@example.org"


@pytest.mark.slow
def test_people_are_told_by_mail_and_again_where_nobody_took_it(told, client, monkeypatch):
    outbox, mailbox = Outbox(told / "outbox"), Mailbox()
    to = opened(mailbox.address.replace("mailto://", "mailto://ann:word@"), client, lambda: read_secret(None))
    assert "word" not in to.name
    to = opened(mailbox.address, client, lambda: read_secret(None))
    outbox.receive(to.name, TYPES)
    outbox.put("job.failed", {"job": "audit/nightly", "said": "S3 does not answer"})
    assert deliver(outbox, to, TYPES) == 0
    (letter,) = [email.message_from_bytes(each, policy=email.policy.default) for each in mailbox.letters]
    assert (letter["subject"], letter["to"]) == ("mucs: audit/nightly failed", "ops@example.org")
    assert "said: S3 does not answer" in letter.get_body(("plain", "html")).get_content()
    mailbox.shutdown()
    mailbox.server_close()
    outbox.put(FAILED, {"fault": "x"})
    assert deliver(outbox, to, TYPES) == 1
    assert outbox.waiting(to.name) == 1
    now = time.time() + PAUSES[0] + 1
    monkeypatch.setattr(time, "time", lambda: now)
    assert deliver(outbox, to, TYPES) == 1


def test_what_was_taken_and_never_told_is_due_again(told, monkeypatch):
    outbox = Outbox(told / "outbox")
    outbox.receive("https://example.org", TYPES)
    outbox.put(FAILED, {"fault": "x"})
    outbox.receive("https://example.org", TYPES)
    taken = outbox.take("https://example.org")
    assert outbox.take("https://example.org") is None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + TAKEN + 1)
    assert Outbox(told / "outbox").take("https://example.org") == taken


@pytest.mark.slow
def test_it_survives_whoever_tells_it(told, receiver):
    """Killed while the receiver is away, and started again when it is back."""
    away = receiver.url
    receiver.close()
    with notify(told, away) as process:
        assert process.stderr
        process.stderr.readline()
        until(lambda: Outbox(told / "outbox").followed(str(told / "log")))
        statement = happen(told)
        until(lambda: Outbox(told / "outbox").waiting(away) == 2)
        process.send_signal(signal.SIGKILL)
    again = Receiver()
    try:
        with sqlite3.connect(told / "outbox") as connection:  # it is at another port now, and time has passed
            for table in ("receivers", "deliveries"):
                connection.execute(f"UPDATE {table} SET url = ?", [again.url])
            connection.execute("UPDATE deliveries SET due = 0")
        connection.close()
        with notify(told, again.url, "--once") as process:
            assert process.wait(WAIT) == 0
        assert [each["type"] for each in again.read()] == ["run.published", "statement.issued"]
        assert again.read()[1]["data"]["statement"] == statement.sha256
    finally:
        again.close()


def test_a_verification_leaves_what_it_found(told):
    command = [
        sys.executable,
        "-m",
        "flows.cli",
        "verify",
        "--ledger",
        str(told / "ledger"),
        "--outbox",
        str(told / "outbox"),
    ]
    assert subprocess.run(command, capture_output=True).returncode == 0
    held = Outbox(told / "outbox").verified(str(told / "log"))
    assert (held.type, held.data["position"]) == (HELD, 1)
    entry = next((told / "log").rglob("000000000001.json"))
    entry.chmod(0o644)
    entry.write_text(entry.read_text().replace("MUCS", "MUCK", 1).replace('"kind":"run"', '"kind":"rum"'))
    assert subprocess.run(command, capture_output=True).returncode == 1
    failed = Outbox(told / "outbox").verified(str(told / "log"))
    assert failed.type == FAILED
    assert failed.data["fault"]
    assert Outbox(told / "outbox").verified(str(told / "log"), "2026-01-01T00:00:00+00:00") is None
    assert Outbox(told / "outbox").verified("another") is None


BAD = {
    "https://": "is no address",
    "http://example.org/x": "must be encrypted",
    "https://user:word@example.org/": "no name or password",
    "ftp://127.0.0.1/": "begins with 'ftp'",
    "mailto://": "begins with 'mailto'",
    "https://example.org:99999/": "is no address",
    "https://exam ple.org/": "is no address",
}


@pytest.mark.parametrize("url", BAD)
def test_where_it_cannot_go_is_said(mucs, told, url, monkeypatch):
    monkeypatch.setenv(VARIABLE, WORD)
    said = refused(mucs("notify", url, "--once", "--outbox", told / "outbox", "--ledger", told / "ledger"))
    assert BAD[url] in said


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!!"])
def test_a_secret_that_is_none_is_refused_and_not_shown(mucs, told, secret, monkeypatch):
    monkeypatch.setenv(VARIABLE, secret)
    said = refused(mucs("notify", "https://example.org", "--outbox", told / "outbox", "--ledger", told / "ledger"))
    assert f"{VARIABLE} must be whsec_" in said
    assert not secret.removeprefix("whsec_") or secret not in said


def test_an_outbox_that_cannot_be_used_is_said(mucs, told, monkeypatch):
    monkeypatch.setenv(VARIABLE, WORD)
    (told / "text").write_text("no database, and long enough to be seen as none " * 50)
    for place in (told / "text", told / "nowhere" / "outbox"):
        said = refused(mucs("notify", "https://example.org", "--once", "--outbox", place, "--ledger", told / "ledger"))
        assert "The outbox" in said
    said = refused(mucs("notify", "https://example.org", "--event", "run.publish", "--outbox", told / "outbox"))
    assert "There is no event 'run.publish'; did you mean 'run.published'" in said or "run.published" in said
