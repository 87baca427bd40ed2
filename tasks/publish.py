"""Publish: write a run's evidence to S3 under the run's digest, never over something else."""

from __future__ import annotations

import hashlib
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs.canonical import canonical
from mucs.evidence import layout
from mucs.evidence.signing import run_statement, sign
from mucs.files import file_sha256
from mucs.ledger import Run
from tasks.put import put_once, until_days
from tasks.s3 import split_url
from tasks.validate import to_json


@task(task_run_name="publish", cache_policy=NO_CACHE)
def publish(run: Run, bank: Path, key: Path | None = None, retention_days: int | None = None) -> str:
    """Put the run's files at its location; what is there already must be the same bytes. Gives the location.

    Args:
        run: as it was staged.
        bank: the noise bank's file.
        key: a private key to sign the run with. It changes neither the run, its digest nor its files.
        retention_days: for how long S3 is to keep the files from being deleted or replaced, by anyone.

    Raises:
        InputError: if S3 does not answer or refuses, or holds other bytes under one of the names.
    """
    files: dict[str, bytes | Path] = {
        layout.RECORD: canonical(run.record),
        layout.NOISE_BANK: bank,
        layout.EDGES: run.edges,
        layout.VALIDATIONS: to_json(run.validations),
    }
    if key:
        digests = {
            name: file_sha256(body) if isinstance(body, Path) else hashlib.sha256(body).hexdigest()
            for name, body in files.items()
        }
        files[layout.ENVELOPE] = canonical(sign(run_statement(run.record, digests), key))
    bucket, prefix = split_url(run.location)
    until = until_days(retention_days) if retention_days else None
    for name, body in files.items():
        put_once(bucket, f"{prefix}/{name}", body, until)
    return run.location
