"""Train the demo checkpoint on the rendered drawings; stops and resumes at any step: `python data/train.py`."""

from __future__ import annotations

import csv
import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
import yaml
from diffusers import DDIMScheduler, UNet2DModel
from generate import sample, to_pil
from PIL import Image

from mucs.attribution import DiffusionModel, Items
from mucs.evaluation.training import Recipe, small_unet
from mucs.evaluation.training import train as fit

matplotlib.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent


def load(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """All images of a rendered folder (N, 3, H, W) in [-1, 1] and their classes (N,)."""
    with (folder / "metadata.csv").open(newline="") as f:
        rows = list(csv.DictReader(f))
    pixels = np.stack([np.asarray(Image.open(folder / row["file_name"])) for row in rows])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    return images, torch.tensor([int(row["class"]) for row in rows])


def draw_grid(unet: UNet2DModel, scheduler: DDIMScheduler, classes: int, path: Path) -> None:
    """Ten samples of each class, one class a row, enlarged four times."""
    size = unet.config.sample_size
    noise = torch.randn((10 * classes, 3, size, size), generator=torch.Generator().manual_seed(1))
    images = sample(unet.eval(), scheduler, noise, torch.arange(classes).repeat_interleave(10), 50)
    grid = Image.new("RGB", (10 * (size + 2), classes * (size + 2)), "white")
    for i, image in enumerate(images):
        grid.paste(to_pil(image), ((i % 10) * (size + 2) + 1, (i // 10) * (size + 2) + 1))
    grid.resize((grid.width * 4, grid.height * 4), Image.Resampling.NEAREST).save(path)


def draw_curve(losses: list[float], path: Path) -> None:
    """Mean loss of each hundred steps, as CSV and as a picture."""
    means = [(start + 100, sum(losses[start : start + 100]) / 100) for start in range(0, len(losses) - 99, 100)]
    path.with_suffix(".csv").write_text("step,loss\n" + "".join(f"{s},{m:.6f}\n" for s, m in means))
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    axes.plot(*zip(*means, strict=True))
    axes.set(xlabel="step", ylabel="training loss", yscale="log")
    figure.savefig(path.with_suffix(".png"), dpi=120)
    plt.close(figure)


def train(images: torch.Tensor, labels: torch.Tensor, classes: int, params: dict[str, Any], out: Path) -> None:
    """Train on images (N, 3, H, W) with labels (N,), into `out`/checkpoint, with the loss curve and samples in `out`/training.

    The state to resume from lies in `out`/training.state, and goes at the end.
    """
    record = out / "training"
    record.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(**{field.name: params[field.name] for field in dataclasses.fields(Recipe)})
    torch.manual_seed(params["seed"])
    unet, scheduler = small_unet(
        images.shape[-1], classes, params["block_out_channels"], prediction_type=params["prediction_type"]
    )
    print(f"{len(images)} images, {sum(p.numel() for p in unet.parameters()):,} parameters", flush=True)
    began = time.monotonic()

    def report(step: int, loss: float) -> None:
        minutes = (time.monotonic() - began) / 60
        print(f"step {step}/{recipe.steps}  loss {loss:.4f}  after {minutes:.1f} min", flush=True)

    model, items = DiffusionModel(unet, scheduler), Items(images, {"class_labels": labels})
    losses = fit(model, items, recipe, params["seed"], state=out / "training.state", report=report)
    shutil.rmtree(out / "checkpoint", ignore_errors=True)
    unet.to(memory_format=torch.contiguous_format).save_pretrained(out / "checkpoint" / "unet")
    scheduler.save_pretrained(out / "checkpoint" / "scheduler")
    draw_curve(losses, record / "loss")
    draw_grid(unet, scheduler, classes, record / "samples.png")


def main() -> None:
    params = yaml.safe_load((HERE / "params.yaml").read_text())
    train(*load(HERE / "openmoji" / "train"), len(params["render"]["groups"]), params["train"], HERE)


if __name__ == "__main__":
    main()
