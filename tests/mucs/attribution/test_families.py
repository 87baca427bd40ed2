"""Every family of networks is read, given its conditioning, unlearned and scored; what is not known is refused."""

import json
import math
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import diffusers
import peft
import pytest
import torch
from diffusers.utils import convert_state_dict_to_diffusers
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from mucs import InputError
from mucs.attribution import (
    DiffusionModel,
    Items,
    NoiseBank,
    Scoring,
    Unlearning,
    attribute,
    denoising_losses,
    encode,
    mirrored_unlearning,
    null_loss_by_level,
    zero_output_null_loss,
)
from mucs.attribution.checkpoint import network_from_config

COUNT = 12
PLANTED = 4
LETTERS = [chr(code) for code in range(97, 123)]
LABELS = torch.arange(COUNT) % 2
PROMPTS = [f"a {'bar' if i % 2 else 'box'}" for i in range(COUNT)]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pictures(size: int) -> torch.Tensor:
    """Twelve pictures of four coloured quarters, (12, 3, size, size) in [-1, 1]."""
    quarters = torch.rand((COUNT, 3, 2, 2), generator=torch.Generator().manual_seed(0)) * 2 - 1
    return torch.nn.functional.interpolate(quarters.round(), size=size)


UNET = {
    "sample_size": 8,
    "block_out_channels": (16,),
    "layers_per_block": 1,
    "mid_block_type": None,
    "norm_num_groups": 4,
}


def pixel_unet(folder: Path, scheduler: str, prediction: str) -> None:
    blocks = {"down_block_types": ("AttnDownBlock2D",), "up_block_types": ("AttnUpBlock2D",), "attention_head_dim": 16}
    diffusers.UNet2DModel(**UNET, **blocks).save_pretrained(folder / "unet")
    kind = getattr(diffusers, scheduler)
    betas = {} if "EDM" in scheduler else {"beta_schedule": "squaredcos_cap_v2"}
    kind(**betas, prediction_type=prediction).save_pretrained(folder / "scheduler")


def vae(channels: int, **options) -> diffusers.AutoencoderKL:
    """Halves the side of an image once."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        scaling_factor=4.0,  # brings the latents of fresh weights near unit variance
        **options,
    )


def clip(kind=CLIPTextModel):
    config = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    words = {"vocab_size": 54, "max_position_embeddings": 8, "bos_token_id": 0, "eos_token_id": 1}
    return kind(CLIPTextConfig(**config, **words, projection_dim=16))


def clip_tokenizer() -> CLIPTokenizer:
    tokens = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=8)


def t5():
    return T5EncoderModel(T5Config(vocab_size=30, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2))


def t5_tokenizer() -> T5Tokenizer:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T5Tokenizer(vocab=[*special, *((letter, -3.0) for letter in LETTERS)], extra_ids=0)


def text_unet(**options) -> diffusers.UNet2DConditionModel:
    blocks = {
        "down_block_types": ("CrossAttnDownBlock2D",),
        "up_block_types": ("CrossAttnUpBlock2D",),
        "attention_head_dim": 1,
    }
    return diffusers.UNet2DConditionModel(**UNET, **blocks, in_channels=4, out_channels=4, **options)


def stable_diffusion(folder: Path) -> None:
    diffusers.StableDiffusionPipeline(
        vae=vae(4),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        unet=text_unet(cross_attention_dim=16),
        scheduler=diffusers.PNDMScheduler(beta_schedule="squaredcos_cap_v2", steps_offset=1, skip_prk_steps=True),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def stable_diffusion_xl(folder: Path) -> None:
    diffusers.StableDiffusionXLPipeline(
        vae=vae(4, latents_mean=[0.1] * 4, latents_std=[1.2] * 4),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip(CLIPTextModelWithProjection),
        tokenizer_2=clip_tokenizer(),
        unet=text_unet(
            cross_attention_dim=32,
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=16 + 6 * 4,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(beta_schedule="squaredcos_cap_v2"),
    ).save_pretrained(folder)


def stable_diffusion_3(folder: Path) -> None:
    diffusers.StableDiffusion3Pipeline(
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=32,
            num_attention_heads=1,
            joint_attention_dim=32,
            caption_projection_dim=32,
            pooled_projection_dim=32,
            pos_embed_max_size=8,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(4, shift_factor=0.1),
        text_encoder=clip(CLIPTextModelWithProjection),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip(CLIPTextModelWithProjection),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=None,
        tokenizer_3=None,
    ).save_pretrained(folder)


def flux(folder: Path) -> None:
    diffusers.FluxPipeline(
        transformer=diffusers.FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=1,
            joint_attention_dim=16,
            pooled_projection_dim=16,
            guidance_embeds=True,
            axes_dims_rope=(4, 6, 6),
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae(4, shift_factor=0.1),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5(),
        tokenizer_2=t5_tokenizer(),
    ).save_pretrained(folder)


def dit(folder: Path) -> None:
    diffusers.DiTTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        norm_num_groups=4,
        sample_size=8,
        num_embeds_ada_norm=2,
    ).save_pretrained(folder / "transformer")
    vae(4).save_pretrained(folder / "vae")
    diffusers.DDIMScheduler(beta_schedule="squaredcos_cap_v2").save_pretrained(folder / "scheduler")


@dataclass(frozen=True)
class Family:
    """How a tiny checkpoint of it is written, what it takes, and how it is trained."""

    write: Callable[[Path], None]
    pixels: int = 16
    labels: bool = False
    prompts: bool = False
    steps: int = 120
    learning_rate: float = 5e-3
    size: int | None = None

    def read(self, folder: Path, **options) -> DiffusionModel:
        return DiffusionModel.from_pretrained(folder, size=self.size, **options)

    def encode(self, model: DiffusionModel, cache: Path | None = None, images: torch.Tensor | None = None) -> Items:
        return encode(
            model,
            pictures(self.pixels) if images is None else images,
            labels=LABELS if self.labels else None,
            prompts=PROMPTS if self.prompts else None,
            cache=cache,
        )


def pixels(scheduler: str, prediction: str) -> Family:
    return Family(lambda folder: pixel_unet(folder, scheduler, prediction), 8)


FAMILIES = {
    "edm": pixels("EDMEulerScheduler", "epsilon"),
    "epsilon": pixels("DDPMScheduler", "epsilon"),
    "v_prediction": pixels("DDIMScheduler", "v_prediction"),
    "sample": pixels("DPMSolverMultistepScheduler", "sample"),
    "dit": Family(dit, labels=True),
    "stable-diffusion": Family(stable_diffusion, prompts=True),
    "stable-diffusion-xl": Family(stable_diffusion_xl, prompts=True),
    "stable-diffusion-3": Family(stable_diffusion_3, prompts=True, learning_rate=1e-2),
    "flux": Family(flux, prompts=True, size=16, steps=80, learning_rate=3e-3),
}
# their text embeddings are long, and training on them takes minutes in all
SLOW = {"stable-diffusion-xl", "stable-diffusion-3", "flux"}
TEXT = [name for name, family in FAMILIES.items() if family.prompts]
SETTINGS = Unlearning(learning_rate=1e-3, forget_weight=1.0, batch_size=8, max_steps=30)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> Callable[[str], Path]:
    """Folders of untrained checkpoints by family, each written where it is first asked for."""
    root = tmp_path_factory.mktemp("families")

    def checkpoint(name: str) -> Path:
        if not (root / name).exists():
            torch.manual_seed(0)
            FAMILIES[name].write(root / name)
        return root / name

    return checkpoint


def train(model: DiffusionModel, items: Items, steps: int, learning_rate: float, only: str = "") -> None:
    """Until it knows its items: steps over all of them, of the parameters that have `only` in their names."""
    chosen = [p.requires_grad_() for name, p in model.network.named_parameters() if only in name]
    optimizer = torch.optim.AdamW(chosen, lr=learning_rate, fused=True)
    random = torch.Generator().manual_seed(0)
    for _ in range(steps):
        batch = items[torch.randperm(len(items), generator=random)[:6]]
        noise = torch.randn(batch.images.shape, generator=random)
        levels = model.parameterisation.draw_levels(len(batch), random)
        optimizer.zero_grad()
        model.losses(batch.images, noise, levels, batch.conditioning).mean().backward()
        torch.nn.utils.clip_grad_norm_(chosen, 1.0)
        optimizer.step()
    model.network.requires_grad_(False)


def best(model: DiffusionModel, items: Items, settings: Unlearning) -> int:
    """The item that is found for a copy of the planted one."""
    bank = NoiseBank.draw(model, num_noises=8)
    (found,) = attribute(model, items, items[[PLANTED]], bank, settings, scoring=Scoring(batch_size=32))
    assert len(found.items) == COUNT
    return int(found.items[0])


@pytest.mark.heavy
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in FAMILIES]
)
def test_a_planted_copy_ranks_its_original_first(name, checkpoints):
    family = FAMILIES[name]
    model = family.read(checkpoints(name))
    items = family.encode(model)
    train(model, items, family.steps, family.learning_rate)
    assert best(model, items, SETTINGS) == PLANTED


LEVELS = {"edm": (0.002, 0.5, 80.0), "stable-diffusion-3": (0.02, 0.5, 1.0)}  # by family; timesteps for the others
NULL_LOSSES = ["edm", "epsilon", "v_prediction", "sample", "dit", "stable-diffusion-3"]


def of_power(model: DiffusionModel, power: float, count: int = 64) -> Items:
    """Items of that mean square which are nothing but noise, even from its root of three times down."""
    random = torch.Generator().manual_seed(0)
    x = torch.rand((count, *model.shape), generator=random) * 2 - 1
    given = {"encoder_hidden_states": torch.zeros(count, 8, 32), "pooled_projections": torch.zeros(count, 32)}
    given["class_labels"] = torch.zeros(count, dtype=torch.long)
    x = x * (power / x.square().mean()).sqrt()
    return Items(x, {name: rows for name, rows in given.items() if name in model.conditioning})


@pytest.mark.parametrize("name", NULL_LOSSES)
def test_the_null_loss_by_level_is_what_the_best_rescaling_leaves(name, checkpoints):
    power = 0.3
    random = torch.Generator().manual_seed(0)
    x, noise = torch.randn((2, 4, 3, 128, 128), generator=random)
    x = x * power**0.5
    model = FAMILIES[name].read(checkpoints(name))
    null_loss = null_loss_by_level(model, of_power(model, power))
    assert null_loss.value == 1.0
    assert null_loss.by_level is not None
    for level in LEVELS.get(name, (0.0, 300.0, 999.0)):
        at = torch.full((4,), level)

        def loss(factor: float, at: torch.Tensor = at) -> float:
            losses = model.parameterisation.losses(lambda noisy, _: factor * noisy, x, noise, at)
            return float(losses.double().mean())

        low, middle, high = loss(-1.0), loss(0.0), loss(1.0)  # of a parabola
        least = middle - (high - low) ** 2 / (8 * (high + low - 2 * middle))
        assert float(null_loss.by_level(at)[0]) == pytest.approx(least, rel=0.03, abs=2e-6)


@pytest.mark.parametrize("name", NULL_LOSSES)
def test_the_authors_null_loss_is_what_a_zero_output_loses(name, checkpoints):
    model = FAMILIES[name].read(checkpoints(name)).copy()
    for layer in ("conv_out", "proj_out", "proj_out_2"):
        if hasattr(model.network, layer):
            for parameter in getattr(model.network, layer).parameters():
                parameter.zero_()
    items = of_power(model, 0.3, 2048)
    random = torch.Generator().manual_seed(1)
    noise = torch.randn(items.images.shape, generator=random)
    levels = model.parameterisation.draw_levels(len(items), random)
    with torch.no_grad():
        losses = model.losses(items.images, noise, levels, items.conditioning)
    assert zero_output_null_loss(model, items).value == pytest.approx(float(losses.mean()), rel=0.03)


def test_an_edm_null_loss_by_level_is_the_authors_number_where_sigma_data_fits(checkpoints):
    model = FAMILIES["edm"].read(checkpoints("edm"))
    sigmas = torch.tensor([0.002, 0.1, 0.5, 3.0, 80.0])
    for power in (0.5**2, 0.3**2):
        null_loss = null_loss_by_level(model, of_power(model, power))
        assert null_loss.by_level is not None
        expected = power * (sigmas**2 + 0.25) / (0.25 * (sigmas**2 + power))
        torch.testing.assert_close(null_loss.by_level(sigmas).float(), expected)
        if power == 0.5**2:
            torch.testing.assert_close(expected, torch.ones(5))
            one_number = zero_output_null_loss(model, of_power(model, power)).value
            assert one_number == pytest.approx(1.0, abs=1e-6)


EDM_LEVELS = {
    "the paper's": ({}, -1.2, 1.2),
    "for data twice as large": ({"sigma_data": 1.0}, -1.2 + math.log(2), 1.2),
    "as configured": ({"sigma_data": 1.0, "P_mean": -0.4, "P_std": 1.7}, -0.4, 1.7),
}


@pytest.mark.parametrize("how", EDM_LEVELS)
def test_an_edm_model_is_unlearned_at_the_levels_that_it_was_trained_at(how, checkpoints, tmp_path):
    config, mean, deviation = EDM_LEVELS[how]
    folder = Path(shutil.copytree(checkpoints("edm"), tmp_path / "checkpoint"))
    edit(folder / "scheduler" / "scheduler_config.json", **config)
    model = FAMILIES["edm"].read(folder)
    drawn = model.parameterisation.draw_levels(20_000, torch.Generator().manual_seed(0)).log()
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.03)
    assert float(drawn.std()) == pytest.approx(deviation, rel=0.02)
    assert (model.digest == FAMILIES["edm"].read(checkpoints("edm")).digest) == (how == "the paper's")


@pytest.mark.parametrize(("name", "value"), [("P_mean", "low"), ("P_mean", True), ("P_std", 0), ("P_std", "wide")])
def test_edm_levels_that_are_none_are_refused(name, value, checkpoints, tmp_path):
    folder = Path(shutil.copytree(checkpoints("edm"), tmp_path / "checkpoint"))
    edit(folder / "scheduler" / "scheduler_config.json", **{name: value})
    with pytest.raises(InputError, match=f"scheduler_config.json has {name} = .*, which must be a number"):
        FAMILIES["edm"].read(folder)


@pytest.mark.heavy
@pytest.mark.slow
def test_what_predicts_noise_can_forget(checkpoints):
    """At the noisiest levels the noise is nearly the input: no forgetting brings the loss near an untrained network's."""
    family = FAMILIES["epsilon"]
    model = family.read(checkpoints("epsilon"))
    items = family.encode(model)
    train(model, items, 600, family.learning_rate)
    settings = replace(SETTINGS, batch_size=COUNT, max_steps=60)
    flat = replace(settings, null_loss="zero output")
    by_level, one_number = (mirrored_unlearning(model, items[[PLANTED]], items, s) for s in (settings, flat))
    assert items.mean_square == pytest.approx(float(items[:].images.square().mean()))
    assert by_level.null_loss == 1.0
    assert by_level.converged
    assert by_level.probe_before < 0.7 < 0.8 < by_level.probe_after <= 1.0
    assert not one_number.converged


def test_of_a_class_conditional_transformer_neither_the_table_of_classes_nor_time_is_trained(checkpoints):
    model = FAMILIES["dit"].read(checkpoints("dit"))
    items = FAMILIES["dit"].encode(model)
    few = replace(SETTINGS, max_steps=1)
    names = [name for name, _ in model.network.named_parameters()]
    embedders = [name for name in names if "class_embedder" in name]
    assert {name.split("class_embedder.")[1] for name in embedders} == {"embedding_table.weight"}  # there is no MLP
    done = mirrored_unlearning(model, items[[PLANTED]], items, few)
    blocks = [f"transformer_blocks.{k}.ff.net.{layer}.weight" for k in (0, 1) for layer in ("0.proj", "2")]
    assert list(done.trained) == blocks
    more = replace(few, trainable=["*.ff.net.*weight", "*.norm1.linear.weight"])
    trained = mirrored_unlearning(model, items[[PLANTED]], items, more).trained
    assert set(trained) == {*blocks, *(f"transformer_blocks.{k}.norm1.linear.weight" for k in (0, 1))}


@pytest.mark.parametrize("name", TEXT)
def test_embeddings_are_what_the_pipeline_makes(name, checkpoints):
    family = FAMILIES[name]
    model = family.read(checkpoints(name))
    items = family.encode(model)
    shared = [rows for name, rows in items.conditioning.items() if name != "time_ids"]
    assert all(len(rows) == 2 for rows in shared)  # two different prompts
    absent = {"text_encoder_3": None, "tokenizer_3": None} if name == "stable-diffusion-3" else {}
    pipe = diffusers.DiffusionPipeline.from_pretrained(checkpoints(name), **absent)
    options = {"prompt_2": None, "prompt_3": None} if name == "stable-diffusion-3" else {}
    if name == "stable-diffusion":
        options = {"num_images_per_prompt": 1, "do_classifier_free_guidance": False}
    with torch.no_grad():
        made = pipe.encode_prompt(PROMPTS[PLANTED], device="cpu", **options)
    expected = {"encoder_hidden_states": made[0]}
    if name == "stable-diffusion-xl":
        sizes = pipe._get_add_time_ids((16, 16), (0, 0), (16, 16), torch.float32, 16)
        expected |= {"text_embeds": made[2], "time_ids": sizes}
    elif name != "stable-diffusion":
        expected["pooled_projections"] = made[1] if name == "flux" else made[2]
    given = items[[PLANTED]].conditioning
    assert set(given) == set(expected)
    for key, value in expected.items():
        torch.testing.assert_close(given[key], value)


def test_an_image_comes_with_its_own_size_and_crop(checkpoints):
    family = FAMILIES["stable-diffusion-xl"]
    model = family.read(checkpoints("stable-diffusion-xl"))
    sizes = torch.full((COUNT, 4), torch.nan)
    sizes[3], sizes[5, 0] = torch.tensor([480.0, 640.0, 0.0, 107.0]), 20.0
    told = encode(model, pictures(16), prompts=PROMPTS, sizes=sizes)
    plain = family.encode(model)
    pipe = diffusers.StableDiffusionXLPipeline.from_pretrained(checkpoints("stable-diffusion-xl"))
    expected = {3: ((480, 640), (0, 107)), 5: ((20, 16), (0, 0)), 0: ((16, 16), (0, 0))}
    for k, (original, crop) in expected.items():
        ids = pipe._get_add_time_ids(original, crop, (16, 16), torch.float32, 16)
        assert torch.equal(told[[k]].conditioning["time_ids"], ids)
        assert torch.equal(told[[k]].conditioning["text_embeds"], plain[[k]].conditioning["text_embeds"])
    assert len(told.conditioning["encoder_hidden_states"]) == 2  # prompts stay shared
    assert told.digest != plain.digest
    bank = NoiseBank.draw(model, 2)
    with_, without = (denoising_losses(model, items, bank, batch_size=24) for items in (told, plain))
    assert (with_ != without).any(dim=1).nonzero()[:, 0].tolist() == [3, 5]


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        (torch.ones(COUNT, 2), r"shape \(12, 2\); give \(12, 4\)"),
        (torch.zeros(COUNT, 4), "below one pixel"),
        (torch.tensor([[16.0, 16.0, -1.0, 0.0]]).repeat(COUNT, 1), "its crop is below 0"),
        (torch.full((COUNT, 4), torch.inf), "mend the sizes"),
    ],
)
def test_sizes_that_are_none_are_refused(sizes, says, checkpoints):
    model = FAMILIES["stable-diffusion-xl"].read(checkpoints("stable-diffusion-xl"))
    with pytest.raises(InputError, match=says):
        encode(model, pictures(16), prompts=PROMPTS, sizes=sizes)


@pytest.mark.parametrize("name", ["stable-diffusion", "stable-diffusion-xl", "flux", "dit"])
def test_latents_are_what_training_scripts_make(name, checkpoints):
    family = FAMILIES[name]
    made = family.encode(family.read(checkpoints(name))).images
    vae = diffusers.AutoencoderKL.from_pretrained(checkpoints(name) / "vae")
    with torch.no_grad():
        mode = vae.encode(pictures(16)).latent_dist.mode()
    expected = {"flux": (mode - 0.1) * 4, "stable-diffusion-xl": (mode - 0.1) * 4 / 1.2}.get(name, mode * 4)
    torch.testing.assert_close(made, expected)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def forbid(monkeypatch, *kinds):
    """No such part may be read from now on."""
    for kind in kinds:
        monkeypatch.setattr(kind, "from_pretrained", lambda *_, **__: pytest.fail("was read again"))


def test_latents_and_embeddings_are_computed_once(checkpoints, tmp_path, monkeypatch):
    family = FAMILIES["stable-diffusion-xl"]
    folder = Path(shutil.copytree(checkpoints("stable-diffusion-xl"), tmp_path / "checkpoint"))
    cache, images = tmp_path / "cache", pictures(16)
    plain, first = family.encode(family.read(folder)), family.encode(family.read(folder), cache)
    kept = files(cache)
    assert len(kept) == 3  # latents, embeddings, and their shapes
    with monkeypatch.context() as patch:
        forbid(patch, diffusers.AutoencoderKL, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer)
        second = family.encode(family.read(folder), cache)
    for items in (first, second):
        assert items.digest == plain.digest
    assert files(cache) == kept

    changed = images.clone()
    changed[3, 0, 0, 0] += 0.5
    family.encode(family.read(folder), cache, changed)
    assert len(files(cache)) == 4
    weights = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    weights["encoder.conv_in.bias"] += 1
    save_file(weights, folder / "vae" / "diffusion_pytorch_model.safetensors")
    other = family.encode(family.read(folder), cache)
    assert len(files(cache)) == 5
    assert not torch.equal(other.images, first.images)
    weights = load_file(folder / "text_encoder_2" / "model.safetensors")
    weights["text_projection.weight"] += 1
    save_file(weights, folder / "text_encoder_2" / "model.safetensors", metadata={"format": "pt"})
    other = family.encode(family.read(folder), cache)
    assert len(files(cache)) == 7
    assert not torch.equal(other.conditioning["text_embeds"], first.conditioning["text_embeds"])


def test_an_item_does_not_depend_on_its_company(checkpoints):
    model = FAMILIES["stable-diffusion"].read(checkpoints("stable-diffusion"))
    images = ((pictures(16) + 1) * 127.5).byte()
    whole = encode(model, images, prompts=PROMPTS)
    alone = encode(model, images[9:10].float() / 127.5 - 1, prompts=PROMPTS[9:10])
    assert whole[[9]].digest == alone.digest


LORA = {"r": 4, "target_modules": ["to_q", "to_v", "conv1"], "init_lora_weights": False}


def write_adapter(form: str, checkpoint: Path, folder: Path) -> torch.nn.Module:
    """An adapter of random weights in one of the formats, and the network that it is in."""
    torch.manual_seed(1)
    network = DiffusionModel.from_pretrained(checkpoint).network
    if form == "peft":
        wrapped = peft.get_peft_model(network, peft.LoraConfig(**LORA, lora_alpha=6))
        wrapped.save_pretrained(folder)
        return network
    config = peft.LoraConfig(**LORA, lora_alpha=6 if form == "diffusers" else 4)
    network.add_adapter(config)
    weights = peft.get_peft_model_state_dict(network)
    if form == "diffusers":
        metadata = {"unet_lora_adapter_metadata": network.peft_config["default"].to_dict()}
        diffusers.StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=weights, **metadata)
    else:
        diffusers.StableDiffusionPipeline.save_lora_weights(
            folder, unet_lora_layers=convert_state_dict_to_diffusers(weights)
        )
    return network


def names_and_shapes(model: DiffusionModel) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.network.named_parameters()}


@pytest.mark.parametrize("name", FAMILIES)
def test_names_shapes_and_the_bank_need_no_weights(name, checkpoints):
    family, checkpoint = FAMILIES[name], checkpoints(name)
    model, light = (family.read(checkpoint, device=device) for device in ("cpu", "meta"))
    assert names_and_shapes(light) == names_and_shapes(model)
    assert {value.device.type for value in light.network.parameters()} == {"meta"}
    assert NoiseBank.draw(light, 4).digest == NoiseBank.draw(model, 4).digest


FORMATS = {"peft": "sample", "diffusers": "stable-diffusion", "older diffusers": "stable-diffusion"}


@pytest.mark.parametrize("form", FORMATS)
def test_only_the_adapter_is_unlearned(form, checkpoints, tmp_path):
    family, checkpoint = FAMILIES[FORMATS[form]], checkpoints(FORMATS[form])
    network = write_adapter(form, checkpoint, tmp_path)
    model = family.read(checkpoint, adapter=tmp_path)
    items = family.encode(model)
    noise, levels = torch.randn(items.images.shape), torch.ones(COUNT) * 0.5
    written = DiffusionModel(network, model.scheduler, checkpoint=checkpoint)
    losses = [m.losses(items.images, noise, levels, items[:].conditioning) for m in (model, written)]
    assert model.adapter
    assert torch.equal(*losses)
    assert names_and_shapes(family.read(checkpoint, adapter=tmp_path, device="meta")) == names_and_shapes(model)
    assert model.digest != family.read(checkpoint).digest

    few = replace(SETTINGS, max_steps=2, null_loss=1000.0)
    done = mirrored_unlearning(model, items[[PLANTED]], items, replace(few, trainable="adapter"))
    after = done.model.network.state_dict()
    changed = {name for name, value in model.network.state_dict().items() if not torch.equal(value, after[name])}
    assert changed == {name for name in after if ".lora_" in name}
    with pytest.raises(InputError, match="adapter"):
        mirrored_unlearning(model, items[[PLANTED]], items, few)


@pytest.mark.heavy
def test_unlearning_an_adapter_finds_what_it_learned(checkpoints, tmp_path):
    family = FAMILIES["sample"]
    write_adapter("peft", checkpoints("sample"), tmp_path)
    model = family.read(checkpoints("sample"), adapter=tmp_path)
    items = family.encode(model)
    train(model, items, 150, 1e-2, only=".lora_")
    assert best(model, items, replace(SETTINGS, trainable="adapter")) == PLANTED


def test_the_strength_of_an_adapter_is_part_of_the_model(checkpoints, tmp_path):
    write_adapter("peft", checkpoints("sample"), tmp_path)
    read = [DiffusionModel.from_pretrained(checkpoints("sample"), adapter=tmp_path)]
    edit(tmp_path / "adapter_config.json", lora_alpha=12)
    read.append(DiffusionModel.from_pretrained(checkpoints("sample"), adapter=tmp_path))
    assert read[0].digest != read[1].digest


def edit(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def zero(weights: dict[str, torch.Tensor], part: str) -> None:
    for name in weights:
        if part in name:
            weights[name] = torch.zeros_like(weights[name])


def drop(weights: dict[str, torch.Tensor], part: str) -> None:
    del weights[next(name for name in weights if part in name)]


PEFT, DIFFUSERS = "adapter_model.safetensors", "pytorch_lora_weights.safetensors"
BAD_ADAPTERS = {
    "half": ("peft", lambda f: rewrite(f / PEFT, lambda w: drop(w, "lora_B")), "lacks .*lora_B"),
    "too much": ("peft", lambda f: edit(f / "adapter_config.json", target_modules=["to_q", "conv1"]), "no place for"),
    "too little": ("peft", lambda f: edit(f / "adapter_config.json", target_modules=["to_q", "to_v", "to_k", "conv1"]), "lacks"),
    "another size": ("peft", lambda f: edit(f / "adapter_config.json", r=2), "does not fit"),
    "untrained": ("peft", lambda f: rewrite(f / PEFT, lambda w: zero(w, "lora_B")), "never trained"),
    "another kind": ("peft", lambda f: edit(f / "adapter_config.json", peft_type="LOHA"), "'LOHA' is not known; use one of: LORA"),
    "no description": ("peft", lambda f: (f / "adapter_config.json").unlink(), "adapter_config.json is missing"),
    "no file": ("peft", lambda f: (f / PEFT).unlink(), "neither adapter_model.safetensors nor pytorch_lora"),
    "broken": ("peft", lambda f: (f / PEFT).write_bytes(b"none"), "not a whole safetensors file"),
    "a pickle": ("peft", lambda f: (f / "adapter_model.bin").write_bytes(b""), "adapter_model.bin, a pickle"),
    **{name: ("peft", lambda f, name=name, value=value: edit(f / "adapter_config.json", **{name: value}), f"{name} is none of the options|{name} changes the network|{name} names no modules")  # type: ignore[misc]
       for name, value in (("megatron_config", {"a": 1}), ("layer_replication", [[0, 9]]), ("loftq_config", {"a": 1}), ("target_parameters", ["a"]), ("mine", 1),
                           ("init_lora_weights", "pissa"), ("rank_pattern", {"(a+)+$": 2}))},
    "a rank without end": ("peft", lambda f: edit(f / "adapter_config.json", r=10**6), "rank is none"),
    "a deep description": ("peft", lambda f: (f / "adapter_config.json").write_text("[" * 10**5), "cannot be read as JSON"),
    "half, diffusers": ("diffusers", lambda f: rewrite(f / DIFFUSERS, lambda w: drop(w, "lora_A")), "lora_A|does not fit"),
    "text encoder too": ("diffusers", lambda f: rewrite(f / DIFFUSERS, lambda w: w.update({"text_encoder.x.lora_A.weight": torch.ones(1)})), "no place for text_encoder.x.lora_A.weight"),
    "of another network": ("diffusers", lambda f: rewrite(f / DIFFUSERS, lambda w: w.update({"unet.other.lora_A.weight": torch.ones(4, 4), "unet.other.lora_B.weight": torch.ones(4, 4)})), "does not fit"),
}  # fmt: skip


def test_a_pattern_of_an_adapter_is_not_matched(checkpoints, tmp_path):
    """It may take longer than anyone waits; its tensors say where it sits."""
    write_adapter("peft", checkpoints("sample"), tmp_path)
    read = [DiffusionModel.from_pretrained(checkpoints("sample"), adapter=tmp_path)]
    edit(tmp_path / "adapter_config.json", target_modules="(.*a*)*(.*b*)*(.*c*)*!")
    read.append(DiffusionModel.from_pretrained(checkpoints("sample"), adapter=tmp_path))
    assert read[0].digest == read[1].digest


@pytest.mark.parametrize("fault", BAD_ADAPTERS)
def test_an_adapter_that_does_not_fit_is_refused(fault, checkpoints, tmp_path):
    form, spoil, says = BAD_ADAPTERS[fault]
    write_adapter(form, checkpoints(FORMATS[form]), tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputError, match=says) as refused:
        DiffusionModel.from_pretrained(checkpoints(FORMATS[form]), adapter=tmp_path)
    assert str(refused.value).endswith(".")


def test_an_adapter_needs_peft_and_a_network_that_knows_its_format(checkpoints, tmp_path, monkeypatch):
    write_adapter("diffusers", checkpoints("stable-diffusion"), tmp_path)
    with pytest.raises(InputError, match="UNet2DModel takes adapters in the format of peft alone"):
        DiffusionModel.from_pretrained(checkpoints("sample"), adapter=tmp_path)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"pip install 'mucs\[families\]'"):
        DiffusionModel.from_pretrained(checkpoints("sample"), adapter=tmp_path)


def test_names_of_older_versions_are_read(checkpoints, tmp_path):
    def rename(path, name_of):
        rewrite(path, lambda weights: [weights.update({name_of(name): weights.pop(name)}) for name in list(weights)])

    def attention(name):
        for new, old in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
            name = name.replace(f".{new}.", f".{old}.")
        return name

    folders = {name: tmp_path / name for name in ("sample", "dit", "stable-diffusion")}
    for name, folder in folders.items():
        shutil.copytree(checkpoints(name), folder)
    text = folders["stable-diffusion"]
    for file in (folders["sample"] / "unet", text / "vae"):
        rename(file / "diffusion_pytorch_model.safetensors", attention)
    edit(folders["dit"] / "transformer" / "config.json", _class_name="Transformer2DModel")
    rename(text / "text_encoder" / "model.safetensors", "text_model.{}".format)
    tokenizer = text / "tokenizer" / "tokenizer.json"
    (text / "tokenizer" / "vocab.json").write_text(json.dumps(json.loads(tokenizer.read_text())["model"]["vocab"]))
    (text / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    tokenizer.unlink()
    for name, folder in folders.items():
        old, new = (FAMILIES[name].read(f) for f in (folder, checkpoints(name)))
        weights = new.network.state_dict()
        assert all(torch.equal(value, weights[key]) for key, value in old.network.state_dict().items())
        assert FAMILIES[name].encode(old).digest == FAMILIES[name].encode(new).digest


UNKNOWN = {
    "network": ("sample", "unet/config.json", {"_class_name": "UNet1DModel"}, "'UNet1DModel' is not known.*UNet2DModel.*FluxTransformer2DModel"),
    "scheduler": ("sample", "scheduler/scheduler_config.json", {"_class_name": "LCMScheduler"}, "'LCMScheduler' is not known.*DDPMScheduler.*FlowMatch"),
    "prediction": ("sample", "scheduler/scheduler_config.json", {"prediction_type": "flow"}, "'flow'.*epsilon, v_prediction, sample"),
    "class embedding": ("sample", "unet/config.json", {"class_embed_type": "timestep"}, "'timestep'.*plain class labels"),
    "added conditioning": ("stable-diffusion", "unet/config.json", {"encoder_hid_dim": 16, "encoder_hid_dim_type": "image_proj"}, "'image_proj'.*Stable Diffusion 1, 2 or XL"),
    "vae": ("stable-diffusion", "vae/config.json", {"_class_name": "VQModel"}, "'VQModel' is not known.*AutoencoderKL"),
    "latents": ("stable-diffusion", "vae/config.json", {"latent_channels": 16}, "16 channels and the network takes 4"),
    "text encoder": ("stable-diffusion", "model_index.json", {"text_encoder": ["transformers", "ChatGLMModel"]}, "transformers.ChatGLMModel.*CLIPTextModel"),
    "remote code": ("stable-diffusion", "model_index.json", {"tokenizer": ["mine", "CLIPTokenizer"]}, "mine.CLIPTokenizer.*of transformers"),
    "no text encoder": ("stable-diffusion", "model_index.json", {"text_encoder": [None, None]}, "text_encoder .* is missing"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_is_not_known_is_refused_by_name(what, checkpoints, tmp_path):
    name, file, values, says = UNKNOWN[what]
    folder = Path(shutil.copytree(checkpoints(name), tmp_path / "checkpoint"))
    edit(folder / file, **values)
    if what in ("class embedding", "added conditioning"):
        network_from_config(folder).save_pretrained(folder / "unet")
    with pytest.raises(InputError, match=says):
        FAMILIES[name].encode(FAMILIES[name].read(folder))


BROKEN = {
    "no vae": (lambda f: shutil.rmtree(f / "vae"), "vae is missing"),
    "vae without weights": (lambda f: (f / "vae/diffusion_pytorch_model.safetensors").unlink(), "vae/.* is missing"),
    "half a vae": (lambda f: rewrite(f / "vae/diffusion_pytorch_model.safetensors", lambda w: drop(w, "encoder.conv_in")), "tensors in .*vae do not fit"),
    "broken vae": (lambda f: (f / "vae/diffusion_pytorch_model.safetensors").write_bytes(b"none"), "is not a whole safetensors file"),
    "no text encoder": (lambda f: shutil.rmtree(f / "text_encoder"), "text_encoder is missing"),
    "text encoder without weights": (lambda f: (f / "text_encoder/model.safetensors").unlink(), "text_encoder/model.safetensors is missing"),
    "half a text encoder": (lambda f: rewrite(f / "text_encoder/model.safetensors", lambda w: drop(w, "layer_norm1")), "text_encoder cannot be read .it lacks the tensor"),
    "broken text encoder": (lambda f: (f / "text_encoder/model.safetensors").write_bytes(b"none"), "is not a whole safetensors file"),
    **{f"{part} elsewhere": (lambda f, part=part, stem=stem: (f / part / f"{stem}.safetensors.index.json").write_text('{"weight_map": {"a": "../../outside.safetensors"}}'), "which is no file beside it")  # type: ignore[misc]
       for part, stem in (("vae", "diffusion_pytorch_model"), ("text_encoder", "model"))},
    "a vocabulary elsewhere": (lambda f: edit(f / "tokenizer/tokenizer_config.json", vocab_file="/etc/passwd"), "names vocab_file"),
    "a vocabulary without end": (lambda f: (f / "tokenizer/tokenizer_config.json").write_text("[" * 10**5), "nests deeper"),
    "code of its own": (lambda f: edit(f / "text_encoder/config.json", auto_map={"AutoModel": "evil.Model"}), "config.json has auto_map"),
    "a text encoder without end": (lambda f: edit(f / "text_encoder/config.json", num_hidden_layers=10**5), "many more tensors than its file"),
    "a large text encoder": (lambda f: edit(f / "text_encoder/config.json", intermediate_size=10**6), "larger one than its weights"),
    "a vae of another scale": (lambda f: edit(f / "vae/config.json", scaling_factor="a"), "scaling_factor = 'a', which must be a number above 0"),
    "no vocabulary": (lambda f: (f / "tokenizer/tokenizer.json").unlink(), "tokenizer cannot be read .it has no vocabulary"),
    "broken vocabulary": (lambda f: (f / "tokenizer/tokenizer.json").write_text("{"), "tokenizer cannot be read"),
    "no index": (lambda f: (f / "model_index.json").unlink(), "model_index.json is missing"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_part_is_refused(fault, checkpoints, tmp_path):
    spoil, says = BROKEN[fault]
    folder = Path(shutil.copytree(checkpoints("stable-diffusion"), tmp_path / "checkpoint"))
    model = FAMILIES["stable-diffusion"].read(folder)
    spoil(folder)
    with pytest.raises(InputError, match=says) as refused:
        FAMILIES["stable-diffusion"].encode(model)
    assert str(refused.value).endswith(".")


def test_what_goes_with_the_images_must_fit_the_model(checkpoints, monkeypatch):
    plain, dit, text = (FAMILIES[name].read(checkpoints(name)) for name in ("epsilon", "dit", "stable-diffusion"))
    small, images = pictures(8), pictures(16)
    for attempt, says in {
        lambda: encode(dit, images): "takes a label for each image; give them as `labels`",
        lambda: encode(text, images): "takes a prompt for each image; give them as `prompts`",
        lambda: encode(plain, small, labels=LABELS): "takes no labels; leave `labels` out",
        lambda: encode(plain, small, prompts=PROMPTS): "takes no prompts; leave `prompts` out",
        lambda: encode(plain, small, sizes=torch.ones(COUNT, 4)): "takes no sizes; leave `sizes` out",
        lambda: encode(text, images, prompts=PROMPTS[:5]): "12 images and 5 prompts; give one each",
        lambda: encode(text, images, prompts=[*PROMPTS[:11], None]): "A prompt is not text",
        lambda: encode(dit, images, labels=LABELS[:5]): "12 images and 5 labels; give one each",
        lambda: encode(dit, images, labels=LABELS + 1): "whole numbers from 0 to 1",
        lambda: encode(dit, small, labels=LABELS): r"\(12, 3, 8, 8\), the model takes \(N, 3, 16, 16\); resize",
        lambda: encode(plain, images): r"\(12, 3, 16, 16\), the model takes \(N, 3, 8, 8\)",
        lambda: encode(plain, small[:0]): "There are no images",
        lambda: encode(plain, small.int()): "give uint8, or floats",
        lambda: encode(DiffusionModel(text.network, text.scheduler), images, prompts=PROMPTS): "from_pretrained",
    }.items():
        with pytest.raises(InputError, match=says):
            attempt()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"pip install 'mucs\[families\]'"):
        encode(text, images, prompts=PROMPTS)
