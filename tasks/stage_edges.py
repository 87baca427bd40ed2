"""Stage edges: write a run's edge file, beside what it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs.canonical import digest
from mucs.evidence.record import Attributed, stage_items
from tasks.attribute import Outcome
from tasks.prepare import Manifest, manifest
from tasks.pull import Pulled


@task(cache_policy=NO_CACHE)
def stage_edges(outcome: Outcome, training: Pulled, rows: Manifest) -> tuple[Path, list[dict[str, Any]]]:
    """Write the run's edge file; also gives what the run record says of each item. rows: of the items of `outcome`."""
    items = (Attributed(row, found, outcome.device) for row, found in zip(rows, outcome.attributions(), strict=True))
    name = digest([outcome.calibration, [path.name for path in outcome.items]])[:16]
    place = outcome.bank.parent / f"edges-{name}.parquet"
    return place, stage_items(items, edge_ends(manifest(training, "training set")), place)


def edge_ends(rows: Manifest) -> pa.Table:
    """What edges say of training items: `row_sha256`, `id` and `sha256`."""
    columns = {name: [row[name] for row in rows] for name in ("id", "sha256")}
    return pa.table({"row_sha256": [digest(row) for row in rows], **columns})
