"""Snapshots of a ledger: what it knew at one position, in memory, so that a question takes milliseconds.

To ask a DuckLake costs 7 ms for each table that a question names. So the tables are copied into memory, and of the edges the best of
each generated item; the others are read from the ledger's files where somebody asks for them. The program's own views and macros lie
over that: a question gives the answer that `Ledger.ask` gives. What most questions begin with is computed once: which runs speak, and
how rights stand today. Edges never change, and so a snapshot takes those that an earlier one copied, and copies what came since.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from mucs import InputError
from mucs.ledger import Ledger
from mucs.ledger.asked import Unavailable
from mucs.ledger.catalogue import NAMES, VIEWS
from mucs.ledger.lake import CATALOGUE, FILE, META, Lake, give_up, literal
from mucs.text import as_clause, first_line

log_of_explorer = logging.getLogger("mucs.explorer")

RANKED = ("edges", "unseen_edges")  # tables of which the best rows of each generated item are copied
BEST, LEAST, MOST = (
    100,
    10,
    3_000_000,
)  # edges of each generated item in memory: at the best, at the least, and of all together
SHARE = 0.25  # of the generated items that an earlier snapshot has: as many may come before all are copied anew
# views that are computed once for a snapshot, and macros for now and today; to plan a question over them takes longer than to answer it
MADE = ("usage", "balances", "adjustments", "statement_lines", "disputes", "speaking")
NOW = """
CREATE TABLE {kept}.rights_today AS FROM {views}.main.rights_on('{day}', 'infinity');
CREATE MACRO {kept}.rights_on(day, as_of) AS TABLE
    FROM {kept}.main.rights_today WHERE as_of = 'infinity' AND day::DATE = DATE '{day}'
    UNION ALL FROM {views}.main.rights_on(day, as_of) WHERE NOT (as_of = 'infinity' AND day::DATE = DATE '{day}');
CREATE MACRO {kept}.speaking_as_of(as_of) AS TABLE
    FROM {kept}.main.speaking WHERE as_of = 'infinity' UNION ALL FROM {views}.main.speaking_as_of(as_of) WHERE as_of <> 'infinity'
"""
SECONDS = 10.0  # that a question may take
PAUSE = 1.0  # between two looks at the ledger
NICE = 10  # of the thread that looks


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A ledger at one position.

    Attributes:
        place: The ledger's.
        position: Of the log's last entry that it has.
        head: Its SHA-256.
        version: Of the lake, which is another whenever its files are others.
        taken: When it was made.
        most_rank: Up to which rank edges are in memory.
        number: How many snapshots there were before in the same database, which name its tables.
        earlier: The one whose edges it goes on with; None if it has all of them itself.
        connection: The database; every reader takes a cursor of its own.
    """

    place: str
    position: int
    head: str
    version: int
    taken: datetime.datetime
    most_rank: int
    number: int
    earlier: Snapshot | None
    connection: duckdb.DuckDBPyConnection

    @property
    def kept(self) -> str:
        """The database in memory that has the copies."""
        return f"kept_{self.number}"

    @property
    def views(self) -> str:
        """The database in memory that has the program's views and macros over them."""
        return f"views_{self.number}"

    def ledger(self) -> Ledger:
        """The ledger as it was, for one reader; close it."""
        return _Reading(self)


class _Reading(Ledger):
    """A snapshot that is read, and stays until it is not."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        super().__init__(self.cursor(), snapshot.place, seconds=SECONDS)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        made = self.snapshot.connection.cursor()
        # what is kept first, also where a macro names it
        made.execute(f"SET search_path = '{self.snapshot.kept},{self.snapshot.views}'")
        return made


def take(ledger: Ledger, best: int | None = None, before: Snapshot | None = None) -> Snapshot:
    """A snapshot of a ledger that is open to read.

    Args:
        ledger: It is not to be used afterwards.
        best: How many edges of each generated item are copied; as many as there is room for without it.
        before: The snapshot before it, if any, whose edges are taken if the ledger only went on from there.
    """
    connection, number, earlier = ledger.connection, 0, None
    try:
        if before is not None and _went_on(ledger, before.earlier or before):
            connection, number, earlier = before.connection.cursor(), before.number + 1, before.earlier or before
            ledger.connection.close()
            Lake.at(ledger.place).attach(connection, read_only=True)
        return _take(connection, ledger.place, best, number, earlier)
    except BaseException as error:
        give_up(connection, error)
        raise


def _went_on(ledger: Ledger, earlier: Snapshot) -> bool:
    """Whether a ledger is of the log that a snapshot's was of, with little more."""
    entry = f"SELECT count(*) FROM entries WHERE position = {earlier.position} AND sha256 = '{literal(earlier.head)}'"
    if not ledger.one(entry):
        return False
    with earlier.ledger() as known:
        runs, items = (
            known.one("SELECT coalesce(max(run_id), 0) FROM runs"),
            known.one("SELECT count(*) FROM attributions"),
        )
    return bool(ledger.one(f"SELECT count(*) <= {SHARE * items} FROM attributions WHERE run_id > {runs}"))


def _take(
    connection: duckdb.DuckDBPyConnection, place: str, best: int | None, number: int, earlier: Snapshot | None
) -> Snapshot:
    """A snapshot of the attached lake, which is attached no more afterwards."""
    kept, views = f"kept_{number}", f"views_{number}"
    ledger = Ledger(connection, place)
    with contextlib.ExitStack() as undo:
        undo.callback(_drop, connection, kept, views)
        with contextlib.ExitStack() as attached:
            attached.callback(connection.execute, f"DETACH {FILE}")
            connection.execute(f"ATTACH ':memory:' AS {kept} (COMPRESS); ATTACH ':memory:' AS {views}")
            connection.begin()  # what all of it is copied from is one state of the lake
            version = _version(ledger)
            for name in NAMES:
                if name not in RANKED:
                    connection.execute(f"CREATE TABLE {kept}.{name} AS FROM {FILE}.main.{name}")
            items = ledger.one(f"SELECT count(*) FROM {kept}.attributions")
            rank = earlier.most_rank if earlier else best or max(LEAST, min(BEST, MOST // max(1, items)))
            edges = {name: _edges(ledger, name, kept, rank, earlier) for name in RANKED}
            connection.commit()
        for name in RANKED:
            connection.execute(f"CREATE VIEW {kept}.{name} AS {edges[name]}")
        defined = (f"CREATE VIEW {name} AS FROM {kept}.main.{name}" for name in NAMES)
        connection.execute(f"USE {views}; {'; '.join(defined)}; {VIEWS}")
        for name in MADE:
            connection.execute(f"CREATE TABLE {kept}.{name} AS FROM {views}.main.{name}")
        at, taken = ledger.at(), datetime.datetime.now(datetime.UTC)
        connection.execute(NOW.format(kept=kept, views=views, day=taken.date()))
        connection.execute("USE memory")
        connection.execute("SET threads = 1")  # of a question: those of several readers go on side by side
        snapshot = Snapshot(place, *at, version, taken, rank, number, earlier, connection)
        weakref.finalize(snapshot, undo.pop_all().close).atexit = False
    return snapshot


def _edges(ledger: Ledger, name: str, kept: str, rank: int, earlier: Snapshot | None) -> str:
    """Copy the rows of a table up to a rank, but for those that an earlier snapshot has; gives the query for all of its rows."""
    new, known = "", ""
    if earlier:
        new = f" AND run_id > (SELECT coalesce(max(run_id), 0) FROM {earlier.kept}.main.runs)"
        known = f" UNION ALL FROM {earlier.kept}.main.best_{name}"
    ledger.connection.execute(f"CREATE TABLE {kept}.best_{name} AS FROM {FILE}.main.{name} WHERE rank <= {rank}{new}")
    # a load of a few edges lies in the catalogue and in no file; it has no rank beyond LEAST
    files = [row["data_file"] for row in ledger.rows(f"FROM ducklake_list_files('{FILE}', '{name}')")]
    named = ", ".join(f"'{literal(file)}'" for file in files)
    others = f" UNION ALL FROM read_parquet([{named}]) WHERE rank > {rank}" if files else ""
    return f"FROM {kept}.main.best_{name}{known}{others}"


def _drop(connection: duckdb.DuckDBPyConnection, *databases: str) -> None:
    """Give back the memory of databases that nobody reads any more."""
    # an error where all of it is closed already
    with contextlib.suppress(duckdb.Error), connection.cursor() as cursor:
        for name in databases:
            cursor.execute(f"DETACH DATABASE IF EXISTS {name}")


def _version(ledger: Ledger) -> int:
    """The version of an open ledger's lake."""
    return int(ledger.one(f"SELECT max(snapshot_id) FROM {META}.ducklake_snapshot"))


def state_of(ledger: Ledger) -> tuple[int, str, int]:
    """Position and head of an open ledger, and the version of its lake."""
    return *ledger.at(), _version(ledger)


def today() -> datetime.date:
    """The day that questions take for today."""
    return datetime.datetime.now(datetime.UTC).date()


class Snapshots:
    """The snapshot of a ledger that others write: a new one is made when there is more, and the old one answers until then."""

    def __init__(self, place: str, opened: Callable[[], Ledger], first: Ledger | None = None) -> None:
        """Args: place: the ledger's. opened: opens it to read. first: it, where it is open already; not to be used afterwards."""
        self._place, self._opened = place, opened
        self._now: Snapshot | None = None
        self._fault: str | None = None
        self._seen: object = None
        self._ended = threading.Event()
        self._looking = threading.Lock()
        self._look(first)
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

    def _look(self, first: Ledger | None = None) -> None:
        try:
            seen, now = (self._state(), today()), self._now
            if seen == self._seen and self._fault is None and now is not None:
                return
            ledger = first or self._opened()
            if now and (*state_of(ledger), today()) == (now.position, now.head, now.version, now.taken.date()):
                ledger.connection.close()
            else:
                if now:
                    ledger.connection.execute("SET threads = 1")  # this one; the other cores go on answering
                self._now = take(ledger, before=now)
                log_of_explorer.info("explore   entry %d of the log", self._now.position)
            self._seen, self._fault = seen, None
        except InputError as error:
            self._fault = as_clause(error)
        except (duckdb.Error, OSError) as error:
            self._now, self._fault = None, first_line(error)  # the next goes on with nothing of it

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
