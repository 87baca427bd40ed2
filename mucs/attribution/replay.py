"""Replay: does a second attribution of the same item say what the first said?"""

from __future__ import annotations

from typing import Literal

import torch

from mucs.attribution.attribute import Attribution

TOLERANCE = 1e-3  # of a score, between kinds of machine; two instruction sets were seen to differ by 1e-6
TOP = 10  # items that must come in the same order


def replay_verdict(
    first: Attribution, second: Attribution, tolerance: float = TOLERANCE, top: int = TOP
) -> tuple[Literal["identical", "equal", "different"], float]:
    """What held, and the largest difference of an item's score.

    identical: items, scores and held-out scores to the bit. equal: every item scored in both within `tolerance`, and
    the first `top` items the same. different: neither; the difference is infinite if the two share no item.
    """
    if torch.equal(first.items, second.items) and all(
        torch.equal(a, b) for a, b in ((first.scores, second.scores), (first.held_out_scores, second.held_out_scores))
    ):
        return "identical", 0.0
    scores = dict(zip(second.items.tolist(), second.scores.tolist(), strict=True))
    gaps = [
        abs(score - scores[item])
        for item, score in zip(first.items.tolist(), first.scores.tolist(), strict=True)
        if item in scores
    ]
    largest = max(gaps, default=float("inf"))
    same_top = torch.equal(first.items[:top], second.items[:top])
    return ("equal" if same_top and largest <= tolerance else "different"), largest
