"""Linear datamodeling score: do summed scores predict the loss of models that were trained on random halves?"""

from __future__ import annotations

import torch
from torch import Tensor

from mucs.attribution.seeds import stream
from mucs.evaluation.answers import Answers
from mucs.evaluation.metrics import RESAMPLES, Estimate, spearman
from mucs.evaluation.retraining import Job, part


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

    scores: (G, N). kept: (S, N) bool. losses: (S, G). The prediction is the sum of the kept items' scores, the output
    minus the loss (Park et al. 2023, arXiv 2303.14186, definition 2.3; Zheng et al. 2024, arXiv 2311.00500, section 2.2).
    """
    return spearman(scores.double() @ kept.double().T, -losses.T.double())


def estimated(scores: Tensor, kept: Tensor, losses: Tensor, purpose: str = "") -> Estimate:
    """Mean datamodeling score, with a 95 % bootstrap interval over both generated items and parts."""
    random = stream(0, f"datamodel {purpose}")
    again = []
    for _ in range(RESAMPLES):
        parts = torch.randint(len(kept), (len(kept),), generator=random)
        items = torch.randint(len(scores), (len(scores),), generator=random)
        again.append(datamodeling_score(scores[items], kept[parts], losses[parts][:, items]).mean())
    low, high = torch.stack(again).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Estimate(float(datamodeling_score(scores, kept, losses).mean()), low, high)
