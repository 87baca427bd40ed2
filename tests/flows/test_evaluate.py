"""Whether the attribution is true, asked from the command line, of a tiny checkpoint and of the demo's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from flows import evaluate as flow
from mucs import InputError
from mucs.evaluation.retraining import Job
from tests.conftest import read_rows, write_manifest

TINY = {
    "plan": {
        "generated": 2,
        "noises": 4,
        "remove": 4,
        "draws": 2,
        "unlearning": {"learning_rate": 3e-4, "batch_size": 8, "max_steps": 12},
        "recipe": {"steps": 60, "batch_size": 8, "learning_rate": 1e-3, "warmup_steps": 5},
    }
}


@pytest.fixture
def studies(tmp_path, monkeypatch):
    """The project's studies, with a quick one that takes seconds."""
    known = yaml.safe_load(flow.STUDIES.read_text())
    file = tmp_path / "studies.yaml"
    file.write_text(yaml.safe_dump(known | {"quick": flow.merged(known["quick"], TINY)}))
    monkeypatch.setattr(flow, "STUDIES", file)
    return file


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server", "studies")
def test_a_checkpoint_of_ones_own_is_judged_and_the_work_is_kept(mucs, world, tmp_path):
    given = ("--checkpoint", world.checkpoint, "--train", world.train, "--held-out", world.held_out)
    words = ("evaluate", "--quick", *given, "--learning-rate", "3e-3", "--folder", tmp_path / "out", "--json")
    status, out, err = mucs(*words)
    assert status in (0, 1), err
    found = json.loads(out)
    value, low, high = found["counterfactual"]["MUCS"]["MSE"]["auc"]
    assert 0 <= low <= value <= high <= 1
    assert (status == 0) == (low > 0.5)
    assert found["plan"]["recipe"]["learning_rate"] == 1.5e-3
    results = tmp_path / "out" / "quick"
    assert json.loads((results / "results.json").read_text()) == found
    assert "| MUCS |" in (results / "results.md").read_text()
    assert (
        "Unlearning converged for 0 of 2 generated items.\nThe scores of the others understate" in mucs(*words[:-1])[1]
    )
    assert {path.suffix for path in results.iterdir()} == {".json", ".md", ".png"}
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "retrained").iterdir()}
    assert json.loads(mucs(*words)[1]) == found
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "retrained").iterdir()} == kept


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_rights_holders_are_left_out_one_at_a_time_and_the_work_is_kept(mucs, world, studies, tmp_path):
    tiny = {
        "train": {"path": str(world.train)},
        "held_out": {"path": str(world.held_out)},
        "network": {"channels": [8, 16], "norm_num_groups": 4, "attention_head_dim": 8},
        "plan": TINY["plan"] | {"group": 1, "draws": 0, "holders": 3, "pseudo_groups": 2},
    }
    known = yaml.safe_load(studies.read_text())
    studies.write_text(yaml.safe_dump(known | {"holders": flow.merged(known["holders"], tiny)}))
    words = ("evaluate", "holders", "--folder", tmp_path / "out")
    status, out, err = mucs(*words, "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["holders"]["holders"]["sizes"] == {"Ada": 8, "Ben": 8, "Cleo": 8}
    for kind in ("holders", "random groups"):
        of = found["holders"][kind]
        assert [*of["sizes"].values()] == [8, 8, 8]
        assert len(of["loss"]) == 4 + 2 * 4 + 1  # forms of forgetting, sums of items' scores, and the size
        for measure in ("loss", "MSE"):
            assert -1 <= of["ceiling"][measure] <= 1
            assert of[measure]["group forgotten"]["beyond"] == [0, 0, 0]
            assert of[measure]["size"]["spearman"] == [0, 0, 0]
            for each in of[measure].values():
                assert -1 <= each["spearman"][0] <= 1
                assert 0 <= each["ndcg"][0] <= 1
    retrained = [*(tmp_path / "out" / "retrained").glob("*.safetensors")]
    assert len(retrained) == 2 * (1 + 3 + 3)
    forgotten = [*(tmp_path / "out" / "losses" / "groups").glob("*/weights.safetensors")]
    assert len(forgotten) == 2 * (3 + 3) + 2  # antithetically too
    kept = {path: path.stat().st_mtime_ns for path in (*retrained, *forgotten)}
    assert "| group forgotten, standing |" in mucs(*words)[1]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert json.loads((tmp_path / "out" / "holders" / "results.json").read_text()) == found
    assert (tmp_path / "out" / "holders" / "random-groups.png").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_what_is_paid_to_images_that_were_never_trained_on_is_told_by_score_and_bound(mucs, world, studies, tmp_path):
    tiny = {
        "checkpoint": str(world.checkpoint),
        "train": {"path": str(world.train)},
        "held_out": {"path": str(world.held_out)},
        "plan": TINY["plan"] | {"draws": 0, "methods": ["random", "MUCS"]},
    }
    known = yaml.safe_load(studies.read_text())
    studies.write_text(yaml.safe_dump(known | {"payments": flow.merged(known["payments"], tiny)}))
    status, out, err = mucs("evaluate", "payments", "--folder", tmp_path / "out", "--json")
    assert status == 0, err
    found = json.loads(out)["payments"]
    assert found.keys() == {"random", "MUCS"} | {
        f"MUCS, {variant}"
        for of in ("", "difference, ")
        for variant in (f"{of}decoy p ≤ 0.05", f"{of}centred both ways")
    } | {"MUCS, against decoys", "MUCS, difference"}
    for name, of in found.items():
        assert 0 <= of["unseen"][0] <= 1, name
        assert 0 <= of["unpaid"] <= 1, name
    assert found["random"]["unpaid"] == 0
    assert "| MUCS, centred both ways |" in (tmp_path / "out" / "payments" / "results.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Give the name of a study, or --quick"),
        (("openmoji", "--quick"), "Give the name of a study, or --quick"),
        (("nothing",), "There is no study 'nothing'"),
        (("openmoji", "--learning-rate", "1e-3"), "go with --quick"),
        (("--quick", "--checkpoint", "here"), "give all of them"),
        (("cifar2", "--data", "gone.parquet"), "gone.parquet is missing"),
        (("openmoji", "--data", "gone"), "gone is missing"),
    ],
)
@pytest.mark.usefixtures("prefect_server")
def test_bad_input_is_one_sentence(mucs, tmp_path, words, said):
    status, out, err = mucs("evaluate", *words, "--folder", tmp_path / "out")
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"plan": {"methods": ["MUCS", "MUSC"]}}, "no method 'MUSC'; name some of: random, pixel cosine"),
        ({"plan": {"methods": ["random", "D-TRAK"]}}, 'methods random, D-TRAK; name "MUCS" beside them'),
        ({"judged": ["MUCS", "TRAK"], "plan": {"methods": ["MUCS"]}}, "no method 'TRAK'; name some of: MUCS."),
        ({"judged": ["random"], "plan": {"methods": ["MUCS", "random"]}}, 'name "MUCS" beside them'),
        ({"plan": {"group": 0}}, "group is 0; give at least 1"),
        ({"plan": {"generated": 3, "group": 2}}, "a whole number of groups"),
        ({"plan": {"seeds": []}}, "needs a seed"),
        ({"plan": {"holders": 1000}}, "rights holders, the study asks for 1000; ask for fewer"),
        ({"plan": {"holders": 2, "pseudo_groups": 1}}, "pseudo_groups is 1; give at least 2"),
    ],
)
@pytest.mark.usefixtures("prefect_server")
def test_a_study_that_asks_for_what_is_not_there_is_refused_before_any_work(studies, mucs, tmp_path, changed, said):
    known = yaml.safe_load(studies.read_text())
    studies.write_text(yaml.safe_dump(known | {"quick": flow.merged(known["quick"], changed)}))
    status, out, err = mucs("evaluate", "--quick", "--folder", tmp_path / "out")
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_every_study_can_be_read_and_what_is_wrong_in_one_is_named(studies):
    for name in yaml.safe_load(studies.read_text()):
        spec = flow.read_spec(name)
        assert spec.plan.generated % spec.plan.group == 0
    with pytest.raises(InputError, match=r"The study quick cannot be read at .*steps"):
        flow.read_spec("quick", plan={"recipe": {"steps": "many"}})


def test_images_are_read_with_their_classes_and_no_more_than_asked(world, tmp_path):
    from tasks.read import Source, read_column, read_images

    images, labels = read_images(Source(world.train, per_class=3))
    assert (tuple(images.shape), sorted(labels.tolist())) == ((6, 3, 8, 8), [0, 0, 0, 1, 1, 1])
    assert read_column(Source(world.train, per_class=3), "id") == ("t00", "t01", "t02", "t03", "t04", "t05")
    with pytest.raises(InputError, match="has no column artist; add it"):
        read_column(Source(world.train), "artist")
    with pytest.raises(InputError, match=r"all\.parquet says nothing of rights_holder"):
        read_column(Source(world.train / "all.parquet"), "rights_holder")
    assert read_images(Source(world.train, size=4))[0].shape[-1] == 4
    folder = world.copy("train", tmp_path / "train")
    (folder / "t03.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"t03\.png of .* is not a PNG"):
        read_images(Source(folder))
    write_manifest(folder, [{name: row[name] for name in ("id", "sha256")} for row in read_rows(folder)])
    with pytest.raises(InputError, match="no column file_name"):
        read_images(Source(folder))


@pytest.mark.slow
def test_mucs_beats_random_removal_on_the_demos_checkpoint(tmp_path):
    """A change that quietly ruins the attribution is caught here."""
    command = [Path(sys.executable).parent / "mucs", "evaluate", "--quick", "--folder", tmp_path, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=None)
    assert done.returncode == 0, done.stderr
    auc = json.loads(done.stdout)["counterfactual"]["MUCS"]["MSE"]["auc"]
    assert auc[1] > 0.5


def test_kept_answers_are_those_of_the_studies_that_name_them(tmp_path):
    """Where a study's images, recipe or probe have changed, its answers are to be made anew."""
    for name in ("openmoji", "holders"):
        spec = flow.read_spec(name)
        study = flow.prepare(spec, tmp_path, 1, "cpu")
        answers = study.known_answers
        assert Job() in answers
        for job, found in answers.items():
            assert found["losses"].shape == (spec.plan.generated,)
            assert found["images"].shape == (spec.plan.generated, *study.like.shape)
            assert set(job.removed) < set(range(len(study.images)))
        untouched, without = (
            torch.stack([found["losses"] for job, found in answers.items() if bool(job.removed) == removed]).mean()
            for removed in (False, True)
        )
        assert untouched < without
