"""Attribution of pulled folders: for each item the same, whatever runs beside it or ran before."""

import os
import threading
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mucs import InputError
from mucs.attribution import Settings
from tasks.attribute import attribute, read_measured, units
from tasks.calibrate import assemble_calibration, decoys, find_calibration, publish_calibration, score_decoy
from tasks.collect import collect, never_trained_on
from tasks.device import deterministic
from tasks.ledgers import open_log
from tasks.measure import measure, shards
from tasks.plan import Plan
from tasks.prepare import opened, read_pixels
from tasks.pull import as_pulled
from tasks.stores import open_store
from tests.conftest import FAST, draw

pytestmark = pytest.mark.heavy

FEW = {"max_steps": 3, "screening": [[2, 0.5]], "recall_sample": 1, "decoys": 3, "calibration_noises": 4}


def with_settings(**changed):
    return Settings.from_record(FAST | FEW | changed)


SETTINGS = with_settings()


@pytest.fixture(scope="module")
def folders(world):
    """Checkpoint, training set, held-out set and generated batch."""
    return [as_pulled(getattr(world, name)) for name in ("checkpoint", "train", "held_out", "generated")]


def plan_of(folders, cache, **changes):
    checkpoint, training, held_out, batch = folders
    given = {"settings": SETTINGS, "device": "cpu", "cache": cache, "work": str(cache / "work")} | changes
    return Plan("registry", checkpoint, training, held_out, batch, **given)


def attributed(plan, rows=(0, 1, 2)):
    """What was measured of some rows of the batch, one after the other, as plain values."""
    asked = units(plan, rows)
    for unit in asked:
        attribute.fn(plan, unit)
    return [values(read_measured(open_store(plan.work), unit)) for unit in asked]


def values(measured, but=()):
    return {
        name: str(value.tolist() if hasattr(value, "shape") else value)
        for name, value in vars(measured.attribution).items()
    }


def without(results, name):
    return [{k: v for k, v in one.items() if k != name} for one in results]


def calibrated(plan):
    chosen = decoys(plan)
    for unit in chosen:
        score_decoy.fn(plan, unit)
    return assemble_calibration.fn(plan, chosen)


@pytest.fixture(scope="module")
def whole(folders, tmp_path_factory):
    """All three items: (the plan, what was measured)."""
    plan = plan_of(folders, tmp_path_factory.mktemp("whole"))
    return plan, attributed(plan)


def test_images_are_decoded_once_into_a_file(folders, whole):
    cache, training = whole[0].cache, folders[1]
    (path,) = (cache / "pixels").glob(f"{training.digest}*")
    when = path.stat().st_mtime_ns
    pixels = read_pixels(training, opened(training, "training set"), cache)
    assert path.stat().st_mtime_ns == when
    assert (pixels.dtype, tuple(pixels.shape)) == (torch.uint8, (24, 3, 8, 8))
    assert np.array_equal(pixels[5].permute(1, 2, 0), draw(5, 1))


def test_order_and_company_do_not_matter(folders, whole, tmp_path):
    _, together = whole
    parts = [attributed(plan_of(folders, tmp_path), rows) for rows in ((2,), (0, 1))]
    backwards = attributed(plan_of(folders, tmp_path / "backwards"), (2, 1, 0))
    assert without(parts[1] + parts[0], "recall") == without(together, "recall")
    assert backwards[::-1] == together
    assert [item["recall"] == "None" for item in together].count(False) == 1


def test_original_losses_that_were_measured_elsewhere_are_the_same(folders, whole, tmp_path):
    elsewhere = plan_of(folders, tmp_path / "elsewhere", work=str(tmp_path / "work"))
    for shard in shards(elsewhere, 24, 8):
        assert measure.fn(elsewhere, shard).endswith("losses")
        assert measure.fn(elsewhere, shard) == "measured before"
    here = plan_of(folders, tmp_path / "here", work=str(tmp_path / "work"))
    assert attributed(here) == whole[1]


def test_a_result_in_the_work_store_is_not_computed_again(folders, whole):
    plan, _ = whole
    unit = units(plan, (0, 1, 2))[0]  # whoever is in the recall sample
    assert attribute.fn(plan, unit) == "computed before"
    again = replace(plan, replaces=("a" * 64,))
    assert units(again, (0,))[0].address.startswith("again/")


def test_a_spoiled_result_is_named(folders, tmp_path):
    plan = plan_of(folders, tmp_path)
    (unit,) = units(plan, (0,))
    (tmp_path / "work" / unit.address).parent.mkdir(parents=True)
    (tmp_path / "work" / unit.address).write_bytes(b"x")
    with pytest.raises(InputError, match=r"is no result; remove it, and g0 is attributed again"):
        read_measured(open_store(plan.work), unit)


def test_another_version_of_the_code_is_refused(folders, whole):
    plan, _ = whole
    (unit,) = units(plan, (0,))
    with pytest.raises(InputError, match="install the same version on both"):
        attribute.fn(replace(plan, method_sha256="0" * 64), unit)


def test_losses_of_another_model_are_never_used(folders, whole, world, tmp_path):
    plan, before = whole
    other = world.copy("checkpoint", tmp_path / "checkpoint")
    path = other / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor * 1.01 for name, tensor in load_file(path).items()}, path)
    folders = [as_pulled(other), *folders[1:]]
    in_a_used_cache = attributed(plan_of(folders, plan.cache), (0,))
    in_a_fresh_one = attributed(plan_of(folders, tmp_path / "cache"), (0,))
    assert in_a_used_cache == in_a_fresh_one
    assert in_a_used_cache[0]["scores"] != before[0]["scores"]


def test_an_unseen_image_that_was_trained_on_is_none(folders, whole):
    plan, _ = whole
    assert never_trained_on(plan).tolist() == [True] * 8
    assert never_trained_on(replace(plan, held_out=plan.training)).tolist() == [False] * 24


def test_a_calibration_goes_on_where_it_was_and_serves_its_own_settings_alone(folders, whole):
    plan, _ = whole
    path = calibrated(plan)
    first, (kept, *lost) = load_file(path), sorted((plan.cache / "work" / "decoys").glob("*/*"))
    when = kept.stat().st_mtime_ns
    for decoy in (path, *lost):
        decoy.unlink()
    again = load_file(calibrated(plan))
    assert len(lost) == 2
    assert kept.stat().st_mtime_ns == when
    assert all(torch.equal(again[name], first[name]) for name in first)
    outcome = collect.fn(plan, units(plan, (0, 1, 2))[:1], path)
    assert (outcome.calibration["decoys"], outcome.calibration["noises"]) == (3, 4)
    (item,) = outcome.measured()
    assert item.attribution.decoy_p_values.min() >= 1 / 4
    assert item.attribution.unseen.decoy_p_values.min() >= 1 / 4  # of those that are decoys, 1 / 3
    assert not item.attribution.unseen.decoy_z.isnan().any()
    with pytest.raises(InputError, match="9 decoys are asked of 8 held-out images"):
        calibrated(replace(plan, settings=with_settings(decoys=9)))
    with pytest.raises(InputError, match="made for other inputs or settings"):
        collect.fn(replace(plan, settings=with_settings(learning_rate=1e-4)), [], path)


def test_a_calibration_is_found_by_its_address_alone(folders, whole, s3):
    plan, _ = whole
    path, log = calibrated(plan), "s3://evidence/found"
    assert find_calibration.fn(plan, log) is None
    url = publish_calibration.fn(path, log)
    assert url == f"{log}/calibrations/{path.stem}"
    assert publish_calibration.fn(path, log) == url  # again changes nothing
    assert find_calibration.fn(plan, log).read_bytes() == path.read_bytes()


def test_a_calibration_that_is_none_or_is_gone_is_named(folders, whole, tmp_path):
    plan, _ = whole
    path, log = calibrated(plan), open_log(str(tmp_path / "log"))
    named = f"calibrations/{path.stem}"
    log.store.put(named, log.keep(b"x").encode())
    with pytest.raises(InputError, match=f"{named} is not the calibration that belongs there; find out who wrote it"):
        find_calibration.fn(plan, log.place)
    with pytest.raises(InputError, match=f"{named} holds other bytes; find out who wrote them"):
        publish_calibration.fn(path, log.place)
    for wrong in ("0" * 64, "../log", "\N{SNOWMAN}", ""):
        log.store.delete(named)
        log.store.put(named, wrong.encode())
        with pytest.raises(InputError, match=r"is missing|is not the calibration"):
            find_calibration.fn(plan, log.place)


def test_the_librarys_options_reach_it(folders, whole):
    settings = with_settings(score="difference", repeats=2, trainable=["mid_block*conv1.weight"], stop="probe")
    plan = plan_of(folders, whole[0].cache, settings=settings)
    plan = replace(plan, held_out=None)
    asked = units(plan, (0,))
    attribute.fn(plan, asked[0])
    outcome = collect.fn(plan, asked, None)
    (item,) = outcome.measured()
    assert item.attribution.seed_spread.isfinite().all()
    assert item.attribution.p_values.isnan().all()
    assert item.attribution.held_out_ks is None
    assert item.device["type"] == "cpu"
    assert outcome.trained["names"] == [f"mid_block.resnets.{k}.conv1.weight" for k in (0, 1)]
    assert outcome.trained["count"] == 2 * 32 * 32 * 9
    assert item.nondeterministic == ()


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


def test_a_block_has_one_thread_though_another_ends_before_its_first_operation():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    began, ended, found = threading.Event(), threading.Event(), []

    def compute():
        with deterministic("cpu"):
            began.set()
            ended.wait()
            found.append(torch.get_num_threads())

    other = threading.Thread(target=compute)
    try:
        with deterministic("cpu"):
            other.start()
            began.wait()
    finally:
        ended.set()
        other.join()
        torch.set_num_threads(threads)
    assert found == [1]
