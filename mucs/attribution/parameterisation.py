"""What a noise level is, how an item is noised, what the network predicts, and how an error is weighed."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mucs import InputError


class Parameterisation(Protocol):
    """One family of diffusion training losses."""

    def schedule(self, count: int) -> Tensor:
        """The sampler's schedule of `count` levels, noisiest first, (count,) float32."""

    def draw_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` levels as training draws them, (count,) float32."""

    def losses(self, network: nn.Module, x: Tensor, noise: Tensor, levels: Tensor, labels: Tensor | None) -> Tensor:
        """Training loss of each sample, mean over its pixels: (B, C, H, W), the same, (B,) to (B,)."""


def predict(network: nn.Module, x: Tensor, time: Tensor, labels: Tensor | None) -> Tensor:
    """The network's raw output for noisy inputs (B, C, H, W) and its time input (B,)."""
    conditioning = {} if labels is None else {"class_labels": labels}
    output: Tensor = network(x, time, **conditioning).sample
    return output


def per_image(values: Tensor) -> Tensor:
    """(B,) to (B, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


class EDM:
    """Karras et al. 2022 (arXiv 2206.00364), table 1: a level is σ, a noisy item is x + σε."""

    LOG_MEAN, LOG_STD = -1.2, 1.2  # training draws ln σ from this normal

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.sigma_data = float(scheduler.config.sigma_data)
        if scheduler.config.prediction_type not in ("epsilon", "v_prediction"):
            raise InputError(
                f"The EDM scheduler predicts {scheduler.config.prediction_type!r}; use a checkpoint that predicts epsilon or v_prediction."
            )
        self.sign = 1.0 if scheduler.config.prediction_type == "epsilon" else -1.0

    def schedule(self, count: int) -> Tensor:
        self.scheduler.set_timesteps(count)
        sigmas: Tensor = self.scheduler.sigmas[:count].float()
        return sigmas

    def draw_levels(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.exp(self.LOG_MEAN + self.LOG_STD * torch.randn(count, generator=generator))

    def losses(self, network: nn.Module, x: Tensor, noise: Tensor, levels: Tensor, labels: Tensor | None) -> Tensor:
        s, sigma = self.sigma_data, per_image(levels)
        noisy = x + sigma * noise
        c_skip = s**2 / (sigma**2 + s**2)
        c_out = self.sign * sigma * s / (sigma**2 + s**2).sqrt()
        c_in = 1 / (sigma**2 + s**2).sqrt()
        denoised = c_skip * noisy + c_out * predict(network, c_in * noisy, levels.log() / 4, labels)
        weight = (levels**2 + s**2) / (levels * s) ** 2
        return weight * (denoised - x).square().mean(dim=(1, 2, 3))


class DDPM:
    """Ho et al. 2020 (arXiv 2006.11239): a level is a timestep t, a noisy item is √ᾱ x + √(1−ᾱ) ε."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.alphas_cumprod: Tensor = scheduler.alphas_cumprod.float()
        self.prediction_type = scheduler.config.prediction_type
        if self.prediction_type not in ("epsilon", "v_prediction", "sample"):
            raise InputError(
                f"The scheduler predicts {self.prediction_type!r}; use a checkpoint that predicts epsilon, v_prediction or sample."
            )

    def schedule(self, count: int) -> Tensor:
        if count > len(self.alphas_cumprod):
            raise InputError(
                f"A schedule of {count} levels is asked of a model with {len(self.alphas_cumprod)} timesteps; draw a smaller noise bank."
            )
        self.scheduler.set_timesteps(count)
        timesteps: Tensor = self.scheduler.timesteps[:count].float()
        return timesteps

    def draw_levels(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(len(self.alphas_cumprod), (count,), generator=generator).float()

    def losses(self, network: nn.Module, x: Tensor, noise: Tensor, levels: Tensor, labels: Tensor | None) -> Tensor:
        t = levels.long()
        alpha_bar = per_image(self.alphas_cumprod.to(x.device)[t])
        signal, spread = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        target = {"epsilon": noise, "sample": x, "v_prediction": signal * noise - spread * x}[self.prediction_type]
        return (predict(network, signal * x + spread * noise, t, labels) - target).square().mean(dim=(1, 2, 3))


FAMILIES: dict[str, type[EDM] | type[DDPM]] = {
    "EDMEulerScheduler": EDM,
    "EDMDPMSolverMultistepScheduler": EDM,
    "DDPMScheduler": DDPM,
    "DDIMScheduler": DDPM,
    "DPMSolverMultistepScheduler": DDPM,
}


def of(scheduler: Any) -> Parameterisation:
    """The parameterisation of a diffusers scheduler; InputError names the known ones if there is none."""
    name = type(scheduler).__name__
    if name not in FAMILIES:
        raise InputError(f"The scheduler {name} is not known; use a checkpoint with one of: {', '.join(FAMILIES)}.")
    return FAMILIES[name](scheduler)
