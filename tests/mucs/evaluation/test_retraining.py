"""Trainings on parts of the data: what is missing is never seen, all else is alike, and nothing is done twice."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from mucs import InputError
from mucs.attribution import DiffusionModel, Items, NoiseBank
from mucs.evaluation.answers import Answers
from mucs.evaluation.kept import Kept
from mucs.evaluation.retraining import Job, Retraining
from mucs.evaluation.sampling import initial_noise, sample
from mucs.evaluation.training import Recipe, fresh, small_unet, train
from tests.conftest import SIZE, draw

pytestmark = pytest.mark.heavy

RECIPE = Recipe(steps=40, batch_size=8, learning_rate=3e-3, warmup_steps=10, ema_decay=0.9)


@pytest.fixture(scope="module")
def items() -> Items:
    pixels = torch.stack([torch.from_numpy(draw(i, i % 2)) for i in range(16)])
    return Items(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1, {"class_labels": torch.arange(16) % 2})


@pytest.fixture(scope="module")
def like() -> DiffusionModel:
    return DiffusionModel(*small_unet(SIZE, 2, [8, 16], norm_num_groups=4, attention_head_dim=8))


def weights(model: DiffusionModel) -> torch.Tensor:
    return torch.cat([p.flatten() for p in model.network.parameters()])


def trained(like, items, recipe=RECIPE, **others) -> DiffusionModel:
    model = fresh(like, 0)
    train(model, items, recipe, 0, **others)
    return model


@pytest.mark.slow
def test_training_depends_on_its_seed_and_on_nothing_before(like, items):
    first = weights(trained(like, items))
    torch.manual_seed(5)
    torch.randn(3)
    assert torch.equal(weights(trained(like, items)), first)
    other = fresh(like, 1)
    train(other, items, RECIPE, 1)
    assert not torch.equal(weights(other), first)


@pytest.mark.slow
def test_what_is_not_present_is_never_seen(like, items):
    present = items.conditioning["class_labels"] == 0
    other = Items(torch.where(present.view(-1, 1, 1, 1), items.images, -items.images), items.conditioning)
    assert torch.equal(*(weights(trained(like, given, present=present)) for given in (items, other)))
    assert not torch.equal(*(weights(trained(like, given)) for given in (items, other)))


def test_all_present_is_training_on_all(like, items):
    everyone = torch.ones(len(items), dtype=torch.bool)
    assert torch.equal(weights(trained(like, items, present=everyone)), weights(trained(like, items)))


def test_a_missing_item_changes_only_its_own_draws(like, items):
    """One step at a time: until the missing item is drawn for the first time, both trainings are one."""
    present = torch.ones(len(items), dtype=torch.bool)
    present[3] = False
    drawn = [
        torch.randint(len(items), (8,), generator=torch.Generator().manual_seed(step)).tolist() for step in range(20)
    ]
    first = next(step for step, batch in enumerate(drawn) if 3 in batch)
    short = replace(RECIPE, steps=20)
    losses = [train(fresh(like, 0), items, short, 0, present=given) for given in (None, present)]
    assert losses[0][:first] == losses[1][:first]
    assert losses[0][first] != losses[1][first]


def cut(step: int, loss: float) -> None:
    if step == 200:
        raise KeyboardInterrupt


@pytest.mark.slow
def test_a_training_that_is_cut_off_ends_with_the_same_weights(like, items, tmp_path, monkeypatch):
    monkeypatch.setattr("mucs.evaluation.training.EVERY", 100)
    recipe, state = replace(RECIPE, steps=200), tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        trained(like, items, recipe, state=state, report=cut)
    with pytest.raises(InputError, match="of a training with other parameters"):
        trained(like, items, replace(recipe, steps=201), state=state)
    resumed = fresh(like, 0)
    assert len(train(resumed, items, recipe, 0, state=state)) == 200
    assert not state.exists()
    assert torch.equal(weights(resumed), weights(trained(like, items, recipe)))


def test_the_queue_does_each_job_once_and_its_result_is_the_training_itself(like, items, tmp_path):
    queue = Retraining(like, items, RECIPE, tmp_path, workers=2)
    jobs = [Job(), Job((1, 2)), Job(), Job((), 1)]
    queue.run(jobs)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(written) == 3
    queue.run(jobs)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == written
    assert torch.equal(weights(queue.model(Job())), weights(trained(like, items)))
    present = torch.ones(len(items), dtype=torch.bool)
    present[[1, 2]] = False
    assert torch.equal(weights(queue.model(Job((1, 2)))), weights(trained(like, items, present=present)))


def test_the_address_covers_what_a_training_depends_on(like, items, tmp_path):
    queue = Retraining(like, items, RECIPE, tmp_path)
    other = DiffusionModel(*small_unet(SIZE, 2, [8, 24], norm_num_groups=4, attention_head_dim=8))
    places = {
        queue.path(Job()),
        queue.path(Job((1,))),
        queue.path(Job((), 1)),
        replace(queue, recipe=replace(RECIPE, steps=121)).path(Job()),
        replace(queue, items=items[:8]).path(Job()),
        replace(queue, like=other).path(Job()),
        replace(queue, from_scratch=False).path(Job()),
    }
    assert len(places) == 7
    assert replace(queue, like=fresh(like, 3)).path(Job()) == queue.path(Job())
    moved = replace(queue, like=fresh(like, 3), from_scratch=False)
    assert moved.path(Job()) != replace(queue, from_scratch=False).path(Job())


def test_going_on_begins_with_the_checkpoint(like, items, tmp_path):
    model = trained(like, items)
    little = replace(RECIPE, steps=1, learning_rate=1e-9)
    queue = Retraining(model, items, little, tmp_path, from_scratch=False)
    queue.run([Job()])
    torch.testing.assert_close(weights(queue.model(Job())), weights(model), atol=1e-6, rtol=0)


SCRIPT = """
import sys, logging, torch
from pathlib import Path
from dataclasses import replace
from mucs.attribution import DiffusionModel, Items, NoiseBank
from mucs.evaluation.answers import Answers
from mucs.evaluation.kept import Kept
from mucs.evaluation.retraining import Job, Retraining
from mucs.evaluation.training import Recipe, small_unet
torch.set_num_threads(1)
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
like = DiffusionModel(*small_unet(8, None, [8, 16], norm_num_groups=4, attention_head_dim=8))
items = Items(torch.linspace(-1, 1, 4 * 192).view(4, 3, 8, 8))
queue = Retraining(like, items, Recipe(40, 4, 1e-3), Path(sys.argv[1]))
queue.run([Job((), seed) for seed in range(6)])
print("done", *sorted(path.name for path in Path(sys.argv[1]).iterdir()))
"""


@pytest.mark.slow
def test_a_queue_that_is_killed_goes_on_with_the_next_job(tmp_path):
    command = [sys.executable, "-u", "-c", SCRIPT, tmp_path / "queue"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
        for line in running.stdout:
            if "2 of 6" in line:
                running.send_signal(signal.SIGKILL)
                break
    whole = {path: path.stat().st_mtime_ns for path in (tmp_path / "queue").glob("*.safetensors")}
    assert 2 <= len(whole) < 6
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
    assert f"{len(whole)} of 6 are kept from before" in done
    assert {path: path.stat().st_mtime_ns for path in whole} == whole
    assert len(list((tmp_path / "queue").iterdir())) == 6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": 0}, "at least 1"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"cooldown": 0.0}, r"the cool-down in \(0, 1\]"),
        ({"ema_decay": 1.0}, r"in \[0, 1\)"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(RECIPE, **change)


def test_nothing_to_train_on_is_refused(like, items):
    with pytest.raises(InputError, match="No training image is left"):
        train(fresh(like, 0), items, RECIPE, present=torch.zeros(len(items), dtype=torch.bool))


def test_samples_depend_on_their_seed_and_not_on_their_neighbours(like, items):
    model = trained(like, items)
    labels = {"class_labels": torch.tensor([0, 1, 0])}
    together = sample(model, initial_noise(model, [0, 1, 2]), labels, 10)
    alone = sample(model, initial_noise(model, [2]), {"class_labels": torch.tensor([0])}, 10)
    assert torch.equal(together[2:], alone)
    assert together.min() >= -1
    assert together.max() <= 1


def test_answers_are_kept_as_a_file_and_nobody_trains_again_for_them(like, items, tmp_path):
    queue = Retraining(like, items, RECIPE, tmp_path / "retrained")
    bank = NoiseBank.draw(like, 4)
    generated = Items(items[:2].images, {name: of[:2] for name, of in items[:].conditioning.items()})
    jobs = [Job((1, 2)), Job(), Job((), 1), Job((1, 2))]
    first = Answers(queue, generated, range(2), bank, steps=4)
    found = first.of(jobs)
    assert found["images"].shape == (4, 2, 3, SIZE, SIZE)
    file = Kept(tmp_path / "answers.parquet", queue.about | {"bank": bank.digest})
    assert file.read() == {}
    file.write(first.there())
    written = file.path.read_bytes()
    known = file.read()
    file.write(known)
    assert file.path.read_bytes() == written
    assert set(known) == set(jobs)
    elsewhere = replace(queue, folder=tmp_path / "elsewhere")
    again = Answers(elsewhere, generated, range(2), bank, steps=4, known=known)
    assert torch.equal(again.of(jobs)["losses"], found["losses"])
    torch.testing.assert_close(again.of(jobs)["images"], found["images"], atol=1e-6, rtol=0)
    assert not elsewhere.folder.exists()
    again.of([Job((3,))])
    assert len([*elsewhere.folder.iterdir()]) == 2  # weights and answer of what was not known
    other = replace(queue, recipe=replace(RECIPE, steps=121)).about | {"bank": bank.digest}
    assert Kept(file.path, other).read() == {}
    file.path.write_bytes(written[:100])
    with pytest.raises(InputError, match="cannot be read as kept answers"):
        file.read()
