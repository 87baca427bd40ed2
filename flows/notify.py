"""Notify: tell receivers what the log has that is new, what did not hold when it was verified, and which jobs failed or did not begin."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from flows import watch
from mucs import InputError
from mucs.evidence.chain import Entry
from mucs.evidence.log import Log
from mucs.outbox import FAILED, Event, Outbox
from mucs.text import as_clause
from tasks.message import Message
from tasks.webhook import Outcome, read_url, send

if TYPE_CHECKING:
    import httpx

    from flows.watch import Watch

log_of_notify = logging.getLogger("mucs.notify")

PUBLISHED = {"run": "run.published", "statement": "statement.issued"}  # by an entry's kind
TYPES = (*PUBLISHED.values(), FAILED, *watch.TYPES)  # what receivers are told
SECONDS_BETWEEN = 2.0  # looks at the log
SECONDS_BETWEEN_WATCHES = 10.0  # looks at Prefect


@dataclass(frozen=True)
class Receiver:
    """Whoever is told.

    Attributes:
        name: The address, without secrets: by it the outbox knows whom it has told.
        tell: Tells of an event.
    """

    name: str
    tell: Callable[[Event], Outcome]


def receiver(address: str, client: httpx.Client, secret: Callable[[], bytes]) -> Receiver:
    """The receiver at an address: a webhook at one of http, people at one of Apprise.

    Args:
        address: What the user gave.
        client: Asks webhooks.
        secret: Gives what messages to webhooks are signed with.

    Raises:
        InputError: If nobody can be told there.
    """
    if address.partition(":")[0].lower() in ("http", "https"):
        return Receiver(address, partial(send, client, read_url(address), secret=secret()))
    message = Message(address)
    return Receiver(message.name, message.send)


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


def deliver(outbox: Outbox, to: Receiver, types: tuple[str, ...]) -> int:
    """Tell a receiver what is due.

    Returns:
        How many events it could not be told.
    """
    outbox.receive(to.name, types)
    failed = 0
    while event := outbox.take(to.name):
        done = to.tell(event)
        if done.fault is None:
            outbox.told(event, to.name)
            log_of_notify.info("notify    %s: %s", to.name, event.type)
            continue
        failed += 1
        again = outbox.failed(event, to.name, done.fault, for_good=done.over)
        what = "given up" if again is None else f"tried again after {again:.0f} s"
        log_of_notify.warning("notify    %s: %s was not told, %s; %s", to.name, event.type, done.fault, what)
    return failed


def notify(
    log: Log,
    outbox: Outbox,
    receivers: Sequence[Receiver],
    types: tuple[str, ...],
    jobs: Watch | None,
    go_on: Callable[[], bool],
) -> int:
    """Tell receivers of what happens.

    Args:
        log: Whose new entries are told.
        outbox: Where it waits until it is told.
        receivers: Who is told.
        types: Of the events that they are told.
        jobs: Looks at Prefect's jobs; none are told of without it.
        go_on: Asked after each look, whether there is to be another.

    Returns:
        How many events could not be told at the last look.
    """
    watched = -SECONDS_BETWEEN_WATCHES
    while True:
        try:
            collect(log, outbox)
        except InputError as error:  # what waits is told meanwhile
            if not go_on():
                raise
            log_of_notify.warning("notify    the log cannot be followed just now: %s", as_clause(error))
        if jobs and time.monotonic() - watched >= SECONDS_BETWEEN_WATCHES:
            watched = time.monotonic()
            jobs.look()
        failed = sum(deliver(outbox, each, types) for each in receivers)
        if not go_on():
            return failed
        time.sleep(SECONDS_BETWEEN)
