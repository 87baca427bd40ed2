"""Latents: images through a checkpoint's VAE, block by block."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution.checkpoint import load, read_json
from mucs.attribution.mapped import mapped
from mucs.attribution.model import DiffusionModel

MARKED = 64  # images that are encoded anew at most after a kill


def vae_folder(model: DiffusionModel) -> Path | None:
    """`vae/` of the checkpoint; InputError if its pipeline names a VAE that is not there."""
    if model.checkpoint is None:
        return None
    folder, index = model.checkpoint / "vae", model.checkpoint / "model_index.json"
    if folder.is_dir():
        return folder
    if index.exists() and (read_json(index).get("vae") or [None])[0] is not None:
        raise InputError(f"{folder} is missing, and model_index.json names it; restore the checkpoint.")
    return None


def check_images(model: DiffusionModel, vae: Path, shape: tuple[int, ...]) -> None:
    """InputError unless the VAE is known, and turns images of that shape, (N, 3, H, W), into what the network takes."""
    config = read_json(vae / "config.json")
    if config.get("_class_name") != "AutoencoderKL":
        raise InputError(
            f"The VAE {config.get('_class_name')!r} is not known; use a checkpoint with one of: AutoencoderKL."
        )
    if config.get("latent_channels", 4) != model.shape[0]:
        raise InputError(
            f"The VAE makes {config.get('latent_channels', 4)} channels and the network takes {model.shape[0]}; use a checkpoint that generates from text or labels alone."
        )
    side = model.pixels_per_latent
    expected = (3, model.shape[1] * side, model.shape[2] * side)
    if shape[1:] != expected:
        raise InputError(
            f"The images are of shape {shape}, the model takes (N, {', '.join(map(str, expected))}); resize them."
        )


def latents(
    model: DiffusionModel,
    vae: Path,
    count: int,
    read: Callable[[slice], Tensor],
    path: Path | None,
    batch_size: int,
    dtype: torch.dtype,
    done: Callable[[int, int], None] | None,
) -> Tensor:
    """Latents of images: the mode of the VAE's posterior, shifted and scaled as its configuration says.

    (Rombach et al. 2022, arXiv 2112.10752, appendix G.)

    Args:
        model: The model that takes them.
        vae: The VAE's folder.
        count: N, how many images there are.
        read: Gives some of them, (B, 3, H, W) float32 in [-1, 1]; each is read once, and dropped.
        path: The file to map them from, None for memory.
        batch_size: Images through the VAE at once; the last batch is filled up, so that no value depends on how many
            images there are.
        dtype: Of the latents that are kept.
        done: Told how many images are encoded, and of how many.

    Returns:
        (N, C, h, w) of that dtype.
    """
    network: list[Any] = []

    def fill(which: slice) -> Tensor:
        if not network:  # not where all are there already
            network.append(load(_kind(), vae).eval().float().to(model.device))
        found = []
        for start in range(which.start, which.stop, batch_size):
            block = read(slice(start, min(start + batch_size, which.stop)))
            full = torch.cat([block, block[-1:].expand(batch_size - len(block), -1, -1, -1)])
            found.append(_encode_images(network[0], full.to(model.device))[: len(block)].cpu())
        return torch.cat(found)

    block = batch_size * max(1, MARKED // batch_size)
    return mapped(path, (count, *model.shape), dtype, fill, block, done)


def _kind() -> Any:
    import diffusers

    return diffusers.AutoencoderKL


@torch.no_grad()
def _encode_images(vae: Any, images: Tensor) -> Tensor:
    """Latents (B, C, h, w) of images (B, 3, H, W)."""
    config = vae.config
    latents: Tensor = vae.encode(images).latent_dist.mode()
    if config.latents_mean is not None and config.latents_std is not None:
        mean, std = (latents.new_tensor(v).view(1, -1, 1, 1) for v in (config.latents_mean, config.latents_std))
        return (latents - mean) / std * float(config.scaling_factor)
    return (latents - float(config.shift_factor or 0)) * float(config.scaling_factor)
