"""`mucs registry`: from a checkpoint, a folder of images and a table to what an audit reads, on a real S3, Git and DVC."""

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.pull import pull
from tasks.register import changing
from tasks.registry import open_registry
from tests.conftest import draw, read_rows, write_folder, write_shards
from tests.flows.test_cli import refused

REMOTE = "s3://registry/easy"


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUCS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def git(folder: Path, *words: str) -> str:
    return subprocess.run(("git", *words), cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def state(registry: Path) -> tuple[str, str]:
    """Its commit, and what is there besides."""
    return git(registry, "rev-parse", "HEAD"), git(registry, "status", "--porcelain")


def write_table(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="") as f:
        writer = csv.DictWriter(f, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def own(world, tmp_path_factory) -> Path:
    """What a newcomer has: images in folders, and a table of the columns file, artist and label."""
    folder = tmp_path_factory.mktemp("own")
    for row in read_rows(world.train):
        place = folder / "images" / row["rights_holder"] / row["file_name"]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(world.train / row["file_name"], place)
    rows = [
        {
            "file": f"images/{row['rights_holder']}/{row['id']}.png",
            "artist": row["rights_holder"],
            "label": row["class"],
        }
        for row in read_rows(world.train)
    ]
    write_table(folder / "images.csv", rows)
    (folder / "images" / ".DS_Store").write_text("")
    (folder / "images" / "README.txt").write_text("mine")
    return folder


TRAIN = [
    *("--file-column", "file", "--holder-column", "artist", "--class-column", "label"),
    *("--fill", "licence=CC-BY-4.0", "--fill", "date=2024-01-31"),
]


@pytest.fixture(scope="module")
def made(s3, world, tmp_path_factory) -> Path:
    """A registry with a checkpoint."""
    from flows.registry import init
    from tasks.pull import default_cache

    folder = tmp_path_factory.mktemp("made") / "registry"
    assert init(folder, REMOTE, world.checkpoint, default_cache())
    assert not init(folder, REMOTE, world.checkpoint, default_cache())
    return folder


@pytest.fixture
def registry(made, tmp_path) -> Path:
    """One that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "registry"))


def test_a_folder_and_a_table_become_a_set_that_an_audit_reads(mucs, registry, own, tmp_path):
    add = ["registry", "add", "train", own / "images", "--csv", own / "images.csv", *TRAIN, "--registry", registry]
    status, out, err = mucs(*add, "--tag", "v1")
    assert (status, "Traceback" in err) == (0, False), err
    assert out.startswith("Added train (24 images, rights holders: 3, licences: CC-BY-4.0, commit ")
    assert out.endswith(", tag v1).\n")
    assert git(registry, "rev-parse", "v1") == git(registry, "rev-parse", "HEAD")
    assert git(registry, "status", "--porcelain") == ""
    assert git(registry, "log", "-1", "--format=%s") == "Add train"
    pulled = pull.fn(str(registry), "v1", "train", tmp_path / "cache")
    rows = read_rows(pulled.folder)
    assert len(rows) == 24
    assert rows[0] == {
        "id": "Ada/t00",
        "file_name": "Ada/t00.png",
        "rights_holder": "Ada",
        "class": "0",
        "licence": "CC-BY-4.0",
        "date": "2024-01-31",
        "sha256": rows[0]["sha256"],
    }
    assert not (registry / "train").exists()
    before = state(registry)
    assert mucs(*add, "--tag", "v1")[1].startswith("Nothing to do: the registry has train (24 images")
    assert state(registry) == before


def test_more_files_make_a_new_version_and_a_tag_stays(mucs, registry, own, tmp_path):
    images, table = tmp_path / "images", tmp_path / "images.csv"
    shutil.copytree(own / "images", images)
    shutil.copyfile(own / "images.csv", table)
    add = ["registry", "add", "train", images, "--csv", table, *TRAIN, "--registry", registry]
    assert mucs(*add, "--tag", "v1")[0] == 0
    shutil.copyfile(images / "Ada" / "t00.png", images / "new.png")
    assert "has no row for new.png" in refused(mucs(*add))
    with table.open("a") as f:
        f.write("new,Dora,1\n")
    before = state(registry)
    assert "The tag v1 names another version already" in refused(mucs(*add, "--tag", "v1"))
    assert state(registry) == before
    done = json.loads(mucs(*add, "--tag", "v2", "--json")[1])
    assert (done["is_new"], done["images"], done["rights_holders"], done["tag"]) == (True, 25, 4, "v2")
    assert len(read_rows(pull.fn(str(registry), "v1", "train", tmp_path / "cache").folder)) == 24
    assert len(read_rows(pull.fn(str(registry), "v2", "train", tmp_path / "cache").folder)) == 25


def test_held_out_sets_batches_and_shards_are_added_with_their_own_columns(mucs, registry, world, tmp_path):
    folder = write_folder(tmp_path / "made", [draw(1, 1)], [{"id": "a", "file_name": "a.png", "class": 1}])
    (folder / "metadata.csv").unlink()
    at = ["--registry", registry]
    out = mucs("registry", "add", "generated", folder, "--fill", "seed=unknown", "--fill", "class=1", *at)[1]
    assert out.startswith("Added generated (1 image, commit ")
    assert mucs("registry", "add", "held_out", world.held_out, *at)[0] == 0
    shards = write_shards(tmp_path / "shards", world.train, 2)
    assert mucs("registry", "add", "train-2", shards, "--as", "train", *at)[0] == 0
    assert open_registry(str(registry), "HEAD", "").outputs.keys() == {"checkpoint", "generated", "held_out", "train-2"}
    assert "Parquet files" in refused(mucs("registry", "add", "train", shards, "--fill", "licence=CC0-1.0", *at))


REFUSED = {
    "no licence": (["--holder-column", "artist"], "has no licence, date, class (it has"),
    "no such column": (
        ["--holder-column", "painter"],
        "has no column 'painter' to be the rights_holder; it has file_name",
    ),
    "no file": (["--file-column", "path"], "has no column 'path' to be the file_name"),
    "one column for two": (["--holder-column", "artist", "--prompt-column", "artist"], "is to be two of a manifest's"),
    "no value": (["--fill", "licence"], "--fill 'licence' is no value"),
    "no such value": (["--fill", "sha256=1"], "give a value for rights_holder"),
    "no tag": (["--tag", "a..b"], "'a..b' is no name for a tag"),
    "no such checkpoint": (["--checkpoint", "other"], "has no checkpoint 'other' yet"),
    "no kind": (["--as", "pictures"], "say it with --as checkpoint or train or held_out or generated"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_missing_is_one_sentence_and_changes_nothing(mucs, registry, tmp_path, name):
    options, sentence = REFUSED[name]
    folder = write_folder(tmp_path / "images", [draw(1, 1)], [{"file_name": "a.png", "artist": "Ada"}])
    before = state(registry)
    assert sentence in refused(mucs("registry", "add", "train", folder, *options, "--registry", registry))
    assert state(registry) == before


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "a.png").write_bytes(b"no image"), "'image decodes'"),
        (lambda folder: shutil.copyfile(folder / "a.png", folder / "b.png"), "has no row for b.png"),
        (lambda folder: (folder / "a.png").rename(folder / "b.png"), "names 'a.png' in row 1, which is no image"),
        (
            lambda folder: write_table(folder / "metadata.csv", [{"file_name": "a.png", "rights_holder": ""}]),
            "'rights_holder'",
        ),
        (
            lambda folder: write_table(folder / "metadata.csv", [{"file_name": "a.png", "date": "31.1.24"}]),
            "'date is sane'",
        ),
    ],
)
def test_what_does_not_pass_the_gates_is_not_pushed(mucs, registry, tmp_path, spoil, sentence):
    folder = write_folder(tmp_path / "images", [draw(1, 1)], [{"file_name": "a.png", "rights_holder": "Ada"}])
    write_table(folder / "metadata.csv", [{"file_name": "a.png", "rights_holder": "Ada"}])
    spoil(folder)
    fills = ["--fill", "licence=CC0-1.0", "--fill", "date=2024-01-31", "--fill", "class=1"]
    if "rights_holder" not in (folder / "metadata.csv").read_text():
        fills += ["--fill", "rights_holder=Ada"]
    before = state(registry)
    assert sentence in refused(mucs("registry", "add", "train", folder, *fills, "--registry", registry))
    assert state(registry) == before


def test_a_registry_is_made_only_where_nothing_else_is(mucs, made, s3, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("")
    init = ["registry", "init"]
    assert "holds something else than a registry" in refused(mucs(*init, tmp_path / "mine", "--remote", REMOTE))
    assert "no such bucket" in refused(mucs(*init, tmp_path / "new", "--remote", "s3://no-such-bucket/dvc"))
    assert "is not an S3 address" in refused(mucs(*init, tmp_path / "new", "--remote", "/srv/dvc"))
    assert f"has its data at {REMOTE}" in refused(mucs(*init, made, "--remote", "s3://registry/other"))
    assert mucs(*init, made, "--remote", REMOTE)[1] == f"Nothing to do: {made} is that registry already.\n"
    assert not (tmp_path / "new").exists()
    assert "is not a registry; make it with" in refused(
        mucs("registry", "add", "train", tmp_path / "mine", "--registry", tmp_path / "mine")
    )


def test_one_process_at_a_time_changes_a_registry(mucs, registry, world):
    with changing(registry):
        add = ["registry", "add", "held_out", world.held_out, "--registry", registry]
        assert "is being changed by another process" in refused(mucs(*add))


def test_s3_that_goes_away_leaves_the_registry_as_it_was(mucs, registry, world, monkeypatch):
    add = ["registry", "add", "checkpoint", world.checkpoint, "--registry", registry]
    (registry / "x.dvc").write_text("outs: []\n")
    before = state(registry)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert "denies access" in refused(mucs(*add))
    assert state(registry) == before


@pytest.mark.slow
def test_killed_it_leaves_the_registry_as_it_was_and_goes_on(mucs, registry, own):
    add = ["registry", "add", "train", own / "images", "--csv", own / "images.csv", *TRAIN, "--registry", registry]
    before = state(registry)
    with subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *map(str, add)], stderr=subprocess.PIPE, text=True
    ) as process:
        assert any("  push" in line for line in process.stderr)
        process.kill()
    assert state(registry) == before
    assert mucs(*add)[1].startswith("Added train (24 images")
    assert list((registry / ".dvc" / "tmp").glob("mucs/*")) == []


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_the_readmes_four_commands_lead_to_a_first_audit(mucs, s3, world, tmp_path, monkeypatch):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    block = re.search(r"## Auditing your own model.*?```sh\n(.*?)```", readme, re.DOTALL)[1]
    commands = [shlex.split(line) for line in block.replace("\\\n", "").strip().splitlines()]
    assert len(commands) == 4
    monkeypatch.chdir(tmp_path)
    world.copy("checkpoint", tmp_path / "model")
    rows = [
        {"file_name": row["file_name"], "artist": row["rights_holder"], "class": row["class"]}
        for row in read_rows(world.copy("train", tmp_path / "images"))
    ]
    (tmp_path / "images" / "metadata.csv").unlink()
    write_table(tmp_path / "images.csv", rows)
    made = [{"file_name": row["file_name"], "class": row["class"]} for row in read_rows(world.generated)]
    write_table(world.copy("generated", tmp_path / "made") / "metadata.csv", made)
    for words in commands:
        status, _, err = mucs(*words[1:])
        assert status == 0, err
    first = [word for word in commands[-1][1:] if word != "--estimate"]
    assert mucs(*first)[1].startswith("Attributed 3 generated items")
    assert "t03" in mucs("why", "g0", "--ledger", "mucs.ledger")[1]
