"""Screening: an index names the candidates, or all are; successive halving over growing prefixes of the noise bank leaves few of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mucs import InputError


@dataclass(frozen=True)
class Screening:
    """Who is measured in full.

    Attributes:
        stages: Successive halving, (entries, keep) pairs: after so many bank entries the best share of the candidates stays. Entries rise,
            keep is in (0, 1], and falls.
        candidates: How many an index names, the best first; 0 for all training items, without an index.
        most_missed: With an index, more are measured in full, twice as many each time, while the excess that those left out are
            estimated to have by a first sample is a larger share than this, in (0, 1]; 1 takes what comes.

    Raises:
        InputError: If a stage, or a number, is out of range.
    """

    stages: Sequence[tuple[int, float]] = ()
    candidates: int = 0
    most_missed: float = 1.0

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "stages", tuple((entries, keep) for entries, keep in self.stages))
        except (TypeError, ValueError):
            raise InputError("A screening stage is not a pair (entries, share of items); mend it.") from None
        entries, keeps = [entries for entries, _ in self.stages], [keep for _, keep in self.stages]
        if not all(isinstance(e, int) and isinstance(k, int | float) for e, k in self.stages):
            raise InputError("A screening stage is a whole number of entries and a share of the items; mend it.")
        rising = all(a < b for a, b in itertools.pairwise(entries))
        falling = all(a >= b for a, b in itertools.pairwise(keeps))
        if not (rising and falling and all(e >= 1 for e in entries) and all(0 < k <= 1 for k in keeps)):
            raise InputError(
                "Screening stages must have rising numbers of entries and falling shares in (0, 1]; mend them."
            )
        if not isinstance(self.candidates, int) or self.candidates < 0:
            raise InputError(
                f"{self.candidates!r} candidates are asked for; give a whole number, 0 for all training items."
            )
        if not isinstance(self.most_missed, int | float) or not 0 < self.most_missed <= 1:
            raise InputError(
                f"The setting most_missed is {self.most_missed!r}; give a share in (0, 1], 1 for no bound."
            )
        if self.most_missed < 1 and not self.candidates:
            raise InputError("The setting most_missed needs candidates that an index names; give candidates as well.")

    def check(self, training: int) -> None:
        """InputError if more candidates are asked for than there are training items."""
        if self.candidates > training:
            raise InputError(
                f"{self.candidates} candidates are asked of {training} training items; give fewer, or leave the setting candidates out."
            )


@dataclass(frozen=True, eq=False)
class Round:
    """Candidates (K,) in the order of the training set, and what each bank entry seen so far says of them, (K, entries)."""

    candidates: Tensor
    values: Tensor

    def survivors(self, count: int) -> Round:
        """The `count` candidates of the best mean, in the same order, so that ties go one way at every stage."""
        left = best(self.values.mean(dim=1), count).sort().values
        return Round(self.candidates[left], self.values[left])


def plan(screening: Screening | None, count: int, entries: int) -> list[tuple[int, int]]:
    """How many candidates there are up to how many bank entries, stage by stage, of `count` training items, to all `entries`."""
    first = min(screening.candidates or count, count) if screening else count
    left, sizes = first, []
    for seen, keep in screening.stages if screening else ():
        if seen >= entries:
            break
        sizes.append((left, seen))
        left = max(1, math.ceil(keep * first))
    return [*sizes, (left, entries)]


def halving_pairs(screening: Screening | None, count: int, entries: int) -> int:
    """How many (candidate, bank entry) pairs successive halving compares."""
    stages = plan(screening, count, entries)
    seen = [0, *(upto for _, upto in stages)]
    return sum(left * (upto - before) for (left, upto), before in zip(stages, seen, strict=False))


def successive_halving(
    screening: Screening | None, candidates: Tensor, entries: int, compare: Callable[[Tensor, range], Tensor]
) -> list[Round]:
    """Compare all candidates on few bank entries, and fewer and fewer of them on more.

    Args:
        screening: The stages; those beyond the bank are left out. None compares all candidates on all of it.
        candidates: (K,) int64, in the order of the training set.
        entries: Number of bank entries.
        compare: What a range of the entries says of the candidates (K,): (K, len(range)).

    Returns:
        The candidates of each stage as it ended, all of them first; the last are those that have seen every entry.
    """
    rounds: list[Round] = []
    now = Round(candidates, torch.empty(len(candidates), 0))
    for left, upto in plan(screening, len(candidates), entries):
        if rounds:
            now = now.survivors(left)
        new = compare(now.candidates, range(now.values.shape[1], upto))
        now = Round(now.candidates, torch.cat([now.values, new], dim=1))
        rounds.append(now)
    return rounds


def left_out(rounds: Sequence[Round], expected: Tensor) -> Tensor:
    """The items that did not survive: those that got the furthest first, then those that were no candidates, (L,) of N.

    Args:
        rounds: As `successive_halving` gives them.
        expected: (N,) by which those that were no candidates are ordered, the highest first.
    """
    found = []
    for before, after in reversed([*itertools.pairwise(rounds)]):
        fell = ~torch.isin(before.candidates, after.candidates)
        order = best(before.values.mean(dim=1)[fell], int(fell.sum()))
        found.append(before.candidates[fell][order])
    ordered = best(expected, len(expected))
    return torch.cat([*found, ordered[~torch.isin(ordered, rounds[0].candidates)]])


def best(scores: Tensor, count: int) -> Tensor:
    """Positions of the `count` highest scores, best first, ties by position."""
    return scores.argsort(descending=True, stable=True)[:count]


def recall(exact: Tensor, found: Tensor) -> dict[str, float]:
    """Share of the exact best that was found, for the best 25, 100 and 2 %: scores of all (N,), indices (K,).

    Cases with fewer than as many items are left out.
    """
    cases = {"25": 25, "100": 100, "2%": math.ceil(0.02 * len(exact))}
    return {
        name: float(torch.isin(best(exact, count), found).double().mean())
        for name, count in cases.items()
        if count <= len(exact)
    }
