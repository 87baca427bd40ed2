"""What the page of a large run costs.

    python benchmarks/page.py                       # 10,000 generated items
    python benchmarks/page.py --generated 1000 --side 512

A made-up run (1,000 training items, 20 edges of each generated item, pictures of 16×16 pixels or another size) is loaded into a ledger; its
thumbnails and its page are made in a process of their own each: seconds, CPU seconds and peak memory, and their size.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

TRAINING, EDGES = 1000, 20


def build(folder: Path, generated: int, side: int) -> None:
    """A picture for each item of a run."""
    import numpy as np
    import pyarrow as pa
    from PIL import Image
    from pyarrow import csv

    from tests.factories import item_row

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


def shrink(folder: Path) -> None:
    """The thumbnails, as the task makes them."""
    from mucs.images import ImageSet
    from mucs.images.thumbnail import write_thumbnails

    sets = [ImageSet.open(folder / name, "set") for name in ("t", "g")]
    began = time.monotonic()
    files = [path for images in sets for path in write_thumbnails(images, images.folder / "thumbnails")]
    images, size = sum(map(len, sets)), sum(path.stat().st_size for path in files)
    seconds = (time.monotonic() - began) * 10_000 / images
    print(
        f"thumbnails: {told(began)}, {seconds:.1f} s for 10,000, {size / images:,.0f} bytes each in {len(files)} objects"
    )


def load(folder: Path, generated: int) -> None:
    """A ledger with the run."""
    from tests.factories import load, staged_run

    files = [path for name in ("t", "g") for path in sorted((folder / name / "thumbnails").iterdir())]
    run = replace(staged_run(folder, generated, TRAINING, EDGES), thumbnails=files)
    load(folder / "ledger", run)
    (folder / "run").write_text(run.sha256)


def make(folder: Path) -> None:
    """The page, as the task writes it."""
    from mucs.evidence.thumbnails import Thumbnails
    from mucs.ledger import Ledger
    from mucs.report import COUNTED, audit_page
    from tasks.ledgers import open_log

    began = time.monotonic()
    run = (folder / "run").read_text()
    thumbnails = Thumbnails(open_log(str(folder / "log")))
    with Ledger.open(folder / "ledger") as ledger, (folder / "page.html").open("w") as f:
        shares = ledger.ask("shares", run=run, top=COUNTED)
        f.writelines(audit_page(ledger, thumbnails, run, shares, COUNTED))
    print(f"page: {told(began)}, {(folder / 'page.html').stat().st_size / 1e6:.0f} MB")


def told(began: float) -> str:
    """What this process took since then, and those that it started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(each.ru_utime + each.ru_stime for each in used)
    peak = max(each.ru_maxrss for each in used) // 1024
    return f"{time.monotonic() - began:.1f} s, {cpu:.1f} CPU s, peak {peak} MB"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generated", type=int, default=10_000, help="how many generated items")
    parser.add_argument("--side", type=int, default=16, help="pixels of each picture's side")
    steps = ("--build", "--shrink", "--load", "--make")
    for step in steps:
        parser.add_argument(step, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.build:
        build(given.build, given.generated, given.side)
    elif given.shrink:
        shrink(given.shrink)
    elif given.load:
        load(given.load, given.generated)
    elif given.make:
        make(given.make)
    else:
        with tempfile.TemporaryDirectory() as folder:  # a process's peak is at least that of the one that starts it
            for step in steps:
                of = ["--generated", str(given.generated), "--side", str(given.side)]
                subprocess.run([sys.executable, __file__, *of, step, folder], check=True)
