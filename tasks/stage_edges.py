"""Stage edges: write a run's edge file, beside what it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs.canonical import digest
from mucs.evidence.record import Attributed, stage_items
from mucs.images import ImageSet
from mucs.images.rows import rows_and_holders
from tasks.collect import Outcome
from tasks.plan import Plan


@task(task_run_name="stage edges", cache_policy=NO_CACHE)
def stage_edges(outcome: Outcome, rows: pa.Table) -> tuple[Path, Path | None, list[dict[str, Any]], list[str]]:
    """Write the run's edge file, and that of its unseen edges.

    Args:
        outcome: What was computed, and where it is.
        rows: The training items' rows, as `rows_and_holders` gives them.

    Returns:
        The file; that of the unseen edges, None without held-out items; what the run record says of each item; and the operations that
        torch had no deterministic form of.
    """
    operations: set[str] = set()

    def items() -> Iterator[Attributed]:
        for row, measured in zip(outcome.rows, outcome.measured(), strict=True):
            operations.update(measured.nondeterministic)
            yield Attributed(row, measured.attribution, measured.device)

    name = digest([outcome.calibration, [unit.address for unit in outcome.units]])[:16]
    place, unseen = (outcome.bank.with_name(f"{kind}-{name}.parquet") for kind in ("edges", "unseen-edges"))
    training = edge_ends(outcome.plan.images("training"), rows["row_sha256"])
    if not outcome.plan.held_out:
        return place, None, stage_items(items(), training, place), sorted(operations)
    held_out = unseen_ends(outcome.plan)
    return place, unseen, stage_items(items(), training, place, held_out, unseen), sorted(operations)


def edge_ends(images: ImageSet, row_sha256: pa.ChunkedArray | pa.Array) -> pa.Table:
    """What edges say of training or held-out items: `row_sha256`, `id` and `sha256`, each in one piece, which the edges of all items share."""
    columns = {"row_sha256": row_sha256, **{name: images.rows[name] for name in ("id", "sha256")}}
    return pa.table(columns).combine_chunks()


def unseen_ends(plan: Plan) -> pa.Table:
    """The same of the held-out items of a plan that has some."""
    images = plan.images("held_out")
    return edge_ends(images, rows_and_holders(images.rows)["row_sha256"])
