"""Notify: tell receivers what the log has that is new, and what did not hold when it was verified."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mucs import InputError
from mucs.evidence.chain import Entry
from mucs.evidence.log import Log
from mucs.outbox import FAILED, Outbox
from mucs.text import as_clause
from tasks.webhook import send

if TYPE_CHECKING:
    import httpx

log_of_notify = logging.getLogger("mucs.notify")

PUBLISHED = {"run": "run.published", "statement": "statement.issued"}  # by an entry's kind
TYPES = (*PUBLISHED.values(), FAILED)  # what receivers are told
SECONDS_BETWEEN = 2.0  # looks at the log


def collect(log: Log, outbox: Outbox) -> None:
    """Put into the outbox what a log has that is new; of a log that was not followed before, what comes from now on.

    Raises:
        Broken: If the log does not hold.
    """
    at = outbox.followed(log.place)
    if at is None:
        entries = deque(log.after(), maxlen=1)
        last = [(entry.position, entry.sha256) for entry in entries]
        return outbox.follow(log.place, *(last[0] if last else ()))
    for entry in log.after(*at):
        if entry.kind in PUBLISHED:
            outbox.put(PUBLISHED[entry.kind], said_of(entry), str(entry.said["at"]), f"log-{entry.sha256}")
        outbox.follow(log.place, entry.position, entry.sha256)
    return None


def said_of(entry: Entry) -> dict[str, str | int]:
    """What is told of an entry: where it is in the log, and the SHA-256 by which the explorer has a page for it."""
    what = str(entry.body["run" if entry.kind == "run" else "sha256"])
    return {"position": entry.position, "entry": entry.sha256, entry.kind: what, "page": f"/{entry.kind}s/{what}"}


def deliver(outbox: Outbox, url: str, types: tuple[str, ...], secret: bytes, client: httpx.Client) -> int:
    """Tell a receiver what is due.

    Returns:
        How many events it could not be told.
    """
    outbox.receive(url, types)
    failed = 0
    while event := outbox.take(url):
        done = send(client, url, event, secret)
        if done.fault is None:
            outbox.told(event, url)
            log_of_notify.info("notify    %s: %s", url, event.type)
            continue
        failed += 1
        again = outbox.failed(event, url, done.fault, for_good=done.over)
        what = "given up" if again is None else f"tried again after {again:.0f} s"
        log_of_notify.warning("notify    %s: %s was not told, %s; %s", url, event.type, done.fault, what)
    return failed


def notify(
    log: Log,
    outbox: Outbox,
    urls: Sequence[str],
    types: tuple[str, ...],
    secret: bytes,
    go_on: Callable[[], bool],
) -> int:
    """Tell receivers of what happens.

    Args:
        log: Whose new entries are told.
        outbox: Where it waits until it is told.
        urls: The receivers'.
        types: Of the events that they are told.
        secret: That messages are signed with.
        go_on: Asked after each look, whether there is to be another.

    Returns:
        How many events could not be told at the last look.
    """
    import httpx

    with httpx.Client() as client:
        while True:
            try:
                collect(log, outbox)
            except InputError as error:  # what waits is told meanwhile
                if not go_on():
                    raise
                log_of_notify.warning("notify    the log cannot be followed just now: %s", as_clause(error))
            failed = sum(deliver(outbox, url, types, secret, client) for url in urls)
            if not go_on():
                return failed
            time.sleep(SECONDS_BETWEEN)
