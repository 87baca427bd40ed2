"""Progress: how far a unit of work is, told to whoever listens in this process, or to the log now and then."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterator

log = logging.getLogger("mucs.progress")

SECONDS_BETWEEN_LINES = 30.0
Listener = Callable[[str, str, int, int], None]  # a unit's name, what is done, how much of it, and of how much
LISTENERS: list[Listener] = []


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have a listener hear of every unit in this process while the block lasts; nothing of it goes to the log then."""
    LISTENERS.append(listener)
    try:
        yield
    finally:
        LISTENERS.remove(listener)


def tell(name: str, what: str, done: int, of: int) -> None:
    """Tell the listeners how far a unit is."""
    for listener in LISTENERS:
        listener(name, what, done, of)


def begun(name: str) -> None:
    """Say that a unit is computed from here on, and on which machine, in the log of a process where nobody listens."""
    if not LISTENERS:
        log.info("begin     %s on %s", name, socket.gethostname())


def progress_of(name: str) -> Callable[[str, int, int], None]:
    """What a unit reports to: the listeners, or, if there are none, a line of the log every half a minute."""
    said = time.monotonic()

    def report(what: str, done: int, of: int) -> None:
        nonlocal said
        tell(name, what, done, of)
        if not LISTENERS and time.monotonic() - said > SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            log.info("%-9s %s: %d of %d", what, name, done, of)

    return report
