"""The authors' own figures are reproduced (tests/golden/mucs-reference)."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mucs.attribution import (
    DiffusionModel,
    NoiseBank,
    Unlearning,
    denoising_losses,
    mirrored_unlearning,
    noise_consistent_skew,
)

CASE = Path(__file__).parents[2] / "golden" / "mucs-reference"
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}
EXPECTED = json.loads((CASE / "expected.json").read_text())


@pytest.fixture(scope="module")
def figures():
    return load_file(CASE / "tensors.safetensors")


@pytest.fixture(scope="module")
def model():
    return DiffusionModel.from_pretrained(CASE / "checkpoint")


def test_levels_of_the_bank(model, figures):
    drawn = NoiseBank.draw(model, num_noises=10, fraction=0.7).levels.sort(descending=True).values
    torch.testing.assert_close(drawn, figures["bank_sigma"], **TOLERANCE)


def test_losses_and_scores(model, figures):
    bank = NoiseBank(figures["bank_noise"], figures["bank_sigma"])
    losses = denoising_losses(model, figures["train_images"], bank, batch_size=7)
    torch.testing.assert_close(losses, figures["losses_original"], **TOLERANCE)
    unlearned_network = DiffusionModel.from_pretrained(CASE / "checkpoint")
    unlearned_network.network.load_state_dict(
        load_file(CASE / "unlearned" / "unet" / "diffusion_pytorch_model.safetensors")
    )
    unlearned_losses = denoising_losses(unlearned_network, figures["train_images"], bank)
    torch.testing.assert_close(unlearned_losses, figures["losses_unlearned"], **TOLERANCE)
    scores = noise_consistent_skew(losses, unlearned_losses, eps=EXPECTED["skew_epsilon"])
    torch.testing.assert_close(scores, figures["scores"], **TOLERANCE)


@pytest.mark.parametrize("trainable", ["feedforward", EXPECTED["unlearning"]["trainable_parameters"]])
def test_unlearning(model, figures, trainable):
    u = EXPECTED["unlearning"]
    settings = Unlearning(
        learning_rate=u["learning_rate"],
        weight_decay=u["weight_decay"],
        forget_weight=u["forget_weight"],
        null_loss=u["null_loss"],
        tolerance=u["tolerance"],
        max_steps=u["optimizer_steps"],
        batch_size=u["batch_size"],
        trainable=trainable,
    )
    names = ["batch_indices", "retain_noise", "retain_sigma", "forget_noise", "forget_sigma"]
    draws = zip(*(figures[f"unlearn_{name}"] for name in names), strict=True)
    before = {name: value.clone() for name, value in model.network.named_parameters()}
    done = mirrored_unlearning(model, figures["generated_image"], figures["train_images"], settings, draws=draws)
    assert done.steps == u["optimizer_steps"]
    assert not done.converged
    torch.testing.assert_close(done.retain_loss, figures["unlearn_retain_losses"], **TOLERANCE)
    torch.testing.assert_close(done.forget_loss, figures["unlearn_forget_losses"], **TOLERANCE)
    reference = load_file(CASE / "unlearned" / "unet" / "diffusion_pytorch_model.safetensors")
    for name, value in done.model.network.named_parameters():
        if name in u["trainable_parameters"]:
            torch.testing.assert_close(value, reference[name], rtol=0, atol=2e-4)
        else:
            assert torch.equal(value, before[name]), name
    for name, value in model.network.named_parameters():
        assert torch.equal(value, before[name]), f"the original model's {name} was changed"
