"""Stage edges: write a run's edge file, beside what it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs.canonical import digest
from mucs.evidence.record import stage_items
from mucs.images import ImageSet
from tasks.collect import Outcome
from tasks.prepare import opened


@task(cache_policy=NO_CACHE)
def stage_edges(outcome: Outcome, rows: Sequence[Mapping[str, str]]) -> tuple[Path, list[dict[str, Any]]]:
    """Write the run's edge file; also gives what the run record says of each item.

    Args:
        outcome: What was computed, and where it is.
        rows: Of the items of `outcome`.
    """
    name = digest([outcome.calibration, [unit.address for unit in outcome.units]])[:16]
    place = outcome.bank.with_name(f"edges-{name}.parquet")
    return place, stage_items(outcome.items(rows), edge_ends(opened(outcome.plan.training, "training set")), place)


def edge_ends(images: ImageSet) -> pa.Table:
    """What edges say of training items: `row_sha256`, `id` and `sha256`."""
    return pa.table({"row_sha256": images.row_sha256, **{name: images.rows[name] for name in ("id", "sha256")}})
