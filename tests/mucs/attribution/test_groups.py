"""Groups of training items are forgotten once, and the one that an image was made from comes first."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import pytest
import torch

from mucs import InputError
from mucs.attribution import (
    DiffusionModel,
    Items,
    LossStore,
    NoiseBank,
    Scoring,
    Unlearning,
    attribute_groups,
    denoising_losses,
)
from tests.conftest import read_items

pytestmark = pytest.mark.heavy

SETTINGS = Unlearning(learning_rate=5e-4, batch_size=16, max_steps=60)
SCORING = Scoring(batch_size=16)
# every training item is in one of these; the generated ones are near-copies of 3 and 10, and one new
GROUPS = {f"holder {k}": list(range(k, 24, 6)) for k in range(6)}


@pytest.fixture(scope="module")
def given(world):
    """What all calls of these tests are given: model, training, generated and held-out items, bank."""
    model = DiffusionModel.from_pretrained(world.checkpoint)
    images, held_out, generated = (read_items(folder) for folder in (world.train, world.held_out, world.generated))
    return model, images, generated, held_out, NoiseBank.draw(model, num_noises=8)


def run(given, groups=GROUPS, settings=SETTINGS, *, which=(0, 1, 2), **named):
    model, images, generated, held_out, bank = given
    named = {"scoring": SCORING, "pseudo_groups": 0, **named}
    return attribute_groups(model, images, generated[torch.tensor(which)], groups, held_out, bank, settings, **named)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Where the groups are kept that several tests ask for."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def found(given, store):
    return run(given, store=LossStore(store), pseudo_groups=4)


def same(a, b, leave_out=("null_scores", "p_values", "z_scores", "null_converged")):
    """Whether two answers are the same to the bit."""
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(a) if f.name not in leave_out]
    return all(x == y if isinstance(x, tuple) else torch.equal(x, y) for x, y in pairs)


def weights(store):
    return {path: path.stat().st_mtime_ns for path in store.rglob("weights.safetensors")}


def test_the_group_that_an_image_was_made_from_comes_first(found):
    assert [one.groups[0] for one in found[:2]] == ["holder 3", "holder 4"]
    for one in found:
        assert sorted(one.groups) == sorted(GROUPS)
        assert (one.scores.diff() <= 0).all()
        assert (one.scores.abs() < 1).all()
        assert (one.standard_errors > 0).all()
        assert one.sizes.tolist() == [4] * 6


def test_a_group_is_forgotten_when_it_is_known_no_better_than_what_was_never_seen(found):
    for one in found:
        assert (one.probe_before < one.probe_unseen).all()
        assert torch.equal(one.converged, one.probe_after >= one.probe_unseen)
        assert one.converged.all()
        assert (one.steps % 4 == 0).all()
        assert (one.steps > 0).all()


def test_a_group_that_reaches_the_cap_is_not_converged(given):
    for one in run(given, {"a": [3, 9]}, replace(SETTINGS, max_steps=2), which=(0,)):
        assert one.steps.tolist() == [2]
        assert one.converged.tolist() == [False]
        assert one.probe_before < one.probe_after < one.probe_unseen


def test_held_out_images_of_the_same_class_tell_where_forgetting_ends(given):
    model, images, generated, held_out, bank = given
    labels, few = held_out.conditioning["class_labels"], {"a": [3, 9]}  # of class 1

    def end(changed):
        pixels = torch.where((labels == changed).view(-1, 1, 1, 1), 255 - held_out.images, held_out.images)
        other = (model, images, generated, Items(pixels, held_out.conditioning), bank)
        return run(other, few, replace(SETTINGS, max_steps=4), which=(0,))[0]

    as_it_is = end(changed=2)
    assert same(end(changed=0), as_it_is)
    assert end(changed=1).probe_unseen != as_it_is.probe_unseen


def test_scores_are_the_skew_of_the_images_own_losses(given, store, found):
    """Held against the formula, with losses as they lie in the store."""
    model, _, generated, _, bank = given
    before = denoising_losses(model, generated, bank, batch_size=16)
    of_groups = [torch.from_file(str(path), size=24).view(3, 8) for path in store.glob("groups/*/*.f32")]
    skews = torch.stack([((after - before) / (after + before + 1e-3)).mean(dim=1) for after in of_groups])
    for k, one in enumerate(found):
        told = torch.cat([one.scores, one.null_scores.flatten()]).unique()
        torch.testing.assert_close(told, skews[:, k].unique(), rtol=0, atol=1e-6)


def test_chance_is_told_by_random_groups_of_the_same_size(found):
    for one in found:
        assert one.null_scores.shape == (6, 4)
        assert (one.null_scores == one.null_scores[0]).all()  # all groups have one size
        expected = (1 + (one.null_scores >= one.scores[:, None]).sum(dim=1)) / 5
        torch.testing.assert_close(one.p_values, expected.double())
        z = (one.scores - one.null_scores.mean(dim=1)) / one.null_scores.std(dim=1)
        torch.testing.assert_close(one.z_scores, z.double())
        assert (one.null_converged <= 4).all()


def test_without_pseudo_groups_nothing_is_said_of_chance(given, store):
    (one,) = run(given, which=(0,), store=LossStore(store))
    assert one.null_scores.shape == (6, 0)
    assert one.p_values.tolist() == [1.0] * 6
    assert one.z_scores.isnan().all()


def test_order_company_and_names_do_not_matter(given, found):
    """Neither of groups, nor of their members, nor of generated items."""
    other = {"someone": [21, 3, 15, 9], "another": torch.tensor([22, 4, 10, 16])}
    third, first = run(given, other, which=(2, 0))
    for one, with_all in ((first, found[0]), (third, found[2])):
        for name, known_as in (("someone", "holder 3"), ("another", "holder 4")):
            here, there = one.groups.index(name), with_all.groups.index(known_as)
            assert one.scores[here] == with_all.scores[there]
            assert one.steps[here] == with_all.steps[there]


def test_the_same_items_under_two_names_are_one_group(given, found):
    one, *_ = run(given, {"second": [21, 3, 15, 9], "first": GROUPS["holder 3"]})
    assert one.groups == ("first", "second")
    assert one.scores[0] == one.scores[1] == found[0].scores[0]


def test_groups_may_overlap_and_need_not_hold_everything(given, found):
    one, *_ = run(given, {"holder 3": GROUPS["holder 3"], "both": [3, 4]})
    assert one.scores[one.groups.index("holder 3")] == found[0].scores[0]


@pytest.mark.slow
def test_the_same_call_gives_the_same_bits_and_a_seed_others(given):
    few = {"a": [3, 9], "b": [4]}
    first, again, other = (run(given, few, which=(0,), pseudo_groups=2, seed=seed)[0] for seed in (0, 0, 1))
    assert same(first, again, leave_out=())
    assert not torch.equal(first.scores, other.scores)
    assert first.null_scores[0].tolist() != first.null_scores[1].tolist()  # groups of two sizes


@pytest.mark.slow
def test_antithetic_copies_are_held_against_each_other(given, found, tmp_path):
    """And come back from the store as they were."""
    both = replace(SETTINGS, antithetic=True)
    first, again = (run(given, {"a": GROUPS["holder 3"]}, both, store=LossStore(tmp_path)) for _ in range(2))
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    (path,) = tmp_path.glob("groups/*/*.f32")
    forgot, learned = torch.from_file(str(path), size=48).view(2, 3, 8)
    expected = (forgot - learned) / (forgot + learned + 1e-3) / 2
    torch.testing.assert_close(torch.cat([one.scores for one in first]), expected.mean(dim=1), rtol=0, atol=1e-6)
    assert first[0].scores != found[0].scores[found[0].groups.index("holder 3")]
    assert first[0].steps == found[0].steps[found[0].groups.index("holder 3")]


def test_new_images_need_no_unlearning(given, store, found):
    before = weights(store)
    assert len(before) == 6 + 4
    assert all(same(a, b) for a, b in zip(run(given, store=LossStore(store)), found, strict=True))
    model, images, generated, held_out, bank = given
    new = Items(generated[:1].images.flip(-1), generated[:1].conditioning)
    run((model, images, new, held_out, bank), which=(0,), store=LossStore(store))
    assert weights(store) == before


@pytest.mark.slow
def test_several_groups_at_once_give_the_same(given, found):
    with ThreadPoolExecutor(3) as pool:
        together = run(given, executor=pool)
    assert all(same(a, b) for a, b in zip(together, found, strict=True))


@pytest.mark.slow
def test_a_step_in_micro_batches_gives_the_same_but_for_rounding(given, found):
    parts = run(given, {"holder 3": GROUPS["holder 3"]}, replace(SETTINGS, micro_batch_size=5), which=(0,))
    torch.testing.assert_close(parts[0].scores[0], found[0].scores[0], rtol=0, atol=1e-2)


SCRIPT = """
import logging, sys, torch
from mucs.attribution import *
torch.set_num_threads(1)
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
model = DiffusionModel.from_pretrained(sys.argv[1])
case = torch.load(sys.argv[2], weights_only=True)
images, generated, held_out = (Items(pixels, {"class_labels": labels}) for pixels, labels in case)
groups = {f"holder {k}": list(range(k, 24, 6)) for k in range(6)}
found = attribute_groups(
    model, images, generated, groups, held_out, NoiseBank.draw(model, 8), Unlearning(learning_rate=5e-4, batch_size=16, max_steps=60),
    pseudo_groups=0, scoring=Scoring(batch_size=16), store=LossStore(sys.argv[3]),
)
torch.save([[one.groups, one.scores] for one in found], sys.argv[4])
"""


@pytest.mark.slow
def test_a_call_that_is_killed_goes_on_and_ends_with_the_same(world, given, found, tmp_path):
    _, images, generated, held_out, _ = given
    case = [(items[:].images, items[:].conditioning["class_labels"]) for items in (images, generated, held_out)]
    torch.save(case, tmp_path / "case")
    words = [sys.executable, "-u", "-c", SCRIPT, world.checkpoint, tmp_path / "case", tmp_path / "store"]
    command, environment = [*words, tmp_path / "found"], os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
        for line in running.stdout:
            if "group 2 of 6" in line:
                running.send_signal(signal.SIGKILL)
                break
    done = weights(tmp_path / "store")
    assert 2 <= len(done) < 6
    subprocess.run(command, check=True, env=environment, capture_output=True)
    assert {path: weights(tmp_path / "store")[path] for path in done} == done
    assert len(weights(tmp_path / "store")) == 6
    for (groups, scores), one in zip(torch.load(tmp_path / "found", weights_only=True), found, strict=True):
        assert tuple(groups) == one.groups
        assert torch.equal(scores, one.scores)


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({}, "There are no groups"),
        ({"Ada": []}, "'Ada' has no training images"),
        ({"Ada": [1, 24]}, "'Ada' names the training image 24; give indices from 0 to 23"),
        ({"Ada": [-1, 2]}, "'Ada' names the training image -1"),
        ({"Ada": [1, 2, 1]}, "'Ada' names a training image twice"),
        ({"Ada": range(24)}, "'Ada' holds all training images, and none is left to retain"),
        ({"Ada": [0.5]}, "'Ada' is no list of indices"),
        ({"Ada": ["t01"]}, "'Ada' is no list of indices"),
        ({"Ada": torch.ones(24, dtype=torch.bool)}, "'Ada' is no list of indices"),
    ],
)
def test_what_is_no_group_is_refused(given, groups, said):
    with pytest.raises(InputError, match=said):
        run(given, groups)


def test_held_out_images_are_needed_and_pseudo_groups_a_number(given, tmp_path):
    model, images, generated, held_out, bank = given
    with pytest.raises(InputError, match="There are no held-out images"):
        run((model, images, generated, held_out[:0], bank))
    with pytest.raises(InputError, match="-1 pseudo-groups are asked for"):
        run(given, pseudo_groups=-1, store=LossStore(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_a_file_of_the_store_that_is_none_of_this_model_is_refused(given, tmp_path):
    few = {"a": [3]}
    run(given, few, replace(SETTINGS, max_steps=1), store=LossStore(tmp_path))
    (path,) = weights(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="is not what is left of a model; delete it"):
        run(given, few, replace(SETTINGS, max_steps=1), store=LossStore(tmp_path))
