"""Holders: are those named without whom the image would not be? Training again without each rights holder's items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution import GroupAttribution, Items, LossStore, NoiseBank, Scoring, Unlearning, attribute_groups
from mucs.attribution.draws import different
from mucs.attribution.seeds import stream
from mucs.evaluation.answers import Answers, squared_error
from mucs.evaluation.case import Case
from mucs.evaluation.metrics import RESAMPLES, Estimate, first, ndcg
from mucs.evaluation.retraining import Job, part
from mucs.ranks import spearman

Groups = Mapping[str, tuple[int, ...]]  # indices of training items, rising, by the name of the group
FORGOTTEN, SIZE = "group forgotten", "size"
SUMMED = ("MUCS", "MUCS, difference", "D-TRAK", "feature cosine")  # methods whose scores of items are added up
BEST = 10  # edges of an image among which a contract shares money
TOP = 3  # groups that are put first, and looked at by NDCG


def largest(column: Sequence[str], count: int) -> Groups:
    """The groups of the `count` values that most items have, ties by which comes first.

    Args:
        column: What the manifest says of each item, such as its rights holder; "" for nothing.
        count: How many groups.

    Raises:
        InputError: If there are fewer values than that.
    """
    found = Counter(value for value in column if value).most_common(count)
    if len(found) < count:
        raise InputError(f"The items have {len(found)} rights holders, the study asks for {count}; ask for fewer.")
    return {name: tuple(k for k, value in enumerate(column) if value == name) for name, _ in found}


def at_random(sizes: Sequence[int], items: int) -> Groups:
    """Groups of random items, one for each of the sizes."""
    return {
        f"random {k + 1}": part(different(items, size, stream(0, f"random group {k}"))) for k, size in enumerate(sizes)
    }


def leaving_out(groups: Groups, seeds: Sequence[int]) -> list[Job]:
    """A training on everything, and one without each group, with each seed, seed by seed."""
    return [Job(removed, seed) for seed in seeds for removed in ((), *groups.values())]


def changes(answers: Answers, groups: Groups, seeds: Sequence[int]) -> dict[str, Tensor]:
    """What each generated item loses without each group, against training on everything with the same seed: by measure, (S, G, K) float64.

    `loss` is the rise of the retrained model's loss on it; `MSE` by how much further from it the image is that the same
    seed gives.
    """
    found, original = answers.of(leaving_out(groups, seeds)), answers.generated[:].images
    away = torch.stack([-squared_error(images, original) for images in found["images"]])
    shape = (len(seeds), 1 + len(groups), len(original))
    split = {name: of.double().view(shape) for name, of in {"loss": found["losses"], "MSE": away}.items()}
    return {name: (of[:, 1:] - of[:, :1]).transpose(1, 2) for name, of in split.items()}


def of_forgotten(
    case: Case,
    groups: Groups,
    held_out: Items,
    bank: NoiseBank,
    settings: Unlearning,
    pseudo_groups: int,
    store: LossStore,
    workers: int,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Predictions from forgetting the groups, (G, K) float64 by name, and how the forgetting went; as `attribute_groups` takes them."""
    forms: dict[str, tuple[Literal["skew", "difference"], bool, int]] = {
        FORGOTTEN: ("skew", False, pseudo_groups),
        f"{FORGOTTEN}, difference": ("difference", False, 0),
        f"{FORGOTTEN}, antithetic": ("skew", True, 0),
    }
    found = {}
    for name, (score, antithetic, null) in forms.items():
        with ThreadPoolExecutor(workers) as pool:
            found[name] = attribute_groups(
                *(case.model, case.images, case.generated, groups, held_out, bank),
                replace(settings, antithetic=antithetic),
                pseudo_groups=null,
                scoring=Scoring(score=score),
                seed=case.seed,
                store=store,
                executor=pool,
            )
    predicted = {name: _in_order(of, "scores", groups) for name, of in found.items()}
    predicted[f"{FORGOTTEN}, standing"] = _in_order(found[FORGOTTEN], "z_scores", groups).nan_to_num(0.0)
    one = found[FORGOTTEN][0]
    return predicted, {
        "converged": int(one.converged.sum()),
        "steps": [int(one.steps.min()), int(one.steps.max())],
        "pseudo-groups": one.null_scores.shape[1],
        "of which converged": float(one.null_converged.double().mean()),
    }


def _in_order(found: Sequence[GroupAttribution], what: str, groups: Groups) -> Tensor:
    """A figure of each answer and group, the groups in their own order: (G, K) float64."""
    places = [torch.tensor([one.groups.index(name) for name in groups]) for one in found]
    return torch.stack([getattr(one, what)[place] for one, place in zip(found, places, strict=True)]).double()


def of_items(scores: Mapping[str, Tensor], groups: Groups) -> dict[str, Tensor]:
    """Predictions from methods' scores of the training items, (G, N) by method: added up for each group, (G, K) float64 by name."""
    chosen = {name: of for name, of in scores.items() if name in SUMMED}
    sums = {f"{name}, sum": summed(of, groups) for name, of in chosen.items()}
    return sums | {f"{name}, best ten": best_summed(of, groups) for name, of in chosen.items()}


def of_sizes(groups: Groups, generated: int) -> dict[str, Tensor]:
    """The prediction that knows the groups' sizes alone: (G, K) float64 by its name."""
    return {SIZE: torch.tensor([[float(len(members)) for members in groups.values()]] * generated).double()}


def summed(scores: Tensor, groups: Groups) -> Tensor:
    """Each group's items' scores added up: (G, N) to (G, K) float64."""
    return torch.stack([scores[:, list(members)].double().sum(dim=1) for members in groups.values()], dim=1)


def best_summed(scores: Tensor, groups: Groups, count: int = BEST) -> Tensor:
    """The same of those items alone that are among the generated item's `count` best: (G, N) to (G, K) float64."""
    best = scores.argsort(dim=1, descending=True, stable=True)[:, :count]
    return summed(torch.zeros_like(scores).scatter(1, best, scores.gather(1, best)), groups)


@dataclass(frozen=True)
class Named:
    """How well a prediction names the groups that an image owes to, over generated items.

    Intervals are a 95 % bootstrap over both generated items and groups.

    Attributes:
        spearman: Mean rank correlation of prediction and change.
        ndcg: Mean NDCG of the three groups that are put first; the gain is the rise, 0 where there is none.
        top: How often the group that is put first is the one whose removal changes most.
        beyond, ndcg_beyond: The correlation, and the NDCG, less that of forgetting the group.
        beyond_size: The correlation less that of the group's size.
    """

    spearman: Estimate
    ndcg: Estimate
    top: Estimate
    beyond: Estimate
    ndcg_beyond: Estimate
    beyond_size: Estimate


def named(predicted: Mapping[str, Tensor], change: Tensor) -> dict[str, Named]:
    """How well predictions name the groups: (G, K) by name, forgetting and size among them, and the change (G, K)."""
    random = stream(0, "holders")
    rows, columns = (torch.randint(n, (RESAMPLES, n), generator=random) for n in change.shape)

    def again(values: Tensor) -> Tensor:
        """(G, K) to (RESAMPLES, G, K)."""
        return values[rows[:, :, None], columns[:, None, :]]

    values = {name: _metrics(of, change) for name, of in predicted.items()}
    drawn = {name: _metrics(again(of), again(change)) for name, of in predicted.items()}
    found = {}
    for name in predicted:
        rank, gain, top = _estimates(values[name], drawn[name])
        beyond, gain_beyond, _ = _estimates(values[name] - values[FORGOTTEN], drawn[name] - drawn[FORGOTTEN])
        beyond_size, *_ = _estimates(values[name] - values[SIZE], drawn[name] - drawn[SIZE])
        found[name] = Named(rank, gain, top, beyond, gain_beyond, beyond_size)
    return found


def ceiling(change: Tensor) -> float | None:
    """Mean rank correlation of what two training seeds find, over generated items and pairs of seeds: (S, G, K); None with one seed."""
    pairs = torch.combinations(torch.arange(len(change))).tolist()
    return float(torch.stack([spearman(change[a], change[b]).mean() for a, b in pairs]).mean()) if pairs else None


def _metrics(predicted: Tensor, change: Tensor) -> Tensor:
    """Means over generated items of the three metrics: (…, G, K), (…, G, K) to (…, 3)."""
    of_each = spearman(predicted, change), ndcg(predicted, change.clamp(min=0), TOP), first(predicted, change)
    return torch.stack([of.mean(dim=-1) for of in of_each], dim=-1)


def _estimates(values: Tensor, drawn: Tensor) -> list[Estimate]:
    """(3,), (R, 3) to three estimates."""
    low, high = drawn.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    return [Estimate(*map(float, of)) for of in zip(values, low, high, strict=True)]
