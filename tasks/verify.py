"""Verify: a log, and the ledger that follows it."""

from __future__ import annotations

from pathlib import Path

from mucs.evidence.log import Log
from mucs.ledger import Altered
from mucs.ledger.lake import Lake
from mucs.ledger.verify import Verified, verify, verify_log
from mucs.outbox import FAILED, HELD, Outbox
from tasks.ledgers import credentials, reading


def verified(ledger: str, log: Log, head: str | None = None, key: Path | None = None) -> Verified:
    """What a verification of a log comes to, and of the ledger where there is one.

    Args:
        ledger: Where it lies.
        log: The log.
        head: SHA-256 of an entry that must be in it.
        key: The public key that every run must be signed with.
    """
    try:
        if not Lake.at(ledger).exists():
            return verify_log(log, head, key)
        with reading(ledger) as opened:
            return verify(opened, log, head, key, credentials(ledger))
    except Altered as error:
        return Verified(str(error).removesuffix("."))


def tell(outbox: Outbox, done: Verified, log: Log, ledger: str | None) -> None:
    """Put what a verification found into an outbox. ledger: None where the log was verified alone."""
    found = {"log": log.place, "ledger": ledger, "position": done.position, "head": done.head}
    outbox.put(FAILED if done.fault else HELD, found | ({"fault": done.fault} if done.fault else {}))
