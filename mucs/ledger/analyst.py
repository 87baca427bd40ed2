"""An analyst's own query, answered in a process of its own: whatever it does, it ends in time, and nothing else goes with it."""

from __future__ import annotations

import base64
import datetime
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from mucs import InputError
from mucs.ledger.lake import Credentials
from mucs.ledger.ledger import MEMORY, Ledger

SECONDS_TO_START = 30.0  # that the process may take besides the query
MOST_BYTES = 6 * 2**30  # of address space: what DuckDB may take, the answer as Python has it, and the program
MOST_ANSWER = 64_000_000  # characters of the answer


def select(
    place: str, sql: str, rows: int, seconds: float, credentials: Credentials | None = None
) -> list[dict[str, Any]]:
    """The first rows of one SELECT over a ledger.

    Args:
        place: The ledger's.
        sql: The query, which can neither write, nor reach anything but the ledger.
        rows: How many at the most.
        seconds: How long it may take.
        credentials: As `Ledger.open` takes them.

    Raises:
        InputError: If the query is not one that reads, cannot be answered, or takes more time, memory or room than it may.
    """
    if not sql.isascii() and not sql.encode(errors="ignore").decode() == sql:
        raise InputError("The query has characters that are no text; write it in UTF-8.")
    given = json.dumps(
        {"place": place, "sql": sql, "rows": rows, "seconds": seconds, "credentials": dict(credentials or {})}
    )
    command = [sys.executable, "-P", "-m", "mucs.ledger.analyst"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(seconds + SECONDS_TO_START, process.kill)
        timer.start()
        try:
            process.stdin.write(given.encode() + b"\n")
            process.stdin.flush()  # and it stays open: the process ends when this one does
            text = process.stdout.read()
        except BrokenPipeError:
            text = b""
        finally:
            timer.cancel()
            process.kill()
    try:
        answer = json.loads(text)
    except ValueError:
        raise InputError(
            f"The query needs more time or memory than the {seconds:g} seconds and {MEMORY} that it has; ask for less."
        ) from None
    if "wrong" in answer:
        raise InputError(answer["wrong"])
    return [{name: read(value) for name, value in zip(answer["columns"], row, strict=True)} for row in answer["rows"]]


def written(value: Any) -> Any:
    """A value of an answer as JSON; what JSON lacks is a list of its kind and its text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list | tuple):
        return ["list", [written(each) for each in value]]
    if isinstance(value, dict):
        return ["map", [[written(key), written(each)] for key, each in value.items()]]
    if isinstance(value, datetime.datetime):
        return ["time", value.isoformat()]
    if isinstance(value, datetime.date):
        return ["day", value.isoformat()]
    if isinstance(value, bytes):
        return ["bytes", base64.b64encode(value).decode()]
    return [type(value).__name__ if isinstance(value, float | Decimal) else "text", str(value)]


READ: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "Decimal": Decimal,
    "time": datetime.datetime.fromisoformat,
    "day": datetime.date.fromisoformat,
    "bytes": base64.b64decode,
    "text": str,
    "list": lambda given: [read(each) for each in given],
    "map": lambda given: {read(key): read(each) for key, each in given},
}


def read(value: Any) -> Any:
    """What `written` was given."""
    return READ[value[0]](value[1]) if isinstance(value, list) else value


def main() -> None:
    """Answer the query that standard input brings."""
    given = json.loads(sys.stdin.readline())
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    try:
        with Ledger.open(given["place"], given["credentials"] or None) as ledger:
            rows = ledger.select(given["sql"], given["rows"], given["seconds"])
        text = json.dumps(
            {
                "columns": list(rows[0]) if rows else [],
                "rows": [[written(value) for value in row.values()] for row in rows],
            }
        )
        if len(text) > MOST_ANSWER:
            raise InputError(f"The answer has more than {MOST_ANSWER:,} characters; ask for less.")
    except InputError as error:
        text = json.dumps({"wrong": str(error)})
    except MemoryError:
        text = json.dumps({"wrong": f"The query needs more than {MEMORY} of memory; ask for less at a time."})
    sys.stdout.write(text)
    sys.stdout.flush()
    os._exit(0)  # not to wait for what a query that was stopped goes on with


if __name__ == "__main__":
    main()
