"""Attribution of generated items to training items: unlearn, score, rank, and say what chance would do."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution import chance
from mucs.attribution.bank import NoiseBank
from mucs.attribution.calibration import Calibration
from mucs.attribution.items import Items, as_items
from mucs.attribution.likeness import likeness
from mucs.attribution.losses import LossStore, LossTable, Scoring, measure
from mucs.attribution.model import DiffusionModel
from mucs.attribution.seeds import stream
from mucs.attribution.skew import standard_error
from mucs.attribution.unlearning import Unlearned, Unlearning, mirrored_unlearning, with_null_loss

PAIRS = 20  # matched pairs of seen and unseen look-alikes


@dataclass(frozen=True)
class Screening:
    """Successive halving: after each stage's number of bank entries, keep the best share of the training items.

    stages: (entries, keep) pairs; entries rise, keep is the share of all items in (0, 1] that stays, and falls.
    """

    stages: Sequence[tuple[int, float]]

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


@dataclass(frozen=True)
class Attribution:
    """One generated item's answer. K items survive screening (all N if exact), best first.

    items: (K,) indices into the training images. scores: (K,) float32, in (−1, 1) for the skew.
    standard_errors: (K,) over the bank.
    With repeats, scores are their mean, seed_spread is (K,) their standard deviation (NaN without), and all else is
    of the first.
    p_values: (K,) against the held-out items, NaN without. held_out_scores: (H,).
    prefix_scores: (K,) float32, over the bank's first `prefix` entries, to hold against a calibration's; NaN, and 0
    entries, where none were asked for.
    decoy_p_values, decoy_z: (K,) against the item's own scores for decoys, NaN without a calibration.
    survivors: how many items were left after each screening stage. recall: of screening, by K, where it was measured.
    seen_auc: probability that a training item outscores a held-out item that looks as much like the generated one,
    and its 95 % interval. held_out_ks: distance from uniform of held-out p-values against each other.
    discoveries, decoy_discoveries: how many items survive Benjamini–Hochberg at 5 % among all N, for each null.
    forget_loss: mean bounded forget loss of the last batch; retain_loss: its mean retain loss. probe_before,
    probe_after: mean bounded forget loss under the fixed probe, of the original and the unlearned model.
    null_loss: L₀; 1 where it goes by level, and bounded forget losses are then shares of it.
    """

    items: Tensor
    scores: Tensor
    standard_errors: Tensor
    seed_spread: Tensor
    prefix_scores: Tensor
    p_values: Tensor
    decoy_p_values: Tensor
    decoy_z: Tensor
    held_out_scores: Tensor
    prefix: int
    survivors: tuple[int, ...]
    recall: dict[str, float] | None
    seen_auc: tuple[float, float, float] | None
    held_out_ks: float | None
    discoveries: int | None
    decoy_discoveries: int | None
    steps: int
    converged: bool
    null_loss: float
    forget_loss: float
    retain_loss: float
    probe_before: float
    probe_after: float

    def against(self, calibration: Calibration) -> Attribution:
        """The same with its standing among the calibration's decoys; InputError unless its prefix is the calibration's."""
        if self.prefix != calibration.entries:
            raise InputError(
                f"The calibration is of {calibration.entries} bank entries, the attribution kept its scores of {self.prefix}; make one of them anew."
            )
        null = calibration.null_scores[self.items]
        p = chance.own_p_values(self.prefix_scores, null)
        found = chance.discoveries(p, len(calibration.null_scores))
        z = chance.standing(self.prefix_scores, null)
        return replace(self, decoy_p_values=p, decoy_z=z, decoy_discoveries=found)


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


def attribute(
    model: DiffusionModel,
    images: Tensor | Items,
    generated_images: Tensor | Items,
    bank: NoiseBank,
    settings: Unlearning = Unlearning(),
    *,
    screening: Screening | None = None,
    scoring: Scoring = Scoring(),
    held_out: Tensor | Items | None = None,
    calibration: Calibration | None = None,
    prefix: int = 0,
    repeats: int = 1,
    measure_recall: bool = False,
    seed: int = 0,
    store: LossStore | None = None,
) -> list[Attribution]:
    """Score every training image (N, C, H, W) for each generated image (G, C, H, W), all in [-1, 1].

    Without `screening` every item is scored on the full bank; held-out items always are. prefix: over how many of the
    bank's first entries to keep scores as well, for a calibration that is still to come (`Attribution.against`). repeats: how many times to
    unlearn, each with draws of its own. measure_recall: score everything as well, and say what screening lost.
    store: original losses to read and fill, so that several calls share them.
    Raises InputError if images, conditioning, bank or calibration do not fit the model.
    """
    items, generated = as_items(images), as_items(generated_images)
    reserve = None if held_out is None else as_items(held_out)
    model.check(generated, "generated images")
    if not isinstance(repeats, int) or repeats < 1:
        raise InputError(f"{repeats!r} repeats are asked for; ask for a whole number from 1 on.")
    if not isinstance(prefix, int) or prefix < 0:
        raise InputError(f"The prefix is {prefix!r}; give a whole number of bank entries, 0 for none.")
    store = store or LossStore()
    original = store.table(model, items, bank, scoring)
    original_reserve = None if reserve is None else store.table(model, reserve, bank, scoring)
    if calibration is not None:
        calibration.check(model, items, reserve, bank, settings, scoring, seed)
        prefix = calibration.entries
    settings = with_null_loss(settings, model, items, store, seed)
    race = _Race(original, original_reserve, settings, screening, min(prefix, len(bank)), seed)
    found = [race.run(generated[k : k + 1], repeats, measure_recall) for k in range(len(generated))]
    return found if calibration is None else [one.against(calibration) for one in found]


@dataclass(frozen=True)
class _Race:
    """What all generated items share: the original model's losses, and how to compare."""

    original: LossTable
    reserve: LossTable | None
    settings: Unlearning
    screening: Screening | None
    prefix: int
    seed: int

    def run(self, generated: Items, repeats: int, measure_recall: bool) -> Attribution:
        everyone = torch.arange(len(self.original.items))
        unlearned = self.unlearn(generated, 0)
        items, values, survivors = self.screen(unlearned)
        runs = [values.mean(dim=1)]
        for repeat in range(1, repeats):
            again = self.unlearn(generated, repeat)
            runs.append(self.compare(self.original, again, items).mean(dim=1))
        scores = torch.stack(runs).mean(dim=0)
        order = best(scores, len(scores))
        exact = None
        if measure_recall:
            dropped = everyone[~torch.isin(everyone, items)]
            full = torch.empty(len(everyone))
            full[items], full[dropped] = runs[0], self.compare(self.original, unlearned, dropped).mean(dim=1)
            exact = recall(full, items)
        unknown = torch.full(scores.shape, torch.nan, dtype=torch.float64)
        p, held_out_scores, seen_auc, ks = unknown, torch.empty(0), None, None
        if self.reserve is not None:
            held_out_scores = self.compare(self.reserve, unlearned, torch.arange(len(self.reserve.items))).mean(dim=1)
            p = chance.p_values(runs[0], held_out_scores)
            seen_auc = self.seen_auc(generated, unlearned, held_out_scores)
            ks = chance.uniformity(held_out_scores, stream(self.seed, "halves", generated.digest))
        return Attribution(
            items=items[order],
            scores=scores[order],
            standard_errors=standard_error(values)[order],
            seed_spread=torch.stack(runs).std(dim=0)[order] if repeats > 1 else unknown.float(),
            prefix_scores=values[:, : self.prefix].mean(dim=1)[order],
            p_values=p[order],
            decoy_p_values=unknown,
            decoy_z=unknown,
            held_out_scores=held_out_scores,
            prefix=self.prefix,
            survivors=survivors,
            recall=exact,
            seen_auc=seen_auc,
            held_out_ks=ks,
            discoveries=None if self.reserve is None else chance.discoveries(p, len(everyone)),
            decoy_discoveries=None,
            steps=unlearned.steps,
            converged=unlearned.converged,
            null_loss=unlearned.null_loss,
            forget_loss=unlearned.bounded_loss,
            retain_loss=float(unlearned.retain_loss[-1].mean()),
            probe_before=unlearned.probe_before,
            probe_after=unlearned.probe_after,
        )

    def unlearn(self, generated: Items, repeat: int) -> Unlearned:
        # the first is what a run without repeats does
        seed = self.seed if repeat == 0 else stream(self.seed, f"repeat {repeat}").initial_seed()
        return mirrored_unlearning(self.original.model, generated, self.original.items, self.settings, seed=seed)

    def compare(self, table: LossTable, unlearned: Unlearned, which: Tensor, entries: range | None = None) -> Tensor:
        """What the bank's entries say of the items `which` (K,): (K, len(entries))."""
        entries = range(len(table.bank)) if entries is None else entries
        bank = table.scoring.second_bank(table.bank)
        after = measure(unlearned.model, table.items, bank, which, entries, table.scoring)
        return table.scoring.compare(table.rows(which, entries), after)

    def screen(self, unlearned: Unlearned) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        """The items that are left (K,), what every bank entry says of them (K, M), and how many were left after each stage."""
        count, full = len(self.original.items), len(self.original.bank)
        items, values, survivors = torch.arange(count), torch.empty(count, 0), []
        for entries, keep in self.screening.stages if self.screening else ():
            if entries >= full:
                break
            new = self.compare(self.original, unlearned, items, range(values.shape[1], entries))
            values = torch.cat([values, new], dim=1)
            # in the order of the training set again, so that ties go the same way at every stage
            left = best(values.mean(dim=1), max(1, math.ceil(keep * count))).sort().values
            items, values = items[left], values[left]
            survivors.append(len(items))
        new = self.compare(self.original, unlearned, items, range(values.shape[1], full))
        return items, torch.cat([values, new], dim=1), tuple(survivors)

    def seen_auc(self, generated: Items, unlearned: Unlearned, held_out_scores: Tensor) -> tuple[float, float, float]:
        """Do training items outscore held-out items that look equally like the generated one?"""
        assert self.reserve is not None
        image = generated.images[0]
        seen, unseen = chance.matched(likeness(self.original.items, image), likeness(self.reserve.items, image), PAIRS)
        return chance.area_under_curve(
            self.compare(self.original, unlearned, seen).mean(dim=1),
            held_out_scores[unseen],
            stream(self.seed, "resamples", generated.digest),
        )
