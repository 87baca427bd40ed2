"""Cause, likeness or membership: what else than cause could a method's scores be made of?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mucs.attribution.chance import matched
from mucs.evaluation.case import Case
from mucs.evaluation.metrics import Estimate, bootstrap, exceeds
from mucs.ranks import spearman

PAIRS = 10  # of seen and unseen items, for each generated one
UNRELATED = 0.5  # share of items that look least like the generated one


@dataclass(frozen=True)
class Suspicion:
    """Of one method's scores, with intervals from a bootstrap over generated items.

    Attributes:
        look_alikes: How often a training item outscores a held-out item that looks as much like the generated one.
        unrelated: The same of items that look little like it: above 0.5 the scores tell membership, whatever was
            generated.
        pixels, features: Rank correlation of training items' scores with likeness in pixels and in features.
    """

    look_alikes: Estimate
    unrelated: Estimate
    pixels: Estimate
    features: Estimate


def suspicion(case: Case, scores: Tensor, pixels: Tensor, features: Tensor, name: str = "") -> Suspicion:
    """What else than cause a method's scores could be made of.

    Args:
        case: What is explained, and by what.
        scores: (G, N + H), of training and held-out items.
        pixels: The same shape: how alike each item and the generated one are, in pixels.
        features: The same in features.
        name: The method's, which its random draws go by.
    """
    count = len(case.images)
    alike, apart = [], []
    for of, like in zip(scores, pixels, strict=True):
        seen, unseen = matched(like[:count], like[count:], min(PAIRS, scores.shape[1] - count))
        alike.append(exceeds(of[seen], of[count + unseen].expand(len(seen), -1)).mean())
        far_seen = like[:count].argsort(stable=True)[: int(UNRELATED * count)]
        far_unseen = like[count:].argsort(stable=True)[: max(1, int(UNRELATED * (scores.shape[1] - count)))]
        apart.append(exceeds(of[far_seen], of[count + far_unseen].expand(len(far_seen), -1)).mean())

    def estimate(values: Tensor, what: str) -> Estimate:
        return bootstrap([len(values)], lambda which: float(values[which].mean()), f"{what} {name}")

    return Suspicion(
        estimate(torch.stack(alike), "look-alikes"),
        estimate(torch.stack(apart), "unrelated"),
        estimate(spearman(scores[:, :count], pixels[:, :count]), "pixels"),
        estimate(spearman(scores[:, :count], features[:, :count]), "features"),
    )
