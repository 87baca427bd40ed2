"""Linear datamodeling score: do summed scores predict the loss of models that were trained on random halves?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mucs.attribution.seeds import stream
from mucs.evaluation.answers import Answers
from mucs.evaluation.metrics import RESAMPLES, Estimate
from mucs.evaluation.retraining import Job, part
from mucs.ranks import spearman


def halves(items: int, count: int) -> Tensor:
    """Which items each of `count` random halves keeps: (count, items) bool."""
    kept = torch.zeros(count, items, dtype=torch.bool)
    for k in range(count):
        kept[k, torch.randperm(items, generator=stream(0, f"half {k}"))[items - items // 2 :]] = True
    return kept


def half_losses(answers: Answers, kept: Tensor, seeds: int = 1) -> Tensor:
    """Losses of the generated items under models trained on each part, averaged over training seeds: (S, N) to (S, G)."""
    jobs = [Job(part((~row).nonzero()[:, 0]), seed) for row in kept for seed in range(seeds)]
    return answers.of(jobs)["losses"].view(len(kept), seeds, -1).mean(dim=1)


def datamodeling_score(scores: Tensor, kept: Tensor, losses: Tensor) -> Tensor:
    """Spearman's correlation, for each generated item, of predicted and measured output over the parts: (G,) float64.

    The prediction is the sum of the kept items' scores, the output minus the loss (Park et al. 2023, arXiv 2303.14186,
    definition 2.3; Zheng et al. 2024, arXiv 2311.00500, section 2.2).

    Args:
        scores: (G, N).
        kept: (S, N) bool.
        losses: (S, G).
    """
    return spearman(scores.double() @ kept.double().T, -losses.T.double())


@dataclass(frozen=True)
class Predicted:
    """How well a method predicts retrainings.

    Attributes:
        score: The mean datamodeling score over generated items.
        beyond: The same less that of the method that it is compared with.
    """

    score: Estimate
    beyond: Estimate


def estimated(scores: Mapping[str, Tensor], kept: Tensor, losses: Tensor, reference: str) -> dict[str, Predicted]:
    """Datamodeling scores by method, and their differences to that of `reference`: scores (G, N), kept (S, N), losses (S, G).

    Intervals are a 95 % bootstrap over both generated items and parts, the same draws for all methods.
    """
    random = stream(0, "datamodel")
    again: dict[str, list[Tensor]] = {name: [] for name in scores}
    for _ in range(RESAMPLES):
        parts = torch.randint(len(kept), (len(kept),), generator=random)
        items = torch.randint(losses.shape[1], (losses.shape[1],), generator=random)
        for name, of in scores.items():
            again[name].append(datamodeling_score(of[items], kept[parts], losses[parts][:, items]).mean())
    values = {name: float(datamodeling_score(of, kept, losses).mean()) for name, of in scores.items()}
    drawn = {name: torch.stack(of) for name, of in again.items()}
    return {
        name: Predicted(
            _estimate(values[name], drawn[name]),
            _estimate(values[name] - values[reference], drawn[name] - drawn[reference]),
        )
        for name in scores
    }


def _estimate(value: float, drawn: Tensor) -> Estimate:
    return Estimate(value, *drawn.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist())
