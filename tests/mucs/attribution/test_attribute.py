"""Attribution finds what was planted, and depends on its inputs alone."""

import pytest
import torch

from mucs import InputError
from mucs.attribution import (
    DiffusionModel,
    NoiseBank,
    Screening,
    Unlearning,
    attribute,
    denoising_losses,
    look_alike_p_values,
    mirrored_unlearning,
    noise_consistent_skew,
    skew_standard_error,
)
from mucs.attribution.bank import stratified_order
from tasks.attribute import read_images, read_labels
from tests.conftest import read_rows

SETTINGS = Unlearning(learning_rate=3e-4, batch_size=8, max_steps=60)


@pytest.fixture(scope="module")
def model(world):
    return DiffusionModel.from_pretrained(world.checkpoint)


@pytest.fixture(scope="module")
def data(world):
    """(images, labels) of the training, held-out and generated items."""
    folders = (world.train, world.held_out, world.generated)
    return [(read_images(folder, read_rows(folder)), read_labels(read_rows(folder), 2)) for folder in folders]


@pytest.fixture(scope="module")
def bank(model):
    return NoiseBank.draw(model, num_noises=8)


def run(model, data, bank, which=(0, 1, 2), screening=None, batch_size=16):
    (images, labels), (held_out, held_out_labels), (generated, generated_labels) = data
    which = list(which)
    return attribute(
        model,
        images,
        generated[which],
        bank,
        SETTINGS,
        screening=screening,
        labels=labels,
        generated_labels=generated_labels[which],
        held_out=held_out,
        held_out_labels=held_out_labels,
        batch_size=batch_size,
    )


@pytest.fixture(scope="module")
def exact(model, data, bank):
    return run(model, data, bank)


def same(a, b):
    return all(
        torch.equal(getattr(a, n), getattr(b, n))
        for n in ("items", "scores", "standard_errors", "p_values", "held_out_scores")
    )


def test_a_near_copy_ranks_its_original_first(exact):
    assert exact[0].items[0] == 3
    assert exact[1].items[0] == 10


def test_exact_attribution_is_complete_and_ordered(exact):
    for found in exact:
        assert sorted(found.items.tolist()) == list(range(24))
        assert (found.scores.diff() <= 0).all()
        assert (found.scores.abs() < 1).all()
        assert found.converged == (found.forget_loss >= 0.95 * found.null_loss)


def test_order_and_company_of_generated_items_do_not_matter(model, data, bank, exact):
    backwards = run(model, data, bank, which=(2, 1, 0))
    alone = run(model, data, bank, which=(1,))
    assert all(same(a, b) for a, b in zip(exact, reversed(backwards), strict=True))
    assert same(exact[1], alone[0])


def test_survivors_of_screening_have_their_exact_scores(model, data, bank, exact):
    screened = run(model, data, bank, screening=Screening([(2, 0.5), (4, 0.25)]))
    for found, full in zip(screened, exact, strict=True):
        assert found.survivors == (12, 6)
        assert len(found.items) == 6
        scores = dict(zip(full.items.tolist(), full.scores.tolist(), strict=True))
        assert [scores[i] for i in found.items.tolist()] == found.scores.tolist()
        assert torch.equal(found.held_out_scores, full.held_out_scores)


def test_a_loss_does_not_depend_on_what_else_is_asked_for(model, data, bank):
    images, labels = data[0]
    whole = denoising_losses(model, images, bank, labels=labels, batch_size=16)
    for rows in ([5], [7, 2, 19], list(range(23, -1, -1))):
        part = denoising_losses(model, images[rows], bank, labels=labels[rows], batch_size=16)
        assert torch.equal(part, whole[rows])
    assert torch.equal(denoising_losses(model, images, bank.prefix(3), labels=labels, batch_size=16), whole[:, :3])


def test_unlearning_leaves_the_original_and_stops_at_the_cap(model, data):
    (images, labels), _, (generated, generated_labels) = data
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    capped = Unlearning(learning_rate=1e-6, batch_size=4, max_steps=3)
    done = mirrored_unlearning(model, generated[0], images, capped, label=int(generated_labels[0]), labels=labels)
    assert (done.steps, done.converged) == (3, False)
    assert done.forget_loss.shape == (4, 4)
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())


def test_the_bank_is_its_content(model, tmp_path):
    bank = NoiseBank.draw(model, num_noises=8, seed=3)
    assert bank.digest == NoiseBank.draw(model, num_noises=8, seed=3).digest
    assert bank.digest != NoiseBank.draw(model, num_noises=8, seed=4).digest
    (tmp_path / "bank.safetensors").write_bytes(bank.to_bytes())
    assert NoiseBank.read(tmp_path / "bank.safetensors").digest == bank.digest


@pytest.mark.parametrize("count", [1, 2, 7, 48, 100])
def test_every_prefix_of_the_bank_covers_the_levels(count):
    order = stratified_order(count)
    assert sorted(order.tolist()) == list(range(count))
    for size in range(2, count + 1):
        gaps = order[:size].sort().values.diff()
        assert gaps.max() <= 2 * count / size + 1


def test_skew_by_hand():
    before, after = torch.tensor([[1.0, 2.0], [3.0, 1.0]]), torch.tensor([[3.0, 2.0], [1.0, 1.0]])
    expected = torch.tensor([(2 / 4.001 + 0) / 2, (-2 / 4.001 + 0) / 2])
    torch.testing.assert_close(noise_consistent_skew(before, after), expected)
    torch.testing.assert_close(skew_standard_error(before, after), torch.tensor([1 / 4.001, 1 / 4.001]))


def test_p_values_by_hand():
    p = look_alike_p_values(torch.tensor([0.9, 0.5, -1.0]), torch.tensor([0.5, 0.1, 0.6]))
    torch.testing.assert_close(p, torch.tensor([1 / 4, 3 / 4, 1.0], dtype=torch.float64))


def test_bad_input_is_refused(model, data, bank, tmp_path):
    (images, labels), _, (generated, generated_labels) = data
    refused = [
        lambda: denoising_losses(model, images[:, :, :4], bank, labels=labels),
        lambda: denoising_losses(model, images[:0], bank, labels=labels[:0]),
        lambda: denoising_losses(model, images, bank),
        lambda: denoising_losses(model, images, bank, labels=labels + 2),
        lambda: denoising_losses(model, images, NoiseBank(torch.zeros(1, 3, 4, 4), torch.ones(1)), labels=labels),
        lambda: attribute(model, images, generated[:, :, :4], bank, labels=labels, generated_labels=generated_labels),
        lambda: Unlearning(learning_rate=0),
        lambda: Unlearning(null_loss=-1.0),
        lambda: Screening([(4, 0.5), (2, 0.2)]),
        lambda: NoiseBank.draw(model, num_noises=900),
        lambda: NoiseBank.read(tmp_path / "none"),
        lambda: DiffusionModel.from_pretrained(tmp_path),
        lambda: mirrored_unlearning(
            model, generated[0], images, Unlearning(trainable="nothing"), label=0, labels=labels
        ),
        lambda: mirrored_unlearning(
            model, generated[0], images, Unlearning(trainable=["no.weight"]), label=0, labels=labels
        ),
    ]
    for attempt in refused:
        with pytest.raises(InputError):
            attempt()
