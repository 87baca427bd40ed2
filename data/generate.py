"""Generate the demo's batch from fixed seeds, beside its manifest: `python data/generate.py`."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path

import torch
import yaml
from diffusers import DDIMScheduler, UNet2DModel
from PIL import Image

HERE = Path(__file__).parent
CHECKPOINT = HERE / "checkpoint"
OUT = HERE / "generated"


@torch.no_grad()
def sample(
    unet: torch.nn.Module, scheduler: DDIMScheduler, noise: torch.Tensor, labels: torch.Tensor, steps: int
) -> torch.Tensor:
    """Deterministic DDIM from unit noise (N, C, H, W) and class labels (N,) to images (N, C, H, W) in [-1, 1]."""
    scheduler.set_timesteps(steps)
    x = noise
    for t in scheduler.timesteps:
        x = scheduler.step(unet(x, t, class_labels=labels).sample, t, x).prev_sample
    return x.clamp(-1, 1)


def to_pil(image: torch.Tensor) -> Image.Image:
    """(3, H, W) in [-1, 1] to an 8-bit RGB picture."""
    pixels = ((image + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy(), "RGB")


def main() -> None:
    params = yaml.safe_load((HERE / "params.yaml").read_text())
    groups, steps = params["render"]["groups"], params["generate"]["steps"]
    unet = UNet2DModel.from_pretrained(CHECKPOINT / "unet").eval()
    scheduler = DDIMScheduler.from_pretrained(CHECKPOINT / "scheduler")
    shape = (unet.config.in_channels, unet.config.sample_size, unet.config.sample_size)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    rows = []
    for i, seed in enumerate(params["generate"]["seeds"]):
        label = i % len(groups)
        # one image at a time, so that no image's bytes depend on its neighbours in a batch
        noise = torch.randn((1, *shape), generator=torch.Generator().manual_seed(seed))
        path = OUT / f"{seed:04d}.png"
        to_pil(sample(unet, scheduler, noise, torch.tensor([label]), steps)[0]).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append(
            {
                "id": f"{seed:04d}",
                "file_name": path.name,
                "sha256": digest,
                "seed": seed,
                "steps": steps,
                "class": label,
                "prompt": groups[label],
            }
        )
    with (OUT / "metadata.csv").open("w", newline="") as f:
        writer = csv.DictWriter(f, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} images from {steps} DDIM steps each")


if __name__ == "__main__":
    main()
