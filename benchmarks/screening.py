"""What screening costs for what it finds: `python benchmarks/screening.py [--size 32 --noises 24]`.

Every generated item is scored exactly once, and kept in benchmarks/work; fixed stages and an adaptive rule are then
played over these scores. Forwards are those of scoring alone, original losses kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch
from attribution import FAST, SCREENING, WORK, Case, case, entry_skews, side_by_side
from torch import Tensor

from mucs.attribution import Screening
from mucs.attribution.screening import best, halving_pairs, recall, successive_halving
from mucs.attribution.unlearning import mirrored_unlearning

FIXED = [
    Screening([(1, 0.2), (4, 0.08), (8, 0.05)]),  # the demo's
    SCREENING,
    Screening([(1, 0.3), (4, 0.15), (16, 0.08)]),
    Screening([(3, 0.25), (8, 0.15), (16, 0.08)]),
    Screening([(2, 0.4), (4, 0.25), (8, 0.16)]),
    Screening([(2, 0.6), (4, 0.3), (12, 0.2)]),
]
CHECKS = (3, 6, 12, 24)  # entries after which the adaptive rule looks
Play = Callable[[Tensor], tuple[Tensor, int]]


def exact(it: Case, k: int) -> Tensor:
    """What each bank entry says of each item, for generated item k: (N, M)."""
    kept = WORK / "exact" / f"{it.model.digest[:16]}-{it.bank.digest[:16]}-{k}.pt"
    if not kept.exists():
        settings = replace(FAST, null_loss=it.null_loss)
        unlearned = mirrored_unlearning(it.model, it.generated[k : k + 1], it.images, settings)
        kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save(entry_skews(it, unlearned.model), kept)
    return torch.as_tensor(torch.load(kept, weights_only=True))


def fixed(screening: Screening) -> Play:
    """Successive halving: survivors (K,), and what it cost."""

    def play(values: Tensor) -> tuple[Tensor, int]:
        count, full = values.shape
        everyone = torch.arange(count)
        rounds = successive_halving(
            screening, everyone, full, lambda which, seen: values[which, seen.start : seen.stop]
        )
        return rounds[-1].candidates, halving_pairs(screening, count, full)

    return play


def adaptive(z: float, count: int = 25) -> Play:
    """A race: an item stays while it is within z standard errors of the best 25.

    The error is of its difference to the 25th over the entries that both have seen, for they share their noise, and is
    drawn towards the median of all items.
    """

    def play(values: Tensor) -> tuple[Tensor, int]:
        full = values.shape[1]
        items, done, cost = torch.arange(len(values)), 0, 0
        for entries in (e for e in CHECKS if e < full):
            cost += len(items) * (entries - done)
            done = entries
            seen = values[items, :done]
            top = best(seen.mean(dim=1), count)
            behind = seen - seen[top[-1]]
            variance = behind.var(dim=1)
            variance = ((done - 1) * variance + 4 * variance.median()) / (done + 3)
            error = (variance / done * (1 - done / full)).sqrt()
            stays = behind.mean(dim=1) + z * error >= 0
            stays[top] = True
            items = items[stays]
        return items, cost + len(items) * (full - done)

    return play


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, choices=(16, 32), default=16)
    parser.add_argument("--noises", type=int, default=48, help="entries of the bank")
    given = parser.parse_args()
    it = case(given.size, 16, given.noises)
    values = side_by_side(lambda k: exact(it, k), 16)
    rules = {str(list(screening.stages)): fixed(screening) for screening in FIXED}
    rules |= {f"adaptive, z = {z}": adaptive(z) for z in (1.0, 1.5, 2.0, 2.5)}
    print(
        f"exact: {values[0].numel()} forwards an item\n\n| rule | forwards | recall@25 | recall@2 % |\n|---|---|---|---|"
    )
    for name, play in rules.items():
        played = [play(v) for v in values]
        found = [recall(v.mean(dim=1), items) for v, (items, _) in zip(values, played, strict=True)]
        cost = sum(c for _, c in played) / len(played)
        print(
            f"| {name} | {cost:.0f} | {' | '.join(f'{sum(f[k] for f in found) / len(found):.3f}' for k in ('25', '2%'))} |"
        )


if __name__ == "__main__":
    main()
