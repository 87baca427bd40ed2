"""What it costs to measure only those that an index names, what that finds, and whether what is said to be missed is missed.

    python benchmarks/missed.py                 # the demo's checkpoint: 16 generated items, a bank of 48, an index of its 32 decoys

Every generated item is scored exactly once, and kept in benchmarks/work (as `benchmarks/screening.py` keeps it); candidates, samples and
widening are then played over these scores by the library's own code, each choice with 50 draws of the sample. Forwards are those of scoring
alone, original losses kept. The same for the demo's decoys, each left out of the index.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "data")]

import torch  # noqa: E402
from attribution import case, side_by_side  # noqa: E402
from calibrate import plan_of_demo  # noqa: E402
from screening import exact  # noqa: E402
from torch import Tensor  # noqa: E402

from flows.demo import CALIBRATION  # noqa: E402
from mucs.attribution import Calibration, Screening  # noqa: E402
from mucs.attribution.missed import Expected, Missed, widened  # noqa: E402
from mucs.attribution.screening import best, halving_pairs, recall, successive_halving  # noqa: E402
from mucs.index import Index, Projection, vectors  # noqa: E402
from mucs.index.index import DIMENSIONS, build  # noqa: E402
from tasks.prepared import prepared  # noqa: E402

CHOICES = (
    Screening(candidates=24),
    Screening(candidates=40),
    Screening(candidates=80),
    Screening(candidates=120),
    Screening([(4, 0.4), (12, 0.2)], candidates=120),
    Screening(candidates=24, most_missed=0.3),
    Screening(candidates=24, most_missed=0.2),
    Screening(candidates=24, most_missed=0.1),
    Screening(candidates=24, most_missed=0.05),
)
DRAWS = 50


def index_of_demo() -> tuple[Index, list[tuple[Tensor, Expected]]]:
    """Fitted to the decoys of the demo's calibration; and of each decoy what was measured (N, 1), and what is expected when it is left out."""
    with tempfile.TemporaryDirectory() as cache:
        ready = prepared(dataclasses.replace(plan_of_demo(), cache=Path(cache)))
        calibration = Calibration.read(CALIBRATION)
        assert ready.held_out is not None
        of_training, of_held_out = (vectors(ready.model, items) for items in (ready.training, ready.held_out))
    projection = Projection.of(of_training, DIMENSIONS)
    decoys, scores = projection(of_held_out[calibration.decoys]), calibration.null_scores.T.contiguous()
    names = [str(k) for k in range(len(decoys))]
    made, predicted = build(projection, projection(of_training), decoys, scores, names, {})
    others = (scores.sum(dim=0) - scores) / (len(scores) - 1)
    left_out = [(s[:, None], Expected(p, m)) for s, p, m in zip(scores, predicted, others, strict=True)]
    return made, left_out


def play(screening: Screening, values: Tensor, expected: Expected, draw: int) -> tuple[Tensor, Missed, int]:
    """Who is measured, what is said to be missed, and how many forwards it took."""
    count, full = values.shape
    named = best(expected.scores, screening.candidates).sort().values
    rounds = successive_halving(screening, named, full, lambda which, seen: values[which, seen.start : seen.stop])
    generator = torch.Generator().manual_seed(draw)
    found = widened(rounds, expected, screening.most_missed, lambda which: values[which], generator)
    assert found.missed
    cost = halving_pairs(screening, count, full) + (len(found.items) - len(rounds[-1].candidates)) * full
    return found.items, found.missed, cost


def shares(scores: Tensor, expected: Expected, items: Tensor) -> dict[str, float]:
    """What was missed in truth, where `items` were measured."""
    excess = scores - expected.means
    left = torch.ones(len(scores), dtype=torch.bool)
    left[items] = False
    positive = {"score": scores.clamp(min=0), "excess": (excess - excess.mean()).clamp(min=0)}
    return {name: float(each[left].sum() / each.sum()) for name, each in positive.items()}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    it = case(16, 16, 48)
    values = side_by_side(lambda k: exact(it, k), 16)
    index, decoys = index_of_demo()
    expected = [index.expected(vectors(it.model, it.generated[k : k + 1])[0]) for k in range(16)]
    print("16 generated items, which the index had not seen")
    table(list(zip(values, expected, strict=True)))
    print(f"\n{len(decoys)} decoys, each left out of the index, under the 8 entries of the calibration together")
    table(decoys)


def table(asked: list[tuple[Tensor, Expected]]) -> None:
    """Every choice, played for what was measured of some images (N, M), and what was expected of them."""
    count, full = asked[0][0].shape
    print(f"exact: {count * full} forwards an item, {count} training items\n")
    print(
        "| candidates | stages | most missed | measured | forwards | recall@25 | recall@2 % | excess missed: said, true, in its interval | score missed |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for screening in CHOICES:
        if any(entries >= full for entries, _ in screening.stages):
            continue
        rows = []
        for values, known in asked:
            scores = values.mean(dim=1)
            for draw in range(DRAWS):
                items, missed, cost = play(screening, values, known, draw)
                truth, found = shares(scores, known, items), recall(scores, items)
                row = [len(items), cost, found["25"], found["2%"]]
                for name in ("excess", "score"):
                    share, true = getattr(missed, name), truth[name]
                    row += [share.estimate, true, share.low <= true + 1e-9 and true - 1e-9 <= share.high]
                rows.append(row)
        mean = torch.tensor(rows, dtype=torch.float64).mean(dim=0).tolist()
        stages = str([list(stage) for stage in screening.stages]) if screening.stages else ""
        print(
            f"| {screening.candidates} | {stages} | {screening.most_missed:g} | {mean[0]:.0f} | {mean[1]:.0f} | {mean[2]:.3f} | {mean[3]:.3f}"
            f" | {mean[4]:.2f}, {mean[5]:.2f}, {mean[6]:.2f} | {mean[7]:.2f}, {mean[8]:.2f}, {mean[9]:.2f} |"
        )


if __name__ == "__main__":
    main()
