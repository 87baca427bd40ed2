"""Load: put a published run into the ledger."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs import ledger as store
from mucs.ledger import Ledger, Run


@task(task_run_name="load", cache_policy=NO_CACHE)
def load(ledger: Path, run: Run) -> bool:
    """Add the run in one transaction; False if the ledger holds it already.

    Raises:
        InputError: As `Ledger.open` and `mucs.ledger.load` do.
    """
    with Ledger.open(ledger, read_only=False) as opened:
        return store.load(opened, run)
