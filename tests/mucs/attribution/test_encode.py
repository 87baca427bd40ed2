"""Images and prompts are encoded block by block: read once, dropped, and after a kill gone on with where they were."""

import numpy as np
import pytest
import torch

from mucs import InputError
from mucs.attribution import (
    DiffusionModel,
    Encoding,
    Items,
    LossStore,
    NoiseBank,
    Scoring,
    Unlearning,
    attribute,
    encode,
)
from tests.mucs.attribution.test_families import FAMILIES, train

WORDS = [f"a {a} {b}" for a in ("bar", "box", "dot") for b in "abcdefghijklmnopqrstuvwxyz"]
COUNT = 150


class Killed(Exception):
    """Stands for SIGKILL: nothing after it is run."""


class Source:
    """Images that are read when they are needed; it remembers which, and is killed before one of them."""

    def __init__(self, pixels: np.ndarray, last: int | None = None) -> None:
        self.pixels, self.last, self.read = pixels, last, []

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, which: slice) -> np.ndarray:
        if self.last is not None and which.stop > self.last:
            raise Killed
        self.read += range(len(self))[which]
        return self.pixels[which]


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (COUNT, 3, 16, 16), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("encode") / "checkpoint"
    FAMILIES["stable-diffusion"].write(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return FAMILIES["stable-diffusion"].read(folder)


def test_encoding_goes_on_after_a_kill_and_gives_what_it_gives_at_once(model, pixels, tmp_path):
    prompts = [WORDS[k % len(WORDS)] for k in range(COUNT)]
    heard = []
    whole = encode(model, torch.from_numpy(pixels), prompts=prompts, progress=lambda *at: heard.append(at))
    assert [at for at in heard if at[0] == "prompts"] == [("prompts", 64, 78), ("prompts", 78, 78)]
    assert heard[-3:] == [("encoding", 64, 150), ("encoding", 128, 150), ("encoding", 150, 150)]
    killed = Source(pixels, last=140)
    with pytest.raises(Killed):
        encode(model, killed, prompts=prompts, cache=tmp_path, address="data")
    again = Source(pixels)
    found = encode(model, again, prompts=prompts, cache=tmp_path, address="data")
    assert set(again.read) == {0, *range(128, 150)}  # 128 are there, and the first tells the images' shape
    assert torch.equal(found.images, whole.images)
    for name, rows in whole.conditioning.items():
        assert torch.equal(found.conditioning[name], rows)
    kept = Source(pixels)
    third = encode(model, kept, prompts=prompts, cache=tmp_path, address="data")
    assert set(kept.read) == {0}
    assert third.digest == found.digest
    assert encode(model, kept, prompts=prompts, cache=tmp_path, address="other").digest != found.digest
    assert found[:3].digest == whole[:3].digest  # what is taken out of it is known by its content


def test_a_prompts_embedding_does_not_depend_on_the_others(model, pixels):
    images = torch.from_numpy(pixels)
    together = encode(model, images[: len(WORDS)], prompts=WORDS)
    for few in (WORDS[5:6], WORDS[3:30], WORDS[::-7]):
        alone = encode(model, images[: len(few)], prompts=few)
        for k, prompt in enumerate(few):
            one, other = alone[k : k + 1].conditioning, together[WORDS.index(prompt) :][:1].conditioning
            assert all(torch.equal(one[name], other[name]) for name in one)


def test_half_precision_latents_take_half_the_room_and_are_another_set(model, pixels, tmp_path):
    given = {"prompts": ["a"] * COUNT, "cache": tmp_path, "address": "data"}
    full = encode(model, Source(pixels), **given)
    half = encode(model, Source(pixels), encoding=Encoding(precision="bfloat16"), **given)
    assert half.images.dtype == torch.bfloat16
    assert half.digest != full.digest
    assert torch.equal(half[:].images, full.images.bfloat16().float())
    bank, scoring = NoiseBank.draw(model, 2), Scoring(batch_size=8)
    losses = [LossStore().table(model, items, bank, scoring).rows(torch.arange(8), range(2)) for items in (full, half)]
    torch.testing.assert_close(*losses, rtol=0.05, atol=0.01)
    assert not torch.equal(*losses)


def test_pixels_of_a_model_without_a_vae_are_kept_as_bytes(world, tmp_path):
    model = DiffusionModel.from_pretrained(world.checkpoint, digest="checkpoint")
    pixels = np.random.default_rng(1).integers(0, 256, (9, 3, 8, 8), np.uint8)
    labels = torch.zeros(9, dtype=torch.long)
    found = encode(model, Source(pixels), labels=labels, cache=tmp_path, address="data")
    assert found.images.dtype == torch.uint8
    assert found[:].digest == Items(torch.from_numpy(pixels), {"class_labels": labels}).digest
    assert model.digest != DiffusionModel.from_pretrained(world.checkpoint).digest
    assert model.digest == DiffusionModel.from_pretrained(world.checkpoint, digest="checkpoint").digest
    mean_square = found.mean_square
    again = encode(model, Source(pixels), labels=labels, cache=tmp_path, address="data")
    again.__dict__["images"] = torch.zeros_like(again.images)  # were it gone through again
    assert again.mean_square == mean_square


def test_what_is_no_source_of_images_is_refused(model, pixels, tmp_path):
    given = {"prompts": ["a"] * COUNT}
    for source, says in {
        Source(pixels.astype(np.float32)): "float32 of shape",
        Source(pixels[:, 0]): r"give uint8 \(B, 3, H, W\)",
        Source(pixels[:, :, :8]): r"\(150, 3, 8, 16\), the model takes \(N, 3, 16, 16\)",
    }.items():
        with pytest.raises(InputError, match=says):
            encode(model, source, **given)
    with pytest.raises(InputError, match="under an address alone; give one"):
        encode(model, Source(pixels), cache=tmp_path, **given)
    with pytest.raises(InputError, match="encoding batch size is 0"):
        Encoding(batch_size=0)


@pytest.mark.slow
def test_ranks_hardly_move_with_half_precision_latents(folder):
    """Its figures are in docs/benchmarks.md: `pytest -m slow -s tests/mucs/attribution/test_encode.py`."""
    model, count = FAMILIES["stable-diffusion"].read(folder), 96
    quarters = torch.rand((count, 3, 2, 2), generator=torch.Generator().manual_seed(0)) * 2 - 1
    images = torch.nn.functional.interpolate(quarters, size=16)
    prompts = [WORDS[k % len(WORDS)] for k in range(count)]
    full, half = (
        encode(model, images, prompts=prompts, encoding=Encoding(precision=precision))
        for precision in ("float32", "bfloat16")
    )
    train(model, full, 400, 5e-3)
    bank, settings = NoiseBank.draw(model, 16), Unlearning(learning_rate=1e-3, batch_size=8, max_steps=40)
    scores = []
    for items in (full, half):
        found = attribute(model, items, full[torch.arange(8)], bank, settings, scoring=Scoring(batch_size=32))
        scores.append(torch.stack([one.scores[one.items.argsort()] for one in found]))
    ranks = [score.argsort(dim=1).argsort(dim=1).double() for score in scores]
    rho = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(*ranks, strict=True)])
    same = sum(
        len(set(a.topk(10).indices.tolist()) & set(b.topk(10).indices.tolist())) for a, b in zip(*scores, strict=True)
    ) / (10 * len(rho))
    first = sum(int(a.argmax() == b.argmax()) for a, b in zip(*scores, strict=True))
    print(
        f"Spearman {float(rho.mean()):.4f} (least {float(rho.min()):.4f}), of the best 10 {same:.3f} the same, the first"
        f" the same for {first} of {len(rho)}, no score differs by more than {float((scores[0] - scores[1]).abs().max()):.4f}"
    )
    assert rho.min() > 0.9
    assert first == len(rho)
