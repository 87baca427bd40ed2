"""Replay: does a second attribution of the same item say what the first said?"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mucs.attribution.attribute import Attribution

TOLERANCE = 1e-3  # of a score, between kinds of machine; two instruction sets were seen to differ by 1e-6
TOP = 10  # items that must come in the same order
Verdict = Literal["identical", "equal", "different"]


def replay_verdict(
    first: Attribution, second: Attribution, tolerance: float = TOLERANCE, top: int = TOP
) -> tuple[Verdict, float]:
    """What held, and the largest difference of an item's score.

    identical: items, scores and held-out scores to the bit. equal: every item scored in both within `tolerance`, and
    the first `top` items the same. different: neither; the difference is infinite if the two share no item.
    """
    if torch.equal(first.items, second.items) and all(
        torch.equal(a, b) for a, b in ((first.scores, second.scores), (first.held_out_scores, second.held_out_scores))
    ):
        return "identical", 0.0
    one, two = ((each.items.numpy(), each.scores.double().numpy()) for each in (first, second))
    return compare_rankings(one, two, tolerance, top)


def compare_rankings(
    first: tuple[NDArray[np.generic], NDArray[np.float64]],
    second: tuple[NDArray[np.generic], NDArray[np.float64]],
    tolerance: float = TOLERANCE,
    top: int = TOP,
) -> tuple[Verdict, float]:
    """Whether two rankings that are not identical are equal within the tolerance, and the largest difference of a score.

    Args:
        first: items, best first, each named once by a number or a digest, and their scores: (K,) both.
        second: the same of another time.
        tolerance: of the score of each item that both have.
        top: how many of the first items must be the same, in the same order.

    Returns:
        "equal" or "different", and the difference, which is infinite if the two share no item.
    """
    (items, scores), (items_again, scores_again) = first, second
    _, here, there = np.intersect1d(items, items_again, assume_unique=True, return_indices=True)
    largest = float(np.abs(scores[here] - scores_again[there]).max(initial=0.0)) if len(here) else float("inf")
    same_top = np.array_equal(items[:top], items_again[:top])
    return ("equal" if same_top and largest <= tolerance else "different"), largest
