"""Train the demo checkpoint on the rendered drawings; stops and resumes at any step: `python data/train.py`."""

from __future__ import annotations

import csv
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
import yaml
from diffusers import DDIMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from generate import sample, to_pil
from PIL import Image

matplotlib.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
EVERY = 500  # steps between two saved states


def load(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """All images of a rendered folder (N, 3, H, W) in [-1, 1] and their classes (N,)."""
    with (folder / "metadata.csv").open(newline="") as f:
        rows = list(csv.DictReader(f))
    pixels = np.stack([np.asarray(Image.open(folder / row["file_name"])) for row in rows])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    return images, torch.tensor([int(row["class"]) for row in rows])


def build(params: dict[str, Any], size: int, classes: int) -> tuple[UNet2DModel, DDIMScheduler]:
    """A small UNet with attention at every resolution but the finest, and its scheduler."""
    channels = params["block_out_channels"]
    coarse = len(channels) - 1
    unet = UNet2DModel(
        sample_size=size,
        in_channels=3,
        out_channels=3,
        block_out_channels=channels,
        down_block_types=["DownBlock2D"] + ["AttnDownBlock2D"] * coarse,
        up_block_types=["AttnUpBlock2D"] * coarse + ["UpBlock2D"],
        layers_per_block=1,
        attention_head_dim=32,
        norm_num_groups=16,
        num_class_embeds=classes,
    )
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type=params["prediction_type"], clip_sample=True
    )
    return unet, scheduler


def learning_rate(step: int, params: dict[str, Any]) -> float:
    """Rises over the warm-up, stays, and falls in a straight line over the cool-down."""
    cooldown_steps = params["cooldown"] * params["steps"]
    return float(
        params["learning_rate"] * min(1, (step + 1) / params["warmup_steps"], (params["steps"] - step) / cooldown_steps)
    )


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
    checkpoint, record, saved = out / "checkpoint", out / "training", out / "training.state"
    torch.manual_seed(params["seed"])
    unet, scheduler = build(params, images.shape[-1], classes)
    unet.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=params["learning_rate"])
    ema = EMAModel(unet.parameters(), decay=params["ema_decay"], use_ema_warmup=True, power=0.75)
    losses: list[float] = []
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        if state["params"] != params:
            sys.exit(f"{saved} is of a training with other parameters: delete it, or restore the parameters.")
        unet.load_state_dict(state["unet"])
        optimizer.load_state_dict(state["optimizer"])
        ema.load_state_dict(state["ema"])
        losses = state["losses"]
    record.mkdir(parents=True, exist_ok=True)
    print(
        f"{len(images)} images, {sum(p.numel() for p in unet.parameters()):,} parameters, from step {len(losses)}",
        flush=True,
    )

    began, first = time.monotonic(), len(losses)
    for step in range(first, params["steps"]):
        # seeded by step, so that a resumed training is the same training
        random = torch.Generator().manual_seed(params["seed"] * 1_000_003 + step)
        chosen = torch.randint(len(images), (params["batch_size"],), generator=random)
        x = images[chosen].contiguous(memory_format=torch.channels_last)
        noise = torch.randn(x.shape, generator=random)
        t = torch.randint(scheduler.config.num_train_timesteps, (len(x),), generator=random)
        target = scheduler.get_velocity(x, noise, t)
        prediction = unet.train()(scheduler.add_noise(x, noise, t), t, class_labels=labels[chosen]).sample
        loss = torch.nn.functional.mse_loss(prediction, target)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, params)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        ema.step(unet.parameters())
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            rate = (step + 1 - first) / (time.monotonic() - began)
            print(
                f"step {step + 1}/{params['steps']}  loss {sum(losses[-100:]) / 100:.4f}  {rate:.1f} steps/s  {(params['steps'] - step - 1) / rate / 60:.0f} min left",
                flush=True,
            )
        if (step + 1) % EVERY == 0:
            state = {
                "params": params,
                "unet": unet.state_dict(),
                "optimizer": optimizer.state_dict(),
                "ema": ema.state_dict(),
                "losses": losses,
            }
            torch.save(state, saved.with_suffix(".part"))
            saved.with_suffix(".part").replace(saved)
            draw_curve(losses, record / "loss")
            ema.store(unet.parameters())
            ema.copy_to(unet.parameters())
            draw_grid(unet, scheduler, classes, record / "samples.png")
            ema.restore(unet.parameters())

    ema.copy_to(unet.parameters())
    shutil.rmtree(checkpoint, ignore_errors=True)
    unet.to(memory_format=torch.contiguous_format).save_pretrained(checkpoint / "unet")
    scheduler.save_pretrained(checkpoint / "scheduler")
    draw_curve(losses, record / "loss")
    draw_grid(unet, scheduler, classes, record / "samples.png")
    saved.unlink(missing_ok=True)


def main() -> None:
    params = yaml.safe_load((HERE / "params.yaml").read_text())
    train(*load(HERE / "openmoji" / "train"), len(params["render"]["groups"]), params["train"], HERE)


if __name__ == "__main__":
    main()
