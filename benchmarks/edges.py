"""What a run's edges cost from attribution to S3: staged, gated, rooted and published.

    python benchmarks/edges.py                      # a million edges, and ten million, each in a process of its own
    python benchmarks/edges.py --generated 100      # fewer: of so many generated items, 1,000 edges each

CPU seconds of this process (the S3 server is another), after everything is imported, and its peak memory so far with what is
imported in it. Beside each: writing the finished table by pyarrow alone, and one SHA-256 over as many bytes as the leaves have.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

EDGES, TRAINING, DECOYS = 1000, 100_000, 32  # edges of each generated item, training items, decoys


@contextmanager
def measured(what: str) -> Iterator[None]:
    began = time.process_time()
    yield
    print(f"| {what} | {time.process_time() - began:.2f} | {peak()} |", flush=True)


def peak() -> int:
    """MB that this process has taken at the most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measure(generated: int) -> None:
    import great_expectations
    import numpy as np
    import pandas
    import pyarrow.parquet as pq
    import torch

    from mucs.evidence import edges_root
    from mucs.evidence.edges import PARQUET
    from mucs.evidence.leaves import LEAF
    from mucs.evidence.record import Attributed, stage_items
    from tasks.bucket import Bucket
    from tasks.s3 import client
    from tasks.serve import s3_server
    from tasks.validate_edges import validate_edges
    from tests.factories import CPU, attribution, item_row, training_ends

    assert great_expectations
    assert pandas
    training = training_ends([item_row("t", k) for k in range(TRAINING)])
    made = []
    for k in range(50):
        random, one = np.random.default_rng(k), attribution(TRAINING, EDGES, k)
        p = torch.from_numpy((1 + random.integers(0, DECOYS + 1, EDGES)) / (1 + DECOYS))
        z = torch.from_numpy(random.normal(0, 1, EDGES)).float()
        made.append(dataclasses.replace(one, decoy_p_values=p, decoy_z=z))
    items = (Attributed(item_row("g", k), made[k % len(made)], CPU) for k in range(generated))
    print(f"\n| {generated * EDGES:,} edges | CPU s | peak MB |\n|---|---|---|\n| imported | | {peak()} |")
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder) / "s3") as server:
        os.environ |= server.environment
        client().create_bucket(Bucket="evidence")
        path = Path(folder) / "edges.parquet"
        began = time.process_time()
        with measured("staged"):
            attributions = stage_items(items, training, path)
        with measured("gated"):
            validate_edges.fn(path, attributions, bounded=True, decoys=DECOYS)
        with measured("rooted"):
            edges_root(path)
        with measured("published"):
            Bucket("s3://evidence").put("edges.parquet", path)
        print(f"| **together** | **{time.process_time() - began:.2f}** | **{peak()}** |", flush=True)
        if generated * EDGES <= 10**6:
            table = pq.read_table(path)
            with measured("pyarrow alone, writing the finished table"):
                pq.write_table(table, path, **PARQUET)
            leaves = bytes(LEAF.itemsize * len(table))
            with measured("one SHA-256 over all leaves"):
                hashlib.sha256(leaves).digest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generated", type=int, help="how many generated items")
    given = parser.parse_args()
    if given.generated:
        measure(given.generated)
    else:
        for count in (1000, 10_000):
            subprocess.run([sys.executable, __file__, "--generated", str(count)], check=True)
