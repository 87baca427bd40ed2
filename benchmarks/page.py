"""What the page of a large run costs.

    python benchmarks/page.py                       # 10,000 generated items
    python benchmarks/page.py --generated 1000 --side 512

A made-up run (1,000 training items, 20 edges of each generated item, pictures of 16×16 pixels or another size) is loaded into a ledger; its page is
made in a process of its own: seconds, CPU seconds and peak memory, and the page's size.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

TRAINING, EDGES = 1000, 20


def build(folder: Path, generated: int, side: int) -> None:
    """A ledger with one run, and a picture for each of its items."""
    import numpy as np
    import pyarrow as pa
    from PIL import Image
    from pyarrow import csv

    from tests.factories import item_row, load, staged_run

    run = staged_run(folder, generated, TRAINING, EDGES)
    load(folder / "ledger", run)
    (folder / "run").write_text(run.sha256)
    random = np.random.default_rng(0)
    for prefix, count in (("g", generated), ("t", TRAINING)):
        rows = [item_row(prefix, k) for k in range(count)]
        (folder / prefix).mkdir()
        csv.write_csv(pa.Table.from_pylist(rows), folder / prefix / "metadata.csv")
        for row in rows:
            picture = Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8))
            picture.resize((side, side), Image.Resampling.BILINEAR).save(
                folder / prefix / row["file_name"], compress_level=1
            )


def make(folder: Path) -> None:
    """The page, as the task writes it."""
    from mucs.images import ImageSet
    from mucs.ledger import Ledger
    from mucs.report import audit_page
    from tasks.report import COUNTED, pictures

    began, cpu = time.monotonic(), time.process_time()
    run = (folder / "run").read_text()
    shown = [pictures(ImageSet.open(folder / name, "set")) for name in ("t", "g")]
    with Ledger.open(folder / "ledger") as ledger, (folder / "page.html").open("w") as f:
        shares = ledger.ask("shares", run=run, top=COUNTED)
        f.writelines(audit_page(ledger, run, shares, COUNTED, *shown))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    size = (folder / "page.html").stat().st_size / 1e6
    seconds = f"{time.monotonic() - began:.1f} s, {time.process_time() - cpu:.1f} CPU s"
    print(f"{seconds}, peak {peak} MB, a page of {size:.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generated", type=int, default=10_000, help="how many generated items")
    parser.add_argument("--side", type=int, default=16, help="pixels of each picture's side")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.build:
        build(given.build, given.generated, given.side)
    elif given.make:
        make(given.make)
    else:
        with tempfile.TemporaryDirectory() as folder:  # a process's peak is at least that of the one that starts it
            for step in ("--build", "--make"):
                of = ["--generated", str(given.generated), "--side", str(given.side)]
                subprocess.run([sys.executable, __file__, *of, step, folder], check=True)
