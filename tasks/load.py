"""Load: say a run to the log, and bring the ledger up to it."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs.ledger import Said
from tasks.ledgers import writing


@task(task_run_name="load", cache_policy=NO_CACHE)
def load(ledger: str, log: str, said: Said) -> bool:
    """Append the run's entry, unless there is one; False if there is.

    Args:
        ledger: The ledger's place.
        log: The log's.
        said: As `publish` gives it.

    Raises:
        InputError: If the run is not whole, or the log or the ledger cannot be written.
    """
    with writing(ledger, log) as opened:
        return opened.say(lambda _: None if opened.has_run(said.body["run"]) else said) is not None


@task(task_run_name="sync", cache_policy=NO_CACHE)
def sync(ledger: str, log: str) -> int:
    """Bring the ledger up to the log; gives how many entries it lacked.

    Args:
        ledger: The ledger's place; a missing one is made.
        log: The log's.

    Raises:
        InputError: If the log is broken, or the ledger cannot be written.
    """
    with writing(ledger, log) as opened:
        return opened.sync()
