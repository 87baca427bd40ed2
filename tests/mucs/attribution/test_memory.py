"""What unlearning takes, and what changes it: shared weights, micro-batches, checkpointing, precision."""

from dataclasses import replace

import pytest
import torch

from mucs import InputError
from mucs.attribution import DiffusionModel, Unlearning, attribute, mirrored_unlearning
from mucs.attribution.bank import NoiseBank
from mucs.attribution.draws import different
from mucs.attribution.losses import Scoring
from mucs.attribution.trainable import trainable_names
from tests.conftest import read_items

pytestmark = pytest.mark.heavy

SETTINGS = Unlearning(learning_rate=3e-4, batch_size=8, max_steps=6, null_loss=10.0)


@pytest.fixture(scope="module")
def model(world):
    return DiffusionModel.from_pretrained(world.checkpoint)


@pytest.fixture(scope="module")
def data(world):
    """Training and generated items."""
    return [read_items(folder) for folder in (world.train, world.generated)]


def change(model, done):
    """How each trained weight changed."""
    return torch.cat(
        [
            (done.model.network.get_parameter(name) - model.network.get_parameter(name)).flatten()
            for name in done.trained
        ]
    )


def unlearn(model, data, **changed):
    return mirrored_unlearning(model, data[1][:1], data[0], replace(SETTINGS, **changed))


def test_a_copy_shares_what_is_not_trained(model):
    chosen = set(trainable_names(model.network, "feedforward"))
    twin = model.copy(chosen)
    for (name, mine), (_, other) in zip(twin.network.named_parameters(), model.network.named_parameters(), strict=True):
        assert (mine is other) == (name not in chosen)
        assert (mine.data_ptr() == other.data_ptr()) == (name not in chosen)
    whole = model.copy()
    assert not {p.data_ptr() for p in whole.network.parameters()} & {p.data_ptr() for p in model.network.parameters()}


@pytest.mark.parametrize("size", [1, 5])
def test_micro_batches_change_the_result_by_rounding_alone(model, data, size):
    whole, parts = unlearn(model, data), unlearn(model, data, micro_batch_size=size)
    assert parts.steps == whole.steps
    torch.testing.assert_close(parts.forget_loss, whole.forget_loss, rtol=1e-3, atol=1e-5)
    # AdamW's first steps are as long for a gradient that is nearly 0 as for others, whatever its sign
    assert (change(model, parts) - change(model, whole)).norm() < 0.01 * change(model, whole).norm()


def test_checkpointing_changes_nothing_and_is_refused_where_there_is_none(model, data):
    assert torch.equal(
        change(model, unlearn(model, data)), change(model, unlearn(model, data, gradient_checkpointing=True))
    )
    plain = model.copy()
    plain.network._supports_gradient_checkpointing = False
    with pytest.raises(InputError, match="UNet2DModel has no gradient checkpointing; leave gradient_checkpointing out"):
        unlearn(plain, data, gradient_checkpointing=True)


def test_half_precision_unlearns_nearly_the_same(model, data):
    full, half = unlearn(model, data), unlearn(model, data, precision="bfloat16")
    gap = (change(model, half) - change(model, full)).norm() / change(model, full).norm()
    assert 0 < gap < 0.3


def test_gradients_are_gone_when_it_is_done(model, data):
    done = unlearn(model, data)
    assert all(p.grad is None and not p.requires_grad for p in done.model.network.parameters())


@pytest.mark.parametrize("count", [1, 7, 8, 10**9])
def test_different_numbers_are_drawn_evenly(count):
    random = torch.Generator().manual_seed(0)
    size = min(7, count)
    drawn = torch.stack([different(count, size, random) for _ in range(2000)])
    assert drawn.shape == (2000, size)
    assert all(len(set(row.tolist())) == size for row in drawn)
    assert 0 <= drawn.min() <= drawn.max() < count
    assert abs(float(drawn.double().mean()) / max(1, count - 1) - 0.5 * (count > 1)) < 0.02


def test_progress_moves_within_an_item(model, data):
    heard = []
    bank, scoring = NoiseBank.draw(model, 4), Scoring(batch_size=16)
    given = {"scoring": scoring, "held_out": data[0][:5], "repeats": 2, "measure_recall": True}
    attribute(model, data[0], data[1][:1], bank, SETTINGS, progress=lambda *at: heard.append(at), **given)
    assert [at[1:] for at in heard if at[0] == "unlearning"] == [(k, 6) for k in range(1, 7)] * 2
    pairs = [at[1:] for at in heard if at[0] == "scoring"]
    assert pairs[-1][0] == pairs[-1][1] == 4 * (2 * 24 + 2 * 5)  # two repeats
    assert len({of for _, of in pairs}) == 1
