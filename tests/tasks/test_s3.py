"""S3 that lies or breaks off, as a real server on loopback: each answer ends in the right bytes or in one sentence."""

import gc
import http.server
import threading

import pytest

from mucs import InputError
from tasks.s3 import Unreachable, check_bucket, client, get, plain_errors, sha256

# botocore leaves the connection open on which an answer was none
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

BODY = bytes(range(256)) * 5000


class Liar(http.server.BaseHTTPRequestHandler):
    """Answers every request with `raw`, or with BODY, breaking off `breaks` times."""

    protocol_version = "HTTP/1.1"
    raw: bytes | None = None
    breaks = 0
    asked: list[str]

    def log_message(self, *args):
        pass

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append(self.headers.get("Range", ""))
        self.close_connection = True
        if self.raw is not None:
            self.wfile.write(self.raw)
            return
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        rest = BODY[start:]
        type(self).breaks -= 1
        kept = len(rest) // 2 if self.breaks >= 0 else len(rest)
        head = f'HTTP/1.1 {206 if start else 200} OK\r\nContent-Length: {len(rest)}\r\nETag: "e"\r\n\r\n'
        self.wfile.write(head.encode() + rest[:kept])

    do_GET = do_PUT = do_HEAD = do_POST = answer


@pytest.fixture
def liar(monkeypatch):
    """The class of a running server that takes the place of S3."""

    class Own(Liar):
        asked = []  # noqa: RUF012

    monkeypatch.setattr("tasks.s3.PAUSES", (0.01, 0.01, 0.01))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Own)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    yield Own
    server.shutdown()
    server.server_close()
    gc.collect()  # of such connections, in no other test


def test_what_breaks_off_is_asked_for_again_from_there(liar):
    liar.breaks = 3
    assert get("bucket", "key") == BODY
    assert liar.asked[0] == ""
    assert all(range.startswith("bytes=") for range in liar.asked[1:])
    assert len(liar.asked) == 4


def test_what_always_breaks_off_is_named(liar):
    liar.breaks = 99
    with pytest.raises(Unreachable, match=r"breaks off in the middle .* \(reading s3://bucket/key\)"):
        sha256("bucket", "key")
    assert len(liar.asked) == 4


def http_answer(status, body, *headers):
    lines = [f"HTTP/1.1 {status} Some", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


PAGE = b"<html><p>Please log in"
ANSWERS = {
    "a page for 403": (http_answer(403, PAGE), "S3 denies access"),
    "a page for 404": (http_answer(404, PAGE), "no such bucket or object"),
    "a page for 500": (http_answer(500, PAGE), "S3 answers 500"),
    "a page for 400": (http_answer(400, PAGE), "S3 refuses: 400"),
    "an unknown error": (http_answer(400, b"<Error><Code>&#x9b;2J</Code></Error>"), r"S3 refuses: \\x9b2J;"),
    "a long error": (http_answer(400, b"<Error><Code>" + b"x" * 9999 + b"</Code></Error>"), "S3 refuses: x{60}…;"),
    "a redirect": (http_answer(301, b"", "Location: http://127.0.0.1:1/"), "an answer of S3|not as S3 does"),
    "no HTTP": (b"220 mail.example.org ESMTP\r\n", "ends the connection without an answer of S3"),
    "nothing": (b"", "ends the connection without an answer of S3"),
    "no such date": (http_answer(200, b"", "Last-Modified: soon"), "answers, but not as S3 does"),
    "no such length": (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "answers, but not as S3 does"),
    "half a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nETag: e\r\n\r\nabc", "breaks off in the middle"),
}


@pytest.mark.parametrize(("raw", "said"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_none_of_s3_is_named_as_what_it_is(liar, monkeypatch, raw, said):
    monkeypatch.setattr("tasks.s3.ATTEMPTS", 1)
    liar.raw = raw
    with pytest.raises(InputError, match=said) as refused:
        get("bucket", "key")
    assert str(refused.value).isprintable()
    assert "does not answer" not in str(refused.value)


def test_a_page_instead_of_a_list_is_named(liar, monkeypatch):
    monkeypatch.setattr("tasks.s3.ATTEMPTS", 1)
    liar.raw = http_answer(200, PAGE)
    with pytest.raises(InputError, match="S3 answers 500"), plain_errors("listing"):
        client().list_objects_v2(Bucket="bucket")


def test_silence_is_named(monkeypatch):
    monkeypatch.setattr("tasks.s3.ATTEMPTS", 1)
    for name, value in {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with pytest.raises(Unreachable, match="does not answer"):
        check_bucket("s3://bucket/prefix")


def test_the_users_endpoint_goes_before_the_registrys(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    assert client(endpoint="http://elsewhere.example").meta.endpoint_url == "http://127.0.0.1:1"
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    assert client("eu-central-1", "http://elsewhere.example").meta.endpoint_url == "http://elsewhere.example"
