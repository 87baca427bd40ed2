"""Answers: what was answered, kept by its ETag, as nothing that has the same one differs; each is made once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response

from mucs.explorer.unchanged import not_changed

MOST_BYTES = 64 * 2**20  # of all that is kept
SIDE_BY_SIDE = 8  # answers that are made at a time: more of them would only wait for each other, and take memory


class Answers:
    """The answers that were given last. Args: most: bytes of their bodies together."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most, self._bytes = most, 0
        self._kept: OrderedDict[str, Response] = OrderedDict()
        self._made: dict[str, Future[Response]] = {}
        self._lock = threading.Lock()
        self._side_by_side = CapacityLimiter(SIDE_BY_SIDE)

    async def answer(self, request: Request, etag: str, make: Callable[[], Response]) -> Response:
        """What a request is answered: that nothing has changed, what was answered before, or what is made now.

        Raises:
            Exception: Whatever `make` raises.
        """
        if not_changed(request, etag):
            return Response(status_code=304, headers={"etag": etag})
        with self._lock:
            found = self._kept.get(etag)
            if found is not None:
                self._kept.move_to_end(etag)
                return found
        return await to_thread.run_sync(self._once, etag, make, limiter=self._side_by_side)

    def _once(self, etag: str, make: Callable[[], Response]) -> Response:
        """Make an answer, or wait for whoever does so already."""
        with self._lock:
            if etag in self._kept:
                return self._kept[etag]
            mine = etag not in self._made
            future = self._made.setdefault(etag, Future())
        if not mine:
            return future.result()
        try:
            answer = make()
        except BaseException as error:
            future.set_exception(error)
            raise
        else:
            future.set_result(answer)
            self._keep(etag, answer)
            return answer
        finally:
            with self._lock:
                del self._made[etag]

    def _keep(self, etag: str, answer: Response) -> None:
        if answer.status_code != 200:
            return
        with self._lock:
            self._kept[etag] = answer
            self._bytes += len(answer.body)
            while self._bytes > self._most:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= len(oldest.body)
