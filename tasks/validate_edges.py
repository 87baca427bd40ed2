"""Validate edges: the gate over a run's edge file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs.evidence.checks import COMPLETE, HOLDS, NAMED_ONCE, edge_checks
from tasks.validate.suite import Validation, between, holds, run_suite


@task(task_run_name="validate edges", cache_policy=NO_CACHE)
def validate_edges(
    edges: Path, attributions: Sequence[Mapping[str, Any]], bounded: bool, decoys: int | None = None
) -> list[Validation]:
    """Gate an edge file: finite scores, complete, ranks right, all else in range or null, and nothing that the ledger would round.

    Args:
        edges: the file, as `write_edges` writes it.
        attributions: what the run says of each generated item; there must be an edge for each survivor.
        bounded: whether scores lie in (−1, 1).
        decoys: how many the calibration has; None without one.

    Raises:
        GateFailed: if the edges do not pass.
        InputError: if the file is none of edges.
    """
    expected = {attribution["row_sha256"]: attribution["survivors"] for attribution in attributions}
    expected = {item: count for item, count in expected.items() if count}
    frame = edge_checks(edges, expected, decoys).to_pandas()
    expectations = [
        ("ExpectTableRowCountToBeBetween", {"min_value": len(expected), "max_value": len(expected)}),
        *(between("score_min", -1, 1, strict_min=True) if bounded else []),
        *(between("score_max", -1, 1, strict_max=True) if bounded else []),
        *between("standard_error_min", 0),
        *between("seed_spread_min", 0),
        *between("p_value_min", 0, strict_min=True),
        *between("p_value_max", 0, 1),
        *between("decoy_p_value_min", 0, strict_min=True),
        *between("decoy_p_value_max", 0, 1),
        *holds(*HOLDS, NAMED_ONCE, COMPLETE),
    ]
    return [run_suite("edges", frame, expectations, lambda k: str(frame["item"].iloc[k]))]
