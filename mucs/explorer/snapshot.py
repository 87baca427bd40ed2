"""Snapshots of a ledger: what it knew at one position, in memory, so that a question takes milliseconds.

To ask a DuckLake costs 7 ms for each table that a question names. So the tables are copied into memory, and of the edges the best of
each generated item; the others are read from the ledger's files where somebody asks for them. The program's own views and macros lie
over that: a question gives the answer that `Ledger.ask` gives. What most questions begin with is computed once: which runs speak, and
how rights stand today.
"""

from __future__ import annotations

import datetime
import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from mucs import InputError
from mucs.ledger import Ledger
from mucs.ledger.asked import Unavailable
from mucs.ledger.catalogue import NAMES
from mucs.ledger.lake import CATALOGUE, FILE, META, Lake, give_up, literal
from mucs.text import as_clause, first_line

log_of_explorer = logging.getLogger("mucs.explorer")

KEPT = "kept"  # the database in memory that has the copies
RANKED = ("edges", "unseen_edges")  # tables of which the best rows of each generated item are copied
BEST, LEAST, MOST = (
    100,
    10,
    3_000_000,
)  # edges of each generated item in memory: at the best, at the least, and of all together
# views that are computed once for a snapshot, and macros for now and today; to plan a question over them takes longer than to answer it
MADE = ("usage", "balances", "adjustments", "statement_lines", "disputes", "speaking")
NOW = """
CREATE TABLE {kept}.rights_today AS FROM memory.main.rights_on('{day}', 'infinity');
CREATE MACRO {kept}.rights_on(day, as_of) AS TABLE
    FROM {kept}.main.rights_today WHERE as_of = 'infinity' AND day::DATE = DATE '{day}'
    UNION ALL FROM memory.main.rights_on(day, as_of) WHERE NOT (as_of = 'infinity' AND day::DATE = DATE '{day}');
CREATE MACRO {kept}.speaking_as_of(as_of) AS TABLE
    FROM {kept}.main.speaking WHERE as_of = 'infinity' UNION ALL FROM memory.main.speaking_as_of(as_of) WHERE as_of <> 'infinity'
"""
SECONDS = 10.0  # that a question may take
PAUSE = 1.0  # between two looks at the ledger
NICE = 10  # of the thread that looks


@dataclass(frozen=True)
class Snapshot:
    """A ledger at one position.

    Attributes:
        place: The ledger's.
        position: Of the log's last entry that it has.
        head: Its SHA-256.
        version: Of the lake, which is another whenever its files are others.
        taken: When it was made.
        most_rank: Up to which rank edges are in memory.
        connection: The database; every reader takes a cursor of its own.
    """

    place: str
    position: int
    head: str
    version: int
    taken: datetime.datetime
    most_rank: int
    connection: duckdb.DuckDBPyConnection

    def ledger(self) -> Ledger:
        """The ledger as it was, for one reader; close it."""
        cursor = self.connection.cursor()
        cursor.execute(f"SET search_path = '{KEPT},memory'")  # what is kept first, also where a macro names it
        return Ledger(cursor, self.place, seconds=SECONDS)


def take(ledger: Ledger, best: int | None = None) -> Snapshot:
    """A snapshot of a ledger that is open to read, whose connection it goes on with.

    Args:
        ledger: It is not to be used afterwards.
        best: How many edges of each generated item are copied; as many as there is room for without it.
    """
    try:
        return _take(ledger, best)
    except BaseException as error:
        give_up(ledger.connection, error)
        raise


def _take(ledger: Ledger, best: int | None) -> Snapshot:
    connection = ledger.connection
    connection.execute(f"ATTACH ':memory:' AS {KEPT} (COMPRESS)")
    connection.begin()  # what all of it is copied from is one state of the lake
    state = state_of(ledger)
    for name in NAMES:
        if name not in RANKED:
            connection.execute(f"CREATE TABLE {KEPT}.{name} AS FROM {FILE}.main.{name}")
    items = ledger.one(f"SELECT count(*) FROM {KEPT}.attributions")
    rank = best or max(LEAST, min(BEST, MOST // max(1, items)))
    others = {}
    for name in RANKED:
        connection.execute(f"CREATE TABLE {KEPT}.best_{name} AS FROM {FILE}.main.{name} WHERE rank <= {rank}")
        # a load of a few edges lies in the catalogue and in no file; it has no rank beyond LEAST
        files = [row["data_file"] for row in ledger.rows(f"FROM ducklake_list_files('{FILE}', '{name}')")]
        named = ", ".join(f"'{literal(file)}'" for file in files)
        others[name] = f" UNION ALL FROM read_parquet([{named}]) WHERE rank > {rank}" if files else ""
    connection.commit()
    for name in RANKED:
        connection.execute(f"CREATE VIEW {KEPT}.{name} AS FROM {KEPT}.best_{name}{others[name]}")
    for name in NAMES:
        connection.execute(f"CREATE OR REPLACE VIEW {name} AS FROM {KEPT}.main.{name}")
    connection.execute(f"DETACH {FILE}")
    for name in MADE:
        connection.execute(f"CREATE TABLE {KEPT}.{name} AS FROM memory.main.{name}")
    taken = datetime.datetime.now(datetime.UTC)
    connection.execute(NOW.format(kept=KEPT, day=taken.date()))
    connection.execute("SET threads = 1")  # of a question: those of several readers go on side by side
    return Snapshot(ledger.place, *state, taken, rank, connection)


def state_of(ledger: Ledger) -> tuple[int, str, int]:
    """Position and head of an open ledger, and the version of its lake."""
    return *ledger.at(), int(ledger.one(f"SELECT max(snapshot_id) FROM {META}.ducklake_snapshot"))


def today() -> datetime.date:
    """The day that questions take for today."""
    return datetime.datetime.now(datetime.UTC).date()


class Snapshots:
    """The snapshot of a ledger that others write: a new one is made when there is more, and the old one answers until then."""

    def __init__(self, place: str, opened: Callable[[], Ledger]) -> None:
        """Args: place: the ledger's. opened: opens it to read."""
        self._place, self._opened = place, opened
        self._now: Snapshot | None = None
        self._fault: str | None = None
        self._seen: object = None
        self._ended = threading.Event()
        self._looking = threading.Lock()
        self.look()
        self._watching = threading.Thread(target=self._watch, daemon=True, name="snapshots")
        self._watching.start()

    def current(self) -> Snapshot:
        """The newest.

        Raises:
            Unavailable: If the ledger cannot be read; a second after it can again, it is.
        """
        if self._fault or self._now is None:
            raise Unavailable(f"The ledger cannot be read just now: {self._fault}. This page comes back when it can.")
        return self._now

    def stop(self) -> None:
        """Take no further look."""
        self._ended.set()

    def close(self) -> None:
        """Take no further look, and wait for one that is being taken: a process that ends amid it would abort."""
        self.stop()
        self._watching.join()

    @property
    def is_closed(self) -> bool:
        """Whether nobody looks any more."""
        return self._ended.is_set()

    def _watch(self) -> None:
        if sys.platform == "linux":  # where threads have priorities: answers come before newer answers
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while not self._ended.wait(PAUSE):
            self.look()

    def look(self) -> None:
        """Take a snapshot if the ledger is another than it was, and remember what is wrong with it."""
        with self._looking:
            self._look()

    def _look(self) -> None:
        try:
            seen = self._state(), today()
            if seen == self._seen and self._fault is None and self._now is not None:
                return
            ledger = self._opened()
            now = self._now
            if now is not None and (*state_of(ledger), today()) == (
                now.position,
                now.head,
                now.version,
                now.taken.date(),
            ):
                ledger.connection.close()
            else:
                if now is not None:
                    ledger.connection.execute("SET threads = 1")  # this one; the other cores go on answering
                self._now = take(ledger)
                log_of_explorer.info("explore   entry %d of the log", self._now.position)
            self._seen, self._fault = seen, None
        except InputError as error:
            self._fault = as_clause(error)
        except (duckdb.Error, OSError) as error:
            self._fault = first_line(error)

    def _state(self) -> object:
        """What is another wherever a local ledger is another; of one on Postgres, the entry that it is at."""
        lake = Lake.at(self._place)
        if lake.is_local:
            files = [Path(lake.catalogue) / f"{CATALOGUE}{end}" for end in ("", "-wal")]
            found = [file.stat() if file.exists() else None for file in files]
            if found[0] is None:
                raise InputError(f"there is no ledger at {self._place}")
            return [each and (each.st_ino, each.st_size, each.st_mtime_ns) for each in found]
        with self._opened() as ledger:
            return state_of(ledger)
