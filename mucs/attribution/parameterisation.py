"""What a noise level is, how an item is noised, what the network predicts, and how an error is weighed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from mucs import InputError
from mucs.text import first_line

Predict = Callable[[Tensor, Tensor], Tensor]  # noisy items (B, C, H, W) and the network's time input (B,) to its output


class Parameterisation(Protocol):
    """One family of diffusion training losses; what a level is, the family says.

    Attributes:
        levels: The lowest and the highest that the network can be asked about.
    """

    levels: tuple[float, float]

    def schedule(self, count: int, shape: tuple[int, int, int]) -> Tensor:
        """The sampler's schedule.

        Args:
            count: How many levels.
            shape: (C, H, W) of the items.

        Returns:
            Levels (count,) float32, noisiest first.

        Raises:
            InputError: If the model has fewer.
        """

    def draw_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw levels as training does.

        Args:
            count: How many.
            generator: Which random ones.

        Returns:
            (count,) float32.
        """

    def losses(self, predict: Predict, x: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """Training loss of each sample.

        Args:
            predict: The network.
            x: Items (B, C, H, W).
            noise: Unit Gaussians of that shape.
            levels: (B,).

        Returns:
            (B,), means over pixels.
        """

    def levels_at(self, sigma: Tensor) -> Tensor:
        """The levels at which an item is under σ times as much noise as it is shown of itself, or the nearest that there are.

        Args:
            sigma: (B,), above 0.

        Returns:
            (B,) float32.
        """

    def mixture(self, levels: Tensor) -> Mixture:
        """What the network is shown of an item, and what it is to predict.

        Args:
            levels: (B,).

        Returns:
            By level, (B,) each.
        """


TRIED = 10  # levels


@dataclass(frozen=True)
class Mixture:
    """A network is shown a·x + b·ε, and the loss is the squared error of its output as a prediction of c·x + d·ε.

    Attributes:
        a, b, c, d: (B,) float64, by level.
    """

    a: Tensor
    b: Tensor
    c: Tensor
    d: Tensor

    def ignorant_loss(self, power: float) -> Tensor:
        """Loss of the best multiple of what is shown: all that is known of the items is `power`, their mean square. (B,)."""
        return power * (self.a * self.d - self.b * self.c) ** 2 / (power * self.a**2 + self.b**2)

    def zero_output_loss(self, power: float) -> Tensor:
        """Loss of an output of zero, where the items' mean square is `power`: (B,)."""
        return power * self.c**2 + self.d**2


def per_image(values: Tensor) -> Tensor:
    """(B,) to (B, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def known_prediction(scheduler: Any, known: tuple[str, ...]) -> str:
    """The scheduler's prediction type; InputError if it is none of the known."""
    kind = scheduler.config.prediction_type
    if kind not in known:
        raise InputError(f"The scheduler predicts {kind!r}; use a checkpoint that predicts one of: {', '.join(known)}.")
    return str(kind)


class EDM:
    """Karras et al. 2022 (arXiv 2206.00364), table 1: a level is σ, a noisy item is x + σε.

    Training draws ln σ from a normal of mean P_mean and deviation P_std: those of the scheduler's configuration, where
    it has them. Otherwise the paper's, −1.2 and 1.2; they are for σ_data = 0.5, and where data are k times as large, the same
    signal goes with k times the noise, so that the mean moves by ln(σ_data / 0.5).
    """

    LOG_MEAN, LOG_STD, SIGMA_DATA = -1.2, 1.2, 0.5

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.sigma_data = float(scheduler.config.sigma_data)
        given = {name: scheduler.config.get(name) for name in ("P_mean", "P_std")}
        shifted = self.LOG_MEAN + math.log(self.sigma_data / self.SIGMA_DATA)
        self.log_mean = shifted if given["P_mean"] is None else float(given["P_mean"])
        self.log_std = self.LOG_STD if given["P_std"] is None else float(given["P_std"])
        self.levels = (torch.finfo(torch.float32).tiny, torch.inf)
        self.sign = 1.0 if known_prediction(scheduler, ("epsilon", "v_prediction")) == "epsilon" else -1.0

    def schedule(self, count: int, shape: tuple[int, int, int]) -> Tensor:
        """σ of the sampler (table 1)."""
        self.scheduler.set_timesteps(count)
        sigmas: Tensor = self.scheduler.sigmas[:count].float()
        return sigmas

    def draw_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """Levels whose logarithm is from a normal distribution (table 1)."""
        return torch.exp(self.log_mean + self.log_std * torch.randn(count, generator=generator))

    def losses(self, predict: Predict, x: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """Error of the denoised item, weighed by level (equations 7 and 8)."""
        s, sigma = self.sigma_data, per_image(levels)
        noisy = x + sigma * noise
        c_skip = s**2 / (sigma**2 + s**2)
        c_out = self.sign * sigma * s / (sigma**2 + s**2).sqrt()
        c_in = 1 / (sigma**2 + s**2).sqrt()
        denoised = c_skip * noisy + c_out * predict(c_in * noisy, levels.log() / 4)
        weight = (levels**2 + s**2) / (levels * s) ** 2
        return weight * (denoised - x).square().mean(dim=(1, 2, 3))

    def levels_at(self, sigma: Tensor) -> Tensor:
        """σ itself."""
        return sigma.float()

    def mixture(self, levels: Tensor) -> Mixture:
        """Of the raw network, whose target has a mean square of 1 where the items have σ_data² (equation 8, whose weights are then 1)."""
        s, sigma = self.sigma_data, levels.double()
        both = (sigma**2 + s**2).sqrt()
        return Mixture(torch.ones_like(sigma), sigma, sigma / (s * both), -s / both)


class DDPM:
    """Ho et al. 2020 (arXiv 2006.11239): a level is a timestep t, a noisy item is √ᾱ x + √(1−ᾱ) ε."""

    def __init__(self, scheduler: Any) -> None:
        if type(scheduler).__name__ == "PNDMScheduler":  # its own schedule repeats levels, for Runge-Kutta steps
            from diffusers import DDIMScheduler

            scheduler = DDIMScheduler.from_config(scheduler.config)
        self.scheduler = scheduler
        self.alphas_cumprod: Tensor = scheduler.alphas_cumprod.float()
        signal, betas = self.alphas_cumprod, scheduler.betas
        if signal.shape != (scheduler.config.num_train_timesteps,):
            raise InputError("The scheduler has not one beta for each timestep; restore its configuration.")
        is_share = betas.isfinite().all() and betas.min() >= 0 and betas.max() <= 1
        if not (is_share and signal.isfinite().all() and signal[0] > 0 and signal[-1] < 1):
            raise InputError("The scheduler's betas add no noise from 0 to 1 to an item; restore its configuration.")
        self.levels = (0.0, float(len(self.alphas_cumprod) - 1))
        self.prediction_type = known_prediction(scheduler, ("epsilon", "v_prediction", "sample"))

    def schedule(self, count: int, shape: tuple[int, int, int]) -> Tensor:
        """Timesteps, as the sampler spaces them."""
        if count > len(self.alphas_cumprod):
            raise InputError(
                f"A schedule of {count} levels is asked of a model with {len(self.alphas_cumprod)} timesteps; draw a smaller noise bank."
            )
        self.scheduler.set_timesteps(count)
        timesteps: Tensor = self.scheduler.timesteps[:count].float().round()
        return timesteps

    def draw_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """Timesteps, all as likely."""
        return torch.randint(len(self.alphas_cumprod), (count,), generator=generator).float()

    def losses(self, predict: Predict, x: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """Error of the predicted noise, item or velocity (equation 14)."""
        t = levels.long()
        alpha_bar = per_image(self.alphas_cumprod.to(x.device)[t])
        signal, spread = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        target = {"epsilon": noise, "sample": x, "v_prediction": signal * noise - spread * x}[self.prediction_type]
        return (predict(signal * x + spread * noise, t) - target).square().mean(dim=(1, 2, 3))

    def levels_at(self, sigma: Tensor) -> Tensor:
        """The timesteps whose √((1−ᾱ)/ᾱ) is the nearest, as a ratio."""
        alpha_bar = self.alphas_cumprod.double()
        have = ((1 - alpha_bar) / alpha_bar).log() / 2  # infinite where nothing is shown of the item
        return (have - sigma.double().log()[:, None]).abs().argmin(dim=1).float()

    def mixture(self, levels: Tensor) -> Mixture:
        """Of the noisy item and what is predicted of it."""
        alpha_bar = self.alphas_cumprod.double()[levels.long()]
        signal, spread = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        nothing, all_of_it = torch.zeros_like(signal), torch.ones_like(signal)
        target = {"epsilon": (nothing, all_of_it), "sample": (all_of_it, nothing), "v_prediction": (-spread, signal)}
        return Mixture(signal, spread, *target[self.prediction_type])


class FlowMatching:
    """Rectified flow, Esser et al. 2024 (arXiv 2403.03206): a level is σ in (0, 1], a noisy item is (1 − σ) x + σ ε."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.timesteps = int(scheduler.config.num_train_timesteps)
        self.levels = (0.0, 1.0)

    def schedule(self, count: int, shape: tuple[int, int, int]) -> Tensor:
        """σ, shifted as the sampler does for items of that shape."""
        config = self.scheduler.config
        if config.use_dynamic_shifting:
            # the shift grows linearly with the number of tokens, patches of 2×2 (as Flux's sampler has it)
            slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
            tokens = (shape[1] // 2) * (shape[2] // 2)
            self.scheduler.set_timesteps(count, mu=config.base_shift + slope * (tokens - config.base_image_seq_len))
        else:
            self.scheduler.set_timesteps(count)
        sigmas: Tensor = self.scheduler.sigmas[:count].float()
        return sigmas

    def draw_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """Logit-normal (section 3.1), shifted as the scheduler is (section 5.3.2)."""
        sigmas = torch.sigmoid(torch.randn(count, generator=generator))
        shift = 1.0 if self.scheduler.config.use_dynamic_shifting else float(self.scheduler.config.shift)
        return shift * sigmas / (1 + (shift - 1) * sigmas)

    def losses(self, predict: Predict, x: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """Error of the predicted velocity ε − x."""
        sigma = per_image(levels)
        velocity = predict((1 - sigma) * x + sigma * noise, levels * self.timesteps)
        return (velocity - (noise - x)).square().mean(dim=(1, 2, 3))

    def levels_at(self, sigma: Tensor) -> Tensor:
        """Where σ' / (1 − σ') is σ."""
        return (sigma.double() / (1 + sigma.double())).float()

    def mixture(self, levels: Tensor) -> Mixture:
        """Of the noisy item and the velocity."""
        sigma = levels.double()
        return Mixture(1 - sigma, sigma, -torch.ones_like(sigma), torch.ones_like(sigma))


FAMILIES: dict[str, Callable[[Any], Parameterisation]] = {
    "EDMEulerScheduler": EDM,
    "EDMDPMSolverMultistepScheduler": EDM,
    "DDPMScheduler": DDPM,
    "DDIMScheduler": DDPM,
    "PNDMScheduler": DDPM,
    "DPMSolverMultistepScheduler": DDPM,
    "EulerDiscreteScheduler": DDPM,
    "EulerAncestralDiscreteScheduler": DDPM,
    "UniPCMultistepScheduler": DDPM,
    "FlowMatchEulerDiscreteScheduler": FlowMatching,
}


def of(scheduler: Any) -> Parameterisation:
    """The parameterisation of a diffusers scheduler; InputError names the known ones if there is none."""
    name = type(scheduler).__name__
    if name not in FAMILIES:
        raise InputError(f"The scheduler {name} is not known; use a checkpoint with one of: {', '.join(FAMILIES)}.")
    try:
        # on a copy, and before anything is measured: many values are looked at only when a schedule is made
        tried = FAMILIES[name](copy.deepcopy(scheduler))
        levels = tried.schedule(min(TRIED, int(scheduler.config.num_train_timesteps)), (4, 64, 64))
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"The scheduler makes no schedule ({first_line(error)}); restore its configuration.") from None
    least, most = tried.levels
    if not (len(levels) and levels.isfinite().all() and least <= levels.min() and levels.max() <= most):
        raise InputError("The scheduler makes a schedule of levels that are none; restore its configuration.")
    return FAMILIES[name](scheduler)
