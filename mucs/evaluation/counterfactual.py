"""Counterfactual: train again without the items that a method names, ask for the same image, and see how far it moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution.seeds import stream
from mucs.evaluation.answers import Answers, Similarity
from mucs.evaluation.metrics import Estimate, bootstrap, exceeds
from mucs.evaluation.retraining import Job, part


@dataclass(frozen=True)
class Design:
    """Which items are taken away from which retrainings.

    Attributes:
        groups: Generated items that share a retraining.
        remove: How many training items each retraining misses.
        seeds: Of training.
        draws: Random removals of the same size beside each.
    """

    groups: tuple[tuple[int, ...], ...]
    remove: int
    seeds: tuple[int, ...] = (0, 1)
    draws: int = 2

    @classmethod
    def of(cls, generated: int, group_size: int, remove: int, **others: object) -> Design:
        """Neighbours grouped.

        Raises:
            InputError: Unless the groups come out even.
        """
        if generated % group_size:
            raise InputError(f"{generated} generated items do not make groups of {group_size}; change either.")
        members = torch.arange(generated).view(-1, group_size).tolist()
        return cls(tuple(map(tuple, members)), remove, **others)  # type: ignore[arg-type]

    def named(self, scores: Tensor) -> list[tuple[int, ...]]:
        """What a method (scores (G, N)) would remove for each group: its members' best in turn, until there are `remove`.

        All methods so remove lists of equal size, however much their members' rankings overlap.
        """
        order = scores.argsort(dim=1, descending=True, stable=True)
        lists = []
        for group in self.groups:
            in_turn = order[list(group)].T.reshape(-1).tolist()
            lists.append(part(list(dict.fromkeys(in_turn))[: self.remove]))
        return lists

    def at_random(self, items: int, draw: int) -> list[tuple[int, ...]]:
        """A list of the same size for each group."""
        return [
            part(torch.randperm(items, generator=stream(draw, f"random removal {k}"))[: self.remove])
            for k in range(len(self.groups))
        ]


@dataclass(frozen=True)
class Moved:
    """How far a method's removals moved the images, by one measure of similarity.

    Intervals are a bootstrap over both groups and random removals.

    Attributes:
        auc: How often further than a random removal of the same size, training seed for training seed; 0.5 is no
            better.
        ratio: Change of the mean similarity (or loss) against random removal, in per cent.
        controls: The same AUC for the generated items that the removals were not meant for.
    """

    auc: Estimate
    ratio: Estimate
    controls: Estimate


def jobs(lists: Sequence[tuple[int, ...]], seeds: Sequence[int]) -> list[Job]:
    """Every list with every seed, list by list."""
    return [Job(removed, seed) for removed in lists for seed in seeds]


def counterfactual(
    answers: Answers,
    scores: Mapping[str, Tensor],
    design: Design,
    similarities: Mapping[str, Similarity],
) -> dict[str, dict[str, Moved]]:
    """Moved by method and measure: the similarities', and `loss`, the retrained model's loss on the generated item.

    Args:
        answers: What retrained models make of the generated items.
        scores: (G, N) by method.
        design: Which items share a retraining, and how many it misses.
        similarities: How alike two images are, by the measure's name.
    """
    count = len(answers.retraining.items)
    chance = [jobs(design.at_random(count, draw), design.seeds) for draw in range(design.draws)]
    wanted = {name: jobs(design.named(of), design.seeds) for name, of in scores.items()}
    answers.retraining.run([job for some in (*chance, *wanted.values()) for job in some])  # one queue, one estimate

    random = [_similar(answers, some, similarities) for some in chance]
    found = {}
    for name, some in wanted.items():
        mine = _similar(answers, some, similarities)
        found[name] = {
            measure: movement(design, of, torch.stack([r[measure] for r in random]), f"{name} {measure}")
            for measure, of in mine.items()
        }
    return found


def _similar(answers: Answers, some: Sequence[Job], similarities: Mapping[str, Similarity]) -> dict[str, Tensor]:
    """By measure, how alike the generated items and their new versions are: (J, G). Losses count as unlikeness."""
    found = answers.of(some)
    original = answers.generated[:].images
    return {
        **{
            name: torch.stack([of(images, original) for images in found["images"]]) for name, of in similarities.items()
        },
        "loss": -found["losses"],
    }


def movement(design: Design, mine: Tensor, random: Tensor, purpose: str) -> Moved:
    """Similarities as movement: `mine` (J, G) under a method's removals, `random` (draws, J, G); J is groups times seeds, group by group.

    Each removal is compared with the random ones of all groups, for they know of no group, with its own training seed.
    """
    groups, seeds = len(design.groups), len(design.seeds)
    similar = mine.double().view(groups, 1, seeds, -1)
    chance = random.double().view(len(random) * groups, seeds, -1)
    own = torch.zeros(groups, 1, 1, similar.shape[-1], dtype=torch.bool)
    for k, group in enumerate(design.groups):
        own[k, ..., list(group)] = True

    def mean(values: Tensor, of: Tensor) -> Tensor:
        """Over seeds, and those of the generated items that `of` has for each group: (groups, R, seeds, G) to (groups, R)."""
        return (values * of).sum(dim=(-1, -2)) / (of.sum(dim=(-1, -2)) * seeds).clamp(min=1)

    further = exceeds(-similar, -chance[..., None])  # (groups, R, seeds, G)
    auc, controls = mean(further, own), mean(further, ~own)
    moved, by_chance = mean(similar, own), mean(chance, own)

    def ratio(which: Tensor, draws: Tensor) -> float:
        return float(100 * (moved[which].mean() / by_chance[which][:, draws].mean() - 1))

    def estimate(of: Tensor, what: str) -> Estimate:
        return bootstrap(of.shape, lambda which, draws: float(of[which][:, draws].mean()), f"{what} {purpose}")

    return Moved(estimate(auc, "auc"), bootstrap(auc.shape, ratio, f"ratio {purpose}"), estimate(controls, "controls"))
