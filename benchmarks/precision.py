"""What bfloat16 does to the ranking: `python benchmarks/precision.py`.

The demo's model on a CPU, where bfloat16 is slow but rounds as it does on a GPU. For each generated item: the scores in
float32 against those in bfloat16, both models, the same unlearned weights.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch
from attribution import FAST, Case, case, side_by_side
from spread import agreement
from torch import Tensor

from mucs.attribution import DiffusionModel, denoising_losses, mirrored_unlearning, noise_consistent_skew


def both(it: Case, k: int) -> tuple[Tensor, Tensor]:
    """Scores (N,) of generated item k, in float32 and in bfloat16."""
    unlearned = mirrored_unlearning(
        it.model, it.generated[k : k + 1], it.images, replace(FAST, null_loss=it.null_loss)
    ).model

    def losses(model: DiffusionModel, precision: str) -> Tensor:
        return denoising_losses(model, it.images, it.bank, precision=precision)  # type: ignore[arg-type]

    full, half = (
        noise_consistent_skew(*(losses(m, precision) for m in (it.model, unlearned)))
        for precision in ("float32", "bfloat16")
    )
    return full, half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=4, help="generated items")
    parser.add_argument("--noises", type=int, default=16, help="entries of the bank")
    given = parser.parse_args()
    it = case(16, 16, given.noises)
    found = side_by_side(lambda k: both(it, k), given.items)
    shared = torch.stack([agreement(*scores) for scores in found])
    first = sum(int(a.argmax() == b.argmax()) for a, b in found)
    largest = max(float((a - b).abs().max()) for a, b in found)
    print(f"recall@2 %, recall@25, Spearman: {', '.join(f'{m:.3f}' for m in shared.mean(dim=0))}")
    print(f"the same first item for {first} of {len(found)}; scores differ by {largest:.1e} at most")


if __name__ == "__main__":
    main()
