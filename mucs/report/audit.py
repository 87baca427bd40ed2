"""The audit report: what stands behind each generated image, and on what evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mucs.report.page import page


def what_screening_kept(recall: Mapping[str, float], survivors: int, candidates: int) -> str:
    """Recall of screening, by K, in words, with the most that so many survivors could reach."""
    counts = {k: math.ceil(float(k[:-1]) / 100 * candidates) if k.endswith("%") else int(k) for k in recall}
    parts = []
    for k, count in sorted(counts.items(), key=lambda item: item[1]):
        most = f" (at most {survivors / count:.0%})" if survivors < count else ""
        parts.append(f"{recall[k]:.0%}{most} of the best {k}")
    return ", ".join(parts).replace("%", " %")


def audit_page(
    run: Mapping[str, Any],
    training: Sequence[Mapping[str, str]],
    items: Sequence[Mapping[str, Any]],
    shares: Sequence[Mapping[str, Any]],
    counted: int,
) -> str:
    """The page of a run as one HTML text that needs no other file.

    run: as `Ledger.run` gives it. training: the training set's manifest rows. items: each generated row with its
    `picture`, outcome, verdict and best `edges`. shares: the answer of the question `shares` over the first `counted` edges
    of each generated item.
    """
    # validated rows: a folder can hold files that its manifest does not list
    held_out = next((v["rows"] for v in run["validations"] if v["suite"] == "held-out set"), 0)
    calibration = run["record"]["calibration"]
    return page(
        "audit.html",
        run=run,
        training=training,
        items=items,
        shares=shares,
        counted=counted,
        held_out=held_out,
        decoys=calibration["decoys"] if calibration else 0,
        results=run["record"]["results"],
        kept=what_screening_kept,
        # the mean distance of two samples of half as many each from the same distribution (Kolmogorov 1933)
        chance_ks=0.87 * math.sqrt(4 / held_out) if held_out else None,
        converged=sum(item["converged"] for item in items),
        above=sum(item["verdict"] == "above chance" for item in items),
        holders=len({row["rights_holder"] for row in training}),
        licences=sorted({row["licence"] for row in training}),
    )
