"""How much the ranking moves with the seed of unlearning, and with how unlearning is done: `python benchmarks/spread.py`.

For each way: steps, seconds, how far the item was forgotten (under the fixed probe, as a share of the null loss), how
well two of its seeds agree, and how well it agrees with large batches, as near to the paper's 100 as two cores come.
Agreement is the recall of the best 2 % and of the best 25, and Spearman's rank correlation over all items, averaged
over pairs of runs and generated items. Every run is kept in benchmarks/work, so that the work can be stopped and
taken up again.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import math
import time
from dataclasses import asdict, replace
from typing import Any

import torch
from attribution import FAST, REFERENCE, WORK, Case, case, entry_skews, side_by_side
from torch import Tensor

from flows.demo import SETTINGS
from mucs.attribution import Unlearning
from mucs.attribution.unlearning import mirrored_unlearning
from mucs.evaluation.metrics import shared
from mucs.ranks import spearman

WAYS = {
    "large batches: 32, rate 1e-4": replace(REFERENCE, batch_size=32),
    "batches of 16, rate 1e-4": replace(REFERENCE, batch_size=16),
    "batches of 8, rate 2e-4": FAST,
    "batches of 8, rate 2e-4, stopped by the probe at 18 %": replace(FAST, stop="probe", tolerance=0.18),
    "the demo's": SETTINGS.unlearning,
}


def scores(it: Case, k: int, settings: Unlearning, seed: int) -> dict[str, Any]:
    """One run: the scores (N,) of generated item k."""
    about = f"{sorted(asdict(settings).items())} {k} {seed} {it.bank.digest} {it.model.digest}"
    kept = WORK / "spread" / f"{hashlib.sha256(about.encode()).hexdigest()}.pt"
    if not kept.exists():
        began = time.monotonic()
        done = mirrored_unlearning(it.model, it.generated[k : k + 1], it.images, settings, seed=seed)
        seconds = time.monotonic() - began
        forgotten = done.probe_after / done.null_loss
        run = {"scores": entry_skews(it, done.model).mean(dim=1), "steps": done.steps, "forgotten": forgotten}
        kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save({**run, "seconds": seconds}, kept)
    return dict(torch.load(kept, weights_only=True))


def agreement(a: Tensor, b: Tensor) -> Tensor:
    """(recall of the best 2 %, of the best 25, Spearman)."""
    return torch.tensor([shared(a, b, math.ceil(0.02 * len(a))), shared(a, b, 25), float(spearman(a, b))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=4, help="generated items")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each way")
    parser.add_argument("--noises", type=int, default=16, help="entries of the bank")
    given = parser.parse_args()
    it = case(16, 16, given.noises)
    print(
        "| way | steps | seconds | forgotten | seed to seed: 2 %, 25, Spearman | with large batches: 2 %, 25, Spearman |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    everything: dict[str, list[list[dict[str, Any]]]] = {}
    for name, settings in WAYS.items():
        jobs = list(itertools.product(range(given.items), range(given.seeds)))
        found = side_by_side(lambda n, s=settings, j=jobs: scores(it, j[n][0], s, j[n][1]), len(jobs))
        runs = everything[name] = [found[k * given.seeds : (k + 1) * given.seeds] for k in range(given.items)]
        own = [agreement(a["scores"], b["scores"]) for r in runs for a, b in itertools.combinations(r, 2)]
        large = next(iter(everything.values()))
        others = [
            agreement(a["scores"], b["scores"])
            for r, l_ in zip(runs, large, strict=True)
            for a, b in itertools.product(r, l_)
        ]
        means = [sum(x[key] for x in found) / len(found) for key in ("steps", "seconds", "forgotten")]
        columns = [f"{means[0]:.0f}", f"{means[1]:.1f}", f"{means[2]:.2f}"]
        for pairs in (own, others if runs is not large else []):
            table = torch.stack(pairs) if pairs else None
            columns.append(
                ""
                if table is None
                else ", ".join(
                    f"{m:.2f} ± {s / len(table) ** 0.5:.2f}" for m, s in zip(table.mean(0), table.std(0), strict=True)
                )
            )
        print(f"| {name} | {' | '.join(columns)} |", flush=True)


if __name__ == "__main__":
    main()
