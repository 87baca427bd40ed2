"""Weighting by the null loss: a loss of 1 is that of a model that knows nothing, at every level and for every scheduler."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution.addresses import address
from mucs.attribution.items import Items
from mucs.attribution.model import DiffusionModel
from mucs.attribution.null_loss import mean_square
from mucs.attribution.parameterisation import EDM, Mixture, Parameterisation, Predict

# of EDM's schedule (Karras et al. 2022, table 1), as σ/σ_data
NOISIEST, QUIETEST, RHO = 80 / EDM.SIGMA_DATA, 0.002 / EDM.SIGMA_DATA, 7


class ByNullLoss:
    """A parameterisation whose losses are ℓ/L₀, L₀ being what is left to one who knows of the items only their mean square.

    That is EDM's weighting where σ_data² is the mean square. Levels are EDM's as well, as σ/σ_data: those that unlearning
    draws, and those of the noise bank. So the same denoiser has the same losses and levels, whatever its network predicts.
    """

    def __init__(self, inner: Parameterisation, power: float) -> None:
        self.inner, self.power = inner, power
        self.levels = inner.levels

    def schedule(self, count: int, shape: tuple[int, int, int]) -> Tensor:
        """The sampler's own."""
        return self.inner.schedule(count, shape)

    def bank_levels(self, count: int, fraction: float) -> Tensor:
        """Levels of a noise bank: from the noisiest that the scheduler has down to where EDM's schedule has left that fraction behind.

        Args:
            count: How many.
            fraction: Of EDM's schedule.

        Returns:
            (count,) float32, noisiest first, evenly spaced in σ^(1/7).

        Raises:
            InputError: If all of the scheduler's levels are quieter.
        """
        first, last = NOISIEST ** (1 / RHO), QUIETEST ** (1 / RHO)
        top = min(first, self._noisiest() ** (1 / RHO))
        bottom = first + fraction * (last - first)
        if not top > bottom:
            raise InputError(
                "The scheduler has no levels as noisy as the noise bank's; leave the weighting by the null loss out."
            )
        return self._at(torch.linspace(top, bottom, count, dtype=torch.float64) ** RHO)

    def draw_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """As EDM's training draws them, for the items' own scale."""
        drawn = torch.randn(count, generator=generator).double()
        return self._at((EDM.LOG_MEAN - math.log(EDM.SIGMA_DATA) + EDM.LOG_STD * drawn).exp())

    def losses(self, predict: Predict, x: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """ℓ/L₀ of each sample."""
        losses = self.inner.losses(predict, x, noise, levels)
        return losses / self.inner.mixture(levels.cpu()).ignorant_loss(self.power).to(losses)

    def levels_at(self, sigma: Tensor) -> Tensor:
        """The inner one's."""
        return self.inner.levels_at(sigma)

    def mixture(self, levels: Tensor) -> Mixture:
        """The inner one's, its target scaled as the loss is."""
        of = self.inner.mixture(levels)
        scale = of.ignorant_loss(self.power).sqrt()
        return Mixture(of.a, of.b, of.c / scale, of.d / scale)

    def _at(self, relative: Tensor) -> Tensor:
        """Levels where σ/σ_data is `relative`."""
        return self.inner.levels_at(relative * math.sqrt(self.power))

    def _noisiest(self) -> float:
        """The highest σ/σ_data that the scheduler comes to, up to EDM's."""
        of = self.inner.mixture(self._at(torch.tensor([NOISIEST])))
        return float(of.b / of.a) / math.sqrt(self.power)


def weighed_by_null_loss(model: DiffusionModel, images: Tensor | Items) -> DiffusionModel:
    """The same model, whose losses are ℓ/L₀ wherever they are taken: in retaining, in forgetting and in the skew.

    Args:
        model: The original; the network is shared with it.
        images: The training items, (N, C, H, W) in [-1, 1], or Items, whose mean square L₀ is told from.

    Returns:
        A model of another digest. Noise banks are drawn for it anew.

    Raises:
        InputError: If they do not fit the model, are all zero, or it is weighed already.
    """
    if isinstance(model.parameterisation, ByNullLoss):
        raise InputError("The model's losses are weighed by the null loss already; give the model as it was read.")
    power = mean_square(model, images)
    twin = copy.copy(model)
    twin.__dict__.pop("compiled", None)
    twin.parameterisation = ByNullLoss(model.parameterisation, power)
    twin.__dict__["digest"] = address(model=model.digest, weighting="null loss", mean_square=power)
    return twin
