"""Vectors: what the middle of a network puts out, the same for an item whoever is measured beside it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from diffusers import DDIMScheduler, DiTTransformer2DModel, UNet2DModel

from mucs import InputError
from mucs.attribution import DiffusionModel, Items
from mucs.index import Projection, vectors
from mucs.index.vectors import pooled

pytestmark = pytest.mark.heavy


def unet(**options) -> DiffusionModel:
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        **options,
    )
    return DiffusionModel(network, DDIMScheduler())


def dit() -> DiffusionModel:
    torch.manual_seed(0)
    network = DiTTransformer2DModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        num_layers=3,
        num_attention_heads=2,
        attention_head_dim=8,
        patch_size=2,
        num_embeds_ada_norm=4,
    )
    return DiffusionModel(network, DDIMScheduler())


def items(count: int, **conditioning: torch.Tensor) -> Items:
    return Items(torch.rand((count, 3, 8, 8), generator=torch.Generator().manual_seed(1)) * 2 - 1, conditioning)


@pytest.mark.parametrize("made", [unet, dit])
def test_an_items_vector_depends_on_it_alone(made):
    model = made()
    given = {"class_labels": torch.arange(5) % 4} if "class_labels" in model.conditioning else {}
    images = items(5, **given)
    found = vectors(model, images)
    assert found.shape == (5, 64)
    assert (found.norm(dim=1) <= 1 + 1e-5).all()
    torch.testing.assert_close(vectors(model, images[2:4], batch_size=1), found[2:4], atol=1e-5, rtol=1e-4)
    assert (found[0] - found[1]).norm() > 1e-3
    assert not model.network.mid_block._forward_hooks if made is unet else True


def test_threads_that_share_a_model_see_their_own_items():
    model = unet()
    images = items(12)
    alone = [vectors(model, images[k : k + 1]) for k in range(12)]
    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(lambda k: vectors(model, images[k : k + 1]), range(12)))
    for a, b in zip(alone, beside, strict=True):
        torch.testing.assert_close(a, b)


def test_a_network_without_a_middle_is_refused():
    model = unet()
    model.network.mid_block = None
    with pytest.raises(InputError, match="neither a middle block nor transformer blocks"):
        vectors(model, items(1))


def test_tokens_are_averaged_as_their_places_are():
    maps = torch.rand(2, 3, 4, 4)
    tokens = maps.flatten(2).transpose(1, 2)
    torch.testing.assert_close(pooled(tokens), pooled(maps))
    assert pooled(tokens[:, :7]).shape == (2, 3)


def test_a_projection_keeps_what_differs_and_gives_unit_vectors():
    random = torch.Generator().manual_seed(0)
    flat = torch.randn(50, 3, generator=random) @ torch.randn(3, 20, generator=random)
    made = Projection.of(flat, 64)
    assert made.basis.shape == (20, 3)
    found = made(flat)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(50))
    assert Projection.of(torch.ones(4, 20), 64)(torch.ones(1, 20)).abs().sum() == 0
