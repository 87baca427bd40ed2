"""Streams: what becomes of a request, told to whoever follows it as server-sent events."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable

import anyio
import duckdb
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from mucs import InputError
from mucs.explorer.attributions import Attributions, record
from mucs.ledger.asked import Asked, Busy
from mucs.ledger.names import Unknown

MOST, THREADS = 50, 4  # streams at a time, and threads that look for all of them
SECONDS_BETWEEN, SECONDS_EACH = 0.5, 0.1  # looks at what has changed: of one stream, and more for each other one
HEARTBEAT = 15.0  # seconds of silence after which something is sent, so that nobody on the way hangs up
PASSING = (InputError, duckdb.Error, TimeoutError)  # that do not last


class Streams:
    """The streams of all who follow requests.

    Args:
        attributions: Knows what has become of them.
    """

    def __init__(self, attributions: Attributions) -> None:
        self._attributions, self._open = attributions, 0
        self._threads = anyio.CapacityLimiter(THREADS)

    async def follow(self, request: str) -> StreamingResponse:
        """The stream of the request with an address: an event for each change, until it is done or has failed.

        Raises:
            Unknown: If nobody asked for it.
            Unavailable: If what has become of it cannot be told.
            Busy: If too many follow.
        """
        if self._open >= MOST:
            raise Busy(f"{MOST} readers follow pictures already; ask for its state now and then instead.", 10)
        self._open += 1
        try:
            found = await self._state(request)
        except BaseException:
            self._end()
            raise
        return Stream(self._events(found), self._end)

    def _end(self) -> None:
        self._open -= 1

    async def _state(self, request: str) -> Asked:
        return await anyio.to_thread.run_sync(self._attributions.state, request, limiter=self._threads)

    async def _events(self, found: Asked) -> AsyncIterator[str]:
        last, told = None, time.monotonic()
        while True:
            if found != last:
                last, told = found, time.monotonic()
                yield f"event: change\ndata: {json.dumps(record(found))}\n\n"
            elif time.monotonic() - told > HEARTBEAT:
                told = time.monotonic()
                yield ": nothing new\n\n"
            if found.is_over:
                return
            again = time.monotonic() + SECONDS_EACH * (self._open - 1)
            await anyio.sleep(SECONDS_BETWEEN)
            while time.monotonic() < again and not self._attributions.are_closed:
                await anyio.sleep(SECONDS_BETWEEN)
            if self._attributions.are_closed:
                return
            try:
                found = await self._state(found.address)
            except Unknown:
                return
            except PASSING:  # it is looked for again
                continue


class Stream(StreamingResponse):
    """A response of server-sent events, which ends with them or with its reader, and says so."""

    def __init__(self, events: AsyncIterator[str], ended: Callable[[], None]) -> None:
        # the last header is for nginx, which would keep events back until it has many
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(events, headers=headers, media_type="text/event-stream")
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; one who asks for the head alone follows nothing."""
        try:
            if scope["method"] == "HEAD":
                await Response(headers=dict(self.headers))(scope, receive, send)
            else:
                await super().__call__(scope, receive, send)
        finally:
            self._ended()
