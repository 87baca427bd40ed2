"""Publish: keep a run's evidence in the log, as objects that its entry will commit to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs.canonical import digest
from mucs.evidence import layout
from mucs.evidence.signing import run_statement, sign
from mucs.files import file_sha256
from mucs.ledger import Run, Said
from mucs.ledger.run import keep_run
from tasks.bucket import until_days
from tasks.ledgers import open_log, reading


@task(task_run_name="publish", cache_policy=NO_CACHE)
def publish(run: Run, ledger: str, log: str, key: Path | None = None, retention_days: int | None = None) -> Said:
    """Keep the run's objects; gives what its entry is to say.

    Args:
        run: As it was staged.
        ledger: The ledger, which is made from the log.
        log: The log's place.
        key: A private key to sign the run with. It changes neither the run nor its digest.
        retention_days: For how long S3 is to keep the objects, and their entry, from being deleted or replaced, by anyone.

    Raises:
        InputError: If the log does not answer or refuses, or holds something else in an object's place.
    """
    if key:
        digests = {
            layout.RECORD: run.sha256,
            layout.NOISE_BANK: file_sha256(run.noise_bank),
            layout.EDGES: file_sha256(run.edges),
            layout.VALIDATIONS: digest(list(run.validations)),
        }
        if run.unseen:
            digests[layout.UNSEEN_EDGES] = file_sha256(run.unseen)
        run = dataclasses.replace(run, envelope=sign(run_statement(run.record, digests), key))
    with reading(ledger) as opened:
        return keep_run(opened, open_log(log), run, until_days(retention_days) if retention_days else None)
