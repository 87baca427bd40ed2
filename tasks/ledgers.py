"""Ledgers and logs by their addresses, with the credentials of S3 from boto3's usual chain."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from urllib.parse import urlsplit

import duckdb

from mucs import InputError
from mucs.evidence.log import Log, entry_name
from mucs.ledger import Ledger
from mucs.ledger.lake import FILE, Credentials, Lake
from tasks import s3
from tasks.stores import open_store

SECONDS_TO_ASK = 2.0  # a log whether it is ahead


def open_log(place: str) -> Log:
    """The log at a place; nothing has been asked of it yet.

    Args:
        place: A folder, or `s3://bucket/prefix`.

    Raises:
        InputError: If the place is of neither form.
    """
    return Log(open_store(place))


def credentials(place: str | Path) -> Credentials | None:
    """What a ledger needs to reach its files on S3; None where they do not lie there."""
    if "httpfs" not in Lake.at(place).extensions:
        return None
    import boto3

    session = boto3.Session()
    found = session.get_credentials()
    if found is None:
        raise InputError("There are no S3 credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
    made = s3.client()
    endpoint = urlsplit(made.meta.endpoint_url)
    told = {
        "KEY_ID": found.access_key,
        "SECRET": found.secret_key,
        "REGION": made.meta.region_name or "us-east-1",
        "ENDPOINT": endpoint.netloc,
        "USE_SSL": str(endpoint.scheme == "https").lower(),
        "URL_STYLE": "vhost" if endpoint.netloc.endswith(".amazonaws.com") else "path",
    }
    return told | ({"SESSION_TOKEN": found.token} if found.token else {})


def reading(place: str | Path) -> Ledger:
    """A ledger to ask.

    Raises:
        InputError: As `Ledger.open` does.
    """
    return Ledger.open(place, credentials(place))


def writing(place: str | Path, log: str | None = None) -> Ledger:
    """A ledger to bring up to its log, and to say more.

    Args:
        place: The ledger's; a missing one is made, if a log is given.
        log: The log's place; without it, the one that the ledger follows.

    Raises:
        InputError: As `Ledger.write` does, or if there is neither.
    """
    log = log or _log_said_by(place) or followed(place)  # the last says what is wrong with the ledger
    return Ledger.write(place, open_log(log), credentials(place))


def followed(place: str | Path) -> str:
    """The place of the log that a ledger follows.

    Raises:
        InputError: As `Ledger.open` does.
    """
    with reading(place) as ledger:
        return ledger.follows


def followed_by_any(place: str | Path) -> str:
    """The place of the log that a ledger follows, of whatever schema it is.

    Raises:
        InputError: If there is none, or it does not say.
    """
    found = _log_said_by(place)
    if found is None:
        raise InputError(
            f"There is no ledger at {place} that says which log it was made from; give the log's place as --log."
        )
    return found


def _log_said_by(place: str | Path) -> str | None:
    """The log that a ledger says it was made from, with nothing else of it looked at; None if it says none."""
    lake = Lake.at(place)
    found: list[tuple[str]] = []
    if lake.exists():
        with lake.connect(credentials(place)) as connection, contextlib.suppress(duckdb.Error):
            lake.attach(connection, read_only=True)
            found = connection.execute(f"SELECT log FROM {FILE}.main.ledger").fetchall()
    return str(found[0][0]) if len(found) == 1 else None


def is_behind(ledger: Ledger) -> bool:
    """Whether its log has more than a ledger, as far as can be told in two seconds."""
    position, _ = ledger.at()
    place, found = ledger.follows, threading.Event()

    def ask() -> None:
        try:
            if open_store(place).has(entry_name(position + 1)):
                found.set()
        except InputError:  # a log that does not answer keeps nobody from reading
            pass

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(SECONDS_TO_ASK)
    return found.is_set()
