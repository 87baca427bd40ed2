"""A whole audit over a large training set, and the next night's, stage by stage: `python benchmarks/scale.py --training 1000000`.

The training set is 16 × 16 pixels in 100 Parquet shards on the embedded S3, the model a tiny one with random weights,
the generated batch four images or another number, screened. The audit is the command, a process of its own on two threads; memory is the
largest of any of its processes, by stage.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from diffusers import DDIMScheduler, UNet2DModel
from PIL import Image

from tasks.register import register
from tasks.s3 import client
from tasks.serve import s3_server

SIDE, SHARDS, HELD_OUT = 16, 100, 1000
SETTINGS = {
    "num_noises": 8,
    "screening": [[1, 0.01], [4, 0.001]],
    "max_steps": 10,
    "unlearning_batch_size": 32,
    "batch_size": 256,
    "learning_rate": 1e-3,
}


def png(random: np.random.Generator) -> bytes:
    body = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(body, "PNG", compress_level=1)
    return body.getvalue()


def write_shard(path: Path, prefix: str, start: int, count: int, generated: bool = False) -> None:
    """A shard of random images, with the columns of a training set, or of a generated batch."""
    random = np.random.default_rng([start, count, len(prefix), ord(prefix[0])])
    bodies = [png(random) for _ in range(count)]
    ids = [f"{prefix}{start + k:08d}" for k in range(count)]
    columns: dict[str, Any] = {"id": ids, "sha256": [hashlib.sha256(body).hexdigest() for body in bodies]}
    if generated:
        columns["seed"] = [str(k) for k in range(count)]
    else:
        columns |= {"rights_holder": [f"holder {(start + k) % 1000}" for k in range(count)]}
        columns |= {"licence": ["CC-BY-4.0"] * count, "date": ["2024-01-01"] * count}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns["image"] = pa.array([{"bytes": b, "path": f"{i}.png"} for b, i in zip(bodies, ids, strict=True)], kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=4096)


def build(folder: Path, training: int) -> dict[str, Path]:
    """Checkpoint, training set and held-out set."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=SIDE,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
    )
    unet.save_pretrained(folder / "checkpoint" / "unet")
    DDIMScheduler(prediction_type="v_prediction").save_pretrained(folder / "checkpoint" / "scheduler")
    size = training // SHARDS
    for k in range(SHARDS):
        write_shard(folder / "train" / f"train-{k:05d}-of-{SHARDS:05d}.parquet", "t", k * size, size)
    write_shard(folder / "held_out" / "held_out-00000-of-00001.parquet", "h", 0, HELD_OUT)
    return {name: folder / name for name in ("checkpoint", "train", "held_out")}


class Watch(threading.Thread):
    """What a command and all below it take, looked at four times a second: CPU seconds of all, and the most memory of any one.

    `peak` counts the pages of mapped files that happen to be in memory, `own` does not.
    """

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root, self.cpu, self.over = psutil.Process(root), 0.0, False
        self.peak = self.own = 0

    def run(self) -> None:
        while not self.over:
            self.look()
            time.sleep(0.25)

    def look(self) -> None:
        """Take the figures as they are now; a process that has ended counts in the one that waited for it."""
        with contextlib.suppress(psutil.Error):
            cpu = 0.0
            for process in (self.root, *self.root.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    cpu += sum(process.cpu_times()[:4])
                    memory = process.memory_info()
                    self.peak = max(self.peak, memory.rss)
                    self.own = max(self.own, memory.rss - memory.shared)
            self.cpu = max(self.cpu, cpu)


STAGES = ("pull", "validate", "decode", "measure", "attribute", "publish", "load", "report")


def command(registry: Path, folder: Path, revision: str, cache: str) -> tuple[list[str], dict[str, str]]:
    """The words of an audit, and its environment."""
    words = [sys.executable, "-m", "flows.cli", "audit", "--registry", registry, "--revision", revision]
    words += ["--log", "s3://evidence/scale", "--licence", "CC-BY-4.0", "--device", "cpu"]
    words += ["--ledger", folder / "ledger", "--reports", folder / "reports"]
    words += [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    environment = {"MUCS_CACHE": str(folder / cache), "PREFECT_HOME": str(folder / "prefect")}
    return list(map(str, words)), os.environ | environment


def estimated(registry: Path, folder: Path, revision: str) -> float:
    """Seconds that an audit says beforehand it will take for its losses and items, with a cache of its own."""
    words, environment = command(registry, folder, revision, "estimate")
    said = subprocess.run([*words, "--estimate", "--json"], env=environment, check=True, stdout=subprocess.PIPE)
    shutil.rmtree(folder / "estimate")
    return float(json.loads(said.stdout)["seconds"])


def audit(registry: Path, folder: Path, revision: str) -> list[dict[str, Any]]:
    """Of each stage of an audit, seconds by the clock and of CPU, and the most memory of a process in it."""
    words, environment = command(registry, folder, revision, "cache")
    started = last = time.monotonic()
    process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
    watch = Watch(process.pid)
    watch.start()
    clock, cpu, before = dict.fromkeys(("start", *STAGES), 0.0), dict.fromkeys(("start", *STAGES), 0.0), 0.0
    most, own = dict.fromkeys(("start", *STAGES), 0.0), dict.fromkeys(("start", *STAGES), 0.0)
    assert process.stderr
    for line in process.stderr:
        print(line, end="", file=sys.stderr)
        watch.look()
        now, word = time.monotonic(), (line.split() or [""])[1:2]
        stage = word[0] if word and word[0] in STAGES else None
        if stage:  # a line says what has just ended
            stage = stage if clock["start"] else "start"
            clock[stage] += now - last
            cpu[stage] += watch.cpu - before
            most[stage], own[stage] = max(most[stage], watch.peak / 1e9), max(own[stage], watch.own / 1e9)
            last, before, watch.peak, watch.own = now, watch.cpu, 0, 0
    if process.wait():
        raise SystemExit(f"The audit ended with status {process.returncode}.")
    watch.over = True
    return [
        {"by": "the clock", "all": time.monotonic() - started, **clock},
        {"by": "CPU", "all": watch.cpu, **cpu},
        {"by": "GB", "all": max(watch.peak / 1e9, *most.values()), **most},
        {"by": "GB, without mapped files", "all": max(watch.own / 1e9, *own.values()), **own},
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--training", type=int, nargs="+", default=[10_000])
    parser.add_argument("--generated", type=int, default=4, help="images generated a night")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder without")
    given = parser.parse_args()
    rows = []
    for training in given.training:
        with tempfile.TemporaryDirectory(dir=given.folder) as name, s3_server(Path(name) / "s3"):
            folder = Path(name)
            for bucket in ("registry", "evidence"):
                client().create_bucket(Bucket=bucket)
            folders, registry = build(folder / "data", training), folder / "registry"
            for night in (1, 2):
                shard = folder / "data" / "generated" / f"night-{night}.parquet"
                write_shard(shard, "g", night * given.generated, given.generated, generated=True)
                register.fn(registry, "s3://registry/scale", folders | {"generated": shard.parent}, f"night-{night}")
                if night == 1:
                    before = estimated(registry, folder, f"night-{night}")
                taken = audit(registry, folder, f"night-{night}")
                rows += [{"training": training, "night": night} | row for row in taken]
                if night == 1:
                    work = sum(taken[0][stage] for stage in ("decode", "measure", "attribute"))
                    print(f"{training:,}: estimated {before:.0f} s, taken {work:.0f} s", file=sys.stderr)
                print(table(rows), flush=True)


def table(rows: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    names = ["training", "night", "by", "all", "start", *STAGES]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [
            f"{row[n]:.1f}" if isinstance(row[n], float) else f"{row[n]:,}" if isinstance(row[n], int) else row[n]
            for n in names
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
