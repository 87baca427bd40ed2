"""Validate edges: the gate over a run's edge file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs.evidence.checks import edge_checks
from tasks.validate.suite import Validation, between, holds, present, run_suite


@task(cache_policy=NO_CACHE)
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
    import pandas as pd

    expected = {attribution["row_sha256"]: attribution["survivors"] for attribution in attributions}
    checks = edge_checks(edges, expected, decoys)
    frame = pd.DataFrame(
        {
            name: pd.Series(pd.arrays.ArrowExtensionArray(column)) if name == "edge" else column.to_numpy()
            for name, column in zip(checks.column_names, checks.columns, strict=True)
        },
        copy=False,
    )
    count = sum(expected.values())
    expectations = [
        ("ExpectTableRowCountToBeBetween", {"min_value": count, "max_value": count}),
        *present("score"),
        *(between("score", -1, 1, strict_min=True, strict_max=True) if bounded else []),
        *between("standard_error", 0),
        *between("seed_spread", 0),
        *between("p_value", 0, 1, strict_min=True),
        *between("decoy_p_value", 0, 1, strict_min=True),
        *holds(*(name for name in checks.column_names if checks.schema.field(name).type == "bool")),
    ]
    return [run_suite("edges", frame, expectations, lambda k: str(frame["edge"].iloc[k]))]
