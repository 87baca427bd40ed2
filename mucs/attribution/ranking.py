"""A ranking: items, best first, by what a generated item's attribution scores them, and what chance would do."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

from torch import Tensor

from mucs.attribution import chance


@dataclass(frozen=True)
class Ranking:
    """Items of one set, best first.

    Attributes:
        items: (K,) int64, indices into the set.
        scores: (K,) float32, in (−1, 1) for the skew; with repeats of unlearning, their mean.
        standard_errors: (K,) of the scores, over the bank's noises and, with repeats, over seeds as well.
        seed_spread: (K,) standard deviation of the scores over repeats; NaN without.
        prefix_scores: (K,) float32, of the first repeat over the bank's first entries, to hold against a calibration's; NaN where
            none were asked for.
        p_values: (K,) float64, of the first repeat against held-out items; NaN without.
        decoy_p_values, decoy_z: (K,) float64, against the item's own scores for decoys; NaN without a calibration.
    """

    items: Tensor
    scores: Tensor
    standard_errors: Tensor
    seed_spread: Tensor
    prefix_scores: Tensor
    p_values: Tensor
    decoy_p_values: Tensor
    decoy_z: Tensor

    def held_against(self, null: Tensor) -> Self:
        """The same with its standing among the scores (K, D) that its items have for decoys."""
        p, z = chance.own_p_values(self.prefix_scores, null), chance.z_scores(self.prefix_scores, null)
        return replace(self, decoy_p_values=p, decoy_z=z)

    def only(self, which: Tensor | slice) -> Ranking:
        """Those at some places, a slice or a mask (K,), in the same order."""
        return Ranking(**{each.name: getattr(self, each.name)[which] for each in fields(Ranking)})
