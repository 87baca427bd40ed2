"""Each method that MUCS is compared with finds a planted copy, and computes what its paper says."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from diffusers import DDPMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler, UNet2DModel

from mucs import InputError
from mucs.attribution import DiffusionModel, Items, NoiseBank, denoising_losses
from mucs.attribution.seeds import stream
from mucs.attribution.trainable import trainable_names
from mucs.evaluation.baselines import (
    dtrak,
    feature_cosine,
    fisher_diagonal,
    gradient_dot,
    kernel_scores,
    mid_block_features,
    pixel_cosine,
    random_scores,
    rank_ensemble,
    unlearning_scores,
)
from mucs.evaluation.case import Case
from mucs.evaluation.gradients import Projection, differentiable, gradient, projected_gradients, squared_norms
from tests.conftest import read_items

pytestmark = pytest.mark.heavy

SMALL = {"timesteps": 5, "projection": 4096}
METHODS = {
    "pixel cosine": pixel_cosine,
    "feature cosine": feature_cosine,
    "gradient dot": partial(gradient_dot, **SMALL),
    "gradient cosine": partial(gradient_dot, cosine=True, **SMALL),
    "D-TRAK": partial(dtrak, **SMALL),
    "TRAK": partial(dtrak, output="loss", **SMALL),
    "unlearning": partial(unlearning_scores, draws=50, fisher_draws=200),
}


@pytest.fixture(scope="module")
def case(world):
    model = DiffusionModel.from_pretrained(world.checkpoint)
    return Case(model, read_items(world.train), read_items(world.generated), read_items(world.held_out))


@pytest.fixture(scope="module")
def scores(case):
    return {name: method(case) for name, method in METHODS.items()}


@pytest.fixture(scope="module")
def unconditional():
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=8,
        norm_num_groups=4,
    )


@pytest.mark.parametrize("name", METHODS)
def test_the_training_image_that_was_copied_ranks_first(scores, name):
    found = scores[name]
    assert found.shape == (3, 24 + 8)  # held-out items are scored as the training items are
    assert found.dtype == torch.float32
    assert found[:2].argmax(dim=1).tolist() == [3, 10]


@pytest.mark.parametrize("name", [*METHODS, "random"])
def test_a_row_depends_on_its_generated_item_and_the_seed_alone(case, scores, name):
    method = METHODS.get(name, random_scores)
    first = scores[name] if name in scores else method(case)
    alone = method(replace(case, generated=case.generated[torch.tensor([2, 0])]))
    torch.testing.assert_close(alone, first[[2, 0]], rtol=1e-4, atol=1e-5 * float(first.abs().max()))


def test_random_scores_are_uniform_and_follow_the_seed(case):
    many = replace(case, images=Items(torch.zeros(4000, 3, 8, 8)), held_out=None)
    found = random_scores(many)
    assert torch.equal(found, random_scores(many))
    assert not torch.equal(found, random_scores(replace(many, seed=1)))
    assert not torch.equal(found[0], found[1])
    torch.testing.assert_close(found.mean(dim=1), torch.full((3,), 0.5), atol=0.03, rtol=0)


def test_methods_take_models_without_class_labels(case, unconditional):
    model = DiffusionModel(unconditional, DDPMScheduler())
    bare = Case(model, Items(case.images.images[:4]), Items(case.generated.images[:1]))
    for method in (feature_cosine, METHODS["D-TRAK"], METHODS["unlearning"]):
        found = method(bare)
        assert found.shape == (1, 4)
        assert found.isfinite().all()
        assert found.unique().numel() == 4


def test_features_may_be_given(case):
    def first_pixel(items):
        return items.images[:, :, 0, 0]

    found = feature_cosine(case, features=first_pixel)
    mean = first_pixel(case.images[:]).mean(dim=0)
    a, b = first_pixel(case.candidates) - mean, first_pixel(case.generated[:]) - mean
    expected = torch.nn.functional.cosine_similarity(b[:, None], a[None], dim=2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_features_need_a_middle_block(case):
    model = case.model.copy()
    model.network.mid_block = None
    with pytest.raises(InputError, match="no middle block"):
        mid_block_features(model, case.images)


def test_kernel_scores_are_the_ridge_of_the_paper():
    """For the items that it is fitted to, which are the first five, and for two others."""
    random = torch.Generator().manual_seed(0)
    of_candidates, of_generated = (torch.randn(n, 9, generator=random, dtype=torch.float64) for n in (7, 3))
    phi = of_candidates[:5]
    strength = 0.3 * phi.square().sum(dim=1).mean()
    inverse = torch.linalg.inv(phi.T @ phi + strength * torch.eye(9))
    found = kernel_scores(of_generated.float(), of_candidates.float(), 5, 0.3)
    torch.testing.assert_close(found, (of_generated @ inverse @ of_candidates.T).float(), rtol=1e-4, atol=1e-5)


def test_dtrak_is_the_naive_computation_of_all_gradients(case, unconditional):
    """With as many dimensions as weights, the projection only renames them."""
    model = DiffusionModel(unconditional, DDPMScheduler())
    items, timesteps = Items(case.images[:4].images), 3
    size = sum(p.numel() for p in unconditional.parameters())
    levels = model.parameterisation.schedule(timesteps, model.shape)
    noise = torch.randn((timesteps, *model.shape), generator=stream(0, "gradients"))
    network = model.copy().network.requires_grad_()

    def naive(image):
        rows = []
        for t, one in zip(levels.long(), noise, strict=True):
            noisy = model.scheduler.add_noise(image[None], one[None], t[None])
            network.zero_grad()
            network(noisy, t).sample.square().mean().backward()
            rows.append(torch.cat([p.grad.reshape(-1) for p in network.parameters()]))
        return torch.stack(rows).mean(dim=0).double()

    phi = torch.stack([naive(image) for image in items.images])
    damping = 0.1 * phi.square().sum(dim=1).mean()
    expected = phi[:1] @ phi.T @ torch.linalg.inv(phi @ phi.T + damping * torch.eye(4))
    found = dtrak(Case(model, items, items[:1]), timesteps=timesteps, projection=size)
    torch.testing.assert_close(found, expected.float(), rtol=1e-3, atol=1e-4)


def test_dtrak_refuses_an_unknown_output(case):
    with pytest.raises(InputError, match="not known"):
        dtrak(case, output="median")


def test_a_gradient_is_the_mean_over_draws_however_they_are_batched(case):
    item, bank = case.images[:1], NoiseBank.draw(case.model, num_noises=5)
    model, parameters = differentiable(case.model, trainable_names(case.model.network, "attention"))
    whole = gradient(model, parameters, item, bank.noise, bank.levels)
    parts = [gradient(model, parameters, item, bank.noise[j : j + 1], bank.levels[j : j + 1]) for j in range(5)]
    torch.testing.assert_close(whole, torch.stack(parts).mean(dim=0), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(
        whole, gradient(model, parameters, item, bank.noise, bank.levels, batch_size=2), rtol=1e-3, atol=1e-6
    )
    assert not any(p.requires_grad for p in case.model.network.parameters())


@pytest.mark.parametrize("scheduler", [DDPMScheduler(), EDMEulerScheduler(), FlowMatchEulerDiscreteScheduler()])
def test_squared_norms_are_of_the_raw_prediction(unconditional, scheduler):
    model = DiffusionModel(unconditional, scheduler)
    bank = NoiseBank.draw(model, num_noises=2)
    x, level = torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8), bank.levels.view(-1, 1, 1, 1)
    if isinstance(scheduler, DDPMScheduler):
        noisy, time = scheduler.add_noise(x, bank.noise, bank.levels.long()), bank.levels.long()
    elif isinstance(scheduler, EDMEulerScheduler):
        noisy, time = (x + level * bank.noise) / (level**2 + 0.5**2).sqrt(), bank.levels.log() / 4
    else:
        noisy, time = (1 - level) * x + level * bank.noise, bank.levels * 1000
    expected = model.network(noisy, time).sample.square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(squared_norms(model, x, bank.noise, bank.levels, {}), expected, rtol=1e-4, atol=1e-5)


def test_the_projection_keeps_inner_products():
    """The mean over seeds is unbiased, and the spread is that of a Gaussian projection, |x||y|/√k, or less."""
    random = torch.Generator().manual_seed(0)
    x = 1 + torch.randn(5000, generator=random)
    y = x + torch.randn(5000, generator=random)
    found = []
    for seed in range(200):
        project = Projection.draw(5000, 256, seed, torch.device("cpu"))
        found.append(project(x) @ project(y))
    error = (torch.stack(found) - x @ y) / (x.norm() * y.norm())
    assert abs(error.mean()) < 4 / (256 * 200) ** 0.5
    assert 0.8 / 256**0.5 < error.std() < 1.5 / 256**0.5
    exact = Projection.draw(5000, 6000, 0, torch.device("cpu"))
    torch.testing.assert_close(exact(x) @ exact(y), x @ y)


def test_unlearning_scores_are_the_first_order_change_of_losses(case):
    """For a short step along F⁻¹ ∇ℓ(x_g), the rise of ℓ(x_n) is s ∇ℓ(x_n)ᵀ F⁻¹ ∇ℓ(x_g), and that of ℓ(x_g) what was asked for."""
    found = unlearning_scores(case, rise=0.01, draws=20, fisher_draws=50, levels=5)[0]
    assert found.shape == (32,)
    model, parameters = differentiable(case.model, trainable_names(case.model.network, "attention"))
    fisher = fisher_diagonal(model, parameters, case.images, 50, 0)
    fisher += 1e-3 * fisher.mean()
    one = case.generated[:1]
    random = stream(0, "gradient of unlearning", one.digest)
    noise = torch.randn((20, *model.shape), generator=random)
    drawn = model.parameterisation.draw_levels(20, random)
    slope = gradient(model, parameters, one, noise, drawn)
    change = (slope / fisher).float()
    loss = denoising_losses(case.model, one, NoiseBank(noise, drawn)).mean()
    length = 0.01 * loss / (slope @ change)
    levels = model.parameterisation.schedule(5, model.shape)
    noise = torch.randn((5, *model.shape), generator=stream(0, "unlearning bank"))
    slopes = [gradient(model, parameters, case.candidates[i : i + 1], noise, levels) @ change for i in range(32)]
    expected = length * torch.stack(slopes)
    assert torch.corrcoef(torch.stack([found, expected]))[0, 1] > 0.99
    torch.testing.assert_close(found.norm(), expected.norm(), rtol=0.1, atol=0)


def test_fisher_information_is_the_mean_square_of_single_gradients(case):
    model, parameters = differentiable(case.model, trainable_names(case.model.network, "attention"))
    random = stream(0, "fisher")
    which, levels = torch.randint(24, (3,), generator=random), model.parameterisation.draw_levels(3, random)
    squares = []
    for i, level in zip(which, levels, strict=True):
        item = case.images[i : i + 1]
        noise = torch.randn((1, *model.shape), generator=random)
        loss = model.losses(item.images, noise, level[None], item.conditioning).mean()
        squares.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters)]).double().square())
    found = fisher_diagonal(model, parameters, case.images, 3, 0)
    torch.testing.assert_close(found, torch.stack(squares).mean(dim=0), rtol=1e-3, atol=1e-12)


def test_an_ensemble_is_the_mean_of_ranks():
    a, b = torch.tensor([[3.0, 1.0, 2.0, -9.0]]), torch.tensor([[0.0, 0.0, 0.0, -float("inf")]])
    assert torch.equal(rank_ensemble([a]), torch.tensor([[0.875, 0.375, 0.625, 0.125]]))
    assert torch.equal(rank_ensemble([b]), torch.tensor([[0.625, 0.625, 0.625, 0.125]]))
    torch.testing.assert_close(rank_ensemble([a, b]), torch.tensor([[0.75, 0.5, 0.625, 0.125]]))


@pytest.mark.parametrize(
    "scores", [[], [torch.zeros(3)], [torch.zeros(1, 3), torch.zeros(1, 4)], [torch.full((1, 3), float("nan"))]]
)
def test_an_ensemble_refuses_what_cannot_be_ranked(scores):
    with pytest.raises(InputError):
        rank_ensemble(scores)


def test_an_item_has_its_features_whatever_it_is_computed_with(case):
    settings = {"output": squared_norms, "timesteps": 3, "size": 512, "seed": 0}
    several = projected_gradients(case.model, case.images[:3], **settings)
    assert torch.equal(several[1:2], projected_gradients(case.model, case.images[1:2], **settings))
