"""Opening: how a ledger's lake is attached, tried again beside other writers, and held to what this program's ledgers define."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import duckdb

from mucs import InputError
from mucs.evidence.log import Log
from mucs.ledger import catalogue
from mucs.ledger.lake import FILE, Credentials, Lake, give_up, use_cores
from mucs.text import first_line

WAIT = 60.0  # seconds that a writer goes on trying beside others
WAS_QUICKER = "another writer was quicker"
REBUILD = "make the ledger anew with `mucs rebuild`"
CONFLICTS = (
    "database is locked",
    "conflict",
    "could not serialize",
    "deadlock",
    "current transaction is aborted",  # as DuckLake says while another makes the catalogue
    WAS_QUICKER,
)
T = TypeVar("T")


class Altered(InputError):
    """The tables are not those of a ledger, so that nothing in it can be relied on."""


def is_conflict(error: duckdb.Error) -> bool:
    """Whether another writer of the catalogue came between."""
    said = str(error).lower()
    return any(words in said for words in CONFLICTS)


def plainly(error: duckdb.Error, place: str) -> BaseException:
    """What to raise for it: the same, or plain words where the place is to blame."""
    said = str(error).lower()
    full = [os.strerror(number).lower() for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)]
    if any(words in said for words in (*full, "disk is full", "disk i/o error")):
        return InputError(
            f"There is no room for the ledger {place}, or its disk fails; free some, or give another place, the ledger is as it was."
        )
    return error


def make_folder(lake: Lake) -> None:
    """Make the folder of a local lake, unless it is there.

    Raises:
        InputError: If it cannot be made or written.
    """
    if not lake.is_local:
        return
    folder = Path(lake.catalogue)
    if not folder.parent.is_dir():
        raise InputError(f"The folder {folder.parent} of the ledger does not exist; make it, or give another --ledger.")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The ledger {folder} cannot be made ({str(error.strerror).lower()}); give another --ledger."
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"The ledger {folder} cannot be written to; mend its permissions, or give another --ledger.")


def retried(do: Callable[[], T], place: str | Path) -> T:
    """Do it, again where another writer came between."""
    until, pause = time.monotonic() + WAIT, 0.02
    while True:
        try:
            return do()
        except duckdb.Error as error:
            if not is_conflict(error):
                raise plainly(error, str(place)) from error
            if time.monotonic() > until:
                raise InputError(
                    f"The ledger {place} is being written by others all the time; try again later."
                ) from None
        time.sleep(pause)
        pause = min(2 * pause, 1.0)


def opened(
    lake: Lake, place: str | Path, credentials: Credentials | None, *, read_only: bool, log: Log | None = None
) -> duckdb.DuckDBPyConnection:
    """A database in memory with a ledger attached, and the program's views and macros over its tables.

    Args:
        lake: Where it lies.
        place: What the user calls it.
        credentials: Of S3, where its files lie there.
        read_only: Whether it is only to be read.
        log: Its log; a missing ledger is made, as it is before the log's first entry.

    Raises:
        InputError: If there is none, or it is of another schema, or others write it all the time.
        Altered: If it does not define what a ledger does.
    """

    def connect() -> duckdb.DuckDBPyConnection:
        connection = attached(lake, credentials, read_only=read_only)
        try:
            # in a transaction, as DuckLake asks its catalogue what is new at the start of each, and of several that make a ledger
            # one is too late
            connection.begin()
            found = catalogue.read(connection)
            if log is not None and not found:
                try:
                    catalogue.build(connection, log.place)
                except duckdb.CatalogException as error:  # its tables have come since it was looked for
                    raise duckdb.TransactionException(WAS_QUICKER) from error
                connection.commit()
                connection.begin()
            else:
                _check(connection, place, found)
            catalogue.define(connection)
            connection.commit()
        except BaseException as error:
            give_up(connection, error)
            raise
        return connection

    with plain_errors(place):
        return retried(connect, place)


def attached(lake: Lake, credentials: Credentials | None, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """A database in memory with a lake attached, whatever is in it."""
    connection = lake.connect(credentials)
    try:
        lake.attach(connection, read_only=read_only)
        use_cores(connection)
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def plain_errors(place: str | Path) -> Iterator[None]:
    """Say in plain words what goes wrong."""
    try:
        yield
    except duckdb.Error as error:
        raise InputError(
            f"{place} cannot be opened as a ledger ({first_line(error)}); look at its place, or delete it and {REBUILD}."
        ) from None


def _check(connection: duckdb.DuckDBPyConnection, place: str | Path, found: catalogue.Catalogue) -> None:
    """See whether what is attached is a ledger of this program's schema.

    Raises:
        InputError: If it is of another, or none.
        Altered: If it does not define what a ledger does.
    """
    if ("table", "ledger") not in found:
        raise InputError(f"{place} is a DuckLake but not a ledger; give another --ledger.")
    versions = [row[0] for row in connection.execute(f"SELECT schema_version FROM {FILE}.main.ledger").fetchall()]
    if len(versions) != 1:
        raise Altered(f"The ledger {place} was altered: its table ledger has {len(versions)} rows; {REBUILD}.")
    if versions != [catalogue.SCHEMA]:
        raise InputError(
            f"The ledger {place} is of schema {versions[0]}, this program's is {catalogue.SCHEMA}; {REBUILD}."
        )
    wrong = catalogue.fault(found)
    if wrong:
        raise Altered(f"The ledger {place} was altered: {wrong}; {REBUILD}.")
