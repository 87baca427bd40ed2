"""What an index costs at real size, and what it finds in data that are made so that the truth is known.

    python benchmarks/index.py                        # a million items, vectors of 768 dimensions, 32 measured pictures
    python benchmarks/index.py --items 50000

Items have a hidden place in 24 dimensions; a vector is that place seen through a random matrix, with noise; a score is an item's own mean,
a bilinear product of both places, and noise as large. Projecting and fitting are one process, as `mucs index` does them, and answering is
another. The network's own time is not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import torch  # noqa: E402

from mucs.index import Index, Projection  # noqa: E402
from mucs.index.index import DIMENSIONS, build  # noqa: E402
from mucs.ranks import spearman  # noqa: E402
from tasks.embed import PART, SAMPLE  # noqa: E402

HIDDEN, NEW = 24, 200  # dimensions of a place, and pictures that are asked about


def random(*about: int) -> torch.Generator:
    return torch.Generator().manual_seed(int("".join(f"{each:04d}" for each in about)))


def seen(places: torch.Tensor, dimensions: int, part: int) -> torch.Tensor:
    """Vectors of places."""
    through = torch.randn(HIDDEN, dimensions, generator=random(1))
    vectors = places @ through + 0.5 * torch.randn(len(places), dimensions, generator=random(2, part))
    return torch.nn.functional.normalize(vectors, dim=1)


def places(count: int, part: int) -> torch.Tensor:
    return torch.randn(count, HIDDEN, generator=random(3, part))


def parts(count: int) -> Iterator[tuple[int, int, int]]:
    for part, start in enumerate(range(0, count, PART)):
        yield part, start, min(start + PART, count)


def scores(of: torch.Tensor, count: int) -> torch.Tensor:
    """What all items score for pictures at places (Q, HIDDEN)."""
    bilinear = torch.randn(HIDDEN, HIDDEN, generator=random(4)) / HIDDEN
    found = torch.empty(len(of), count)
    for part, start, stop in parts(count):
        here = of @ bilinear @ places(stop - start, part).T
        mean = torch.randn(stop - start, generator=random(5, part))
        noise = torch.randn(len(of), stop - start, generator=random(6, part))
        found[:, start:stop] = 0.1 * (mean + here + noise)
    return found


def peak() -> float:
    """GB that this process held at the most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def make(count: int, dimensions: int, pictures: int, path: Path) -> dict[str, float]:
    """Project, fit and write."""
    begun = time.monotonic()
    sample = torch.cat(
        [seen(places(stop - start, part), dimensions, part) for part, start, stop in parts(min(count, SAMPLE))]
    )
    projection = Projection.of(sample, DIMENSIONS)
    items = torch.empty(count, projection.basis.shape[1])
    made = 0.0  # seconds that the data themselves take
    for part, start, stop in parts(count):
        before = time.monotonic()
        vectors = seen(places(stop - start, part), dimensions, part)
        made += time.monotonic() - before
        items[start:stop] = projection(vectors)
    projected = time.monotonic() - begun - made
    of = places(pictures, 9998)
    measured = scores(of, count)
    begun = time.monotonic()
    names = [str(k) for k in range(pictures)]
    index, _ = build(projection, items, projection(seen(of, dimensions, 9998)), measured, names, {})
    fitted = time.monotonic() - begun
    path.write_bytes(index.to_bytes())
    assert index.measured
    return {"project, s": projected, "fit, s": fitted, "index, GB": path.stat().st_size / 1e9, "peak, GB": peak()}


def serve(count: int, dimensions: int, path: Path) -> dict[str, float]:
    """Read, and answer one picture after the other."""
    torch.set_num_threads(1)
    of = places(NEW, 9999)
    vectors = seen(of, dimensions, 9999)
    begun = time.monotonic()
    index = Index.read(path)
    index.ask(vectors[0], 50)
    first, took = time.monotonic() - begun, []
    for vector in vectors:
        begun = time.monotonic()
        index.ask(vector, 50)
        took.append(time.monotonic() - begun)
    held = peak()
    few = slice(0, 10)
    truth = scores(of[few], count)
    agreed = spearman(index.predict(index.projection(vectors[few])), truth).mean()
    assert index.measured
    took.sort()
    return {
        "first answer, s": first,
        "p50, ms": 1000 * took[NEW // 2],
        "p95, ms": 1000 * took[int(0.95 * NEW)],
        "held, GB": held,
        "Spearman, told": index.measured.spearman,
        "Spearman, of new pictures": float(agreed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=768)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--stage", choices=("make", "serve"), help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage:
        of = (given.items, given.dimensions)
        print(json.dumps(make(*of, given.pictures, given.path) if given.stage == "make" else serve(*of, given.path)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for stage in ("make", "serve"):
            words = [sys.executable, __file__, *sys.argv[1:], "--stage", stage, "--path", f"{folder}/index"]
            done = subprocess.run(words, stdout=subprocess.PIPE, check=True, env=os.environ)
            for name, value in json.loads(done.stdout).items():
                print(f"{name:28} {value:.3g}", flush=True)


if __name__ == "__main__":
    main()
