"""What a fleet gains, costs and survives, on one machine of two cores or more.

    python benchmarks/fleet.py workers            # items an hour of two Ray workers against one
    python benchmarks/fleet.py overhead           # seconds that Ray and Prefect add to an item
    python benchmarks/fleet.py kill --times 20    # audits whose workers, nodes or driver are killed

`workers` and `overhead` attribute 24 pictures of the demo's model, with the demo's settings but 20 steps of unlearning for each, and one
thread each. They count from the first item's start to the last one's end, when the original losses that all items need are there.

`kill` attributes 24 items of a tiny model. Each audit loses something by SIGKILL at a random moment: a worker, a whole node of a
Ray cluster of two, the node that it is connected to itself, or its own process. One that ends before its time is started again. It
must end with the bytes of an undisturbed audit on threads, must compute nothing twice but what was in hand, and must leave nothing
behind. A line for each kill is kept in --folder, so that the command goes on where it was stopped; it ends with status 1 if
anything did not hold.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import csv
import dataclasses
import hashlib
import json
import multiprocessing
import os
import random
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier
from typing import Any

HERE = Path(__file__).parent
DATA = HERE.parent / "data"
sys.path[:0] = [str(HERE.parent), str(HERE), str(DATA)]
os.environ["OMP_NUM_THREADS"] = "1"  # before torch, here and in all processes below

import pyarrow.parquet as pq  # noqa: E402
import torch  # noqa: E402
from generate import sample, to_pil  # noqa: E402
from scale import build, write_shard  # noqa: E402
from train import load  # noqa: E402

from flows.demo import FOLDERS, SETTINGS  # noqa: E402
from flows.prefect_server import prefect_server  # noqa: E402
from flows.ray_cluster import descendants, ray_cluster  # noqa: E402
from mucs.attribution import DiffusionModel, Items, LossStore, NoiseBank, Settings, attribute  # noqa: E402
from tasks.attribute import Measured  # noqa: E402
from tasks.device import deterministic  # noqa: E402
from tasks.ledgers import open_log  # noqa: E402
from tasks.register import register  # noqa: E402
from tasks.s3 import client  # noqa: E402
from tasks.serve import s3_server  # noqa: E402

ITEMS = 24
# as many steps for all, so that the last item does not decide
DEMO = dataclasses.replace(
    SETTINGS,
    controls=False,
    recall_sample=0,
    unlearning=dataclasses.replace(SETTINGS.unlearning, max_steps=20, tolerance=0.0),
)
TINY = Settings.from_record(
    {
        "num_noises": 8,
        "screening": [[1, 0.1], [4, 0.05]],
        "max_steps": 10,
        "unlearning_batch_size": 16,
        "batch_size": 256,
        "learning_rate": 1e-3,
    }
)
MARK = "MUCS_BENCHMARK_MARK"
SECONDS_TO_END = 30
LINES = ITEMS + 8  # that an audit says until its last item is done: 4 pulls, the gates, a remark, 2 shards of losses
# what is killed, and where the audit works: on Ray of its own, on a cluster of two nodes, or in processes
KILLS = (
    ("worker", "ray"),
    ("node", "cluster"),
    ("driver", "ray"),
    ("worker", "cluster"),
    ("driver", "cluster"),
    ("own node", "ray"),
    ("worker", "processes"),
)
IN_HAND = {("worker", "ray"): 1, ("worker", "cluster"): 1, ("node", "cluster"): 1}  # and 2 where all is lost
ENGINES = {"ray": ["--ray", "local", "--workers", "2"], "processes": ["--processes", "--workers", "2"]}
IS_WORKER = re.compile(rb"ray::(?!\w*Agent)|.*from multiprocessing\.spawn import")


def table(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows in Markdown."""
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()) + " |")


@dataclass
class World:
    """A registry on a running S3 server, with a Prefect server.

    Attributes:
        folder: Where to work.
        settings: The audits'.
        prefect_seconds: How long Prefect's server took to come up.
    """

    folder: Path
    settings: Settings
    prefect_seconds: float

    def words(self, prefix: str, folder: Path, *more: str) -> list[str]:
        """The command of an audit of all items."""
        settings = [
            w for name, value in self.settings.record().items() for w in ("--set", f"{name}={json.dumps(value)}")
        ]
        return [
            *(sys.executable, "-m", "flows.cli", "audit", "--registry", str(self.folder / "registry")),
            *("--revision", "v1", "--log", f"s3://evidence/{prefix}", "--device", "cpu", *settings),
            *("--licence", "CC-BY-SA-4.0", "--licence", "CC-BY-4.0"),
            *("--ledger", str(folder / "ledger"), "--reports", str(folder / "reports"), *more),
        ]


@contextlib.contextmanager
def world(folders: dict[str, Path], settings: Settings, folder: Path) -> Iterator[World]:
    """A world of these folders."""
    os.environ["PREFECT_HOME"] = str(folder / "prefect")
    started = time.monotonic()
    with prefect_server() as wait:
        wait()
        seconds = time.monotonic() - started
        with s3_server(folder / "s3"):
            for bucket in ("registry", "evidence"):
                client().create_bucket(Bucket=bucket)
            with contextlib.redirect_stdout(sys.stderr):  # for DVC has much to say
                register.fn(folder / "registry", "s3://registry/dvc", folders, "v1")
            yield World(folder, settings, seconds)


def environment(cache: Path, **more: str) -> dict[str, str]:
    """Of an audit, or of a node: a cache of its own, and a log that is with Prefect's server at once."""
    given = {"MUCS_CACHE": str(cache), "PYTHONPATH": str(HERE.parent), "RAY_USAGE_STATS_ENABLED": "0"}
    given |= {"PREFECT_LOGGING_TO_API_ENABLED": "true", "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.1"}
    return os.environ | given | more


def evidence(prefix: str) -> tuple[str, str]:
    """A run's SHA-256, and that of its edges."""
    (entry,) = [entry for entry in open_log(f"s3://evidence/{prefix}").after() if entry.kind == "run"]
    return entry.body["run"], entry.body["objects"]["edges"]


# workers, overhead


def demo_folders(folder: Path, items: int) -> dict[str, Path]:
    """The demo's folders, with more pictures drawn from its model."""
    model = DiffusionModel.from_pretrained(FOLDERS["checkpoint"])
    made = folder / "generated"
    made.mkdir()
    rows = []
    for seed in range(1000, 1000 + items):
        noise = torch.randn((1, *model.shape), generator=torch.Generator().manual_seed(seed))
        label, path = seed % (model.classes or 1), made / f"{seed}.png"
        to_pil(sample(model.network, model.scheduler, noise, torch.tensor([label]), 50)[0]).save(path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append({"id": str(seed), "file_name": path.name, "sha256": sha256, "seed": seed, "class": label})
    with (made / "metadata.csv").open("w", newline="") as f:
        writer = csv.DictWriter(f, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return FOLDERS | {"generated": made}


def on_ray(it: World, workers: int) -> tuple[float, list[Measured]]:
    """Seconds from the first item's start to the last one's end, and what came of them."""
    from prefect import get_client

    folder = it.folder / f"ray-{workers}"
    folder.mkdir()
    command = it.words(folder.name, folder, "--ray", "local", "--workers", str(workers))
    subprocess.run(command, env=environment(folder / "cache"), check=True, stdout=sys.stderr)
    with get_client(sync_client=True) as prefect:
        (flow,) = prefect.read_flow_runs(sort="START_TIME_DESC", limit=1)  # type: ignore[arg-type]
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    found = []
    while len(found) < len(list(folder.glob("cache/work/items/*"))):  # its server hears of them a little later
        with get_client(sync_client=True) as prefect:
            runs = prefect.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow.id])))
        found = [run for run in runs if run.name.startswith("attribute ") and run.end_time and run.start_time]
        time.sleep(1)
    seconds = max(run.end_time for run in found) - min(run.start_time for run in found)
    return seconds.total_seconds(), [Measured.from_bytes(p.read_bytes()) for p in folder.glob("cache/work/items/*")]


def workers(given: argparse.Namespace) -> None:
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with world(demo_folders(folder, given.items), DEMO, folder) as it:
            for count in (1, 2):
                started = time.monotonic()
                with ray_cluster(count):
                    ray_seconds = time.monotonic() - started
                seconds, _ = on_ray(it, count)
                row = {"workers": count, "items": given.items, "seconds": seconds}
                row |= {"items an hour": round(3600 * given.items / seconds)}
                row |= {"against one": (rows or [row])[0]["seconds"] / seconds}
                rows.append(row | {"Ray's start, s": ray_seconds, "Prefect's start, s": it.prefect_seconds})
        bare = two_at_once(folder / "generated", min(given.items, 8))
    table(rows)
    print(f"\nThe library alone, two processes at once against one: {bare:.2f} times the items an hour")


def two_at_once(generated: Path, items: int) -> float:
    """What the machine gives: items an hour of two plain loops in processes of their own, against one."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, spawn) as processes:
        alone = processes.submit(plain_loop, generated, slice(items)).result()[0]
    both = spawn.Manager().Barrier(2)
    with concurrent.futures.ProcessPoolExecutor(2, spawn) as processes:
        halves = [processes.submit(plain_loop, generated, slice(k, items, 2), both) for k in range(2)]
        return 2 * alone / sum(half.result()[0] for half in halves)


def plain_loop(generated: Path, which: slice = slice(None), start: Barrier | None = None) -> tuple[float, list[Any]]:
    """Seconds of the library alone, item after item, with the original losses that all items need at hand; and what came of them."""
    model, settings = DiffusionModel.from_pretrained(FOLDERS["checkpoint"], "cpu"), DEMO
    bank = NoiseBank.draw(model, settings.num_noises, settings.fraction, settings.seed)
    sets = [load(path) for path in (FOLDERS["train"], FOLDERS["held_out"], generated)]
    training, held_out, made = (Items(pixels, {"class_labels": labels}) for pixels, labels in sets)
    store, found = LossStore(), []
    assert settings.screening
    with deterministic("cpu"):
        for items, entries in ((training, settings.screening.stages[0][0]), (held_out, len(bank))):
            store.table(model, items, bank, settings.scoring).rows(torch.arange(len(items)), range(entries))
        if start:
            start.wait()
        started = time.monotonic()
        for k in range(len(made))[which]:
            found += attribute(
                model,
                training,
                made[k : k + 1],
                bank,
                settings.unlearning,
                screening=settings.screening,
                scoring=settings.scoring,
                held_out=held_out,
                prefix=settings.calibration_noises,
                repeats=settings.repeats,
                measure_recall=False,
                seed=settings.seed,
                store=store,
            )
        return time.monotonic() - started, found


def overhead(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folders = demo_folders(folder, given.items)
        plain, found = plain_loop(folders["generated"])
        with world(folders, DEMO, folder) as it:
            seconds, measured = on_ray(it, 1)
    bytes_of = [
        sorted(a.scores.numpy().tobytes() for a in these) for these in (found, [m.attribution for m in measured])
    ]
    each = {"library, s an item": plain / given.items, "Ray and Prefect, s an item": seconds / given.items}
    added = (seconds - plain) / given.items
    same = "yes" if bytes_of[0] == bytes_of[1] else "NO"
    table([{"items": given.items, **each, "added, s an item": added, "same bytes of scores": same}])
    sys.exit(same != "yes")


# kill


def tiny_folders(folder: Path) -> dict[str, Path]:
    """A tiny model with a thousand training images, and 24 others."""
    folders = build(folder, 1000)
    made = folder / "generated"
    write_shard(made / "generated.parquet", "g", 0, ITEMS, generated=True)
    held_out = folders["held_out"] / "held_out-00000-of-00001.parquet"
    pq.write_table(pq.read_table(held_out).slice(0, 64), held_out)
    return folders | {"generated": made}


@dataclass
class Cluster:
    """A Ray cluster of two nodes with one CPU each, which have caches of their own."""

    folder: Path
    address: str = ""
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Cluster:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        os.environ |= token
        self.folder.mkdir()
        head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        for k, where in enumerate((head, [f"--address={self.address}"])):
            command = [str(Path(sys.executable).parent / "ray"), "start", *where]
            command += ["--num-cpus=1", "--object-store-memory=100000000", "--block"]
            said = self.folder / f"node-{k}.log"
            with said.open("wb") as log:
                started = environment(self.folder / f"cache-{k}")
                self.nodes.append(subprocess.Popen(command, env=started, stdout=log, stderr=log))
            while b"Ray runtime started" not in said.read_bytes():
                if self.nodes[k].poll() is not None:
                    raise SystemExit(said.read_text())
                time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            kill(node.pid)
            node.wait()


def kill(root: int) -> None:
    """SIGKILL to a process and all below it."""
    for process in (root, *descendants(root)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def those(root: int, title: re.Pattern[bytes]) -> list[int]:
    """The processes below one whose command line begins so; those that only wait for work come in the last place."""
    found = {}
    for process in descendants(root):
        with contextlib.suppress(OSError):
            found[process] = Path(f"/proc/{process}/cmdline").read_bytes()
    matching = [process for process, line in found.items() if title.match(line)]
    return [process for process in matching if not found[process].startswith(b"ray::IDLE")] or matching


def marked(mark: str) -> list[str]:
    """The command lines of all processes that carry a mark."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}\0".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


def begun_since(moment: float) -> list[str]:
    """The names of the units that were begun to be computed since then, by Prefect's log."""
    import httpx

    found: list[str] = []
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
    while True:
        asked = {"logs": {"timestamp": {"after_": since}}, "offset": len(found), "limit": 200, "sort": "TIMESTAMP_ASC"}
        page = (
            httpx.post(f"{os.environ['PREFECT_API_URL']}/logs/filter", json=asked, timeout=60).raise_for_status().json()
        )
        found += [line["message"] for line in page]
        if not page:
            begun = [m[1] for line in found if (m := re.match(r"begin +(.*) on \S+$", line))]
            return [name.removeprefix("original losses, ") for name in begun]


class Killing:
    """One audit on Ray, which loses something.

    Attributes:
        it: The world.
        number: Which of all kills; its random numbers are made from it.
        victim, engine: One of `KILLS`.
    """

    def __init__(self, it: World, number: int, victim: str, engine: str) -> None:
        self.it, self.number, self.victim, self.engine = it, number, victim, engine
        self.folder = it.folder / f"{number}-{victim.replace(' ', '-')}-{engine}"
        self.folder.mkdir()
        self.chance = random.Random(number)

    def said(self) -> list[str]:
        """The lines of the audit's log."""
        return (self.folder / "said").read_text().splitlines()

    def start(self) -> None:
        """Start the audit, or start it again."""
        more = ["--ray", self.cluster.address] if self.cluster else ENGINES[self.engine]
        given = environment(self.folder / "cache", TMPDIR=str(self.temporary), **{MARK: self.folder.name})
        with (self.folder / "said").open("ab") as said:
            command = self.it.words(self.folder.name, self.folder, *more)
            self.audit = subprocess.Popen(command, env=given, stdout=said, stderr=said)

    def strike(self) -> dict[str, Any]:
        """Kill the victim at a random moment, and start the audit again if that ends it."""
        after, delay = self.chance.randrange(LINES), self.chance.uniform(0, 2)
        while self.audit.poll() is None and len(self.said()) < after:
            time.sleep(0.01)
        time.sleep(delay)
        while not (at := self.processes()) and self.audit.poll() is None:
            time.sleep(0.01)
        said = self.said()
        if self.audit.poll():
            raise SystemExit("The audit ended before anything was killed:\n" + "\n".join(said[-5:]))
        for process in self.chance.sample(at, min(1, len(at))):
            if self.victim == "node":
                kill(process)
            else:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        ended = {m[1] for line in said if (m := re.search(r"(?:attribute|measure) +\d+ of \d+: (.*?),", line))}
        row = {"after lines": after, "and seconds": delay, "at": last_words(said), "ended": sorted(ended)}
        first = self.audit.wait()
        # Ray waits for good for the first worker of a job where that is killed as it starts; the audit gives up after three minutes
        gave_up = first == -signal.SIGKILL and self.victim == "worker"
        if first and (gave_up or (self.victim, self.engine) not in IN_HAND):
            self.start()
        return row | {"first status": first}

    def processes(self) -> list[int]:
        """The processes of which one is to be killed."""
        nodes = [node.pid for node in self.cluster.nodes] if self.cluster else []
        if self.victim == "worker":
            return [process for root in nodes or [self.audit.pid] for process in those(root, IS_WORKER)]
        if self.victim == "own node":
            return those(self.audit.pid, re.compile(rb"[^\0]*/raylet\0"))
        return nodes[1:] if self.victim == "node" else [self.audit.pid]

    def run(self) -> dict[str, Any]:
        """Run it to its end; gives what came of it."""
        started, since = time.monotonic(), time.time()
        with tempfile.TemporaryDirectory(prefix="k") as name, contextlib.ExitStack() as stack:
            self.temporary = Path(name) / "t"
            self.temporary.mkdir()
            self.cluster = stack.enter_context(Cluster(Path(name) / "r")) if self.engine == "cluster" else None
            self.start()
            stack.callback(lambda: kill(self.audit.pid))
            row = {"kill": self.number, "victim": self.victim, "engine": self.engine} | self.strike()
            row |= {"status": self.audit.wait(), "seconds": time.monotonic() - started}
            row["left"] = self.left()
        time.sleep(1)  # until the last of its log is with Prefect's server
        times = Counter(begun_since(since))
        row |= {"begun": sum(times.values()), "units": len(times)}
        row["again"] = sorted(unit for unit, count in times.items() if count > 1)
        row["evidence"] = self.said()[-5:] if row["status"] else evidence(self.folder.name)
        return row

    def left(self) -> list[str]:
        """The processes and temporary files that an audit leaves for good."""
        deadline = time.monotonic() + SECONDS_TO_END
        while True:
            left = marked(self.folder.name) + [str(path) for path in self.temporary.iterdir()]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.2)


def holds(row: dict[str, Any], expected: tuple[str, str]) -> bool:
    """Whether a kill cost nothing but what was in hand."""
    in_hand = IN_HAND.get((row["victim"], row["engine"]), 2)
    return (
        row["status"] == 0
        and tuple(row["evidence"]) == expected
        and not row["left"]
        and not set(row["again"]) & set(row["ended"])
        and row["begun"] - row["units"] <= in_hand
    )


def last_words(lines: list[str]) -> str:
    """What an audit was at, by its log."""
    found = [m[1] for line in lines if (m := re.match(r" *\d+:\d+ +(\w+ *(?:\d+ of \d+)?)", line))]
    return " ".join(found[-1].split()) if found else "start"


def kill_audits(given: argparse.Namespace) -> None:
    given.folder.mkdir(parents=True, exist_ok=True)
    kept = given.folder / "kills.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with world(tiny_folders(folder / "data"), TINY, folder) as it:
            threads = folder / "threads"
            threads.mkdir()
            command = it.words("threads", threads)
            subprocess.run(command, env=environment(threads / "cache"), check=True, stdout=sys.stderr)
            expected = evidence("threads")
            for number in range(len(rows), given.times):
                row = Killing(it, number, *KILLS[number % len(KILLS)]).run()
                row["holds"] = holds(row, expected)
                with kept.open("a") as f:
                    f.write(json.dumps(row) + "\n")
                print(json.dumps(row), file=sys.stderr, flush=True)
                rows.append(row)
    columns = ("kill", "victim", "engine", "at", "first status", "seconds", "units", "begun")
    table([{n: row[n] for n in columns} | {"holds": "yes" if row["holds"] else "NO"} for row in rows])
    sys.exit(not all(row["holds"] for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for command in (workers, overhead):
        one = commands.add_parser(command.__name__)
        one.add_argument("--items", type=int, default=ITEMS)
        one.set_defaults(run=command)
    killing = commands.add_parser("kill")
    killing.add_argument("--times", type=int, default=20)
    killing.add_argument(
        "--folder", type=Path, default=HERE / "work" / "fleet", help="where a line for each kill is kept"
    )
    killing.set_defaults(run=kill_audits)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what it started ends with it
    given.run(given)


if __name__ == "__main__":
    main()
