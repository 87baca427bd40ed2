"""What an index says of the demo's generated images, against what the demo then measured.

    mucs demo --folder mucs-demo
    python benchmarks/provisional.py mucs-demo/ledger

The index is fitted to the demo's 32 decoys alone. The demo screens, so that of each generated image the best twentieth of the training images
are measured in full; these are compared with what was told of them.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "data")]

import torch  # noqa: E402
from calibrate import plan_of_demo  # noqa: E402

from flows.demo import CALIBRATION, FOLDERS  # noqa: E402
from mucs.attribution import Calibration  # noqa: E402
from mucs.index import Projection, vectors  # noqa: E402
from mucs.index.index import DIMENSIONS, build  # noqa: E402
from mucs.ledger import Ledger  # noqa: E402
from mucs.ranks import spearman  # noqa: E402
from tasks.prepared import prepared  # noqa: E402
from tasks.pull import as_pulled  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ledger", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as cache:
        plan = dataclasses.replace(plan_of_demo(), cache=Path(cache), batch=as_pulled(FOLDERS["generated"]))
        ready, calibration = prepared(plan), Calibration.read(CALIBRATION)
        assert ready.held_out is not None
        assert ready.generated is not None
        begun = time.process_time()
        of_training = vectors(ready.model, ready.training)
        embedded = (time.process_time() - begun) / len(of_training)
        of_held_out = vectors(ready.model, ready.held_out)
        projection = Projection.of(of_training, DIMENSIONS)
        begun = time.process_time()
        decoys, scores = projection(of_held_out[calibration.decoys]), calibration.null_scores.T.contiguous()
        index, _ = build(projection, projection(of_training), decoys, scores, [str(k) for k in range(len(decoys))], {})
        fitted = time.process_time() - begun
        of_generated = vectors(ready.model, ready.generated)
    names = [row["id"] for row in plan.images("training").to_rows()]
    inside, first, agreed, found = [], [], [], []
    with Ledger.open(given.ledger) as ledger:
        for row, vector in zip(plan.images("batch").to_rows(), of_generated, strict=True):
            measured = ledger.ask("why", generated=row["id"], top=len(names))
            told = {names[each.item]: each for each in index.ask(vector, len(names))}
            asked = [told[each["training"]] for each in measured]
            inside += [each.low <= one["score"] <= each.high for each, one in zip(asked, measured, strict=True)]
            first.append(asked[0].rank)
            found += [[each.rank <= share * len(names) for share in (0.1, 0.2, 0.3)] for each in asked[:10]]
            both = torch.tensor([[each.predicted, one["score"]] for each, one in zip(asked, measured, strict=True)])
            agreed.append(float(spearman(both[:, 0], both[:, 1])))
    assert index.measured
    print(f"vectors, CPU ms an image              {1000 * embedded:.1f}")
    print(f"fit, CPU s                            {fitted:.2f}")
    print(f"left-out decoys: {index.measured}")
    print(f"generated images                      {len(first)}")
    print(f"measured scores of survivors          {len(inside)}, between low and high: {sum(inside) / len(inside):.2f}")
    print(f"told rank of the measured first       {sorted(first)}")
    shares = torch.tensor(found).double().mean(dim=0).tolist()
    print(f"measured best ten, in the told best 10, 20 and 30 %: {', '.join(f'{share:.2f}' for share in shares)}")
    print(f"Spearman among survivors alone        {sum(agreed) / len(agreed):.2f}")


if __name__ == "__main__":
    main()
