"""Accept: see whether a picture that somebody sent can be attributed, and keep it in the log as a batch of one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mucs.images.request import Request
from tasks.ledgers import open_log
from tasks.pull import SHARD, as_pulled
from tasks.validate import ImageSpec, validate_generated


def accept(request: Request, spec: ImageSpec, log: str) -> str:
    """Keep a request's batch in the log, as an object that a run's entry will commit to.

    Args:
        request: What was sent.
        spec: The images that the checkpoint takes.
        log: The log's place.

    Returns:
        Where it is, as `audit` takes a batch: `object:<SHA-256>`.

    Raises:
        GateFailed: If it does not pass the gate of generated batches, with nothing kept of it.
        InputError: If the log cannot be written.
    """
    shard = request.to_shard()
    with tempfile.TemporaryDirectory(prefix="mucs-request-") as folder:
        batch = Path(folder) / "batch"
        batch.mkdir()
        (batch / SHARD).write_bytes(shard)
        validate_generated.fn(as_pulled(batch), spec, Path(folder))
    return f"object:{open_log(log).keep(shard)}"
