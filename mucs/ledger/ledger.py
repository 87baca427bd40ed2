"""The ledger: what a log says, as tables for questions; opened to read, or to be written with what the log has and it has not."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import pyarrow as pa

from mucs import InputError
from mucs.canonical import digest
from mucs.evidence.chain import Entry, link
from mucs.evidence.edges import PUBLISHED
from mucs.evidence.log import Broken, Log
from mucs.ledger import catalogue, names
from mucs.ledger.apply import Applying
from mucs.ledger.lake import FILE, Credentials, Lake, functions_beyond_duckdb, in_order, literal
from mucs.ledger.limit import limit
from mucs.ledger.opening import (
    REBUILD,
    WAS_QUICKER,
    Altered,
    attached,
    is_conflict,
    make_folder,
    opened,
    plain_errors,
    plainly,
    retried,
)
from mucs.ledger.questions import question
from mucs.parse import load_json
from mucs.text import first_line

log_of_sync = logging.getLogger("mucs.sync")

MEMORY = "2GB"  # that an analyst's query may take
SLACK = datetime.timedelta(minutes=1)  # by which a clock may fall behind the last entry
SECONDS_BETWEEN_REPORTS = 5
ERASURE = "erasure"  # the kind of entries that make a ledger anew, as no file may go on to have the name


@dataclass(frozen=True)
class Said:
    """What is to become an entry.

    Attributes:
        kind: The entry's.
        body: What it commits to, as JSON.
        objects: Bytes or files that it commits to, which the log keeps before the entry.
    """

    kind: str
    body: dict[str, Any]
    objects: Sequence[bytes | Path] = ()


class Ledger:
    """A ledger, attached as `file` to a database in memory that has the program's views and macros; use it in a `with` block.

    Attributes:
        connection: The database.
        place: A folder, or an address as `Lake.at` takes it.
        log: What it is written from; None where it is only read.
        seconds: How long a question may take; None for as long as it takes.
        by: Who says what is said, as its entries have it; None for whoever runs a command.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, place: str, log: Log | None = None, seconds: float | None = None
    ) -> None:
        self.connection = connection
        self.place = place
        self.log = log
        self.seconds = seconds
        self.by: Mapping[str, str] | None = None

    @classmethod
    def open(cls, place: str | Path, credentials: Credentials | None = None) -> Ledger:
        """Open a ledger to read it.

        Args:
            place: A folder, or an address as `Lake.at` takes it.
            credentials: Of S3, where its files lie there.

        Raises:
            InputError: If there is none, or it is of another schema.
            Altered: If it does not define what a ledger does.
        """
        lake = Lake.at(place)
        if not lake.exists():
            raise InputError(
                f"There is no ledger at {place}; run `mucs audit` or `mucs demo`, make it from a log with `mucs rebuild`,"
                " or point --ledger or MUCS_LEDGER to one."
            )
        return cls(opened(lake, place, credentials, read_only=True), str(place))

    @classmethod
    def write(cls, place: str | Path, log: Log, credentials: Credentials | None = None) -> Ledger:
        """Open a ledger to bring it up to its log, and to say more; a missing one is made.

        Args:
            place: As `open` takes it.
            log: The log that it is to follow.
            credentials: As `open` takes them.

        Raises:
            InputError: As `open`, or if it cannot be written.
            Altered: As `open`.
        """
        lake = Lake.at(place)
        make_folder(lake)
        return cls(opened(lake, place, credentials, read_only=False, log=log), str(place), log)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def at(self) -> tuple[int, str]:
        """Position and SHA-256 of the last entry that it has; 0 and GENESIS for none."""
        found = self.connection.execute("SELECT position, head FROM ledger").fetchall()
        if len(found) != 1:
            raise Altered(f"The ledger {self.place} was altered: its table ledger has {len(found)} rows; {REBUILD}.")
        return int(found[0][0]), str(found[0][1])

    @property
    def follows(self) -> str:
        """The place of the log that it is made from."""
        return str(self.one("SELECT log FROM ledger"))

    def sync(self) -> int:
        """Apply what the log has and the ledger has not; gives how many entries that were.

        Raises:
            Broken: If the log does not hold, or the ledger was made from another.
        """
        return retried(self._sync, self.place)

    def _sync(self) -> int:
        entries = self._new_entries()
        if not entries:
            return 0
        if any(entry.kind == ERASURE for entry in entries):
            self._rebuild()
            return len(entries)
        with self._transaction():
            if self.at() != (entries[0].position - 1, entries[0].previous):
                raise duckdb.TransactionException(WAS_QUICKER)
            self._apply(entries)
        self._merge()
        return len(entries)

    def say(self, decide: Callable[[datetime.datetime], Said | None]) -> Entry | None:
        """Append what is decided to the log, and apply it here.

        It is applied before it is appended, within a transaction: so nothing gets into the log that no ledger can have. If another
        writer's entry comes first, it is undone, the other's entry is applied, and it is decided again.

        Args:
            decide: Given the entry's time, reads the ledger, which is up to the log, and says what is to be appended, if anything.

        Returns:
            The entry; None if there was nothing to say.

        Raises:
            InputError: If the clock stands more than a minute before the last entry, and whatever `decide` raises.
        """
        log = self.followed
        while True:
            self.sync()
            position, head = self.at()
            now = self._now(position)
            said = decide(now)
            if said is None:
                return None
            for each in said.objects:
                log.keep(each)
            body = said.body if self.by is None else said.body | {"by": dict(self.by)}
            entry = link(position + 1, head, said.kind, now.isoformat(timespec="microseconds"), body)
            if said.kind == ERASURE:  # makes the ledger anew
                if not log.append(entry):
                    continue
                self.sync()
                return entry
            appended = False
            try:
                with self._transaction():
                    self._apply([entry])
                    appended = log.append(entry)
                    if not appended:
                        raise _Late
            except _Late:
                continue
            except duckdb.Error as error:
                if is_conflict(error):
                    if appended:
                        self.sync()
                        return entry
                    continue
                if appended:
                    raise InputError(
                        f"It is said, as entry {entry.position} of the log, but the ledger {self.place} could not be written"
                        f" ({first_line(error)}); see whether its disk has room, and run `mucs sync`."
                    ) from error
                raise plainly(error, self.place) from error
            self._merge()
            return entry

    @classmethod
    def rebuild(cls, place: str | Path, log: Log, credentials: Credentials | None = None) -> Ledger:
        """Make a ledger anew from its log, whatever is there now, in one step: readers see the old one until then.

        Args:
            place: As `open` takes it.
            log: The log.
            credentials: As `open` takes them.

        Raises:
            Broken: If the log does not hold, with the ledger as it was.
        """
        lake = Lake.at(place)
        make_folder(lake)
        with plain_errors(place), contextlib.ExitStack() as stack:
            connection = retried(lambda: attached(lake, credentials, read_only=False), place)
            stack.callback(connection.close)
            ledger = cls(connection, str(place), log)
            retried(ledger._rebuild, ledger.place)
            catalogue.define(connection)
            stack.pop_all()
        return ledger

    @classmethod
    def projected(cls, path: Path, log: Log, entries: Sequence[Entry], threads: int) -> Ledger:
        """A ledger with what entries give, but for their edges, which are compared in another way.

        Args:
            path: A file of DuckDB that is to be made: to ask it takes a tenth of the time that a lake takes.
            log: Where the objects of entries are.
            entries: The first entries of the log.
            threads: That it works with.
        """
        ledger = cls(Lake.at(path.parent).connect(), str(path), log)
        ledger.connection.execute(f"SET threads = {threads}")
        ledger.connection.execute(f"ATTACH '{literal(str(path))}' AS {FILE}")
        with ledger._transaction():
            catalogue.make_tables(ledger.connection, log.place)
            ledger._apply(entries, edges=False)
        catalogue.define(ledger.connection)
        return ledger

    def _rebuild(self) -> int:
        entries = list(self.followed.after())
        with self._transaction():
            catalogue.drop(self.connection)
            catalogue.build(self.connection, self.followed.place)
            self._apply(entries)
        self._merge()
        catalogue.tidy(self.connection)
        Lake.at(self.place).sweep()
        return len(entries)

    def _merge(self) -> None:
        """Merge small files where there are many; what keeps it from that is left to the next writer, and harms nothing."""
        try:
            with in_order(self.connection):
                catalogue.merge(self.connection)
        except duckdb.Error as error:
            if not is_conflict(error):
                log_of_sync.warning("sync      small files were not merged: %s", first_line(error))

    def _apply(self, entries: Sequence[Entry], edges: bool = True) -> None:
        """Apply entries that follow, within a transaction."""
        applying = Applying(self.connection, self.followed, entries, edges)
        told = time.monotonic()
        for done, entry in enumerate(entries):
            if time.monotonic() - told > SECONDS_BETWEEN_REPORTS:
                told = time.monotonic()
                log_of_sync.info("sync      %d of %d entries", done, len(entries))
            applying.apply(entry)
        applying.finish()
        if entries:
            last = entries[-1]
            self.connection.execute(
                f"UPDATE {FILE}.ledger SET position = ?, head = ?, log = ?",
                [last.position, last.sha256, self.followed.place],
            )

    def _new_entries(self) -> list[Entry]:
        log = self.followed
        position, head = self.at()
        if position:
            there = log.entry(position)
            if there is None or there.sha256 != head:
                raise Broken(self._another(log, position))
        return list(log.after(position, head))

    def _another(self, log: Log, position: int) -> str:
        """In what the log is not the one that the ledger was made from."""
        for known in self.entries():
            there = log.entry(known.position)
            if there is None:
                return (
                    f"The log {log.place} ends before entry {known.position}, and the ledger {self.place} has {position}: it was"
                    " truncated, or replaced by an older one; restore it from a copy."
                )
            if there.sha256 != known.sha256:
                return (
                    f"The log {log.place} is not the one that the ledger {self.place} was made from: entry {known.position} is the"
                    f" first that differs; give the right --log, or {REBUILD}."
                )
        return f"The ledger {self.place} has lost entries that its log has; {REBUILD}."

    @property
    def followed(self) -> Log:
        """The log that it is written from."""
        if self.log is None:
            raise RuntimeError("a ledger that is only read follows no log")
        return self.log

    def _now(self, position: int) -> datetime.datetime:
        """The time of the next entry, which is later than that of the last, at a position."""
        now = datetime.datetime.now(datetime.UTC)
        last = self.followed.entry(position) if position else None
        if last is not None:
            if now < last.at - SLACK:
                raise InputError(
                    f"The clock says {now:%Y-%m-%d %H:%M:%S} UTC, but the log's last entry is of {last.at:%Y-%m-%d %H:%M:%S};"
                    " set the clock right, nothing was changed."
                )
            now = max(now, last.at + datetime.timedelta(microseconds=1))
        return now

    @contextlib.contextmanager
    def standing(self) -> Iterator[None]:
        """The ledger as it is at the first question of the block, for all of them: several are quicker so, and agree."""
        self.connection.begin()
        try:
            yield
        finally:
            self.connection.rollback()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, with rows in the order in which they are told."""
        with in_order(self.connection):
            self.connection.begin()
            try:
                yield
                self.connection.commit()
            except BaseException:
                with contextlib.suppress(duckdb.Error):  # one that failed to commit is no more
                    self.connection.rollback()
                raise

    def entries(self) -> list[Entry]:
        """The chain, in order."""
        found = self.connection.execute("SELECT position, kind, sha256, entry FROM entries ORDER BY position")
        return [Entry(*row) for row in found.fetchall()]

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Another reader of the same, whose rows can be fetched while this one goes on asking."""
        return self.connection.cursor()

    def rows(
        self, sql: str | duckdb.Statement, parameters: Any = None, most: int | None = None
    ) -> list[dict[str, Any]]:
        """The rows of a query, or the first so many. Raises TimeoutError after `seconds`."""
        if self.seconds is None:
            return self._fetch(sql, parameters, most)
        return self._answer(sql, parameters, most, seconds=self.seconds)

    def _fetch(
        self, sql: str | duckdb.Statement, parameters: Any = None, most: int | None = None
    ) -> list[dict[str, Any]]:
        result = self.connection.execute(sql, parameters)
        columns = [column[0] for column in result.description or ()]
        found = result.fetchall() if most is None else result.fetchmany(most)
        return [dict(zip(columns, row, strict=True)) for row in found]

    def _answer(self, *query: Any, seconds: float | None = None) -> list[dict[str, Any]]:
        """As `rows`, and Ctrl-C ends it at once. Raises TimeoutError after so many seconds."""
        if threading.current_thread() is not threading.main_thread():
            with limit.of(self.connection, seconds) if seconds else contextlib.nullcontext():
                return self._fetch(*query)
        with ThreadPoolExecutor(1) as other:  # the one that asks is where signals arrive
            asked = other.submit(self._fetch, *query)
            try:
                return asked.result(seconds)
            except (KeyboardInterrupt, TimeoutError):
                while not asked.done():  # it may not have begun
                    self.connection.interrupt()
                    time.sleep(0.01)
                raise

    def ask(self, name: str, **given: Any) -> list[dict[str, Any]]:
        """The rows of a named question.

        Raises InputError if there is none of that name, if a parameter is wrong, names what the ledger does not have, or if it takes
        longer than `seconds`.
        """
        asked = question(name)
        values = asked.values(given)
        for parameter in asked.parameters:
            if parameter.kind in names.KINDS and values[parameter.name] != parameter.default:
                values[parameter.name] = names.known(self.connection, parameter.kind, values[parameter.name])
        try:
            return self._answer(asked.sql, values, seconds=self.seconds)
        except TimeoutError:
            raise InputError(
                f"The question {name} took longer than {self.seconds:g} seconds; ask for less, or ask it with `mucs ask`."
            ) from None
        except (duckdb.OutOfRangeException, duckdb.ConversionException, duckdb.InvalidInputException) as error:
            if ".parquet" in str(error):  # one of the ledger's files is damaged
                raise
            raise InputError(
                f"The question {name} has no answer for these values ({first_line(error)}); give others."
            ) from None

    def one(self, sql: str, *parameters: Any) -> Any:
        """The first value of a query's first row; None if it has no row."""
        found = self.connection.execute(sql, list(parameters)).fetchone()
        return found[0] if found else None

    def select(self, sql: str, rows: int | None = None, seconds: float | None = None) -> list[dict[str, Any]]:
        """The rows of an analyst's own query, which can neither write, nor reach files or the network.

        rows: how many at the most. seconds: how long it may take. Raises InputError if the query is not a single one that
        reads, or takes longer, or more memory than MEMORY.
        """
        # a folder may have been moved since its catalogue was written
        own = Lake.at(self.place).data or self.one(
            f"SELECT value FROM ducklake_options('{FILE}') WHERE option_name = 'data_path'"
        )
        self.connection.execute(
            f"SET memory_limit = '{MEMORY}'; SET allowed_directories = ['{literal(own)}']; SET enable_external_access = false;"
            " SET lock_configuration = true"
        )
        if not sql.isascii() and not sql.encode(errors="ignore").decode() == sql:
            raise InputError("The query has characters that are no text; write it in UTF-8.")
        try:
            statements = self.connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise InputError("The query must be one SELECT; write it as such.")
            if beyond := sorted(self._functions_of(sql) & functions_beyond_duckdb(self.connection)):
                raise InputError(
                    f"The query must not use the function {beyond[0]}, which reaches beyond the ledger; leave it out."
                )
            return self._answer(statements[0], None, rows, seconds=seconds)
        except TimeoutError:
            raise InputError(
                f"The query took longer than {seconds:g} seconds; ask for less, or give it more time with --timeout."
            ) from None
        except duckdb.OutOfMemoryException:
            raise InputError(f"The query needs more than {MEMORY} of memory; ask for less at a time.") from None
        except duckdb.Error as error:
            raise InputError(
                f'The query cannot be answered: {first_line(error)}; see the tables with `mucs sql "SHOW TABLES"`.'
            ) from None

    def _functions_of(self, sql: str) -> set[str]:
        """Names of all functions that a SELECT uses."""
        text = self.connection.execute("SELECT json_serialize_sql($1)", [sql]).fetchone()
        found: set[str] = set()
        waiting = [json.loads(text[0])] if text else []
        while waiting:
            each = waiting.pop()
            if isinstance(each, dict):
                found |= {str(each["function_name"]).lower()} if "function_name" in each else set()
                waiting += each.values()
            elif isinstance(each, list):
                waiting += each
        return found

    def has_run(self, sha256: str) -> bool:
        """Whether a run is loaded."""
        return self.one("SELECT 1 FROM runs WHERE sha256 = ?", sha256) is not None

    def edges_of(self, sha256: str) -> int:
        """How many edges a loaded run has, as its record says."""
        return int(self.one("SELECT (record->'results'->>'edges')::BIGINT FROM runs WHERE sha256 = ?", sha256))

    def run(self, sha256: str) -> dict[str, Any]:
        """A loaded run: its sha256, record, location, validations (in the record's order), and its artifacts' files and bytes by kind."""
        (found,) = self.rows("SELECT run_id, sha256, record, location FROM runs WHERE sha256 = ?", [sha256])
        sizes = {(a["kind"], a["sha256"]): a for a in self.rows("SELECT * FROM artifacts")}
        try:
            record = load_json(found["record"])
            inputs = {**record["inputs"], "calibration": record["calibration"]}
            digests = {kind: given["sha256"] for kind, given in inputs.items() if given}
            results = record["results"]
            digests |= {"noise_bank": record["noise_bank"], "edges": results["edges_sha256"]}
            if "unseen_edges_sha256" in results:
                digests["unseen_edges"] = results["unseen_edges_sha256"]
            artifacts = {kind: sizes[kind, sha] for kind, sha in digests.items()}
        except (LookupError, TypeError, ValueError, AttributeError):
            raise Altered(
                f"The record of run {sha256[:12]} is not of the form that a ledger has; see what else was altered with `mucs verify`."
            ) from None
        results = [json.loads(r["result"]) for r in self.rows("FROM validations WHERE run_id = ?", [found["run_id"]])]
        order = [said["sha256"] for said in record.get("validations", ())]
        return {
            "sha256": sha256,
            "record": record,
            "location": found["location"],
            "validations": sorted(results, key=lambda v: order.index(digest(v)) if digest(v) in order else len(order)),
            "artifacts": artifacts,
        }

    def edges(self, run_id: int) -> pa.Table:
        """A run's edges with the columns of the Merkle tree's leaves, by generated row and rank."""
        return self.connection.execute(
            "SELECT g.row_sha256 AS generated_row_sha256, t.row_sha256 AS training_row_sha256, e.rank,"
            f" {PUBLISHED} FROM edges e"
            " JOIN generated_items g USING (generated_id) JOIN training_items t USING (training_id)"
            " WHERE run_id = ? ORDER BY g.row_sha256, e.rank",
            [run_id],
        ).to_arrow_table()

    def members(self, run: str, items: pa.Table) -> pa.Array:
        """The SHA-256 of the rows of items, as a run knows them; null for one that is not in its training set.

        Args:
            run: The run's SHA-256.
            items: (N,) their `id` and `sha256`.
        """
        self.connection.register("asked", items.append_column("place", pa.array(range(len(items)))))
        found = self.connection.execute(
            "SELECT any_value(t.row_sha256) AS row_sha256 FROM asked LEFT JOIN (SELECT id, sha256, row_sha256 FROM training_items WHERE training_id IN ("
            " SELECT training_id FROM members JOIN runs USING (training_set_id) WHERE runs.sha256 = ?)) t USING (id, sha256) GROUP BY place ORDER BY place",
            [run],
        ).to_arrow_table()
        return found["row_sha256"].combine_chunks()

    def item_edges(self, run: str, row_sha256: str) -> pa.Table:
        """The edges of one generated item of a run, best first: `training_row_sha256` and the numbers as they were published.

        Args:
            run: the run's SHA-256.
            row_sha256: that of the item's row.
        """
        return self.connection.execute(
            f"SELECT t.row_sha256 AS training_row_sha256, e.rank, {PUBLISHED}"
            " FROM edges e JOIN training_items t USING (training_id)"
            " WHERE run_id = (SELECT run_id FROM runs WHERE sha256 = ?)"
            " AND generated_id = (SELECT generated_id FROM generated_items WHERE row_sha256 = ?) ORDER BY e.rank",
            [run, row_sha256],
        ).to_arrow_table()

    def item_unseen_edges(self, run: str, row_sha256: str) -> pa.Table:
        """What `item_edges` gives, of held-out items, by `held_out_sha256`, that of their images; no rows of a run that kept none."""
        return self.connection.execute(
            f"SELECT sha256 AS held_out_sha256, rank, {PUBLISHED} FROM unseen_edges"
            " WHERE run_id = (SELECT run_id FROM runs WHERE sha256 = ?)"
            " AND generated_id = (SELECT generated_id FROM generated_items WHERE row_sha256 = ?) ORDER BY rank",
            [run, row_sha256],
        ).to_arrow_table()


class _Late(Exception):
    """Another writer's entry came first."""
