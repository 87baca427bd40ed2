"""Calibration: what every training item scores for images that it has nothing to do with."""

from __future__ import annotations

import dataclasses
import json
import logging
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mucs import InputError
from mucs.attribution import chance
from mucs.attribution.addresses import address
from mucs.attribution.bank import NoiseBank
from mucs.attribution.compare import compared
from mucs.attribution.hyperparameters import Unlearning
from mucs.attribution.items import Items, as_items
from mucs.attribution.losses import LossStore, LossTable, Scoring
from mucs.attribution.mapped import cached
from mucs.attribution.model import DiffusionModel
from mucs.attribution.ranking import Ranking
from mucs.attribution.seeds import stream
from mucs.attribution.unlearning import mirrored_unlearning
from mucs.attribution.version import METHOD_SHA256
from mucs.parse import load_json

log = logging.getLogger("mucs.attribution")

CHANGE_NO_SCORE = (
    "micro_batch_size",
    "gradient_checkpointing",
    "efficient_attention",
    "converged_at",
)  # beyond rounding


def calibration_address(
    model: str,
    images: str,
    held_out: str,
    bank: str,
    settings: Unlearning,
    scoring: Scoring,
    decoys: int,
    seed: int,
    code: str = METHOD_SHA256,
) -> str:
    """Name what a calibration depends on; micro-batches and precision of scoring are left out.

    Args:
        model: Digest of the model.
        images: Digest of the training items.
        held_out: Digest of the held-out items.
        bank: Digest of the bank's entries that decoys are scored under.
        settings: As `calibrate` takes them.
        scoring: The same.
        decoys: How many.
        seed: As `calibrate` takes it.
        code: Digest of the method's source.

    Returns:
        SHA-256 in hexadecimal.
    """
    return address(
        model=model,
        images=images,
        held_out=held_out,
        bank=bank,
        settings={k: v for k, v in dataclasses.asdict(settings).items() if k not in CHANGE_NO_SCORE},
        score=[scoring.score, scoring.eps, scoring.shared_noise],
        decoys=decoys,
        seed=seed,
        code=code,
    )


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of the training items for decoys: held-out images, unlearned as if they had been generated.

    Attributes:
        null_scores: (N, D) float32, in (−1, 1) for the skew.
        unseen_null_scores: (H, D) float32, the same of all held-out items, of which the decoys are some: what one scores for itself
            counts for nothing. None in calibrations made before these were kept.
        decoys: (D,) int64, indices into the held-out images, rising.
        entries: Over how many of the bank's first entries.
        address: Of what it was made from, as `calibration_address` gives it; it speaks for that alone.
        code: SHA-256 of the method's source that made it, in hexadecimal.
    """

    null_scores: Tensor
    unseen_null_scores: Tensor | None
    decoys: Tensor
    entries: int
    address: str
    code: str

    @cached_property
    def largest_z_scores(self) -> Tensor:
        """Each decoy's largest z-score over the training items, against the other decoys: (D,) float64, NaN if D < 3."""
        return chance.largest_z_scores(self.null_scores)

    def held_against(self, unseen: Ranking) -> Ranking:
        """A ranking of held-out items with its standing among their own scores for decoys.

        A decoy stands against the others alone: for itself it was unlearned.

        Args:
            unseen: As attributions have it, of the same held-out items; their prefix scores are over `entries`.
        """
        if self.unseen_null_scores is None:
            return unseen
        null, itself = self.unseen_null_scores[unseen.items], unseen.items[:, None] == self.decoys
        is_decoy = itself.any(dim=1)
        others = null[is_decoy][~itself[is_decoy]].reshape(int(is_decoy.sum()), len(self.decoys) - 1)
        ranked, of_decoys = unseen.held_against(null), unseen.only(is_decoy).held_against(others)
        p, z = ranked.decoy_p_values.clone(), ranked.decoy_z.clone()
        p[is_decoy], z[is_decoy] = of_decoys.decoy_p_values, of_decoys.decoy_z
        return replace(ranked, decoy_p_values=p, decoy_z=z)

    def check(
        self,
        model: DiffusionModel,
        images: Items,
        held_out: Items | None,
        bank: NoiseBank,
        settings: Unlearning,
        scoring: Scoring,
        seed: int,
        code: str = METHOD_SHA256,
    ) -> None:
        """See whether it was made for what an item is attributed to.

        Args:
            model: The original.
            images: The training items.
            held_out: The held-out items.
            bank: Whose first entries the decoys were scored under.
            settings: As `calibrate` takes them.
            scoring: The same.
            seed: The same.
            code: Digest of the method's source that must have made it.

        Raises:
            InputError: If it was made for others, or by other code.
        """
        about = (settings, scoring, len(self.decoys), seed, code)
        fits = held_out is not None and self.address == calibration_address(
            model.digest, images.digest, held_out.digest, bank.prefix(self.entries).digest, *about
        )
        unseen = self.unseen_null_scores
        sizes_fit = len(self.null_scores) == len(images) and (unseen is None or len(unseen) == len(held_out or ()))
        if not fits or not sizes_fit:
            raise InputError(
                "The calibration was made for another model, training set, held-out set, bank or settings, or by another"
                " version of the code; make it anew."
            )

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        about = json.dumps(
            {"address": self.address, "entries": self.entries, "code": self.code}
        )  # one entry: several come in any order
        scores = {"null_scores": self.null_scores, "unseen_null_scores": self.unseen_null_scores}
        kept = {name: each.contiguous() for name, each in scores.items() if each is not None}
        return save({**kept, "decoys": self.decoys}, {"about": about})

    @classmethod
    def read(cls, path: str | Path) -> Calibration:
        """Read a calibration as `to_bytes` gives it.

        Args:
            path: Its file.

        Raises:
            InputError: If it is not one.
        """
        try:
            with safe_open(path, "pt") as f:
                about = load_json(f.metadata()["about"])
                null_scores, decoys = f.get_tensor("null_scores"), f.get_tensor("decoys")
                unseen = f.get_tensor("unseen_null_scores") if "unseen_null_scores" in {*f.keys()} else None
                entries, place, code = about["entries"], about["address"], about["code"]
                if (
                    not all(_are_scores(each, len(decoys)) for each in (null_scores, unseen) if each is not None)
                    or decoys.ndim != 1
                    or decoys.dtype != torch.int64
                    or decoys.min() < 0
                    or (unseen is not None and decoys.max() >= len(unseen))
                    or type(entries) is not int
                    or entries < 1
                    or not isinstance(place, str)
                    or not isinstance(code, str)
                ):
                    raise ValueError
                return cls(null_scores, unseen, decoys, entries, place, code)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            raise InputError(f"{path} is not a calibration; make it anew with `mucs calibrate`.") from None


def _are_scores(found: Tensor, decoys: int) -> bool:
    """Whether it is what some items score for so many decoys."""
    shaped = found.ndim == 2 and found.shape[1] == decoys and found.numel() > 0
    return shaped and found.dtype == torch.float32 and bool(found.isfinite().all())


def choose_decoys(held_out: int, count: int) -> Tensor:
    """Choose decoys, the same for every model.

    Args:
        held_out: How many held-out items there are.
        count: How many of them to choose.

    Returns:
        Their indices (count,), int64, rising.

    Raises:
        InputError: If there are not as many.
    """
    if not isinstance(count, int) or not 1 <= count <= held_out:
        raise InputError(f"{count!r} decoys are asked of {held_out} held-out images; ask for 1 to {held_out}.")
    return torch.randperm(held_out, generator=stream(0, "decoys"))[:count].sort().values


def decoy_scores(original: LossTable, unseen: LossTable, decoy: Items, settings: Unlearning, seed: int) -> Tensor:
    """Score all training items, and all held-out ones, for one decoy, under all of a bank.

    Args:
        original: The original model's losses of the training items.
        unseen: The same of the held-out items.
        decoy: One held-out item, unlearned as if it had been generated.
        settings: Of unlearning.
        seed: Of the draws.

    Returns:
        Scores (N + H,) float32, of the training items first.
    """
    unlearned = mirrored_unlearning(original.model, decoy, original.items, settings, seed=seed)
    everyone = ((table, torch.arange(len(table.items)), range(len(table.bank))) for table in (original, unseen))
    return torch.cat([compared(table, unlearned, which, entries).mean(dim=1) for table, which, entries in everyone])


def calibrate(
    model: DiffusionModel,
    images: Tensor | Items,
    held_out: Tensor | Items,
    bank: NoiseBank,
    settings: Unlearning = Unlearning(),
    decoys: int = 32,
    *,
    scoring: Scoring = Scoring(),
    seed: int = 0,
    store: LossStore | None = None,
    executor: Executor | None = None,
) -> Calibration:
    """Score all training images, and all held-out ones, for decoys.

    Args:
        model: The original.
        images: The training images, (N, C, H, W) in [-1, 1], or Items.
        held_out: Images of the same kind that the model was not trained on, (H, C, H, W) in [-1, 1], or Items.
        bank: All of it is scored under. A prefix of the audits' bank makes it cheaper: items are then compared with
            their decoys on that prefix.
        settings: How a decoy is unlearned.
        decoys: How many of the held-out images.
        scoring: How losses are measured and compared.
        seed: Of all random streams.
        store: Where original losses, and the scores for each decoy, are kept.
        executor: Works on several decoys at once.

    Returns:
        The calibration.

    Raises:
        InputError: If images, conditioning or bank do not fit the model, or there are fewer held-out images than decoys.
    """
    items, unseen = as_items(images), as_items(held_out)
    store = store or LossStore()
    table = store.table(model, items, bank, scoring)
    model.check(unseen, "held-out images")
    unseen_table = store.table(model, unseen, bank, scoring)
    chosen = choose_decoys(len(unseen), decoys)
    digests = (model.digest, items.digest, unseen.digest, bank.digest)
    place = calibration_address(*digests, settings, scoring, decoys, seed)
    contents = [unseen[chosen[d : d + 1]].digest for d in range(decoys)]
    different = dict(zip(contents, chosen.tolist(), strict=True))  # identical images are one decoy

    def one(h: int) -> Tensor:
        decoy = unseen[h : h + 1]

        def fill(scores: Tensor) -> None:
            scores.copy_(decoy_scores(table, unseen_table, decoy, settings, seed))

        folder = store.folder and store.folder / "decoys" / place
        return cached(folder and folder / f"{decoy.digest}.f32", (len(items) + len(unseen),), fill)

    done = executor.map(one, different.values()) if executor else map(one, different.values())
    scores: dict[str, Tensor] = {}
    for content, found in zip(different, done, strict=True):
        scores[content] = found
        log.info("decoy %d of %d", len(scores), len(different))
    found = torch.stack([scores[content] for content in contents], dim=1)
    return Calibration(found[: len(items)], found[len(items) :], chosen, len(bank), place, METHOD_SHA256)
