"""Attribution of pulled folders: for each item the same, whatever runs beside it or ran before."""

import os
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mucs import InputError
from mucs.attribution import Settings
from tasks.attribute import attribute, read_item
from tasks.calibrate import calibrate, find_calibration, publish_calibration
from tasks.device import deterministic
from tasks.prepare import opened, read_pixels
from tasks.s3 import client
from tests.conftest import FAST, draw, pulled

FEW = {"max_steps": 3, "screening": [[2, 0.5]], "recall_sample": 1, "decoys": 3, "calibration_noises": 4}


def with_settings(**changed):
    return Settings.from_record(FAST | FEW | changed)


SETTINGS = with_settings()


@pytest.fixture(scope="module")
def folders(world):
    """Checkpoint, training set, held-out set and generated batch."""
    return [pulled(getattr(world, name)) for name in ("checkpoint", "train", "held_out", "generated")]


@pytest.fixture(scope="module")
def rows(folders):
    return opened(folders[3], "generated batch").to_rows()


@pytest.fixture(scope="module")
def whole(folders, rows, tmp_path_factory):
    """All three items at once: (the cache, the outcome)."""
    cache = tmp_path_factory.mktemp("whole")
    return cache, attribute.fn(*folders, rows, SETTINGS, "cpu", cache)


def results(outcome, but=()) -> list[dict]:
    """What was found of each item, as plain values."""
    found = [vars(read_item(path)[0]) for path in outcome.items]
    return [
        {
            name: str(value.tolist() if hasattr(value, "shape") else value)
            for name, value in f.items()
            if name not in but
        }
        for f in found
    ]


def test_images_are_decoded_once_into_a_file(folders, whole):
    cache, _ = whole
    training = folders[1]
    (path,) = (cache / "pixels").glob(f"{training.digest}*")
    when = path.stat().st_mtime_ns
    pixels = read_pixels(training, opened(training, "training set"), cache)
    assert path.stat().st_mtime_ns == when
    assert (pixels.dtype, tuple(pixels.shape)) == (torch.uint8, (24, 3, 8, 8))
    assert np.array_equal(pixels[5].permute(1, 2, 0), draw(5, 1))


def test_order_and_shards_do_not_matter(folders, rows, whole, tmp_path):
    _, together = whole
    shards = [attribute.fn(*folders, part, SETTINGS, "cpu", tmp_path) for part in (rows[2:], rows[:2])]
    backwards = attribute.fn(*folders, rows[::-1], SETTINGS, "cpu", tmp_path)
    assert results(shards[1], "recall") + results(shards[0], "recall") == results(together, "recall")
    assert results(backwards)[::-1] == results(together)
    assert [item["recall"] == "None" for item in results(together)].count(False) == 1


def test_losses_of_another_model_are_never_used(folders, rows, whole, world, tmp_path):
    cache, before = whole
    other = world.copy("checkpoint", tmp_path / "checkpoint")
    path = other / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor * 1.01 for name, tensor in load_file(path).items()}, path)
    folders = [pulled(other), *folders[1:]]
    in_a_used_cache = attribute.fn(*folders, rows[:1], SETTINGS, "cpu", cache)
    in_a_fresh_one = attribute.fn(*folders, rows[:1], SETTINGS, "cpu", tmp_path / "cache")
    assert results(in_a_used_cache) == results(in_a_fresh_one)
    assert results(in_a_used_cache)[0]["scores"] != results(before)[0]["scores"]


def test_a_calibration_goes_on_where_it_was_and_serves_its_own_settings_alone(folders, rows, whole):
    cache, _ = whole
    path = calibrate.fn(*folders[:3], SETTINGS, "cpu", cache)
    first, (kept, *lost) = load_file(path), sorted(cache.glob("losses/decoys/*/*"))
    when = kept.stat().st_mtime_ns
    for decoy in (path, *lost):
        decoy.unlink()
    again = load_file(calibrate.fn(*folders[:3], SETTINGS, "cpu", cache))
    assert len(lost) == 2
    assert kept.stat().st_mtime_ns == when
    assert all(torch.equal(again[name], first[name]) for name in first)
    outcome = attribute.fn(*folders, rows[:1], SETTINGS, "cpu", cache, path)
    assert (outcome.calibration["decoys"], outcome.calibration["noises"]) == (3, 4)
    (found,) = outcome.attributions()
    assert found.decoy_p_values.min() >= 1 / 4
    with pytest.raises(InputError, match="9 decoys are asked of 8 held-out images"):
        calibrate.fn(*folders[:3], with_settings(decoys=9), "cpu", cache)
    with pytest.raises(InputError, match="made for another model"):
        attribute.fn(*folders, rows, with_settings(learning_rate=1e-4), "cpu", cache, path)


def test_a_calibration_is_found_by_its_address_alone(folders, whole, s3):
    cache, _ = whole
    path, results = calibrate.fn(*folders[:3], SETTINGS, "cpu", cache), "s3://evidence/found"
    find = partial(find_calibration.fn, *folders[:3], SETTINGS, "cpu", cache)
    assert find(results) is None
    url = publish_calibration.fn(path, results)
    assert find(results).read_bytes() == path.read_bytes()
    client().put_object(Bucket="evidence", Key=url.removeprefix("s3://evidence/").replace("found", "wrong"), Body=b"x")
    with pytest.raises(InputError, match="not the calibration that belongs there"):
        find("s3://evidence/wrong")


def test_the_librarys_options_reach_it(folders, rows, whole):
    cache, _ = whole
    settings = with_settings(score="difference", repeats=2, trainable=["mid_block*conv1.weight"], stop="probe")
    checkpoint, training, _, batch = folders
    outcome = attribute.fn(checkpoint, training, None, batch, rows[:1], settings, "cpu", cache)
    (found, _) = read_item(outcome.items[0])
    assert found.seed_spread.isfinite().all()
    assert found.p_values.isnan().all()
    assert found.seen_auc is None
    assert outcome.trained["names"] == [f"mid_block.resnets.{k}.conv1.weight" for k in (0, 1)]
    assert outcome.trained["count"] == 2 * 32 * 32 * 9
    assert outcome.nondeterministic == []


def global_settings():
    """All that `deterministic` changes, of torch and around it."""
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.is_warn_always_enabled(),
        torch.backends.cudnn.benchmark,
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        warnings.showwarning,
        list(warnings.filters),
    )


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("changed", [False, True])
def test_torchs_global_settings_are_as_they_were_however_it_ends(device, changed, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if changed:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
        monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
        torch.use_deterministic_algorithms(True)
        torch.set_warn_always(True)
    try:
        before = global_settings()
        with deterministic(device):
            inside = global_settings()
            assert inside[:3] == (True, True, True)
            assert device == "cpu" or not inside[3]
            with pytest.raises(KeyError), deterministic(device):
                raise KeyError
            assert global_settings() == inside
        assert global_settings() == before
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_warn_always(False)


def test_operations_that_are_not_deterministic_are_heard(recwarn):
    with deterministic("cpu") as alerts:
        torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))
        warnings.warn("something else", stacklevel=1)
        assert alerts.take() == ["put_"]
        assert alerts.take() == []
    assert [str(warning.message) for warning in recwarn] == ["something else"]
