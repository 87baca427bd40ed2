"""Verify: hold the log to itself, the ledger to the log, and both to a head that is kept elsewhere, as a Prefect flow."""

from __future__ import annotations

import logging
from pathlib import Path

from prefect import flow

from mucs.evidence.log import Broken
from mucs.evidence.signing import read_head
from mucs.files import check_writable, replacing
from mucs.outbox import Outbox
from tasks.ledgers import followed_by_any, open_log
from tasks.narrate import narrate
from tasks.verify import tell, verified

log_of_verify = logging.getLogger("mucs.verify")


@flow(name="verify")
def verify(
    ledger: str = "mucs.ledger", log: str | None = None, head: Path | None = None, outbox: Path | None = None
) -> str:
    """Verify, and fail if something does not hold.

    Args:
        ledger: Where the ledger lies.
        log: The log, if it is not the one that the ledger follows.
        head: A file with the head that held last, on another disk or machine: the log must still have that entry, and then the file
            gets the new head. A missing one is made.
        outbox: Is told what was found, for `mucs notify` and the explorer's first page.

    Returns:
        The head.

    Raises:
        Broken: If something does not hold.
    """
    narrate()
    if head:
        check_writable(head.parent, "the head")
    remembered = read_head(head.read_text().strip(), None) if head and head.exists() else None
    if head and remembered is None:
        log_of_verify.warning(
            "verify    there was no head at %s; from now on the log is held to the one of today", head
        )
    held_to = open_log(log or followed_by_any(ledger))
    done = verified(ledger, held_to, remembered)
    if outbox:
        tell(Outbox(outbox), done, held_to, ledger)
    if done.fault:
        raise Broken(f"The verification of {held_to.place} did not hold: {done.fault}.")
    if head:
        with replacing(head) as part:
            part.write_text(f"{done.head}\n")
    log_of_verify.info("verify    it holds: %d entries, head %s", done.position, done.head)
    return done.head
