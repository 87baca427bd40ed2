"""Weighting by the null loss means the same for every scheduler."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import diffusers
import pytest
import torch

from mucs import InputError
from mucs.attribution import (
    DiffusionModel,
    Items,
    LossStore,
    NoiseBank,
    Scoring,
    attribute,
    denoising_losses,
    mirrored_unlearning,
    null_loss_by_level,
    weighed_by_null_loss,
)
from tests.mucs.attribution import test_families
from tests.mucs.attribution.test_families import FAMILIES, PLANTED, SETTINGS, train

checkpoints = test_families.checkpoints  # a fixture

POWER = 0.4
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
SCHEDULERS = {
    "EDM": diffusers.EDMEulerScheduler(),
    **{kind: diffusers.DDIMScheduler(**COSINE, prediction_type=kind) for kind in ("epsilon", "v_prediction", "sample")},
    "linear": diffusers.DDPMScheduler(),
    "no signal": diffusers.DDIMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction"),
    "Stable Diffusion": diffusers.DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    "flow": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
}


def weighed(name: str) -> DiffusionModel:
    network = diffusers.UNet2DModel(
        **test_families.UNET, down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",)
    )
    x = torch.rand((16, 3, 8, 8), generator=torch.Generator().manual_seed(0)) * 2 - 1
    items = Items(x * (POWER / x.square().mean()).sqrt())
    return weighed_by_null_loss(DiffusionModel(network, SCHEDULERS[name]), items)


def ratio(model: DiffusionModel, levels: torch.Tensor) -> torch.Tensor:
    """σ/σ_data of levels."""
    of = model.parameterisation.mixture(levels)
    return of.b / of.a / math.sqrt(POWER)


def denoised(y: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """What some denoiser makes of x + σε."""
    return 0.8 * POWER / (POWER + sigma**2) * y + 0.1 * torch.sin(y)


def prediction(name: str, sigma: torch.Tensor) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The same denoiser as a network of that family predicts it, at levels of that σ (B, 1, 1, 1)."""
    s = 0.5
    skip, out, to_item = s**2 / (sigma**2 + s**2), sigma * s / (sigma**2 + s**2).sqrt(), (sigma**2 + s**2).sqrt()
    alpha = 1 / (1 + sigma**2).sqrt()

    def predict(noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        y = noisy * {"EDM": to_item, "flow": 1 + sigma}.get(name, 1 / alpha)
        item = denoised(y, sigma)
        noise = (y - item) / sigma
        return {
            "EDM": (item - skip * y) / out,
            "sample": item,
            "v_prediction": alpha * noise - alpha * sigma * item,
            "flow": noise - item,
        }.get(name, noise)

    return predict


def test_the_same_denoiser_has_the_same_losses_whatever_its_network_predicts():
    timesteps = torch.tensor([30.0, 200.0, 500.0, 800.0])
    alpha_bar = SCHEDULERS["epsilon"].alphas_cumprod.double()[timesteps.long()]
    sigma = ((1 - alpha_bar) / alpha_bar).sqrt()
    random = torch.Generator().manual_seed(1)
    x, noise = torch.randn((2, 4, 3, 8, 8), generator=random)
    found = {}
    for name in ("EDM", "epsilon", "v_prediction", "sample", "flow"):
        levels = {"EDM": sigma, "flow": sigma / (1 + sigma)}.get(name, timesteps).float()
        predict = prediction(name, sigma.float().view(-1, 1, 1, 1))
        found[name] = weighed(name).parameterisation.losses(predict, x, noise, levels)
    y = x + sigma.float().view(-1, 1, 1, 1) * noise
    error = (denoised(y, sigma.float().view(-1, 1, 1, 1)) - x).square().mean(dim=(1, 2, 3))
    expected = (
        error * ((sigma**2 + POWER) / (sigma**2 * POWER)).float()
    )  # EDM's weights where σ_data² is the mean square
    for losses in found.values():
        torch.testing.assert_close(losses, expected, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_levels_are_edms_for_every_scheduler(name):
    model = weighed(name)
    bank = NoiseBank.draw(model, 50).levels
    covered = ratio(model, bank.sort().values)
    reference = NoiseBank.draw(DiffusionModel(model.network, SCHEDULERS["EDM"]), 50).levels / 0.5
    assert float(covered.min()) == pytest.approx(float(reference.min()), rel=0.02)
    top = 14.61 / math.sqrt(POWER) if name == "Stable Diffusion" else 160  # the noisiest that it has
    assert float(covered.max()) == pytest.approx(top, rel=0.06)
    assert len(bank.unique()) >= 40
    drawn = ratio(model, model.parameterisation.draw_levels(20_000, torch.Generator().manual_seed(0))).log()
    assert float(drawn.mean()) == pytest.approx(-1.2 + math.log(2), abs=0.05)
    assert float(drawn.std()) == pytest.approx(1.2, rel=0.03)
    if name == "EDM":
        torch.testing.assert_close(covered.float(), reference.sort().values, rtol=0.02, atol=0)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_who_knows_nothing_loses_1_at_every_level(name):
    model = weighed(name)
    items = Items(torch.full((2, 3, 8, 8), math.sqrt(POWER)))
    null_loss = null_loss_by_level(model, items)
    assert null_loss.by_level is not None
    levels = NoiseBank.draw(model, 20).levels
    torch.testing.assert_close(null_loss.by_level(levels), torch.ones(20).double())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["epsilon", "sample"])
def test_copies_are_found_and_forgotten_under_the_weighting(name, checkpoints):
    family = FAMILIES[name]
    model = family.read(checkpoints(name))
    items = family.encode(model)
    train(model, items, 600, family.learning_rate)
    other = weighed_by_null_loss(model, items)
    random = torch.Generator().manual_seed(0)
    noise, levels = torch.randn((200, *model.shape), generator=random), other.parameterisation.draw_levels(200, random)
    drawn = NoiseBank(noise, levels)
    assert denoising_losses(other, items, drawn).max() > 3  # at its worst, the network knows less than nothing
    bank = NoiseBank.draw(other, 8)
    found = attribute(other, items, items[:], bank, SETTINGS, scoring=Scoring(batch_size=32))
    assert [int(each.items[0]) for each in found] == list(range(len(items)))
    done = mirrored_unlearning(other, items[[PLANTED]], items, replace(SETTINGS, batch_size=12, max_steps=60))
    assert done.probe_before < 0.7 < 0.85 < done.probe_after
    store = LossStore()
    tables = [store.table(each, items, bank, Scoring()) for each in (model, other)]
    assert tables[0].address != tables[1].address
    plain, by_null_loss = (table.rows(torch.arange(3), range(8)).double() for table in tables)
    left = null_loss_by_level(model, items).by_level
    assert left is not None
    torch.testing.assert_close(by_null_loss, plain / left(bank.levels), rtol=1e-4, atol=1e-6)
    assert other.copy().digest not in (model.digest, model.copy().digest)


def test_a_model_is_weighed_once_and_by_images_that_it_takes():
    model = weighed("epsilon")
    with pytest.raises(InputError, match="weighed by the null loss already"):
        weighed_by_null_loss(model, torch.ones(2, 3, 8, 8))
    plain = DiffusionModel(model.network, SCHEDULERS["epsilon"])
    with pytest.raises(InputError, match="mean square is 0"):
        weighed_by_null_loss(plain, torch.zeros(2, 3, 8, 8))
    quiet = diffusers.DDIMScheduler(beta_start=1e-6, beta_end=1e-5)
    with pytest.raises(InputError, match="no levels as noisy"):
        NoiseBank.draw(weighed_by_null_loss(DiffusionModel(model.network, quiet), torch.ones(2, 3, 8, 8)), 4)
