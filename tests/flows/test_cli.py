"""The `mucs` command: answers, and one sentence with status 2 for bad input, the ledger as it was."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mucs.attribution import Settings
from tasks.pull import file_digests
from tests.conftest import read_rows, write_manifest
from tests.flows.test_audit import asked, evidence, run_audit, words
from tests.mucs.ledger.test_ledger import attached

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache that all these tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUCS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def ledger(registry, prefect_server, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    run_audit(registry, folder, "cli")
    return folder / "ledger"


def refused(answer: tuple[int, str, str]) -> str:
    """The one sentence of a refusal."""
    status, out, err = answer
    told = [line for line in err.strip().splitlines() if not re.match(r" ?\d+:\d\d  ", line)]
    assert (status, out) == (2, "")
    assert len(told) == 1
    assert told[0].startswith("mucs: ")
    assert "Traceback" not in err
    return told[0]


def test_why_and_used_answer_people_and_programs(mucs, ledger):
    status, out, _ = mucs("why", "g0", "--ledger", ledger)
    assert status == 0
    assert "t03" in out
    rows = json.loads(mucs("why", "g0", "--top", 3, "--ledger", ledger, "--json")[1])
    assert [(row["rank"], row["generated"]) for row in rows] == [(1, "g0"), (2, "g0"), (3, "g0")]
    used = json.loads(mucs("used", "t03", "--ledger", ledger, "--json")[1])
    assert used[0]["generated"] == "g0"
    assert json.loads(mucs("used", rows[0]["training_sha256"][:12], "--ledger", ledger, "--json")[1]) == used


def test_sql_and_verify(mucs, ledger, monkeypatch):
    monkeypatch.setenv("MUCS_LEDGER", str(ledger))
    assert json.loads(mucs("sql", "SELECT count(*) AS edges FROM edges", "--json")[1]) == [{"edges": 36}]
    assert "No rows." in mucs("sql", "SELECT 1 WHERE false")[1]
    assert mucs("verify")[0] == 0


def test_a_changed_score_fails_verification_with_status_1(mucs, ledger, tmp_path):
    changed = shutil.copytree(ledger, tmp_path / "changed")
    with attached(changed) as connection:
        connection.execute("UPDATE file.edges SET score = 0.5 WHERE rank = 2")
    status, out, _ = mucs("verify", "--ledger", changed)
    assert status == 1
    assert "edges of run" in out


def test_a_proof_needs_nothing_but_itself_and_the_root(mucs, ledger, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert mucs("prove", "g0", "t03", "--ledger", ledger)[0] == 0
    root = json.loads(Path("proof.json").read_text())["root"]
    (run,) = json.loads(
        mucs("sql", "SELECT record->'results'->>'edges_root' AS root FROM runs", "--json", "--ledger", ledger)[1]
    )
    assert run["root"] == root
    monkeypatch.delenv("MUCS_LEDGER", raising=False)
    status, out, _ = mucs("verify", "--proof", "proof.json", "--root", root)
    assert status == 0
    assert "t03" in out
    assert "stands at rank 1 behind g0" in out
    status, out, _ = mucs("verify", "--proof", "proof.json", "--root", "0" * 64)
    assert status == 1
    assert "does not hold" in out
    assert json.loads(mucs("verify", "--proof", "proof.json", "--root", root, "--json")[1])["holds"]
    Path("broken.json").write_text("{}")
    for command, sentence in {
        ("verify", "--proof", "proof.json"): "both --proof and --root",
        ("verify", "--proof", "none.json", "--root", root): "cannot be read",
        ("verify", "--proof", "broken.json", "--root", root): "not a proof",
        ("prove", "g0", "nobody", "--ledger", str(ledger)): "no training item called 'nobody'",
        ("prove", "g0", "t03", "--ledger", str(ledger), "--output", "/dev/null/x"): "cannot be written",
    }.items():
        status, _, err = mucs(*command)
        assert status == 2
        assert sentence in err


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        (["why", "nobody"], "no generated item called 'nobody'"),
        (["used", "nobody"], "no training item called 'nobody'"),
        (["sql", "DELETE FROM edges"], "must be one SELECT"),
        (["sql", "SELECT nothing FROM edges"], "cannot be answered"),
        (["why", "g0", "--top", "0"], "--top"),
        (["nonsense"], "nonsense"),
        (["audit"], "--registry"),
    ],
)
def test_bad_questions_are_refused(mucs, ledger, question, sentence):
    where = [] if question[0] in ("nonsense", "audit") else ["--ledger", ledger]
    assert sentence in refused(mucs(*question, *where))


def test_nothing_that_is_printed_acts_on_the_terminal(mucs, ledger):
    query = r"""SELECT 'a' || chr(27) || '[2J' || chr(8238) || chr(155) || 'b' AS "x" """
    assert r"a\x1b[2J\u202e\x9bb" in mucs("sql", query, "--ledger", ledger)[1]
    status, printed, _ = mucs("sql", query, "--ledger", ledger, "--json")
    assert json.loads(printed) == [{"x": "a\x1b[2J\u202e\x9bb"}]
    assert printed.replace("\n", "").isprintable()
    status, _, said = mucs("verify", "--ledger", "no\x1b[2J\nsuch")
    assert (status, said.strip().isprintable()) == (2, True)


def test_a_missing_ledger_is_refused(mucs, tmp_path):
    assert "There is no ledger" in refused(mucs("why", "g0", "--ledger", tmp_path / "none"))


def spoil_tensors(folder: Path, value: float) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["conv_in.weight"][0] = value
    save_file(tensors, path)


def other_network(folder: Path) -> None:
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"block_out_channels": [16, 64]}))


def other_size(folder: Path) -> None:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / "g0.png")
    write_manifest(folder, [row | {"sha256": file_digests(folder / row["file_name"])[1]} for row in read_rows(folder)])


def corrupt(folder: Path) -> None:
    (folder / "t00.png").write_bytes(b"not an image")
    write_manifest(folder, [row | {"sha256": file_digests(folder / row["file_name"])[1]} for row in read_rows(folder)])


def rows(change):
    return lambda folder: write_manifest(folder, change(read_rows(folder)))


SPOILED = {
    "corrupt image": ("train", corrupt, "'image decodes'"),
    "missing image": ("train", lambda folder: (folder / "t00.png").unlink(), "'file exists'"),
    "missing column": (
        "train",
        rows(lambda r: [{k: v for k, v in row.items() if k != "licence"} for row in r]),
        "'licence'",
    ),
    "duplicate ids": ("train", rows(lambda r: [row | {"id": "same"} for row in r]), "'id'"),
    "path out of the folder": (
        "train",
        rows(lambda r: [r[0] | {"file_name": "../x.png"}, *r[1:]]),
        "'path stays inside'",
    ),
    "empty training set": (
        "train",
        lambda folder: (folder / "metadata.csv").write_text(
            (folder / "metadata.csv").read_text().splitlines()[0] + "\n"
        ),
        "0 rows",
    ),
    "another size": ("generated", other_size, "'height'"),
    "pickle": ("checkpoint", lambda folder: torch.save({}, folder / "unet" / "weights.pt"), "weights.pt"),
    "not finite": ("checkpoint", lambda folder: spoil_tensors(folder, torch.inf), "'is finite'"),
    "does not fit": ("checkpoint", other_network, "'shape fits'"),
}


QUICKLY = {"corrupt image", "missing column", "pickle", "does not fit"}  # one of each kind


@pytest.fixture(scope="module")
def spoiled_registry(registry, world, tmp_path_factory) -> Path:
    """The registry with every spoiled folder in it, under its own name, tagged v1."""
    from tasks.register import register

    root = tmp_path_factory.mktemp("spoiled")
    folders = {name: getattr(world, name) for name in ("checkpoint", "train", "held_out", "generated")}
    for name, (kind, spoil, _) in SPOILED.items():
        folders[name.replace(" ", "-")] = world.copy(kind, root / name.replace(" ", "-"))
        spoil(folders[name.replace(" ", "-")])
    register.fn(root / "registry", "s3://registry/spoiled", folders, "v1")
    return root / "registry"


@pytest.mark.parametrize(
    "name", [name if name in QUICKLY else pytest.param(name, marks=pytest.mark.slow) for name in SPOILED]
)
def test_a_spoiled_input_is_refused_and_the_ledger_is_untouched(mucs, spoiled_registry, ledger, name, tmp_path):
    own, published, entries = shutil.copytree(ledger, tmp_path / "ledger"), evidence("cli"), "SELECT * FROM entries"
    kind, _, sentence = SPOILED[name]
    assert sentence in refused(
        mucs(*words(spoiled_registry, tmp_path, "cli"), f"--{kind.replace('_', '-')}", name.replace(" ", "-"))
    )
    assert asked(own, entries) == asked(ledger, entries)
    assert evidence("cli") == published
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--revision", "v99"], "no revision 'v99'"),
        (["--train", "nowhere"], "no files at 'nowhere'"),
        (["--registry", "/nowhere"], "not a registry"),
        (["--log", "s3://no-such-bucket/log"], "no such bucket"),
        (["--log", "gs://bucket/log"], "not an S3 address"),
        (["--log", "/dev/null/log"], "is not a folder; give another place for the store"),
        (["--licence", "CC-BY-4.0", "--set", "learning_rate=0"], "learning rate"),
        (["--set", "learning_rat=1"], "not a setting"),
        (["--set", "max_steps=many"], "max_steps cannot be 'many'"),
        (["--set", "stop=never"], "The stop rule 'never' is not known"),
        (["--set", "repeats=0"], "repeats is 0; give at least 1"),
        (["--set", "down_weight=2"], "down-weighting is 2"),
        (["--set", "screening=[[4, 0.5], [2, 0.1]]"], "rising"),
        (["--set", "trainable=nothing"], "policy 'nothing'"),
        (["--set", "num_noises=5000"], "smaller noise bank"),
        (["--set", "batch_size=0"], "batch size"),
        (["--device", "tpu"], "'tpu'"),
    ],
)
def test_bad_options_are_refused(mucs, registry, tmp_path, monkeypatch, change, sentence):
    assert sentence in refused(mucs(*words(registry, tmp_path, "options"), *change))
    assert evidence("options") == {}
    assert not (tmp_path / "reports").exists()
    if (tmp_path / "ledger").exists():  # which what is found out late does not keep from being made
        assert asked(tmp_path / "ledger", "SELECT count(*) FROM entries") == [(0,)]


def test_a_calibration_without_held_out_images_is_refused(mucs, registry):
    inputs = ["--registry", registry, "--revision", "v1", "--licence", "CC-BY-4.0", "--held-out", ""]
    assert "give the folder of a held-out set" in refused(
        mucs("calibrate", *inputs, "--log", "s3://evidence/none", "--device", "cpu")
    )


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        pytest.param("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9", "does not answer", marks=pytest.mark.slow),
        ("AWS_ACCESS_KEY_ID", "nobody", "denies access"),
        ("AWS_SECRET_ACCESS_KEY", "wrong", "denies access"),
    ],
)
def test_s3_that_does_not_answer_or_refuses(mucs, registry, tmp_path, monkeypatch, variable, value, sentence):
    monkeypatch.setenv(variable, value)
    assert sentence in refused(mucs(*words(registry, tmp_path, "s3")))
    assert list(tmp_path.iterdir()) == []


def test_ledgers_that_cannot_be_used(mucs, registry, ledger, tmp_path):
    command, own = words(registry, tmp_path, "cli"), tmp_path / "ledger"
    own.write_text("text " * 5000)
    assert f"mucs rebuild --from {own} --log FOLDER --ledger OTHER" in refused(mucs(*command))
    own.unlink()
    own.mkdir()
    (own / "catalogue.sqlite").write_text("text " * 5000)
    assert "cannot be opened as a ledger" in refused(mucs(*command))
    shutil.rmtree(own)
    shutil.copytree(ledger, own)
    assert "other ends before entry 1" in refused(mucs(*words(registry, tmp_path, "other")))
    with attached(own) as connection:
        connection.execute("UPDATE file.ledger SET schema_version = 1")
    assert "is of schema 1, this program's is" in refused(mucs(*command))


def test_every_command_has_help(mucs):
    from flows.cli import cli

    for name, command in cli.commands.items():
        assert command.help, name
        assert mucs(name, "--help")[0] == 0
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        assert all(option.help for option in options), name


def test_prefect_deployments_name_flows_with_their_parameters():
    import inspect

    import yaml

    from flows.audit import audit
    from flows.calibrate import calibrate
    from flows.index import index
    from flows.royalties import royalties
    from flows.verify import verify

    deployments = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())["deployments"]
    nightly, _, _, calibration, weekly, daily, monthly = deployments
    flows = {"nightly": audit, "on-demand": audit, "fleet": audit, "calibration": calibrate, "monthly": royalties}
    flows |= {"daily": verify, "weekly": index}
    for deployment in deployments:
        flow: Any = flows[deployment["name"]]
        assert deployment["entrypoint"] == f"{flow.fn.__module__}.{flow.fn.__name__}"
        assert set(deployment["parameters"]) <= set(inspect.signature(flow.fn).parameters)
        taken = flow.validate_parameters(deployment["parameters"])
        if deployment not in (daily, monthly):
            assert taken["settings"].unlearning.learning_rate == 1e-4
            flat = flow.parameters.properties["settings"]["anyOf"][0][
                "properties"
            ]  # what Prefect's form of a run shows
            assert Settings.from_record({name: setting["default"] for name, setting in flat.items()}) == Settings()
    # an audit finds the calibration of its own inputs and settings in its log
    assert calibration["parameters"].items() <= nightly["parameters"].items()
    # and what is sent finds the index
    of_index = {name: value for name, value in weekly["parameters"].items() if name != "batch"}
    assert of_index.items() <= nightly["parameters"].items()
    assert nightly["schedules"][0]["cron"]
    assert monthly["schedules"][0]["cron"].split()[2] == "5"  # of each month
    assert monthly["parameters"]["ledger"] == daily["parameters"]["ledger"] == nightly["parameters"]["ledger"]
    assert "schedules" not in calibration


def test_the_command_without_the_service_says_what_to_install():
    code = (
        "import sys; sys.modules['rfc8785'] = None; sys.argv = ['mucs', 'verify']; from flows.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "mucs: The package rfc8785 is missing; run: pip install 'mucs[service]'.\n"


def test_ctrl_c_on_the_way_out_of_which_another_error_comes_up_is_one_sentence(mucs, monkeypatch):
    def stopped(*_, **__):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise ConnectionError("no server to tell") from OSError("refused")

    monkeypatch.setattr("flows.evaluate.evaluate", stopped)
    status, out, err = mucs("evaluate", "openmoji")
    assert (status, out, err) == (130, "", "mucs: stopped; run the same command again to go on where it was.\n")
