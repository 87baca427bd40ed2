"""Attribution of generated items to training items: unlearn, score, rank, and say what chance would do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution import chance
from mucs.attribution.bank import NoiseBank
from mucs.attribution.calibration import Calibration
from mucs.attribution.compare import compared
from mucs.attribution.hyperparameters import Unlearning
from mucs.attribution.items import Items, as_items
from mucs.attribution.losses import Done, LossStore, LossTable, Scoring
from mucs.attribution.missed import Expected, InFull, Missed, sample_size, widened
from mucs.attribution.model import DiffusionModel
from mucs.attribution.ranking import Ranking
from mucs.attribution.screening import Screening, best, halving_pairs, plan, recall, successive_halving
from mucs.attribution.seeds import stream
from mucs.attribution.skew import standard_error
from mucs.attribution.unlearning import Progress, Unlearned, mirrored_unlearning

Expecting = Callable[[Items], Expected]  # of all training items, for one generated item


@dataclass(frozen=True)
class Attribution(Ranking):
    """One generated item's answer: the ranking of the training items, and what else was measured.

    K of them are measured on the whole bank (all N if exact); the ranking's `items` are indices into the training images.
    unseen: the same ranking of the held-out items (H,), all of them on the whole bank, screened or not: what they would be, had they
    been candidates. Its p-values are of each against the other held-out items. None without held-out items.
    held_out_scores: (H,), of the first repeat, in the order of the held-out images.
    prefix: of how many of the bank's first entries `prefix_scores` are; 0 where none were asked for.
    tie_p_value: of the largest decoy_z, against the largest that each decoy has when it stands against the others: whether the
    generated item is tied to any training item more closely than an image that the model never made; in [1/(D+1), 1], None without
    a calibration of 3 decoys or more. Only survivors of screening can be the closest, so with screening it errs towards 1.
    survivors: how many items were left after each screening stage. recall: of screening, by K, where it was measured.
    missed: what lies with the training items that were not measured, where an index named the candidates.
    held_out_ks: distance from uniform of held-out p-values against each other.
    forget_loss: mean bounded forget loss of the last batch; retain_loss: its mean retain loss. probe_before,
    probe_after: mean bounded forget loss under the fixed probe, of the original and the unlearned model.
    null_loss: L₀; 1 where it goes by level, and bounded forget losses are then shares of it.
    """

    held_out_scores: Tensor
    prefix: int
    survivors: tuple[int, ...]
    recall: dict[str, float] | None
    missed: Missed | None
    held_out_ks: float | None
    tie_p_value: float | None
    steps: int
    converged: bool
    null_loss: float
    forget_loss: float
    retain_loss: float
    probe_before: float
    probe_after: float
    unseen: Ranking | None = None

    def against(self, calibration: Calibration) -> Attribution:
        """The same with its z-scores against the calibration's decoys; InputError unless its prefix is the calibration's."""
        if self.prefix != calibration.entries:
            raise InputError(
                f"The calibration is of {calibration.entries} bank entries, the attribution kept its scores of {self.prefix}; make one of them anew."
            )
        ranked = self.held_against(calibration.null_scores[self.items])
        largest = calibration.largest_z_scores
        tie = None if largest.isnan().any() else float(chance.p_values(ranked.decoy_z.max()[None], largest))
        unseen = self.unseen and calibration.held_against(self.unseen)
        return replace(ranked, tie_p_value=tie, unseen=unseen)


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
    index: Expecting | None = None,
    measure_recall: bool = False,
    seed: int = 0,
    store: LossStore | None = None,
    progress: Progress | None = None,
) -> list[Attribution]:
    """Score every training image for each generated image.

    Args:
        model: The original.
        images: The training images, (N, C, H, W) in [-1, 1], or Items.
        generated_images: (G, C, H, W) in [-1, 1], or Items.
        bank: The noise bank.
        settings: How an item is unlearned.
        screening: Who is measured in full; without, every training item is. Held-out items always are.
        scoring: How losses are measured and compared.
        held_out: Images of the same kind that the model was not trained on, as `images`.
        calibration: The decoys' scores, to hold the items' own against.
        prefix: Over how many of the bank's first entries to keep scores as well, for a calibration that is still to come
            (`Attribution.against`).
        repeats: How many times to unlearn, each with draws of its own.
        index: What it expects names the candidates, where screening has such.
        measure_recall: Score everything as well, and say what screening lost.
        seed: Of all random streams.
        store: Original losses to read and fill, so that several calls share them.
        progress: Called with ("unlearning", steps done, step cap) and ("scoring", pairs done, of how many) for each item.

    Returns:
        One attribution for each generated image.

    Raises:
        InputError: If images, conditioning, bank or calibration do not fit the model, or candidates are asked for without an index.
    """
    items, generated = as_items(images), as_items(generated_images)
    unseen = None if held_out is None else as_items(held_out)
    model.check(generated, "generated images")
    if not isinstance(repeats, int) or repeats < 1:
        raise InputError(f"{repeats!r} repeats are asked for; ask for a whole number from 1 on.")
    if not isinstance(prefix, int) or prefix < 0:
        raise InputError(f"The prefix is {prefix!r}; give a whole number of bank entries, 0 for none.")
    if screening:
        screening.check(len(items))
    if (screening is not None and screening.candidates > 0) != (index is not None):
        raise InputError("An index and the number of candidates that it is to name go together; give both, or neither.")
    store = store or LossStore()
    candidates = store.table(model, items, bank, scoring)
    held_out_table = None if unseen is None else store.table(model, unseen, bank, scoring)
    if calibration is not None:
        calibration.check(model, items, unseen, bank, settings, scoring, seed)
        prefix = calibration.entries
    method = _Method(
        candidates, held_out_table, settings, screening, index, min(prefix, len(bank)), seed, repeats, progress
    )
    found = [method.attribute(generated[k : k + 1], measure_recall) for k in range(len(generated))]
    return found if calibration is None else [one.against(calibration) for one in found]


class _Scored:
    """What the bank's entries say of some items, summed over repeats of unlearning.

    Attributes:
        table: The original model's losses of the set that the items are of.
        items: (K,) int64, indices into it.
        first: (K,) their scores by the first repeat.
    """

    def __init__(self, table: LossTable, items: Tensor, values: Tensor) -> None:
        self.table, self.items, self.first = table, items, values.mean(dim=1)
        self._values, self._means, self._together = values, [self.first], values.clone()

    def add(self, values: Tensor) -> None:
        """One repeat more: (K, M)."""
        self._means.append(values.mean(dim=1))
        self._together += values

    def ranking(self, prefix: int, p_values: Tensor | None) -> Ranking:
        """The items, best first.

        Args:
            prefix: Of how many of the bank's first entries scores are kept as well.
            p_values: (K,) of the items, by the first repeat; None for none.
        """
        runs, repeats = torch.stack(self._means), len(self._means)
        scores = runs.mean(dim=0)
        errors = standard_error(self._together / repeats, self.table.bank.levels)
        if repeats > 1:
            errors = (errors.square() + runs.var(dim=0) / repeats).sqrt()
        unknown = torch.full(scores.shape, torch.nan, dtype=torch.float64)
        order = best(scores, len(scores))
        return Ranking(
            items=self.items[order],
            scores=scores[order],
            standard_errors=errors[order],
            seed_spread=runs.std(dim=0)[order] if repeats > 1 else unknown.float(),
            prefix_scores=self._values[:, :prefix].mean(dim=1)[order],
            p_values=unknown if p_values is None else p_values[order],
            decoy_p_values=unknown,
            decoy_z=unknown,
        )


@dataclass(frozen=True)
class _Method:
    """What all generated items share: the original model's losses of candidates and held-out items, and how to compare."""

    candidates: LossTable
    held_out: LossTable | None
    settings: Unlearning
    screening: Screening | None
    index: Expecting | None
    prefix: int
    seed: int
    repeats: int
    progress: Progress | None

    def attribute(self, generated: Items, measure_recall: bool) -> Attribution:
        """Unlearn one item, score, rank, and say what chance would do."""
        unlearned = self.unlearn(generated, 0)
        done = self.pairs_done(measure_recall)
        survivors, measured = self.in_full(generated, unlearned, done)
        ranked = _Scored(self.candidates, measured.items, measured.values)
        exact = self.recall(unlearned, measured.items, ranked.first, done) if measure_recall else None
        unseen = None
        if self.held_out is not None:
            everyone = torch.arange(len(self.held_out.items))
            unseen = _Scored(self.held_out, everyone, self.compare(self.held_out, unlearned, everyone, None, done))
        chance_says = self.against_held_out(generated, ranked, unseen)
        for repeat in range(1, self.repeats):
            copy = self.unlearn(generated, repeat)  # once more, with other draws
            for scored in (ranked, unseen) if unseen else (ranked,):
                scored.add(self.compare(scored.table, copy, scored.items, None, done))
        return Attribution(
            **vars(ranked.ranking(self.prefix, chance_says.pop("p_values", None))),
            unseen=None if unseen is None else unseen.ranking(self.prefix, chance.others_p_values(unseen.first)),
            prefix=self.prefix,
            survivors=survivors,
            recall=exact,
            missed=measured.missed,
            tie_p_value=None,
            steps=unlearned.steps,
            converged=unlearned.converged,
            null_loss=unlearned.null_loss,
            forget_loss=unlearned.bounded_loss,
            retain_loss=float(unlearned.retain_loss[-1].mean()),
            probe_before=unlearned.probe_before,
            probe_after=unlearned.probe_after,
            **chance_says,
        )

    def in_full(self, generated: Items, unlearned: Unlearned, done: Done | None) -> tuple[tuple[int, ...], InFull]:
        """How many items each stage of screening left, and those that are measured on the whole bank."""

        def compare(which: Tensor, entries: range | None) -> Tensor:
            return self.compare(self.candidates, unlearned, which, entries, done)

        expected, named = None, torch.arange(len(self.candidates.items))
        if self.index is not None and self.screening is not None:
            expected = self.index(generated)
            named = best(expected.scores, self.screening.candidates).sort().values
        rounds = successive_halving(self.screening, named, len(self.candidates.bank), compare)
        survivors = tuple(len(each.candidates) for each in rounds[1:])
        if expected is None or self.screening is None:
            return survivors, InFull(rounds[-1].candidates, rounds[-1].values, None)
        return survivors, widened(
            rounds,
            expected,
            self.screening.most_missed,
            lambda which: compare(which, None),
            stream(self.seed, "missed", generated.digest),
        )

    def pairs_done(self, measure_recall: bool) -> Done | None:
        """What is told of each pair that is scored, so that `progress` hears how many of them all are."""
        if self.progress is None:
            return None
        count, full = len(self.candidates.items), len(self.candidates.bank)
        survivors = plan(self.screening, count, full)[-1][0]
        drawn = 0 if self.index is None else sample_size(count - survivors, survivors)
        of = halving_pairs(self.screening, count, full) + drawn * full + (self.repeats - 1) * (survivors + drawn) * full
        if measure_recall:
            of += (count - survivors - drawn) * full
        if self.held_out is not None:
            of += self.repeats * len(self.held_out.items) * full
        of *= self.settings.copies
        so_far, progress = 0, self.progress

        def done(pairs: int) -> None:
            nonlocal so_far
            so_far += pairs
            progress("scoring", so_far, max(of, so_far))  # more are measured where too much was missed

        return done

    def unlearn(self, generated: Items, repeat: int) -> Unlearned:
        # the first is what a run without repeats does
        seed = self.seed if repeat == 0 else stream(self.seed, f"repeat {repeat}").initial_seed()
        original, images, told = self.candidates.model, self.candidates.items, self.progress
        return mirrored_unlearning(original, generated, images, self.settings, seed=seed, progress=told)

    def compare(
        self, table: LossTable, unlearned: Unlearned, which: Tensor, entries: range | None, done: Done | None
    ) -> Tensor:
        """What the bank's entries, None for all, say of the items `which` (K,): (K, len(entries))."""
        return compared(table, unlearned, which, range(len(table.bank)) if entries is None else entries, done)

    def recall(self, unlearned: Unlearned, items: Tensor, scores: Tensor, done: Done | None) -> dict[str, float]:
        """Of the best candidates by exact scores, the share that is among the items (K,), whose scores (K,) are known."""
        everything = torch.arange(len(self.candidates.items))
        dropped = everything[~torch.isin(everything, items)]
        exact = torch.empty(len(everything))
        exact[items] = scores
        exact[dropped] = self.compare(self.candidates, unlearned, dropped, None, done).mean(dim=1)
        return recall(exact, items)

    def against_held_out(self, generated: Items, ranked: _Scored, unseen: _Scored | None) -> dict[str, Any]:
        """What the held-out items say of the training items, by the attribution's names; nothing of any where there are none."""
        if unseen is None:
            return {"held_out_scores": torch.empty(0), "held_out_ks": None}
        null = unseen.first
        return {
            "p_values": chance.p_values(ranked.first, null),
            "held_out_scores": null,
            "held_out_ks": chance.uniformity(null, stream(self.seed, "halves", generated.digest)),
        }
