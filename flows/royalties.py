"""Royalties: a month's statement as a Prefect flow."""

from __future__ import annotations

import datetime
import logging
from functools import partial
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_table_artifact

from mucs.files import check_writable
from mucs.royalties.export import state
from tasks.ledgers import writing
from tasks.narrate import narrate

log = logging.getLogger("mucs.royalties")


@flow(name="royalties")
def royalties(
    contract: Path,
    usage: Path,
    ledger: str = "mucs.ledger",
    out: Path = Path("statements"),
    period: str | None = None,
    key: Path | None = None,
) -> str:
    """Issue a month's statement, by default of the month before this one; gives its SHA-256.

    The paths may have `{period}` in them, which becomes the month, such as 2026-10.
    """
    narrate()
    period = period or f"{datetime.datetime.now(datetime.UTC).replace(day=1) - datetime.timedelta(days=1):%Y-%m}"
    paths = [Path(str(path).replace("{period}", period)) for path in (contract, usage, out)]
    check_writable(paths[2], "the statements")
    done = state(paths[0], period, paths[1], partial(writing, ledger), paths[2], key=key)
    told = "issued" if done.statement.new else "nothing to do: it was issued before"
    log.info("statement %s %s", done.statement.title, told)
    for remark in [*done.remarks, *done.statement.changes]:
        log.warning("%s", remark)
    create_table_artifact(
        done.statement.content["balances"], key="royalties", description=f"Statement {done.statement.sha256}"
    )
    return done.statement.sha256
