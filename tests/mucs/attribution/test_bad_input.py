"""What cannot be used is refused with one sentence that says what is wrong and what to do."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from mucs import InputError
from mucs.attribution import (
    DiffusionModel,
    Items,
    LossStore,
    NoiseBank,
    Scoring,
    Screening,
    Unlearning,
    attribute,
    calibrate,
    controls,
    denoising_losses,
    encode,
    noise_consistent_skew,
    null_loss_by_level,
    zero_output_null_loss,
)
from mucs.attribution.checkpoint import read_weights
from mucs.attribution.losses import check
from mucs.attribution.trainable import trainable_names
from mucs.attribution.unlearning import mirrored_unlearning

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
CONFIG, SCHEDULER = "unet/config.json", "scheduler/scheduler_config.json"
INDEX = f"{WEIGHTS}.index.json"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A tiny class-conditional network of 8×8 images with 3 classes."""
    folder = tmp_path_factory.mktemp("bad") / "checkpoint"
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "mid_block_type": None}
    diffusers.UNet2DModel(
        sample_size=8, block_out_channels=(4,), layers_per_block=1, norm_num_groups=2, num_class_embeds=3, **blocks
    ).save_pretrained(folder / "unet")
    diffusers.DDIMScheduler(prediction_type="v_prediction").save_pretrained(folder / "scheduler")
    return folder


@pytest.fixture(scope="module")
def model(checkpoint) -> DiffusionModel:
    return DiffusionModel.from_pretrained(checkpoint)


def says(attempt: Callable[[], object], words: str) -> None:
    """The attempt is refused, with these words in one sentence."""
    with pytest.raises(InputError, match=words) as refused:
        attempt()
    message = str(refused.value)
    assert "\n" not in message
    assert message.endswith(".")


def edit(**values) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | values))


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    def spoil(path: Path) -> None:
        weights = load_file(path)
        change(weights)
        save_file(weights, path, metadata={"format": "pt"})

    return spoil


def into_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


BROKEN = {
    "no network": (".", lambda f: shutil.rmtree(f / "unet"), "neither unet/ nor transformer/; give the folder"),
    "no config.json": (CONFIG, Path.unlink, "config.json is missing; give the folder"),
    "no JSON": (CONFIG, lambda p: p.write_text("{"), "cannot be read as JSON; restore"),
    "no object": (CONFIG, lambda p: p.write_text("[]"), "does not hold a JSON object; restore"),
    "no such network": (CONFIG, edit(_class_name="UNet3DConditionModel"), "'UNet3DConditionModel' is not known; use .*UNet2DModel"),
    "no name": (CONFIG, edit(_class_name=["UNet2DModel"]), "is not known; use"),
    "no such block": (CONFIG, edit(down_block_types=["Mine"]), r"describes no network that can be built \(Mine does not exist\); restore"),
    "groups": (CONFIG, edit(norm_num_groups=3), "describes no network that can be built"),
    "no size": (CONFIG, edit(sample_size=None), "does not say how large an item is; give `size`"),
    "another width": (CONFIG, edit(block_out_channels=[8]), "do not fit the network that its config.json describes; restore"),
    "no weights": (WEIGHTS, Path.unlink, "safetensors is missing; save the network"),
    "truncated": (WEIGHTS, lambda p: p.write_bytes(p.read_bytes()[:-100]), "is not a whole safetensors file; fetch it again"),
    "empty": (WEIGHTS, lambda p: p.write_bytes(b""), "is not a whole safetensors file; fetch it again"),
    "a folder": (WEIGHTS, into_a_folder, "is not a whole safetensors file; fetch it again"),
    "a tensor short": (WEIGHTS, tensors(lambda w: w.pop("conv_in.bias")), "do not fit the network"),
    "a tensor too many": (WEIGHTS, tensors(lambda w: w.update(more=torch.ones(1))), "do not fit the network"),
    "not finite": (WEIGHTS, tensors(lambda w: w["conv_in.bias"].fill_(torch.nan)), "tensor conv_in.bias in .* not finite; restore"),
    "a pickle": (WEIGHTS, lambda p: p.with_suffix(".bin").write_bytes(b""), r"model\.bin, a pickle, which can run code when read; convert"),
    "index": (INDEX, lambda p: p.write_text('{"weight_map": 3}'), "does not say which file holds which tensor; restore"),
    "shard": (INDEX, lambda p: p.write_text('{"weight_map": {"conv_in.bias": "part-1.safetensors"}}'), "part-1.safetensors is missing"),
    "no scheduler": (SCHEDULER, Path.unlink, "scheduler_config.json is missing"),
    "no such scheduler": (SCHEDULER, edit(_class_name="LCMScheduler"), "'LCMScheduler' is not known; use .*DDIMScheduler"),
    "no such prediction": (SCHEDULER, edit(prediction_type="x0"), "predicts 'x0'; use .*epsilon, v_prediction, sample"),
    "no such betas": (SCHEDULER, edit(beta_schedule="mine"), r"describes no scheduler that can be built \(mine is not implemented"),
    "no number": (SCHEDULER, edit(num_train_timesteps="many"), "num_train_timesteps = 'many', which must be a whole number from 1 to 100000; restore"),
    **{f"sample_size {value!r}": (CONFIG, edit(sample_size=value), "sample_size = .* must be (a whole number from 1 to 4096|one number or two|at most 1000000); restore")
       for value in (0, -8, 10**9, 8.5, "8", [8], [8, 8, 8], [8, "8"], True, 10**40)},
    **{f"{name} {value!r}": (CONFIG, edit(**{name: value}), f"{name} = .*, which must be .*; restore")
       for name, value in (("layers_per_block", 10**5), ("norm_num_groups", 0), ("attention_head_dim", 0), ("block_out_channels", []),
                           ("block_out_channels", 4), ("block_out_channels", [4] * 17), ("num_class_embeds", -1), ("in_channels", 0),
                           ("down_block_types", "DownBlock2D"), ("norm_eps", 1e300 * 1e300), ("act_fn", "x" * 2000))},
    "many layers": (CONFIG, edit(layers_per_block=1000), r"can be built \(it has many more tensors than its file\); restore"),
    "wide": (CONFIG, edit(block_out_channels=[65536]), "do not fit the network"),
    "no such activation": (CONFIG, edit(act_fn="mine"), "describes no network that can be built"),
    "a list as text": (CONFIG, edit(act_fn=[1]), "describes no network that can be built"),
    "deep": (CONFIG, lambda p: p.write_text('{"a":' * 10**5), "cannot be read as JSON; restore"),
    "a key twice": (CONFIG, lambda p: p.write_text(p.read_text()[:-2] + ', "sample_size": 8}'), "cannot be read as JSON; restore"),
    "not a number": (CONFIG, lambda p: p.write_text('{"norm_eps": NaN}'), "cannot be read as JSON; restore"),
    "large": (CONFIG, lambda p: p.write_text(" " * 64_000_001), "cannot be read as JSON; restore"),
    "a pipe for a configuration": (CONFIG, into_a_pipe, "cannot be read as JSON; restore"),
    "a pipe for weights": (WEIGHTS, into_a_pipe, "is not a whole safetensors file; fetch it again"),
    **{f"weights at {place}": (INDEX, lambda p, place=place: p.write_text(json.dumps({"weight_map": {"conv_in.bias": place}})), "which is no file beside it; restore")  # type: ignore[misc]
       for place in ("../../../outside.safetensors", "/etc/passwd", "/dev/zero", "a/b.safetensors", ".safetensors", "a.bin", "a\0.safetensors", "..", "")},
    "a map that lacks a tensor": (INDEX, lambda p: p.write_text(json.dumps({"weight_map": {"conv_in.bias": Path(WEIGHTS).name}})), "does not hold the tensors that .* says; restore"),
    **{f"{kind} weights": (WEIGHTS, tensors(lambda w, kind=kind: w.update({"conv_in.bias": w["conv_in.bias"].to(kind)})), "tensor conv_in.bias in .* is of .*, which is none of F64, F32, F16, BF16; convert")  # type: ignore[misc]
       for kind in (torch.int64, torch.complex64, torch.float8_e4m3fn, torch.bool)},
    **{f"{name} {value!r}": (SCHEDULER, edit(**{name: value}), f"{name} = .*, which must be .*; restore")
       for name, value in (("num_train_timesteps", 0), ("num_train_timesteps", 10**12), ("num_train_timesteps", 8.5),
                           ("beta_end", 1e300 * 1e300), ("trained_betas", [0.1] * 100_001))},
    **{f"{name} {value!r}": (SCHEDULER, edit(**{"beta_schedule": "linear", name: value}), "betas add no noise|makes no schedule|can be built|not one beta for each")
       for name, value in (("beta_end", 5.0), ("beta_start", -3.0), ("trained_betas", [[0.1]]), ("trained_betas", ["a"]), ("trained_betas", [0.0] * 10),
                           ("timestep_spacing", "mine"), ("beta_start", "x"))},
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_checkpoint_is_refused(fault, checkpoint, tmp_path):
    file, spoil, words = BROKEN[fault]
    folder = Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))
    spoil(folder / file)
    says(lambda: DiffusionModel.from_pretrained(folder), words)


def test_weights_that_nobody_hashed_are_not_read(checkpoint, tmp_path):
    """A checkpoint whose index points out of its folder, to weights that would fit."""
    folder = Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))
    shutil.move(folder / WEIGHTS, tmp_path / "outside.safetensors")
    names = load_file(tmp_path / "outside.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(names, "../../outside.safetensors")}))
    says(lambda: read_weights(folder / "unet"), "names '../../outside.safetensors', which is no file beside it")
    shutil.copy(tmp_path / "outside.safetensors", folder / "unet" / "part.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(names, "part.safetensors")}))
    assert DiffusionModel.from_pretrained(folder).digest == DiffusionModel.from_pretrained(checkpoint).digest


def test_a_configuration_with_an_infinite_default_of_diffusers_is_read(checkpoint, tmp_path):
    folder = Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))
    diffusers.DPMSolverMultistepScheduler().save_pretrained(folder / "scheduler")
    assert "-Infinity" in (folder / SCHEDULER).read_text()
    assert DiffusionModel.from_pretrained(folder).parameterisation.levels == (0.0, 999.0)


def test_what_the_machine_or_the_network_cannot_do_is_refused(checkpoint, tmp_path):
    (tmp_path / "file").touch()
    for attempt, words in {
        lambda: DiffusionModel.from_pretrained(checkpoint, "gpu0"): r"device gpu0 cannot be used here \(.*\); try cpu",
        lambda: DiffusionModel.from_pretrained(checkpoint, size=0): "size 0 is no positive multiple of 1 pixels",
        lambda: LossStore(tmp_path / "file"): "is a file; give a folder",
    }.items():
        says(attempt, words)


IMAGES = torch.rand((4, 3, 8, 8), generator=torch.Generator().manual_seed(0)) * 2 - 1
LABELS = torch.tensor([0, 1, 2, 0])


def spoiled(value: float) -> torch.Tensor:
    images = IMAGES.clone()
    images[2, 1, 3, 3] = value
    return images


def items(images=IMAGES, labels=LABELS, condition_of=None) -> Items:
    return Items(images, {"class_labels": labels}, condition_of)


BAD_ITEMS = {
    "NaN": (items(spoiled(torch.nan)), "hold numbers that are not finite"),
    "infinite": (items(spoiled(-torch.inf)), "hold numbers that are not finite"),
    "0 to 255": (items((IMAGES + 1) * 127.5), "reach from .* to 25.*, the model takes -1 to 1; scale them, or give uint8"),
    "another size": (items(IMAGES[:, :, :4]), r"the model takes \(N, 3, 8, 8\); resize or encode"),
    "none": (items(IMAGES[:0]), "There are no images"),
    "no labels": (Items(IMAGES), "come with no conditioning, the model takes class_labels"),
    "few labels": (items(labels=LABELS[:2]), "4 images and 2 rows of class_labels; give one each"),
    "labels too high": (items(labels=LABELS + 1), "whole numbers from 0 to 2; mend"),
    "labels below 0": (items(labels=LABELS - 1), "whole numbers from 0 to 2; mend"),
    "labels with a fraction": (items(labels=LABELS / 2), "whole numbers from 0 to 2; mend"),
    "few pointers": (items(condition_of=torch.tensor([0, 1])), "4 images and 2 rows of class_labels; give one each"),
    "pointers too high": (items(condition_of=torch.tensor([0, 1, 2, 4])), "not among its 4; mend"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD_ITEMS)
def test_items_that_do_not_fit_are_refused(fault, model):
    given, words = BAD_ITEMS[fault]
    says(lambda: check(model, given, NoiseBank.draw(model, 2)), words)


def test_what_is_no_image_is_refused(model):
    for attempt, words in {
        lambda: encode(
            model, IMAGES.numpy(), labels=LABELS
        ): "images are float32; give uint8, or floats in .* as a tensor",
        lambda: encode(model, IMAGES.int(), labels=LABELS): "images are torch.int32; give uint8, or floats",
        lambda: encode(model, IMAGES, labels=LABELS / 2): "whole numbers from 0 to 2",
        lambda: mirrored_unlearning(model, items()[:1], list(IMAGES)): "images are list; give uint8, or floats",
    }.items():
        says(attempt, words)
    listed = encode(model, IMAGES, labels=LABELS.tolist())
    assert torch.equal(listed.conditioning["class_labels"], LABELS)


def test_latents_may_have_any_range():
    network = diffusers.DiTTransformer2DModel(
        num_attention_heads=1, attention_head_dim=8, num_layers=1, norm_num_groups=4, sample_size=8, num_embeds_ada_norm=3
    )  # fmt: skip
    latents = DiffusionModel(network, diffusers.DDIMScheduler())
    latents.check(items(torch.randn(4, 4, 8, 8) * 5), "images")


def test_pixels_may_leave_their_range_a_little(model):
    model.check(items(IMAGES * 1.2), "images")


def draw(size=2, indices=None, noise=None, levels=None):
    """A draw of items 0 to `size`, with one of its parts another."""
    levels, noise = (
        torch.zeros(size) if levels is None else levels,
        torch.zeros(size, 3, 8, 8) if noise is None else noise,
    )
    return torch.arange(size) if indices is None else indices, noise, levels, noise, levels


def predicting_noise(model):
    return DiffusionModel(model.copy().network, diffusers.DDIMScheduler())


def drawn(model, given):
    return mirrored_unlearning(model, items()[:1], items(), Unlearning(null_loss=1.0), draws=[given])


BAD_SETTINGS = {
    "an unknown policy": (lambda m: trainable_names(m.network, "mlp"), "use one of feedforward, attention, all, adapter"),
    "no policy": (lambda m: trainable_names(m.network, None), "policy None is not known"),
    "a pattern without match": (lambda m: trainable_names(m.network, ["down_block.*"]), "no parameter 'down_block.*'; name"),
    "patterns that match all": (lambda m: trainable_names(m.network, ["*"]), 'choose every parameter; if that is meant, set trainable to "all"'),
    "no patterns": (lambda m: trainable_names(m.network, []), r"No parameter is chosen by \[\]; name at least one"),
    "a policy without match": (lambda m: trainable_names(m.network, "attention"), "No parameter is chosen by 'attention'"),
    "a rate that is none": (lambda m: Unlearning(learning_rate=float("nan")), "finite numbers"),
    "a rate as text": (lambda m: Unlearning(learning_rate="1e-4"), "finite numbers"),
    "half a step": (lambda m: Unlearning(max_steps=2.5), "whole ones"),
    "no draws": (lambda m: mirrored_unlearning(m, items()[:1], items(), Unlearning(null_loss=1.0), draws=[]), "no draws; give one for each step"),
    "a draw of another item": (lambda m: mirrored_unlearning(m, items()[:1], items(), Unlearning(null_loss=1.0), draws=[(torch.tensor([99]), *[torch.zeros(1, 3, 8, 8), torch.zeros(1)] * 2)]), "an item that is none of the"),
    "repeats as text": (lambda m: attribute(m, items(), items()[:1], NoiseBank.draw(m, 2), repeats="2"), "'2' repeats are asked for"),
    "a stage of one number": (lambda m: Screening([1, 2]), "not a pair"),
    "a stage of half an entry": (lambda m: Screening([(1.5, 0.5)]), "whole number of entries"),
    "candidates below none": (lambda m: Screening(candidates=-1), "-1 candidates"),
    "half a candidate": (lambda m: Screening(candidates=0.5), "0.5 candidates"),
    "a bound that nothing keeps": (lambda m: Screening(candidates=5, most_missed=0), "share in"),
    "a bound without candidates": (lambda m: Screening(most_missed=0.1), "needs candidates"),
    "a stage of endless entries": (lambda m: Screening([(float("inf"), 0.5)]), "whole number of entries"),
    "a flag as text": (lambda m: Unlearning(augment="no"), "True or False"),
    "patterns that are none": (lambda m: trainable_names(m.network, [1]), "chooses no parameters"),
    "a policy as a number": (lambda m: trainable_names(m.network, 5), "5 chooses no parameters"),
    "an eps that is none": (lambda m: Scoring(eps=float("nan")), "eps is nan; give a number above 0"),
    "an eps without end": (lambda m: Scoring(eps=float("inf")), "eps is inf; give a number above 0"),
    "a batch as text": (lambda m: Scoring(batch_size="64"), "batch size is '64'; give a whole number"),
    "sharing as text": (lambda m: Scoring(shared_noise="false"), "True or False"),
    "a batch beyond memory": (lambda m: denoising_losses(m, items(), NoiseBank.draw(m, 1), batch_size=10**13), "memory is too small for batch_size"),
    "a fraction as text": (lambda m: NoiseBank.draw(m, 2, "0.7"), "fraction in .*'0.7'"),
    "a fraction of nearly nothing": (lambda m: NoiseBank.draw(m, 2, 1e-300), "fraction in"),
    "a bank of lists": (lambda m: NoiseBank([[0.0]], [1.0]), "two tensors of real numbers"),
    "a prefix below 0": (lambda m: NoiseBank.draw(m, 2).prefix(-1), "-1 entries is asked for"),
    "a prefix as text": (lambda m: attribute(m, items(), items()[:1], NoiseBank.draw(m, 2), prefix="8"), "prefix is '8'"),
    "decoys as text": (lambda m: calibrate(m, items(), items(), NoiseBank.draw(m, 2), decoys="3"), "'3' decoys are asked"),
    "controls of nothing": (lambda m: controls(items()[:0]), "no images to take controls from"),
    "converged at nothing": (lambda m: Unlearning(converged_at=0.0), "converged at 0.0 of the null loss; give a share in"),
    "converged beyond all": (lambda m: Unlearning(converged_at=1.1), "converged at 1.1"),
    "a null loss of nothing": (lambda m: null_loss_by_level(m, items()[:0]), "There are no training images"),
    "a null loss of other images": (lambda m: zero_output_null_loss(m, items(torch.zeros(2, 3, 4, 4))), "of shape"),
    "a null loss by another name": (lambda m: Unlearning(null_loss="zero"), 'give "auto", "zero output" or a number above 0'),
    "training images of zeros": (lambda m: attribute(m, items(IMAGES * 0), items()[:1], NoiseBank.draw(m, 2)), "No null loss can be told from training images whose mean square is 0"),
    "two generated items": (lambda m: mirrored_unlearning(m, items()[:2], items(), Unlearning()), "2 generated items .* one at a time"),
    "a generated item that is none": (lambda m: mirrored_unlearning(m, [0.0], items(), Unlearning()), "images are list"),
    "conditioning that is none": (lambda m: denoising_losses(m, Items(IMAGES, {"class_labels": [0, 1, 2, 0]}), NoiseBank.draw(m, 2)), "class_labels are no tensor"),
    "losses that are not finite": (lambda m: noise_consistent_skew(torch.ones(1, 2), torch.tensor([[1.0, torch.nan]])), "losses that are not finite"),
    "a skew without eps": (lambda m: noise_consistent_skew(torch.ones(1, 2), torch.ones(1, 2), eps=0), "eps is 0; give a number above 0"),
    "a draw that is none": (lambda m: drawn(m, 5), "A draw is five tensors"),
    "a draw of three": (lambda m: drawn(m, draw()[:3]), "A draw is five tensors"),
    "a draw of nothing": (lambda m: drawn(m, draw(size=0)), "A draw is five tensors"),
    "a draw of half items": (lambda m: drawn(m, draw(indices=torch.tensor([0.5, 1]))), "A draw is five tensors"),
    "a draw of another size": (lambda m: drawn(m, draw(noise=torch.zeros(2, 3, 4, 4))), "A draw is five tensors"),
    "a draw of few levels": (lambda m: drawn(m, draw(levels=torch.zeros(1))), "A draw is five tensors"),
    "a draw below the levels": (lambda m: drawn(m, draw(levels=torch.tensor([0.0, -1]))), "level outside 0 to 999"),
    "a draw above the levels": (lambda m: drawn(m, draw(levels=torch.tensor([0.0, 1e6]))), "level outside 0 to 999"),
    "a draw of no level": (lambda m: drawn(m, draw(levels=torch.tensor([0.0, torch.nan]))), "level outside 0 to 999"),
    "a draw that is not finite": (lambda m: drawn(m, draw(noise=torch.full((2, 3, 8, 8), torch.nan))), "noise that is not finite"),
    "a bank that is not finite": (lambda m: NoiseBank(torch.full((1, 3, 8, 8), torch.nan), torch.ones(1)), "not finite; draw it anew"),
    "a bank of other levels": (lambda m: LossStore().table(m, items(), NoiseBank(torch.zeros(1, 3, 8, 8), torch.tensor([5000.0])), Scoring()), "levels outside 0 to 999, which the model takes; draw"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD_SETTINGS)
def test_settings_that_mean_nothing_are_refused(fault, model):
    attempt, words = BAD_SETTINGS[fault]
    says(lambda: attempt(model), words)


def test_a_model_whose_losses_are_not_finite_is_refused(model):
    broken = model.copy()
    with torch.no_grad():
        broken.network.conv_out.bias[0] = 1e38
    says(lambda: denoising_losses(broken, items(), NoiseBank.draw(model, 2)), "loss is not finite for 8 of 8 pairs")


def test_a_table_that_was_cut_short_is_measured_anew(model, tmp_path):
    bank, scoring = NoiseBank.draw(model, 4), Scoring(batch_size=4)

    def losses():
        return LossStore(tmp_path).table(model, items(), bank, scoring).rows(torch.arange(4), range(4)).clone()

    first = losses()
    (path,) = tmp_path.glob("*.f32")
    path.write_bytes(path.read_bytes()[:20])
    assert torch.equal(losses(), first)


NO_ROOM = """
import resource, signal, sys, torch
from mucs import InputError
from mucs.attribution.mapped import cached
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    cached(Path(sys.argv[1]) / "deep" / "losses", (1000,), torch.zero_)
except InputError as error:
    print(error)
"""


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    done = subprocess.run([sys.executable, "-c", NO_ROOM, tmp_path], capture_output=True, text=True)
    assert done.stdout.startswith(f"There is no room for 4,000 bytes in {tmp_path}/deep"), done.stderr
    assert list((tmp_path / "deep").iterdir()) == []


def test_an_item_that_all_retained_ones_look_like_can_be_unlearned(model):
    settings = Unlearning(null_loss=10.0, max_steps=2, down_weight=1.0, batch_size=1, trainable=["conv_out.*"])
    done = mirrored_unlearning(model, items()[:1], items()[torch.tensor([0, 0])], settings)
    assert all(parameter.isfinite().all() for parameter in done.model.network.parameters())
