"""The world that tests share: a trained tiny model, its data, a registry on a real S3 server, and a Prefect server."""

import atexit
import csv
import fcntl
import gc
import hashlib
import logging
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import diffusers
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from diffusers import DDIMScheduler, UNet2DModel
from PIL import Image

from mucs.attribution import Items

os.environ |= {"PREFECT_LOGGING_LEVEL": "CRITICAL", "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1"}
os.environ |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "GX_ANALYTICS_ENABLED": "false"}
# of their own, so that nobody's server is asked, and where HOME cannot be written as well
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="mucs-prefect-")
atexit.register(shutil.rmtree, os.environ["PREFECT_HOME"], ignore_errors=True)

gc.set_threshold(100_000, 50, 100)  # with the usual one, a tenth of the time went into looking for what can be freed

# the models are tiny, and several test processes share the cores: with more threads than cores they hinder each other
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


# a test that uses one of these takes seconds: a server, or the command with all that it imports
HEAVY = {"s3", "prefect_server", "mucs"}
LONG = {"test_corpus.py", "test_statement.py"}  # begun first, so that at the end no process waits for another


def pytest_collection_modifyitems(items):
    for item in items:
        if HEAVY & set(item.fixturenames):
            item.add_marker("heavy")
    items.sort(key=lambda item: item.path.name not in LONG)


SIZE = 8
FAST = {"num_noises": 8, "learning_rate": 1e-3, "unlearning_batch_size": 8, "max_steps": 8, "batch_size": 16}


def draw(seed: int, label: int) -> np.ndarray:
    """A coloured bar (class 0) or block (class 1) on white, (8, 8, 3) uint8."""
    random = np.random.default_rng(seed)
    pixels = np.full((SIZE, SIZE, 3), 255, np.uint8)
    colour, at, width = random.integers(0, 200, 3), random.integers(0, 5), random.integers(2, 4)
    if label:
        pixels[at : at + width, random.integers(0, 3) : random.integers(5, 9)] = colour
    else:
        pixels[:, at : at + width] = colour
    return pixels


def write_folder(folder: Path, pictures: list[np.ndarray], rows: list[dict]) -> Path:
    """An image folder with its manifest."""
    folder.mkdir(parents=True)
    for pixels, row in zip(pictures, rows, strict=True):
        path = folder / row["file_name"]
        Image.fromarray(pixels).save(path)
        row["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    write_manifest(folder, rows)
    return folder


def write_manifest(folder: Path, rows: list[dict]) -> None:
    with (folder / "metadata.csv").open("w", newline="") as f:
        writer = csv.DictWriter(f, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_rows(folder: Path) -> list[dict]:
    with (folder / "metadata.csv").open(newline="") as f:
        return list(csv.DictReader(f))


def read_items(folder: Path) -> Items:
    """The images of a folder, with their classes."""
    rows = read_rows(folder)
    pixels = np.stack([np.asarray(Image.open(folder / row["file_name"])) for row in rows])
    labels = torch.tensor([int(row["class"]) for row in rows])
    return Items(torch.from_numpy(pixels).permute(0, 3, 1, 2), {"class_labels": labels})


def write_shards(folder: Path, images: Path, shards: int, **options) -> Path:
    """An image folder as Parquet files with the images in them, as Hugging Face's datasets writes them."""
    rows = read_rows(images)
    size = -(-len(rows) // shards)
    for k in range(shards):
        part = rows[k * size : (k + 1) * size]
        struct = [{"bytes": (images / row["file_name"]).read_bytes(), "path": row["file_name"]} for row in part]
        columns = {name: [row[name] for row in part] for name in rows[0] if name != "file_name"} | {"image": struct}
        path = folder / "abcdefgh"[k] / "data.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table(columns), path, **options)
    return folder


def training_rows(prefix: str, count: int) -> list[dict]:
    return [
        {
            "id": f"{prefix}{i:02d}",
            "file_name": f"{prefix}{i:02d}.png",
            "rights_holder": ["Ada", "Ben", "Cleo"][i % 3],
            "licence": "CC-BY-4.0",
            "date": f"2024-01-{i + 1:02d}",
            "class": i % 2,
        }
        for i in range(count)
    ]


def train_tiny(folder: Path, images: torch.Tensor, labels: torch.Tensor) -> Path:
    """A class-conditional UNet that has seen these images a few hundred times."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=SIZE,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=8,
        norm_num_groups=8,
        num_class_embeds=2,
    )
    scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    optimizer = torch.optim.AdamW(unet.parameters(), lr=3e-3)
    random = torch.Generator().manual_seed(0)
    for _ in range(300):
        noise = torch.randn(images.shape, generator=random)
        t = torch.randint(1000, (len(images),), generator=random)
        predicted = unet(scheduler.add_noise(images, noise, t), t, class_labels=labels).sample
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(predicted, scheduler.get_velocity(images, noise, t)).backward()
        optimizer.step()
    unet.save_pretrained(folder / "unet")
    scheduler.save_pretrained(folder / "scheduler")
    return folder


@dataclass
class World:
    """Folders of a tiny model and its data."""

    checkpoint: Path
    train: Path
    held_out: Path
    generated: Path

    def copy(self, name: str, to: Path) -> Path:
        """A folder of the world that a test may spoil."""
        return Path(shutil.copytree(getattr(self, name), to))


def kept_checkpoint(cache: pytest.Cache, images: torch.Tensor, labels: torch.Tensor) -> Path:
    """The trained model, from pytest's cache, or made there for all: anew if this file or what trains it is another."""
    made_by = [Path(__file__).read_bytes(), torch.__version__.encode(), diffusers.__version__.encode()]
    name = hashlib.sha256(b" ".join(made_by)).hexdigest()[:16]
    folder = cache.mkdir("checkpoint")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of the test processes one trains it
        if not (folder / name).exists():
            train_tiny(folder / "partial", images, labels).rename(folder / name)
    return folder / name


@pytest.fixture(scope="session")
def world(tmp_path_factory, pytestconfig) -> World:
    """24 training images of three holders, 8 held out, and 3 generated: two near-copies of t03 and t10, one new."""
    root = tmp_path_factory.mktemp("world")
    pictures = [draw(i, i % 2) for i in range(24)]
    train = write_folder(root / "train", pictures, training_rows("t", 24))
    held_out = write_folder(root / "held_out", [draw(100 + i, i % 2) for i in range(8)], training_rows("h", 8))
    nearly = [np.clip(pictures[i].astype(int) - 3, 0, 255).astype(np.uint8) for i in (3, 10)]
    rows = [{"id": f"g{k}", "file_name": f"g{k}.png", "seed": k, "class": label} for k, label in enumerate((1, 0, 1))]
    generated = write_folder(root / "generated", [*nearly, draw(200, 1)], rows)
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    kept = kept_checkpoint(pytestconfig.cache, images, torch.arange(24) % 2)
    checkpoint = Path(shutil.copytree(kept, root / "checkpoint"))
    return World(checkpoint, train, held_out, generated)


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """A real S3 server; this process's AWS_* variables point to it."""
    from tasks.s3 import client
    from tasks.serve import s3_server

    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        for bucket in ("registry", "evidence"):
            client().create_bucket(Bucket=bucket)
        yield server


@pytest.fixture(scope="session")
def prefect_server():
    """A real Prefect server with a database of its own."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def registry(world, s3, tmp_path_factory) -> Path:
    """The world under DVC, tagged v1, its bytes on S3."""
    from tasks.register import register

    folder = tmp_path_factory.mktemp("registry")
    folders = {name: getattr(world, name) for name in ("checkpoint", "train", "held_out", "generated")}
    register.fn(folder, "s3://registry/world", folders, "v1")
    return folder


@pytest.fixture(scope="module", autouse=True)
def frozen():
    """What imports left is never freed, and need not be looked through again: a `gc.collect()` took more than a second."""
    gc.freeze()


@pytest.fixture
def said(caplog):
    """What our loggers said, line by line, whatever a command did to them before in this process."""
    log = logging.getLogger("mucs")
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(caplog.handler)
    yield lambda: list(dict.fromkeys(record.getMessage() for record in caplog.records))
    log.removeHandler(caplog.handler)
    log.setLevel(level)


@pytest.fixture
def mucs(capsys, monkeypatch):
    """Run the `mucs` command in this process: words to (exit status, output, error output)."""
    from flows.cli import main

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mucs", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run
