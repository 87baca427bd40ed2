"""Missed: how much of the score lies with training items that were not measured, told from a few of them that were, at random.

What an index leaves out is put in bands, those that it expects to score high first, each band twice as large as the one before. Of each
band as many items are measured, whatever its size, so that the cost grows with the logarithm of the number of training items. Sums over
all items are then those of a stratified sample (Cochran 1977, chapter 5), with Student's t and the degrees of freedom of Satterthwaite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from mucs.attribution.screening import Round, left_out

SAMPLED = 16  # items of a band that are measured
WITHIN = 0.95


@dataclass(frozen=True, eq=False)
class Expected:
    """What an index expects of all training items, for one generated item.

    Attributes:
        scores: (N,) float32: what they are likely to score, or how alike they are. They are ranked by it.
        means: (N,) float32: what they scored on average for other images; zeros where nobody knows.
    """

    scores: Tensor
    means: Tensor


@dataclass(frozen=True, eq=False)
class Band:
    """Some of the training items that were left out.

    Attributes:
        sampled: (n,) int64, those that are measured, by chance.
        others: (m,) int64, the rest.
    """

    sampled: Tensor
    others: Tensor

    def __len__(self) -> int:
        return len(self.sampled) + len(self.others)


@dataclass(frozen=True)
class Share:
    """A share in [0, 1], as it is estimated, and between what it lies with 95 %."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Missed:
    """What lies with the training items that were not measured.

    Attributes:
        sampled: How many of those that the index left out were measured, by chance.
        score: Their share of the sum of all positive scores.
        excess: Their share of the sum of all positive excesses. An item's excess is by how much it scores higher for this image than for
            others on average, less what all items do so on average.
    """

    sampled: int
    score: Share
    excess: Share

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Missed:
        """From nested JSON, as `dataclasses.asdict` gives it."""
        return cls(record["sampled"], Share(**record["score"]), Share(**record["excess"]))


def bands(left_out: Tensor, first: int, generator: torch.Generator) -> list[Band]:
    """Put items in bands, and draw which are measured.

    Args:
        left_out: (L,) int64, those that are the most likely to score high first.
        first: How many the first band has.
        generator: Draws.
    """
    return [_drawn(left_out[start:stop], generator) for start, stop in _places(len(left_out), first)]


def _drawn(items: Tensor, generator: torch.Generator) -> Band:
    """A band of these items, of which some are drawn."""
    order = torch.randperm(len(items), generator=generator)
    return Band(items[order[:SAMPLED]].sort().values, items[order[SAMPLED:]].sort().values)


def sample_size(left_out: int, first: int) -> int:
    """How many of so many items are measured by chance, where the first band has `first`."""
    return sum(min(SAMPLED, stop - start) for start, stop in _places(left_out, first))


def _places(count: int, first: int) -> Iterator[tuple[int, int]]:
    """Where bands begin and end."""
    start, size = 0, first
    while start < count:
        yield start, min(start + size, count)
        start, size = start + size, size * 2


@dataclass(frozen=True, eq=False)
class InFull:
    """The training items that are measured on the whole bank.

    Attributes:
        items: (K,) int64, rising.
        values: (K, M) float32, what each entry says of them.
        missed: What lies with the others; None where nobody estimated it.
    """

    items: Tensor
    values: Tensor
    missed: Missed | None


def widened(
    rounds: Sequence[Round],
    expected: Expected,
    most_missed: float,
    measure: Callable[[Tensor], Tensor],
    generator: torch.Generator,
) -> InFull:
    """The survivors of screening; of the others some by chance, and all of the likeliest while too much is missed without them.

    Where a sample decides how many are measured, what is missed is told by another one, drawn afterwards: the first would say too little, as it
    ends when it happens to say little.

    Args:
        rounds: As `successive_halving` gives them, of the candidates that an index named.
        expected: By which it named them.
        most_missed: Of the excess. While more is missed, those that are all measured become twice as many.
        measure: What the whole bank says of items (k,): (k, M).
        generator: Draws.
    """
    means = expected.means

    def sample(rest: list[Band]) -> list[Tensor]:
        found = measure(torch.cat([items[:0], *(band.sampled for band in rest)]))
        return [*torch.split(found, [len(band.sampled) for band in rest])]

    def told(rest: list[Band], drawn: list[Tensor]) -> Missed:
        sampled = [(of.mean(dim=1), means[band.sampled], len(band)) for band, of in zip(rest, drawn, strict=True)]
        return missed(values.mean(dim=1), means[items], sampled)

    items, values = rounds[-1].candidates, rounds[-1].values
    rest = bands(left_out(rounds, expected.scores), len(items), generator)
    drawn = sample(rest)
    if most_missed < 1:
        while rest and told(rest, drawn).excess.estimate > most_missed:
            band, of = rest.pop(0), drawn.pop(0)
            items = torch.cat([items, band.sampled, band.others])
            values = torch.cat([values, of, measure(band.others)])
        items, values = torch.cat([items, *(band.sampled for band in rest)]), torch.cat([values, *drawn])
        rest = [_drawn(band.others, generator) for band in rest if len(band.others)]
        drawn = sample(rest)
    said = told(rest, drawn)
    items, values = torch.cat([items, *(band.sampled for band in rest)]), torch.cat([values, *drawn])
    order = items.argsort()
    return InFull(items[order], values[order], said)


def missed(scores: Tensor, means: Tensor, sampled: Sequence[tuple[Tensor, Tensor, int]]) -> Missed:
    """How much the items have that were not measured.

    Args:
        scores: (K,) of the items that were all measured.
        means: (K,) what they score on average for other images.
        sampled: Of each band what was sampled: scores (n,), means (n,), and of how many items in all.
    """
    known = (scores - means).double()
    drawn = [((some - theirs).double(), count) for some, theirs, count in sampled]
    items = len(known) + sum(count for _, count in drawn)
    general = (known.sum() + sum(count * some.mean() for some, count in drawn)) / items
    return Missed(
        sampled=sum(len(some) for some, _ in drawn),
        score=_share(scores.double(), [(some.double(), count) for some, _, count in sampled]),
        excess=_share(known - general, [(some - general, count) for some, count in drawn]),
    )


def _share(known: Tensor, sampled: Sequence[tuple[Tensor, int]]) -> Share:
    """The share of the positive sum that lies with what was not measured; (n,) of each band, and of how many in all."""
    measured = float(torch.cat([known, *(some for some, _ in sampled)]).clamp(min=0).sum())
    total = variance = fourth = 0.0
    for some, count in sampled:
        over, rest = some.clamp(min=0), count - len(some)
        if not rest:
            continue
        total += rest * float(over.mean())
        # of what is left of the band, told from what was drawn of it
        varies = rest**2 * float(over.var()) * (1 / len(some) + 1 / rest)
        variance, fourth = variance + varies, fourth + varies**2 / (len(some) - 1)
    if not total:
        return Share(0.0, 0.0, 0.0)
    # of the logarithm: few large ones make a sum, so that it is missed by more below than above
    half = student((1 + WITHIN) / 2, variance**2 / fourth) * variance**0.5 / total if variance else 0.0
    low, high = total * math.exp(-half), total * math.exp(half)
    return Share(total / (measured + total), low / (measured + low), high / (measured + high))


def student(p: float, freedom: float) -> float:
    """The quantile of Student's t, for 10 degrees of freedom or more (Abramowitz and Stegun 1964, 26.7.5), to 0.001."""
    z = NormalDist().inv_cdf(p)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
