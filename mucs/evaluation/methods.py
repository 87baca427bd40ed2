"""MUCS and its variants as methods of attribution, over losses that are measured once and kept."""

from __future__ import annotations

import dataclasses
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mucs.attribution import Items, LossStore, NoiseBank, Scoring, Screening, Unlearning, mirrored_unlearning
from mucs.attribution.addresses import address
from mucs.attribution.losses import machine, measure
from mucs.attribution.mapped import cached
from mucs.attribution.screening import successive_halving
from mucs.attribution.version import METHOD_SHA256
from mucs.digests import source_sha256
from mucs.evaluation import ablations
from mucs.evaluation.ablations import look_alikes_dropped, redrawn_losses
from mucs.evaluation.case import Case

log = logging.getLogger("mucs.evaluation")


@dataclass(frozen=True, eq=False)
class Mucs:
    """MUCS on a case. Losses before and after unlearning are kept in a folder, for all ways to score them.

    Attributes:
        bank: The noise bank.
        workers: Items unlearned side by side, one thread each on a CPU.
        redrawn_noise: Noise is drawn anew for each item and model, at the bank's levels, and losses are averaged over them before
            they are compared (the paper's ablation): one entry for each item.
        drop_alike: Share of each batch of training items, those most like the generated one, that is not retained (the paper's
            ablation).
    """

    case: Case
    bank: NoiseBank
    settings: Unlearning
    scoring: Scoring = field(default_factory=Scoring)
    folder: Path | None = None
    workers: int = 1
    redrawn_noise: bool = False
    drop_alike: float = 0.0

    def entries(self, generated: Items | None = None, seed: int | None = None) -> Tensor:
        """What each bank entry says of every item, for each generated one (by default the case's): (G, N + H, M) float32, or (G, N + H, 1)."""
        return torch.stack([entries for entries, _ in self._unlearned(generated, seed)])

    def converged(self) -> int:
        """For how many generated items unlearning reached its end before the step cap; scores of the others understate."""
        return sum(converged for _, converged in self._unlearned())

    def _unlearned(self, generated: Items | None = None, seed: int | None = None) -> list[tuple[Tensor, bool]]:
        """Entries (N + H, M) of each generated item, and whether its unlearning converged; in memory, or in the folder for good."""
        generated, seed = generated or self.case.generated, self.case.seed if seed is None else seed
        candidates, model = self.case.candidates, self.case.model
        store = LossStore(self.folder and self.folder / "losses")
        count = len(candidates)
        which, columns = torch.arange(count), range(len(self.bank))
        if self.redrawn_noise:
            before = redrawn_losses(model, candidates, self.bank, seed, "before")
        elif self.settings.antithetic:
            before = torch.empty(0)  # two copies are held against each other
        else:
            before = store.table(model, candidates, self.bank, self.scoring).rows(which, columns)
        about: dict[str, Any] = {
            "model": model.digest,
            "images": self.case.images.digest,
            "candidates": candidates.digest,
            "bank": self.bank.digest,
            "settings": dataclasses.asdict(self.settings),
            "scoring": dataclasses.asdict(replace(self.scoring, score="skew")),
            "seed": seed,
            "machine": machine(model.device),
            "code": METHOD_SHA256,
        }
        if self.redrawn_noise or self.drop_alike:
            about |= {"ablation": [self.redrawn_noise, self.drop_alike], "of": source_sha256(Path(ablations.__file__))}
        place = address(**about)

        def one(k: int) -> tuple[Tensor, bool]:
            item = generated[k : k + 1]

            def fill(losses: Tensor) -> None:
                draws = (
                    look_alikes_dropped(self.case, item, self.settings, seed, self.drop_alike)
                    if self.drop_alike
                    else None
                )
                done = mirrored_unlearning(model, item, self.case.images, self.settings, seed=seed, draws=draws)
                how = "converged" if done.converged else "NOT converged"
                log.info("unlearn   %d of %d: %s after %d steps", k + 1, len(generated), how, done.steps)
                if self.redrawn_noise:
                    losses[:count] = redrawn_losses(done.model, candidates, self.bank, seed, f"after {item.digest}")
                else:
                    second = self.scoring.second_bank(self.bank)
                    losses[:count] = measure(done.model, candidates, second, which, columns, self.scoring)
                if done.antithetic is not None:
                    losses[count:-1] = measure(done.antithetic, candidates, self.bank, which, columns, self.scoring)
                losses[-1] = float(done.converged)

            path = self.folder and self.folder / "unlearned" / place / f"{item.digest}.f32"
            losses = cached(path, (self.settings.copies * count + 1, len(self.bank)), fill)
            after, converged = losses[:count], bool(losses[-1].all())
            if self.settings.antithetic:
                return self.scoring.compare(losses[count:-1], after) / 2, converged
            if self.redrawn_noise:
                means = (each.mean(dim=1, keepdim=True) for each in (before, after))
                return self.scoring.compare(*means), converged
            return self.scoring.compare(before, after), converged

        digests = [generated[k : k + 1].digest for k in range(len(generated))]
        first = {content: k for k, content in reversed(list(enumerate(digests)))}  # identical items are one
        with ThreadPoolExecutor(self.workers) as pool:
            found = dict(zip(first, pool.map(one, first.values()), strict=True))
        return [found[content] for content in digests]

    def losses(self) -> Tensor:
        """The original model's mean loss on every item over the bank: (N + H,)."""
        store = LossStore(self.folder and self.folder / "losses")
        table = store.table(self.case.model, self.case.candidates, self.bank, self.scoring)
        return table.rows(torch.arange(len(self.case.candidates)), range(len(self.bank))).mean(dim=1)

    def scores(self, seed: int | None = None) -> Tensor:
        """The method's scores: (G, N + H)."""
        return self.entries(seed=seed).mean(dim=2)

    def z_scores(self) -> Tensor:
        """How many standard deviations each item's score lies above its own scores for the case's decoys: (G, N + H).

        Raises:
            InputError: If the case has none.
        """
        null = self.entries(self.case.decoy_items).mean(dim=2)
        return (self.scores() - null.mean(dim=0)) / null.std(dim=0)

    def screened(self, screening: Screening) -> Tensor:
        """Scores of training items as screening leaves them: survivors by the full bank, what fell by the entries that it saw: (G, N).

        What fell stays below what did not. Successive halving is run again over entries that are there already, as
        `attribute` runs it.
        """
        entries = self.entries()[:, : len(self.case.images)]
        return torch.stack([_halved(of, screening) for of in entries])


def _halved(entries: Tensor, screening: Screening) -> Tensor:
    """(N, M) to (N,)."""
    rounds = successive_halving(
        screening,
        torch.arange(len(entries)),
        entries.shape[1],
        lambda which, seen: entries[which, seen.start : seen.stop],
    )
    alive, scores = rounds[-1].candidates, torch.empty(len(entries))
    scores[alive] = rounds[-1].values.mean(dim=1)
    for stage in reversed(rounds[:-1]):
        fell = ~torch.isin(stage.candidates, alive)
        scores[stage.candidates[fell]] = stage.values.mean(dim=1)[fell].clamp(max=float(scores[alive].min()) - 1e-6)
        alive = stage.candidates
    return scores
