"""Edges: the gate of an edge file."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs.ledger.edges import NUMBERS, given_back
from tasks.validate.suite import Validation, between, holds, present, run_suite, unique


@task(cache_policy=NO_CACHE)
def validate_edges(edges: Path, expected: dict[str, int], bounded: bool, decoys: int | None = None) -> list[Validation]:
    """Gate an edge file: finite scores, complete, ranks right, all else in range or null, and nothing that the ledger would round.

    expected: number of edges by generated row's SHA-256. bounded: whether scores lie in (−1, 1). decoys: how many the
    calibration has; none without one.
    """
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(edges)
    frame["edge"] = [
        f"{g[:12]}/{t[:12]}" for g, t in zip(frame["generated_row_sha256"], frame["training_row_sha256"], strict=True)
    ]
    groups = frame.groupby("generated_row_sha256", sort=False)
    frame["rank is right"] = frame["rank"] == groups.cumcount() + 1
    frame["score falls with rank"] = ~(groups["score"].diff() > 0)
    counts = groups.size().to_dict()
    frame["edges are complete"] = [counts[g] == expected.get(g) for g in frame["generated_row_sha256"]]
    frame["decimals are right"] = True
    for name in NUMBERS:
        frame["decimals are right"] &= frame[name].isna() | (frame[name] == given_back(name, frame[name], decoys))
    frame["numbers are finite"] = ~np.isinf(frame[NUMBERS]).any(axis=1)
    expectations = [
        ("ExpectTableRowCountToBeBetween", {"min_value": sum(expected.values()), "max_value": sum(expected.values())}),
        *present("score", "generated_row_sha256", "training_row_sha256", "rank"),
        *(between("score", -1, 1, strict_min=True, strict_max=True) if bounded else []),
        *between("standard_error", 0),
        *between("seed_spread", 0),
        *between("p_value", 0, 1, strict_min=True),
        *between("decoy_p_value", 0, 1, strict_min=True),
        *holds(
            "numbers are finite", "decimals are right", "rank is right", "score falls with rank", "edges are complete"
        ),
        *unique("edge"),
    ]
    return [run_suite("edges", frame, expectations, lambda k: str(frame["edge"].iloc[k]))]
