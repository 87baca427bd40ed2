"""Limit: a query that takes too long is interrupted, by one thread that watches all of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import duckdb

SECONDS_BETWEEN = 0.1  # looks at what goes on


class Limit:
    """How long queries may take; a thread watches as long as there are any."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._until: dict[object, tuple[float, duckdb.DuckDBPyConnection]] = {}
        self._watching = False

    @contextlib.contextmanager
    def of(self, connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
        """Interrupt whatever a connection does within the block after so many seconds.

        Raises:
            TimeoutError: If that was done.
        """
        this = object()
        with self._changed:
            self._until[this] = time.monotonic() + seconds, connection
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, daemon=True, name="limit").start()
            elif len(self._until) == 1:
                self._changed.notify()
        try:
            yield
        except duckdb.InterruptException:
            raise TimeoutError from None
        finally:
            with self._changed:
                del self._until[this]

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._until:
                    self._changed.wait()
                now = time.monotonic()
                for until, connection in self._until.values():
                    if now > until:
                        connection.interrupt()  # again and again: a query may just have ended, and the next not begun
            time.sleep(SECONDS_BETWEEN)


limit = Limit()
