"""Where a ledger lies: a DuckLake, with its catalogue in SQLite in a folder, or in Postgres with its tables' files elsewhere.

A writer adds Parquet files, and then says in one step of the catalogue that they are there. So nothing is copied, readers never wait,
and what a killed writer left is part of nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from mucs import InputError

FILE = "file"  # the name that a ledger is attached under
CATALOGUE, DATA = "catalogue.sqlite", "data"
META = f"__ducklake_metadata_{FILE}"  # the tables of a lake's catalogue, which DuckLake specifies
LARGE = 64_000_000  # bytes of a ledger's files, from which more than one thread makes questions quicker
WAIT_MS = 20_000  # that a writer waits for another
POSTGRES = "ducklake:postgres:"
# edges take 10 bytes so, and 18 otherwise
OPTIONS = {"parquet_compression": "zstd", "parquet_version": "2"}
SWEEP = """import sqlite3, sys
catalogue = sqlite3.connect(sys.argv[1], float(sys.argv[2]))
catalogue.execute("VACUUM")
catalogue.execute("PRAGMA wal_checkpoint(TRUNCATE)")
catalogue.close()"""
Credentials = Mapping[str, str]  # of S3, as DuckDB's secrets name them


@dataclass(frozen=True)
class Lake:
    """The place of a ledger.

    Attributes:
        catalogue: The folder of a local one, or the connection string of a database of Postgres.
        data: Where its tables' files are; None where Postgres knows.
        is_local: Whether it is a folder.
    """

    catalogue: str
    data: str | None
    is_local: bool

    @classmethod
    def at(cls, place: str | Path) -> Lake:
        """The lake of a place: a folder, or `ducklake:postgres:dbname=… host=… data_path=s3://bucket/prefix`.

        data_path is needed where the ledger is new.

        Raises:
            InputError: If it is neither, or a file.
        """
        text = str(place)
        if not text.startswith("ducklake:"):
            if "://" in text:
                raise InputError(f"A ledger cannot lie at {text!r}; give a folder, or {POSTGRES}dbname=….")
            folder = Path(os.path.realpath(place))  # which a circle of links does not stop
            if folder.is_file():
                raise InputError(
                    f"{place} is a file, and a ledger is a folder; if it is one of before there was a log, bring it over with"
                    f" `mucs rebuild --from {place} --log FOLDER --ledger OTHER`."
                )
            return cls(str(folder), str(folder / DATA), True)
        words = text.removeprefix(POSTGRES).split()
        if not text.startswith(POSTGRES) or not words or not all("=" in word for word in words):
            raise InputError(
                f"A ledger cannot lie at {text!r}; write {POSTGRES}dbname=NAME host=HOST data_path=s3://bucket/prefix."
            )
        data = [word.removeprefix("data_path=") for word in words if word.startswith("data_path=")]
        return cls(
            " ".join(word for word in words if not word.startswith("data_path=")), data[0] if data else None, False
        )

    @property
    def extensions(self) -> tuple[str, ...]:
        """The extensions of DuckDB that it takes."""
        if self.is_local:
            return ("ducklake", "sqlite_scanner")
        return ("ducklake", "postgres_scanner", *(("httpfs",) if (self.data or "s3:").startswith("s3:") else ()))

    def exists(self) -> bool:
        """Whether there is one, as far as its folder tells; of one on Postgres, attaching it tells."""
        return not self.is_local or (Path(self.catalogue) / CATALOGUE).is_file()

    def connect(self, credentials: Credentials | None = None) -> duckdb.DuckDBPyConnection:
        """A database in memory that can attach it, and works with one thread until `use_cores`.

        Raises:
            InputError: If an extension is not installed.
        """
        connection = duckdb.connect(
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "threads": 1,
                "allow_unsigned_extensions": "true",  # those below are signed, which takes a quarter of a second to see
                "temp_directory": f"{tempfile.gettempdir()}/mucs-duckdb-{os.getpid()}",  # made when it is needed
            }
        )
        for name in self.extensions:
            connection.execute(f"LOAD '{literal(signed_extension(name))}'")
        # the zone is that of `current_date`, and of the times that are shown
        connection.execute("SET enable_progress_bar = false; SET TimeZone = 'UTC'")
        if credentials:
            told = ", ".join(f"{name} '{literal(value)}'" for name, value in credentials.items())
            connection.execute(f"CREATE SECRET lake (TYPE s3, {told})")
        return connection

    def attach(self, connection: duckdb.DuckDBPyConnection, *, read_only: bool) -> None:
        """Attach it as FILE; a missing one is made, unless it is only to be read."""
        kind = f"sqlite:{self.catalogue}/{CATALOGUE}" if self.is_local else f"postgres:{self.catalogue}"
        options = []
        if self.data:
            options.append(f"DATA_PATH '{literal(self.data)}'")
        if self.is_local:
            options.append("OVERRIDE_DATA_PATH true")  # its folder may have been moved
            # so that neither readers nor the writer wait for the other, and writers for each other
            options.append(f"META_BUSY_TIMEOUT {WAIT_MS}" + ("" if read_only else ", META_JOURNAL_MODE 'WAL'"))
        if read_only:
            options += ["READ_ONLY", "CREATE_IF_NOT_EXISTS false"]
        told = f" ({', '.join(options)})" if options else ""
        connection.execute(f"ATTACH 'ducklake:{literal(kind)}' AS {FILE}{told}")

    def sweep(self) -> None:
        """Have SQLite give back what was deleted, so that no page of its file goes on to have it."""
        if self.is_local:
            # in a process of its own: to close a file that another SQLite in this one has open would drop that one's locks
            command = [sys.executable, "-I", "-c", SWEEP, str(Path(self.catalogue) / CATALOGUE), str(WAIT_MS / 1000)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise InputError(
                    f"The catalogue of the ledger {self.catalogue} cannot be swept ({done.stderr.strip().splitlines()[-1]});"
                    " make the ledger anew with `mucs rebuild` when nobody writes it."
                )


@contextlib.contextmanager
def in_order(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """While it goes on, rows come out of a query, and are written, in the order of the first table that it names."""
    ((threads,),) = connection.execute("SELECT current_setting('threads')").fetchall()
    connection.execute("SET threads = 1; SET disabled_optimizers = 'join_order,build_side_probe_side'")
    try:
        yield
    finally:
        connection.execute(f"SET threads = {threads}; RESET disabled_optimizers")


def use_cores(connection: duckdb.DuckDBPyConnection) -> None:
    """Have queries use all cores where the attached lake is large.

    On a small one a second thread finds nothing to do, and costs as much processor time as the query itself in looking for it.
    """
    sizes = f"SELECT coalesce(sum(file_size_bytes), 0) FROM {META}.ducklake_data_file WHERE end_snapshot IS NULL"
    ((size,),) = connection.execute(sizes).fetchall()
    if size >= LARGE:
        connection.execute(f"SET threads = {len(os.sched_getaffinity(0))}")


def give_up(connection: duckdb.DuckDBPyConnection, error: BaseException) -> None:
    """Close a connection after an error.

    One that read a ledger while that was made anew may be broken beyond repair. DuckDB ends the whole process when such a one is closed,
    and so it stays as it is for as long as the process lives.
    """
    if isinstance(error, duckdb.FatalException | duckdb.InternalException):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    else:
        connection.close()


def functions_beyond_duckdb(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Functions that a connection has and whose reach DuckDB's own settings do not limit.

    They are those that its extensions bring, those that run a text as a query, and those that tell of credentials.
    """
    asked = "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE database_name = 'system'"
    with duckdb.connect() as plain:
        known, found = ({str(row[0]) for row in each.execute(asked).fetchall()} for each in (plain, connection))
    return frozenset(found - known) | {"query", "query_table", "duckdb_secrets", "which_secret"}


@functools.cache
def signed_extension(name: str) -> str:
    """The file of an extension, once DuckDB has seen in this process that it is signed."""
    path = extension(name)
    with duckdb.connect() as connection:
        connection.execute(f"LOAD '{literal(path)}'")
    return path


def extension(name: str) -> str:
    """The file of an extension of DuckDB, from the package that brings it.

    Raises:
        InputError: If that is not installed.
    """
    package = f"duckdb_extension_{name}"
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        extra = "lake" if name in ("postgres_scanner", "httpfs") else "service"
        raise InputError(f"The package {package.replace('_', '-')} is missing; run: pip install 'mucs[{extra}]'.")
    return str(Path(found.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension")


def literal(text: str) -> str:
    """Text between quotes of SQL."""
    return text.replace("'", "''")
