"""Shrink: make the thumbnails of a run's images that the log lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs.canonical import digest
from mucs.images.thumbnail import write_thumbnails
from mucs.images.version import IMAGES_SHA256
from mucs.ledger.run import without_thumbnail
from tasks.ledgers import reading
from tasks.plan import Plan
from tasks.prepared import cache_of


@task(task_run_name="shrink", cache_policy=NO_CACHE)
def shrink(plan: Plan, rows: Sequence[int], ledger: str) -> list[Path]:
    """Make thumbnails of the training set and of generated items, but for those that the log has.

    Args:
        plan: The run's.
        rows: Those of the batch that were attributed, in order.
        ledger: It knows which ones the log has.

    Returns:
        Files in the cache, as `write_thumbnails` makes them. Killed, this goes on where it was.

    Raises:
        InputError: If an image cannot be taken, or a process was killed.
    """
    files: list[Path] = []
    with reading(ledger) as opened:
        for images in (plan.images("training"), plan.images("batch").take(rows)):
            bare = replace(images, rows=images.rows.select(["sha256"]))
            lacking = bare.take(without_thumbnail(opened, bare.rows["sha256"]))
            address = digest([IMAGES_SHA256, *lacking.column("sha256")])
            files += write_thumbnails(lacking, cache_of(plan) / "thumbnails" / address)
    return files
