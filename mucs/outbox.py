"""The outbox: what is to be told to others, in a file that survives whoever tells it.

A program that has something to tell puts it in and goes on. Whoever tells takes what is due, and says what became of it; what was
taken and never said is due again after a minute. So each thing is told at least once.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mucs import InputError
from mucs.evidence.chain import GENESIS
from mucs.text import first_line

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, at TEXT NOT NULL, data TEXT NOT NULL
);
-- to whom, and the last event before they were there
CREATE TABLE IF NOT EXISTS receivers (url TEXT PRIMARY KEY, after INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
    event INTEGER NOT NULL, url TEXT NOT NULL, tries INTEGER NOT NULL, due REAL NOT NULL, ended TEXT, fault TEXT, PRIMARY KEY (event, url)
);
-- up to which entry of which log events were made
CREATE TABLE IF NOT EXISTS followed (log TEXT PRIMARY KEY, position INTEGER NOT NULL, head TEXT NOT NULL)
"""
DUE = """
SELECT d.event, d.url, d.tries, e.id, e.type, e.at, e.data FROM deliveries d JOIN events e ON e.number = d.event
WHERE d.ended IS NULL AND d.due <= ? AND d.url = ? ORDER BY d.event LIMIT 1
"""
HELD, FAILED = "verify.held", "verify.failed"  # types of what a verification found
TAKEN = 60.0  # seconds after which what was taken is due again
# seconds between tries: about three days in all
PAUSES = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)


@dataclass(frozen=True)
class Event:
    """Something that is told.

    Attributes:
        number: Its place in the outbox.
        id: By which a receiver knows that it was told before.
        type: Of what, such as `run.published`.
        at: When it happened, in ISO 8601.
        data: What there is to say.
        tries: How often it was tried before.
    """

    number: int
    id: str
    type: str
    at: str
    data: dict[str, Any]
    tries: int = 0


class Outbox:
    """An outbox in a file of SQLite, which several programs may use at once."""

    def __init__(self, path: Path) -> None:
        """Args: path: the file; a missing one is made.

        Raises:
            InputError: If it cannot be used.
        """
        self.path = path
        with self._changing() as connection:
            for statement in SCHEMA.split(";"):
                connection.execute(statement)

    def put(self, type: str, data: dict[str, Any], at: str | None = None, id: str | None = None) -> None:
        """Put something in, unless something of that id is there.

        Args:
            type: Of what.
            data: What there is to say, as JSON.
            at: When it happened; now without it.
            id: By which it is known; a new one without it.
        """
        at = at or datetime.now(UTC).isoformat(timespec="seconds")
        with self._changing() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO events (id, type, at, data) VALUES (?, ?, ?, ?)",
                [id or uuid.uuid4().hex, type, at, json.dumps(data)],
            )

    def followed(self, log: str) -> tuple[int, str] | None:
        """Position and head up to which events of a log were put in; None if it is not followed yet."""
        with self._reading() as connection:
            found = connection.execute("SELECT position, head FROM followed WHERE log = ?", [log]).fetchone()
        return found and (int(found[0]), str(found[1]))

    def follow(self, log: str, position: int = 0, head: str = GENESIS) -> None:
        """Events of a log were put in up to this position and head."""
        with self._changing() as connection:
            connection.execute("INSERT OR REPLACE INTO followed VALUES (?, ?, ?)", [log, position, head])

    def receive(self, url: str, types: tuple[str, ...]) -> None:
        """Have a receiver told of events of these types; one that is new, of those that come from now on."""
        with self._changing() as connection:
            connection.execute("INSERT OR IGNORE INTO receivers SELECT ?, coalesce(max(number), 0) FROM events", [url])
            marks = ", ".join("?" * len(types))
            connection.execute(
                "INSERT OR IGNORE INTO deliveries (event, url, tries, due)"
                f" SELECT e.number, r.url, 0, 0 FROM events e, receivers r WHERE r.url = ? AND e.number > r.after AND e.type IN ({marks})",
                [url, *types],
            )

    def take(self, url: str) -> Event | None:
        """The first event that is due to a receiver; None if none is."""
        now = time.time()
        with self._changing() as connection:
            found = connection.execute(DUE, [now, url]).fetchone()
            if found is None:
                return None
            number, _, tries, id, type, at, data = found
            connection.execute("UPDATE deliveries SET due = ? WHERE event = ? AND url = ?", [now + TAKEN, number, url])
        return Event(number, id, type, at, json.loads(data), tries)

    def told(self, event: Event, url: str) -> None:
        """A receiver has it."""
        self._end(event, url, None)

    def failed(self, event: Event, url: str, fault: str, *, for_good: bool = False) -> float | None:
        """A try failed.

        Args:
            event: Of what.
            url: The receiver's.
            fault: Why.
            for_good: Whether to try no more.

        Returns:
            After how many seconds it is due again; None if it is given up.
        """
        if for_good or event.tries >= len(PAUSES):
            self._end(event, url, fault)
            return None
        pause = float(PAUSES[event.tries])
        with self._changing() as connection:
            connection.execute(
                "UPDATE deliveries SET tries = tries + 1, due = ?, fault = ? WHERE event = ? AND url = ?",
                [time.time() + pause, fault, event.number, url],
            )
        return pause

    def waiting(self, url: str) -> int:
        """How many events a receiver has not been told, and is to be."""
        with self._reading() as connection:
            ((count,),) = connection.execute(
                "SELECT count(*) FROM deliveries WHERE url = ? AND ended IS NULL", [url]
            ).fetchall()
        return int(count)

    def verified(self, log: str, until: str = "infinity") -> Event | None:
        """The last verification of a log. until: up to this time, in ISO 8601 and UTC."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT number, id, type, at, data FROM events WHERE type IN (?, ?) AND json_extract(data, '$.log') = ? AND at <= ?"
                " ORDER BY number DESC LIMIT 1",
                [HELD, FAILED, log, until],
            ).fetchone()
        if found is None:
            return None
        number, id, type, at, data = found
        return Event(number, id, type, at, json.loads(data))

    def _end(self, event: Event, url: str, fault: str | None) -> None:
        with self._changing() as connection:
            connection.execute(
                "UPDATE deliveries SET tries = tries + 1, ended = ?, fault = ? WHERE event = ? AND url = ?",
                [datetime.now(UTC).isoformat(timespec="seconds"), fault, event.number, url],
            )

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, one program at a time."""
        with self._reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Whoever only looks keeps nobody from writing."""
        try:
            with contextlib.closing(sqlite3.connect(self.path, timeout=60, isolation_level=None)) as connection:
                yield connection
        except sqlite3.Error as error:
            raise InputError(
                f"The outbox {self.path} cannot be used ({first_line(error)}); see whether its folder is there and can be written,"
                " or give another --outbox."
            ) from None
