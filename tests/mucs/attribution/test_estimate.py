"""What an estimate says is what then happens."""

from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel

from mucs.attribution import DiffusionModel, NoiseBank, Scoring, Screening, Settings, Unlearning, attribute
from mucs.attribution.checkpoint import network_from_config, read_scheduler
from mucs.attribution.estimate import estimate, timed
from tests.conftest import read_items

pytestmark = pytest.mark.heavy

SETTINGS = Settings(
    num_noises=8,
    unlearning=Unlearning(batch_size=4, max_steps=3, null_loss=100.0),
    scoring=Scoring(batch_size=16),
    screening=Screening([(2, 0.5)]),
)


@pytest.mark.parametrize("antithetic", [False, True])
def test_pairs_and_memory_are_those_of_the_attribution(world, antithetic):
    settings = replace(SETTINGS, unlearning=replace(SETTINGS.unlearning, antithetic=antithetic))
    model = DiffusionModel.from_pretrained(world.checkpoint)
    train, held_out, generated = (read_items(folder) for folder in (world.train, world.held_out, world.generated))
    with torch.device("meta"):
        network = network_from_config(world.checkpoint)
    light = DiffusionModel(network, read_scheduler(world.checkpoint), "meta")
    found = estimate(light, settings, 24, 8, 1)
    samples = []
    model.network.register_forward_pre_hook(lambda module, given: samples.append(len(given[0])))
    attribute(
        model,
        train,
        generated[:1],
        NoiseBank.draw(model, 8),
        settings.unlearning,
        scoring=SETTINGS.scoring,
        screening=SETTINGS.screening,
        held_out=held_out,
    )
    asked = found.once_forwards + found.item_forwards + found.item_gradients(3)
    assert asked <= sum(samples) <= asked + 16 * len(samples)  # full micro-batches
    once = 24 * 2 + 12 * 6 + 8 * 8
    assert (found.item_gradients(3), found.once_forwards) == ((4 * 2 * 8, 0) if antithetic else (4 * 2 * 4, once))
    weights = sum(p.numel() for p in model.network.parameters())
    assert 4 * weights < found.weights_bytes < found.step_bytes
    assert found.images_bytes == 33 * 3 * 8 * 8


def test_a_trial_says_how_long_an_item_takes_and_when_it_is_forgotten(world):
    model = DiffusionModel.from_pretrained(world.checkpoint)
    train, generated = read_items(world.train), read_items(world.generated)
    needed = estimate(model, SETTINGS, 24, 0, 2)

    def trial(**how):
        settings = replace(SETTINGS, unlearning=replace(SETTINGS.unlearning, **how))
        return timed(model, settings, train[:6], generated[:2], 24, seconds=0)

    at_cap = trial()
    assert (at_cap.steps, at_cap.forgotten) == (3, False)
    assert needed.item_seconds(at_cap, 6) - needed.item_seconds(at_cap, 3) == pytest.approx(3 * at_cap.step)
    assert needed.item_seconds(at_cap, 3) > 4 * at_cap.step > 0 < at_cap.forward
    at_once = trial(null_loss=1e-6)
    assert (at_once.steps, at_once.forgotten) == (0, True)
    begun = trial(learning_rate=3e-4, max_steps=200, null_loss=1.0)
    assert 3 < begun.steps <= 200
    assert not begun.forgotten


@pytest.mark.slow
def test_checkpointing_and_micro_batches_make_a_step_smaller():
    blocks = {"down_block_types": ("CrossAttnDownBlock2D",) * 2, "up_block_types": ("CrossAttnUpBlock2D",) * 2}
    with torch.device("meta"):
        network = UNet2DConditionModel(
            sample_size=32, block_out_channels=(32, 64), cross_attention_dim=16, norm_num_groups=8, **blocks
        )
    model = DiffusionModel(network, DDIMScheduler(), "meta")
    steps = [
        estimate(model, replace(SETTINGS, unlearning=replace(SETTINGS.unlearning, **how)), 100, 0, 1, prompts=5)
        for how in ({}, {"micro_batch_size": 1}, {"micro_batch_size": 1, "gradient_checkpointing": True})
    ]
    sizes = [each.step_bytes for each in steps]
    assert sizes[0] > 2 * sizes[1] > 2 * sizes[2] > 2 * steps[0].weights_bytes
    assert steps[0].prompts_bytes == 5 * 77 * 16 * 4
