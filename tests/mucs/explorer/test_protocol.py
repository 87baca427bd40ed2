"""A connection whose request comes too slowly ends; one that is answered, or idle between requests, is left alone."""

import asyncio
import contextlib
import socket
import threading
import time

import pytest
import uvicorn

from mucs.explorer import protocol

SECONDS = 0.6


async def app(scope, receive, send):
    """Answers after what takes longer than a request may."""
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/slow":
        await asyncio.sleep(2 * SECONDS)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def connect(monkeypatch):
    """Opens a connection to a server that is in no hurry itself."""
    monkeypatch.setattr(protocol, "SECONDS_TO_SEND", SECONDS)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=protocol.Protocol, ws="none", lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    opened = []

    def connected():
        opened.append(socket.create_connection(listener.getsockname(), 10))
        return opened[-1]

    yield connected
    for each in opened:
        each.close()
    server.should_exit = True
    thread.join(10)
    listener.close()


@pytest.mark.parametrize(
    "part",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: x\r\n", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1"],
)
def test_what_is_half_sent_ends(connect, part):
    began, connection = time.monotonic(), connect()
    connection.sendall(part)
    assert connection.recv(100) == b""
    assert SECONDS / 2 < time.monotonic() - began < 8 * SECONDS


def test_drop_by_drop_is_too_slow(connect):
    connection, began, ended = connect(), time.monotonic(), False
    connection.settimeout(SECONDS / 10)
    while not ended:
        assert time.monotonic() - began < 8 * SECONDS
        connection.sendall(b"G")
        with contextlib.suppress(TimeoutError):
            ended = connection.recv(100) == b""


@pytest.mark.slow
def test_who_waits_for_an_answer_or_asks_again_later_is_left_alone(connect):
    connection = connect()
    for path in ("/slow", "/", "/"):
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"ok"):
            answer += connection.recv(1000)
        time.sleep(2 * SECONDS)
    connection.sendall(b"GET / HT")
    assert connection.recv(100) == b""
