"""Answers: what was answered, kept by its ETag, as nothing that has the same one differs; each is made once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future

from starlette.responses import Response

MOST_BYTES = 64 * 2**20  # of all that is kept


class Answers:
    """The answers that were given last. Args: most: bytes of their bodies together."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most, self._bytes = most, 0
        self._kept: OrderedDict[str, Response] = OrderedDict()
        self._made: dict[str, Future[Response]] = {}
        self._lock = threading.Lock()

    def kept(self, etag: str) -> Response | None:
        """The answer of an ETag, if it is there still."""
        with self._lock:
            if etag in self._kept:
                self._kept.move_to_end(etag)
            return self._kept.get(etag)

    def made(self, etag: str, make: Callable[[], Response]) -> Response:
        """The answer of an ETag; whoever asks while another has it made waits for that one.

        Raises:
            Exception: Whatever `make` raises, to all who wait.
        """
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
