"""The audit report: what stands behind each generated image, and on what evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mucs.report.page import page

RATE = 0.05  # the false discovery rate that the library counts discoveries at


@dataclass(frozen=True)
class Null:
    """What edges are compared with: how many images it has; how many training images are compared, and how many kept as edges."""

    count: int
    tests: int
    kept: int

    @property
    def floor(self) -> float:
        """The lowest p-value that so many scores can give."""
        return 1 / (self.count + 1)

    @property
    def needed(self) -> int:
        """How many training images must reach the floor together before one of them passes."""
        return math.ceil(self.tests * self.floor / RATE)


def reading(low: float, high: float) -> str:
    """What the 95 % interval of a seen AUC says, in a sentence."""
    if low > 0.5:
        return (
            "Training images score higher than unseen images that look as similar: the scores say more than likeness."
        )
    if high < 0.5:
        return (
            "Training images score lower than unseen images that look as similar: the scores are no sign of training."
        )
    return "Training images score no differently from unseen images that look as similar: the scores may be likeness alone."


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
    `picture`, outcome and best `edges`. shares: the answer of the question `shares` over the first `counted` edges
    of each generated item.
    """
    held_out = run["artifacts"].get("held_out")
    # validated rows: a folder may hold files that its manifest does not list
    held_out_count = next((gate["rows"] for gate in run["validations"] if gate["suite"] == "held-out set"), 0)
    calibration = run["record"]["calibration"]
    kept = max(item["survivors"] for item in items)
    return page(
        "audit.html",
        run=run,
        training=training,
        items=items,
        shares=shares,
        counted=counted,
        held_out=Null(held_out_count, len(training), kept) if held_out else None,
        decoys=Null(calibration["decoys"], len(training), kept) if calibration else None,
        results=run["record"]["results"],
        reading=reading,
        kept=what_screening_kept,
        # the mean distance of two samples of half as many each from the same distribution (Kolmogorov 1933)
        chance_ks=0.87 * math.sqrt(4 / held_out_count) if held_out_count else None,
        converged=sum(item["converged"] for item in items),
        holders=len({row["rights_holder"] for row in training}),
        licences=sorted({row["licence"] for row in training}),
    )
