"""Cause, likeness or membership: what else than cause could a method's scores be made of?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mucs.evaluation.case import Case
from mucs.evaluation.metrics import Estimate, bootstrap, exceeds
from mucs.ranks import spearman

PAIRS = 10  # of seen and unseen items, for each generated one
CALIPER = 0.2  # standard deviations by which two items' losses may differ, to be equally well known (Austin 2011)
UNRELATED = 0.5  # share of items that look least like the generated one


@dataclass(frozen=True)
class Suspicion:
    """Of one method's scores, with intervals from a bootstrap over generated items.

    Attributes:
        look_alikes: How often a training item outscores a held-out item that looks as much like the generated one.
        unrelated: The same of items that look little like it: above 0.5 the scores tell membership, whatever was
            generated.
        equally_known: As `look_alikes`, but the original model loses as much on either item, so that a score's way with base losses
            is no part of it. None where fewer than half of the pairs can be made: what was trained on is then known too well to be compared.
        pixels, features: Rank correlation of training items' scores with likeness in pixels and in features.
    """

    look_alikes: Estimate
    unrelated: Estimate
    equally_known: Estimate | None
    pixels: Estimate
    features: Estimate


def matched(seen: Tensor, unseen: Tensor, count: int, equal: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Pairs of a training and a held-out item that look equally like something.

    The most alike held-out items choose first, each the training item of the nearest likeness that is still free.

    Args:
        seen: (N,), likeness.
        unseen: (H,), likeness.
        count: How many held-out items are paired, the most alike.
        equal: (H, N) bool, which may be paired; all may without it. A held-out item with nobody left to be paired with is in no pair.

    Returns:
        Indices (n,), (n,) of training and held-out items, n ≤ min(count, N, H).
    """
    free = torch.ones(len(seen), dtype=torch.bool)
    pairs = []
    for h in unseen.argsort(descending=True, stable=True)[: min(count, len(seen))].tolist():
        eligible = free if equal is None else free & equal[h]
        if eligible.any():
            distance = (seen - unseen[h]).abs()
            nearest = int(torch.where(eligible, distance, torch.inf).argmin())
            free[nearest] = False
            pairs.append((nearest, h))
    found = torch.tensor(pairs, dtype=torch.long).view(-1, 2)
    return found[:, 0], found[:, 1]


def equally_known(losses: Tensor, seen: int) -> Tensor:
    """Which held-out and training items the model knows equally well: (N + H,) mean losses, the first `seen` of training items, to (H, N) bool."""
    known = losses.double().clamp(min=1e-12).log()
    return (known[seen:, None] - known[None, :seen]).abs() <= CALIPER * known.std()


def outscoring(seen: Tensor, unseen: Tensor) -> Tensor:
    """How often scores of training items (n,) exceed those of held-out items (m,), every one against every one: ()."""
    return exceeds(seen, unseen.expand(len(seen), -1)).mean()


def suspicion(
    case: Case, scores: Tensor, pixels: Tensor, features: Tensor, losses: Tensor, name: str = ""
) -> Suspicion:
    """What else than cause a method's scores could be made of.

    Args:
        case: What is explained, and by what.
        scores: (G, N + H), of training and held-out items.
        pixels: The same shape: how alike each item and the generated one are, in pixels.
        features: The same in features.
        losses: (N + H,), the original model's mean loss on each item.
        name: The method's, which its random draws go by.
    """
    count = len(case.images)
    equal = equally_known(losses, count)
    alike, apart, known, possible, made = [], [], [], 0, 0
    for of, like in zip(scores, pixels, strict=True):
        seen, unseen = matched(like[:count], like[count:], min(PAIRS, scores.shape[1] - count))
        alike.append(outscoring(of[seen], of[count + unseen]))
        possible += len(seen)
        seen, unseen = matched(like[:count], like[count:], len(seen), equal)
        made += len(seen)
        if len(seen):
            known.append(outscoring(of[seen], of[count + unseen]))
        far_seen = like[:count].argsort(stable=True)[: int(UNRELATED * count)]
        far_unseen = like[count:].argsort(stable=True)[: max(1, int(UNRELATED * (scores.shape[1] - count)))]
        apart.append(outscoring(of[far_seen], of[count + far_unseen]))

    def estimate(values: Tensor, what: str) -> Estimate:
        return bootstrap([len(values)], lambda which: float(values[which].mean()), f"{what} {name}")

    return Suspicion(
        estimate(torch.stack(alike), "look-alikes"),
        estimate(torch.stack(apart), "unrelated"),
        estimate(torch.stack(known), "equally known") if 2 * made >= possible else None,
        estimate(spearman(scores[:, :count], pixels[:, :count]), "pixels"),
        estimate(spearman(scores[:, :count], features[:, :count]), "features"),
    )
