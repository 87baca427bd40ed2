"""Sampling: deterministic generation from a seed, so that two models can be asked for the same image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mucs.attribution import DiffusionModel
from mucs.attribution.parameterisation import DDPM


def initial_noise(model: DiffusionModel, seeds: Sequence[int]) -> Tensor:
    """Unit Gaussian of each seed, as the demo's batch draws it: (G, C, H, W)."""
    return torch.cat([torch.randn((1, *model.shape), generator=torch.Generator().manual_seed(seed)) for seed in seeds])


@torch.inference_mode()
def sample(model: DiffusionModel, noise: Tensor, conditioning: Mapping[str, Tensor], steps: int = 50) -> Tensor:
    """One item from each unit noise (G, C, H, W) and row of conditioning: (G, C, H, W) on the CPU; images within [-1, 1].

    DDIM (Song et al. 2021, arXiv 2010.02502, η = 0) for models that predict at timesteps, and otherwise the scheduler's
    own deterministic steps. One item at a time, so that none depends on its neighbours.
    """
    found = []
    for k in range(len(noise)):
        given = {name: values[k : k + 1].to(model.device) for name, values in conditioning.items()}
        found.append(_one(model, noise[k : k + 1].to(model.device), given, steps).cpu())
    made = torch.cat(found)
    return made.clamp(-1, 1) if model.pixels_per_latent == 1 else made


def _one(model: DiffusionModel, x: Tensor, given: Mapping[str, Tensor], steps: int) -> Tensor:
    from diffusers import DDIMScheduler

    timestepped = isinstance(model.parameterisation, DDPM)
    kind = DDIMScheduler if timestepped else type(model.scheduler)
    scheduler = kind.from_config(model.scheduler.config)
    scheduler.set_timesteps(steps, device=model.device)
    x = x * scheduler.init_noise_sigma if hasattr(scheduler, "init_noise_sigma") else x
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        output = model.kind.predict(model.network, scaled, t.expand(len(x)), given)
        x = scheduler.step(output, t, x).prev_sample
    return x
