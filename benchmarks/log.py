"""What it costs to write a log, and a ledger from it, on the first night and after years.

    python benchmarks/log.py writers      # 8 processes append 200 entries each to one log on the embedded S3
    python benchmarks/log.py nights       # 200 loads of 50,000 edges into a ledger that has 20 million
    python benchmarks/log.py years        # 1,000 nights of 1,000 items with 20 edges each, over 50,000 training items

`nights` and `years` work in benchmarks/work and go on where they were stopped. Whatever they measure, they print for the first
and the last nights, with a write of as many bytes beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
from ledger import SETTINGS, World, draw, item, log_of, size_of  # noqa: E402

from mucs.canonical import digest  # noqa: E402
from mucs.evidence.edges import EDGE_SCHEMA, NUMBERS, write_edges  # noqa: E402
from mucs.evidence.leaves import edges_root  # noqa: E402
from mucs.files import file_sha256  # noqa: E402
from mucs.ledger import Ledger, Run, say_run  # noqa: E402
from mucs.ledger.questions import question  # noqa: E402

WRITERS, ENTRIES = 8, 200
ASKED = ("why", "used", "covered", "edge", "trail", "takedown", "shares", "verdicts")

WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from mucs.evidence.chain import GENESIS, link
from tasks.ledgers import open_log
log, me, count = open_log(sys.argv[2]), sys.argv[3], int(sys.argv[4])
log.store.check()
print("ready", flush=True)
sys.stdin.readline()
position, head = 0, GENESIS
for k in range(count):
    while True:
        for entry in log.after(position, head):
            position, head = entry.position, entry.sha256
        entry = link(position + 1, head, "derivation", "2026-01-01T00:00:00+00:00", {"child": f"{me} {k}", "parent": ""})
        if log.append(entry):
            position, head = entry.position, entry.sha256
            break
"""


def writers() -> Iterator[str]:
    """Many processes append to one log on S3, as fast as they can."""
    from tasks.ledgers import open_log
    from tasks.s3 import client
    from tasks.serve import s3_server

    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder) / "s3"):
        client().create_bucket(Bucket="log")
        words = [sys.executable, "-c", WRITER, str(HERE.parent), "s3://log/benchmark"]
        pipe = subprocess.PIPE
        processes = [
            subprocess.Popen([*words, str(k), str(ENTRIES)], stdin=pipe, stdout=pipe, text=True) for k in range(WRITERS)
        ]
        assert [process.stdout.readline() for process in processes if process.stdout] == ["ready\n"] * WRITERS
        began = time.monotonic()
        for process in processes:
            assert process.stdin
            print("go", file=process.stdin, flush=True)
        for process in processes:
            process.wait()
        seconds = time.monotonic() - began
        assert [process.returncode for process in processes] == [0] * WRITERS
        said = [entry.body["child"] for entry in open_log("s3://log/benchmark").after()]
        assert sorted(said) == sorted(f"{writer} {k}" for writer in range(WRITERS) for k in range(ENTRIES))
        yield f"{WRITERS} processes, {len(said)} entries, one chain, none lost: {seconds:.1f} s"
        yield f"{len(said) / seconds:.0f} entries a second"


def rows_of(night: int, items: int) -> list[dict[str, str]]:
    """The manifest of a night's generated items."""
    return [item("n", night * items + k) | {"seed": str(k)} for k in range(items)]


def night(folder: Path, number: int, world: World, training: pa.Table, items: int, edges: int) -> Run:
    """A run of so many new generated items with their best edges."""
    random = np.random.default_rng(number)
    rows = rows_of(number, items)
    ends = [training.column(name) for name in ("row_sha256", "id", "sha256")]
    path = folder / "edges.parquet"

    def tables() -> Iterator[pa.Table]:
        for row in rows:
            drawn = draw(random, edges)
            chosen = pa.array(random.choice(world.training, edges, replace=False))
            same = [
                pa.array([text]).take(pa.array(np.zeros(edges, int)))
                for text in (digest(row), row["id"], row["sha256"])
            ]
            numbers = [pa.array(drawn[name]) for name in ("rank", *NUMBERS)]
            yield pa.table([*same, *(end.take(chosen) for end in ends), *numbers], EDGE_SCHEMA.names)

    write_edges(tables(), path)
    built = {"sha256": file_sha256(path), "root": edges_root(path), "edges": items * edges}
    return world.staged(rows, edges, path, built, night=number)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def written(pid: int) -> int:
    """Bytes that a process has had written to files."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar:"))


def simulate(name: str, world: World, nights: int, items: int, edges: int, base: int) -> list[dict[str, Any]]:
    """Load night after night; gives what each cost. base: how many items with edges to all training items come first."""
    folder = world.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    place, figures = folder / "ledger", folder / "nights.jsonl"
    rows = world.training_rows()
    training = pa.table(
        {**{n: [row[n] for row in rows] for n in ("id", "sha256")}, "row_sha256": world.manifest["row_sha256"]}
    )
    done = [json.loads(line) for line in figures.read_text().splitlines()] if figures.exists() else []
    with figures.open("a") as kept:
        for number in range(len(done), nights + (1 if base else 0)):
            first = bool(base) and number == 0
            run = night(folder, number, world, training, *((base, world.training) if first else (items, edges)))
            before, began = written(os.getpid()), time.monotonic()
            with Ledger.write(place, log_of(place)) as ledger:
                opened = time.monotonic()
                assert say_run(ledger, run)
                loaded = time.monotonic()
                asked = {} if number % 10 and number < nights - 5 else ask(ledger, number, items, run.sha256)
            told = {
                "night": number,
                "open": opened - began,
                "load": loaded - opened,
                "bytes": written(os.getpid()) - before,
                "edges_bytes": run.edges.stat().st_size,
                "asked": asked,
            }
            done.append(told)
            kept.write(json.dumps(told) + "\n")
            kept.flush()
    return done


def ask(ledger: Ledger, number: int, items: int, run: str) -> dict[str, float]:
    """Seconds of some questions about one of the night's items, the median of five."""
    known = {
        "generated": item("n", number * items)["id"],
        "training": item("t", 7)["id"],
        "run": run,
        "target": "holder 0001",
    }
    known |= {"item": known["generated"], "checkpoint": sha256("checkpoint"), "settings": digest(SETTINGS)}
    known |= {"training_set": sha256("training_set")}
    known |= {"items": " ".join(digest(row) for row in rows_of(number, items))}  # as an audit asks of its batch
    taken = {}
    for name in ASKED:
        needed = {p.name for p in question(name).parameters if p.default is None or p.name in ("run", "items")}
        each = []
        for _ in range(5):
            began = time.monotonic()
            ledger.ask(name, **{k: v for k, v in known.items() if k in needed})
            each.append(time.monotonic() - began)
        taken[name] = median(each)
    return taken


def told(done: Sequence[dict[str, Any]], early: range, late: range, of: str) -> Iterator[str]:
    """The first nights against the last."""
    one, other = ([done[k] for k in nights] for nights in (early, late))
    yield f"| {of} | nights {early.start} to {early.stop - 1} | {late.start} to {late.stop - 1} | ratio |"
    yield "|---|---|---|---|"
    for name in ("open", "load"):
        a, b = (median(night[name] for night in nights) for nights in (one, other))
        yield f"| {name}, s | {a:.3f} | {b:.3f} | {b / a:.2f} |"
    a, b = (median(night["bytes"] / night["edges_bytes"] for night in nights) for nights in (one, other))
    yield f"| bytes written, in log and ledger, against the edges' Parquet | {a:.2f} | {b:.2f} | {b / a:.2f} |"
    for name in ASKED:
        a, b = (median(night["asked"][name] for night in nights if night["asked"]) for nights in (one, other))
        yield f"| {name}, s | {a:.3f} | {b:.3f} | {b / a:.2f} |"


def nights(count: int) -> Iterator[str]:
    """Loads of 50,000 edges into a ledger that has 20 million."""
    world = World(400, 50_000, 500)
    done = simulate("nights", world, count, 50, 1000, 400)
    yield from told(
        done, range(1, 11), range(count - 9, count + 1), f"{count} nights of 50,000 edges, 20 million before"
    )
    ledger = world.folder / "nights" / "ledger"
    edges = 400 * world.training + count * 50_000
    yield f"\nbytes an edge: {size_of(ledger) / edges:.1f} in the ledger, {size_of(ledger.with_name('log')) / edges:.1f} in the log"


def years(count: int) -> Iterator[str]:
    """Three years of nights."""
    world = World(1000, 50_000, 500)
    done = simulate("years", world, count, 1000, 20, 0)
    early = min(100, count // 2)
    yield from told(
        done, range(early - 5, early + 6), range(count - 11, count), f"{count} nights of 1,000 items with 20 edges"
    )
    ledger = world.folder / "years" / "ledger"
    yield f"\nbytes an edge: {size_of(ledger) / (count * 20_000):.1f} in the ledger, {size_of(ledger.with_name('log')) / (count * 20_000):.1f} in the log"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["writers", "nights", "years"])
    parser.add_argument("--nights", type=int, help="how many")
    given = parser.parse_args()
    lines = {
        "writers": writers,
        "nights": lambda: nights(given.nights or 200),
        "years": lambda: years(given.nights or 1000),
    }
    for line in lines[given.what]():
        print(line, flush=True)


if __name__ == "__main__":
    main()
