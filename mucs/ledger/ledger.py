"""The ledger's file: opened to read, or written beside itself and put in its own place in one step."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import duckdb
import pyarrow as pa

from mucs import InputError
from mucs.canonical import digest
from mucs.evidence.edges import PUBLISHED
from mucs.ledger import catalogue, names
from mucs.ledger.chain import GENESIS, Entry, link
from mucs.ledger.questions import question
from mucs.parse import load_json
from mucs.text import first_line

SCHEMAS = (6, 7)  # that are read and written; a new ledger is of the last
MEMORY = "2GB"  # that an analyst's query may take
WAIT = 60.0  # seconds that a writer waits for another one
SLACK = datetime.timedelta(minutes=1)  # by which a clock may fall behind the last entry


class Altered(InputError):
    """The file's tables are not those of a ledger, so that nothing in it can be relied on."""


class Ledger:
    """A ledger file, attached as `file` to a database in memory that has the program's views and macros; use it in a `with` block.

    Whoever writes works on a copy beside the file, which takes its place when the block ends well. So the file that
    others read is whole at every moment, readers never wait, and a writer that is killed has changed nothing.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path, lock: TextIO | None = None) -> None:
        self.connection = connection
        self.path = path
        self.now: datetime.datetime | None = None  # the time of the transaction that is going on
        self._lock = lock  # whoever writes holds it
        self._changed = False

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = True, wait: float = WAIT) -> Ledger:
        """Open a ledger; with `read_only=False` a missing one is made, and another writer is waited for, so many seconds.

        Raises InputError if the file is missing, locked by another program, not DuckDB, not a ledger, or of another
        schema; if it cannot be written; if another writer does not finish; or if there is no room for the copy. Raises
        Altered if its tables are not as they must be; to write, nothing else that it defines may differ either.
        """
        path = Path(path)
        if not path.exists() and read_only:
            raise InputError(
                f"There is no ledger at {path}; run `mucs audit` or `mucs demo`, or point --ledger or MUCS_LEDGER to one."
            )
        if path.exists() and not path.is_file():  # to open a pipe waits for good
            raise InputError(f"{path} is no file; give the file of a ledger.")
        if not path.parent.is_dir():
            raise InputError(
                f"The folder {path.parent} of the ledger does not exist; make it, or give another --ledger."
            )
        if read_only:
            return cls(connect(path), path)
        if path.is_symlink():  # else the copy would take the link's place, and leave the file as it was
            path = path.resolve()
        lock = take_lock(path, wait)
        try:
            connection = connect(working_copy(path), path, read_only=False)
        except BaseException:
            lock.close()
            raise
        return cls(connection, path, lock)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is None:
            return self.connection.close()
        working = working_path(self.path)
        try:
            with no_room(self.path):
                if error is None and (self._changed or not self.path.exists()):
                    self.connection.execute("CHECKPOINT file")
                    self.connection.close()
                    replace_durably(working, self.path)
                elif isinstance(error, duckdb.Error | OSError):
                    raise error
        finally:
            self.connection.close()
            for left in (working, Path(f"{working}.wal")):
                left.unlink(missing_ok=True)
            self._lock.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[datetime.datetime]:
        """All or nothing, at one time, which is later than that of every entry before.

        Raises InputError if the clock stands more than a minute before the last entry.
        """
        now = datetime.datetime.now(datetime.UTC)
        last = self._last()
        if last is not None:
            at = datetime.datetime.fromisoformat(json.loads(last.entry)["at"])
            if now < at - SLACK:
                raise InputError(
                    f"The clock says {now:%Y-%m-%d %H:%M:%S} UTC, but the ledger's last entry is of {at:%Y-%m-%d %H:%M:%S};"
                    " set the clock right, nothing was changed."
                )
            now = max(now, at + datetime.timedelta(microseconds=1))
        self.now = now
        self.connection.begin()
        try:
            yield now
        except BaseException:
            self.connection.rollback()
            raise
        finally:
            self.now = None
        self.connection.commit()
        self._changed = True

    def append(self, kind: str, body: dict[str, Any]) -> Entry:
        """Add an entry to the chain, within a transaction."""
        if self.now is None:
            raise RuntimeError("an entry is part of a transaction")
        last = self._last()
        position, previous = (last.position + 1, last.sha256) if last else (1, GENESIS)
        entry = link(position, previous, kind, self.now.isoformat(timespec="microseconds"), body)
        self.connection.execute(
            "INSERT INTO file.entries VALUES (?, ?, ?, ?)", [entry.position, entry.kind, entry.sha256, entry.entry]
        )
        return entry

    def _last(self) -> Entry | None:
        found = self.connection.execute(
            "SELECT position, kind, sha256, entry FROM entries ORDER BY position DESC LIMIT 1"
        ).fetchone()
        return Entry(*found) if found else None

    def entries(self) -> list[Entry]:
        """The chain, in order."""
        found = self.connection.execute("SELECT position, kind, sha256, entry FROM entries ORDER BY position")
        return [Entry(*row) for row in found.fetchall()]

    def rows(
        self, sql: str | duckdb.Statement, parameters: Any = None, most: int | None = None
    ) -> list[dict[str, Any]]:
        """The rows of a query, or the first so many."""
        result = self.connection.execute(sql, parameters)
        columns = [column[0] for column in result.description or ()]
        found = result.fetchall() if most is None else result.fetchmany(most)
        return [dict(zip(columns, row, strict=True)) for row in found]

    def _answer(self, *query: Any, seconds: float | None = None) -> list[dict[str, Any]]:
        """As `rows`, and Ctrl-C ends it at once. Raises TimeoutError after so many seconds."""
        with ThreadPoolExecutor(1) as other:  # the one that asks is where signals arrive
            asked = other.submit(self.rows, *query)
            try:
                return asked.result(seconds)
            except (KeyboardInterrupt, TimeoutError):
                while not asked.done():  # it may not have begun
                    self.connection.interrupt()
                    time.sleep(0.01)
                raise

    def ask(self, name: str, **given: Any) -> list[dict[str, Any]]:
        """The rows of a named question.

        Raises InputError if there is none of that name, if a parameter is wrong, or names what the ledger does not have.
        """
        asked = question(name)
        values = asked.values(given)
        for parameter in asked.parameters:
            if parameter.kind in names.KINDS and values[parameter.name] != parameter.default:
                values[parameter.name] = names.known(self.connection, parameter.kind, values[parameter.name])
        try:
            return self._answer(asked.sql, values)
        except (duckdb.OutOfRangeException, duckdb.ConversionException, duckdb.InvalidInputException) as error:
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
        self.connection.execute(
            f"SET memory_limit = '{MEMORY}'; SET enable_external_access = false; SET lock_configuration = true"
        )
        if not sql.isascii() and not sql.encode(errors="ignore").decode() == sql:
            raise InputError("The query has characters that are no text; write it in UTF-8.")
        try:
            statements = self.connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type not in (
                duckdb.StatementType.SELECT,
                duckdb.StatementType.EXPLAIN,
            ):
                raise InputError("The query must be one SELECT; write it as such.")
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

    def has_run(self, sha256: str) -> bool:
        """Whether a run is loaded."""
        return self.one("SELECT 1 FROM runs WHERE sha256 = ?", sha256) is not None

    def run(self, sha256: str) -> dict[str, Any]:
        """A loaded run: its sha256, record, location, validations (in the record's order), and its artifacts' files and bytes by kind."""
        (found,) = self.rows("SELECT run_id, sha256, record, location FROM runs WHERE sha256 = ?", [sha256])
        sizes = {(a["kind"], a["sha256"]): a for a in self.rows("SELECT * FROM artifacts")}
        try:
            record = load_json(found["record"])
            inputs = {**record["inputs"], "calibration": record["calibration"]}
            digests = {kind: given["sha256"] for kind, given in inputs.items() if given}
            digests |= {"noise_bank": record["noise_bank"], "edges": record["results"]["edges_sha256"]}
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


def connect(path: Path, named: Path | None = None, *, read_only: bool = True) -> duckdb.DuckDBPyConnection:
    """A database in memory with a ledger's file attached, and the program's views and macros over its tables.

    named: what to call it in an error. To write, a missing file is made. Raises InputError as `Ledger.open` does.
    """
    named = named or path
    new = not path.exists()
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "temp_directory": str(path.with_name(f".{path.name}.tmp")),
        }
    )
    connection.execute("SET TimeZone = 'UTC'")  # of `current_date`, and of the times that are shown
    try:
        catalogue.attach(connection, path, read_only=read_only)
        if new:
            catalogue.build(connection, path)
        elif check(connection, named, read_only):
            catalogue.renew(connection, path)
        catalogue.define(connection)
        return connection
    except duckdb.Error as error:
        connection.close()
        if "Could not set lock" in str(error):
            raise InputError(
                f"The ledger {named} is in use by a program that writes to it directly; close that one, and open ledgers read-only."
            ) from None
        if isinstance(error, duckdb.PermissionException) or "Permission denied" in str(error):
            raise InputError(f"The ledger {named} cannot be read: permission is denied; give one that can.") from None
        raise InputError(f"{named} is not a DuckDB file, or is damaged; restore it from a copy.") from None
    except BaseException:
        connection.close()
        raise


def check(connection: duckdb.DuckDBPyConnection, path: Path, read_only: bool) -> bool:
    """Whether a writer must renew the views and macros of the attached file, which are an earlier ledger's.

    InputError unless it is a ledger of one of SCHEMAS. Views and macros matter to a writer alone.
    """
    found = catalogue.read(connection)
    if ("table", "ledger") not in found:
        raise InputError(f"{path} is a DuckDB file but not a ledger; give another --ledger.")
    versions = [row[0] for row in connection.execute(f"SELECT * FROM {catalogue.FILE}.main.ledger").fetchall()]
    version = versions[0] if versions else None
    if version not in SCHEMAS:
        raise InputError(
            f"The ledger {path} is of schema {version}, this program reads {' and '.join(map(str, SCHEMAS))}; use the version of mucs that wrote it."
        )
    wrong = catalogue.table_fault(found) if read_only else catalogue.fault(found)
    if wrong:
        raise Altered(f"{path} was altered: {wrong}; restore it from a copy.")
    return not read_only and catalogue.is_earlier(found)


def working_path(path: Path) -> Path:
    """Where a writer of this ledger works."""
    return path.with_name(f".{path.name}.writing")


def working_copy(path: Path) -> Path:
    """A copy of a ledger to write to, what a killed writer left being thrown away; no file yet if there is no ledger."""
    working = working_path(path)
    for left in (working, Path(f"{working}.wal")):
        left.unlink(missing_ok=True)
    if path.exists():
        connect(path).close()
        if Path(f"{path}.wal").exists():
            raise InputError(
                f"Another program wrote to the ledger {path} and did not finish, and left {path.name}.wal; restore the ledger"
                " from a copy, without that file."
            )
        with no_room(path):
            try:
                shutil.copyfile(path, working)
            except OSError:
                working.unlink(missing_ok=True)
                raise
    return working


def take_lock(path: Path, wait: float) -> TextIO:
    """The lock of a ledger's writers, which the system frees when its holder ends, however it ends.

    Raises InputError, naming the holder, after so many seconds.
    """
    try:
        lock = path.with_name(f".{path.name}.lock").open("a+")
    except OSError as error:
        raise InputError(
            f"The ledger {path} cannot be written, as nothing can be in its folder ({error.strerror}); give another --ledger."
        ) from None
    until = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(0.05)
                continue
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            lock.close()
            raise InputError(f"The ledger {path} is being written by {holder}; try again when it is done.") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} since {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC")
        lock.flush()
        return lock


def replace_durably(working: Path, path: Path) -> None:
    """Put a finished file in its place, so that either the old or the new one survives a loss of power."""
    with working.open("rb") as f:
        os.fsync(f.fileno())
    working.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def no_room(path: Path) -> Iterator[None]:
    """Says in plain words that the disk is full."""
    try:
        yield
    except (OSError, duckdb.Error) as error:
        full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        message = str(error).lower()
        if getattr(error, "errno", None) not in full and not any(os.strerror(e).lower() in message for e in full):
            raise
        raise InputError(
            f"There is no room beside {path} to write it anew; free as much as it takes, the ledger is as it was."
        ) from None
