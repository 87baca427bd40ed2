"""Pulling, against a real DVC repository on a real S3 server."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import tasks.pull
from mucs import InputError
from tasks.pull import file_digests, pull
from tasks.register import init_registry, register
from tasks.s3 import client
from tasks.serve import S3Server, s3_server
from tests.conftest import draw, training_rows, write_folder
from tests.tasks.test_registry import git


def test_files_are_fetched_once_and_digested(registry, world, tmp_path):
    first = pull.fn(str(registry), "v1", "train", tmp_path)
    again = pull.fn(str(registry), "v1", "train", tmp_path)
    assert (first.fetched, again.fetched) == (25, 0)
    assert first.digest == again.digest
    assert first.listing() == {path.name: file_digests(path)[1] for path in sorted(world.train.iterdir())}
    assert first.listing() == {path.name: file_digests(path)[1] for path in sorted(first.folder.iterdir())}


def test_a_spoiled_cache_is_mended(registry, tmp_path):
    pulled = pull.fn(str(registry), "v1", "train", tmp_path)
    spoiled = pulled.folder / "t00.png"
    spoiled.chmod(0o644)
    spoiled.write_bytes(b"spoiled")
    (pulled.folder / "t01.png").unlink()
    again = pull.fn(str(registry), "v1", "train", tmp_path)
    assert again.fetched == 1
    assert {path.name: file_digests(path)[1] for path in sorted(again.folder.iterdir())} == pulled.listing()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "nowhere"}, "no files at 'nowhere'"),
        ({"revision": "v99"}, "no revision 'v99'"),
        ({"registry": "/nowhere"}, "not a registry"),
    ],
)
def test_what_is_not_there_is_named(registry, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        pull.fn(**({"registry": str(registry), "revision": "v1", "path": "train", "cache": tmp_path} | change))


@pytest.fixture
def own_registry(s3, world, tmp_path):
    """A registry that a test may spoil, and the keys of its training images on S3."""
    remote = tmp_path.name.lower().replace("_", "-")
    register.fn(tmp_path / "registry", f"s3://registry/{remote}", {"train": world.train}, "v1")
    listed = client().list_objects_v2(Bucket="registry", Prefix=f"{remote}/")["Contents"]
    return tmp_path / "registry", [item["Key"] for item in listed if not item["Key"].endswith(".dir")]


def test_altered_bytes_stop_the_pull(own_registry, tmp_path):
    folder, keys = own_registry
    client().put_object(Bucket="registry", Key=keys[0], Body=b"altered")
    with pytest.raises(InputError, match="was altered"):
        pull.fn(str(folder), "v1", "train", tmp_path / "cache")
    pieces = [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.name.startswith(".part")]
    assert pieces == []


def test_a_missing_object_is_named(own_registry, tmp_path):
    folder, keys = own_registry
    client().delete_object(Bucket="registry", Key=keys[0])
    with pytest.raises(InputError, match="does not hold all of 'train'"):
        pull.fn(str(folder), "v1", "train", tmp_path / "cache")


def commit(folder, files):
    """Commit files to the registry, and move its tag there."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for words in (("add", "-Af"), ("commit", "-qm", "spoil"), ("tag", "-f", "v1")):
        git(folder, *words)


KILLED = """
import os, sys, signal
from pathlib import Path
from tasks import register
import dvc.config, dvc.repo
name = sys.argv[1]
if name == "configuring":  # the file is open for writing, and empty
    dvc.config.Config._save_config = lambda self, *a: (Path(self.files["repo"]).write_text(""), os.kill(os.getpid(), 9))
elif name == "adding":
    dvc.repo.Repo.add = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
else:
    run = register.command
    def command(folder, *words):
        if name in words:
            if name in ("checkout", "tag"):
                (folder / ".git/index.lock").touch()
                (folder / "train.dvc").write_text("outs:\\n- md")
            os.kill(os.getpid(), signal.SIGKILL)
        return run(folder, *words)
    register.command = command
register.register.fn(Path(sys.argv[2]), sys.argv[3], {"train": Path(sys.argv[4])}, "v1")
"""


@pytest.mark.parametrize(
    "at",
    [
        *("commit", "adding", "update-ref"),
        *(pytest.param(at, marks=pytest.mark.slow) for at in ("init", "configuring", "fetch", "checkout", "tag")),
    ],
)
def test_a_registration_that_is_killed_is_done_by_the_next(s3, world, tmp_path, at):
    registry, remote = tmp_path / "registry", f"s3://registry/killed-{at}"
    words = [sys.executable, "-c", KILLED, at, str(registry), remote, str(world.train)]
    assert subprocess.run(words, capture_output=True).returncode == -signal.SIGKILL
    register.fn(registry, remote, {"train": world.train}, "v1")
    assert pull.fn(str(registry), "v1", "train", tmp_path / "cache").fetched == 25
    assert {path.name for path in tmp_path.iterdir()} == {"registry", "cache"}


def test_a_missing_bucket_is_named(own_registry, tmp_path):
    folder, _ = own_registry
    config = folder / ".dvc" / "config"
    commit(folder, {".dvc/config": config.read_text().replace("s3://registry", "s3://no-such-bucket")})
    with pytest.raises(InputError, match="no such bucket"):
        pull.fn(str(folder), "v1", "train", tmp_path / "cache")


@pytest.mark.slow
def test_a_pull_survives_a_restart_of_s3(tmp_path, s3, prefect_server, monkeypatch):
    rows = training_rows("r", 28)
    folder = write_folder(tmp_path / "train", [draw(i, 0) for i in range(28)], rows)
    server = S3Server(tmp_path / "s3")
    server.start()
    try:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        client().create_bucket(Bucket="registry")
        register.fn(tmp_path / "registry", "s3://registry/dvc", {"train": folder}, "v1")
        server.stop()
        outcome = []
        pulling = threading.Thread(
            target=lambda: outcome.append(pull(str(tmp_path / "registry"), "v1", "train", tmp_path / "cache"))
        )
        pulling.start()
        time.sleep(3)
        assert not outcome
        server.start()
        pulling.join(timeout=120)
        assert outcome[0].fetched == 29
    finally:
        server.stop()


@pytest.mark.slow
def test_the_server_ends_with_its_block_and_keeps_its_data(tmp_path, s3):
    """`s3` keeps the environment that this test leaves behind."""
    with s3_server(tmp_path) as server:
        client().create_bucket(Bucket="kept")
        client().put_object(Bucket="kept", Key="a", Body=b"a")
        process = server.process
    assert process.poll() is not None
    with s3_server(tmp_path):
        assert client().get_object(Bucket="kept", Key="a")["Body"].read() == b"a"
    shutil.rmtree(tmp_path)


@pytest.fixture
def asked(monkeypatch):
    """What is asked of S3 by pulls, and which files are hashed."""
    found = []

    def counted(*words):
        made = client(*words)
        made.meta.events.register("before-call.s3", lambda model, **_: found.append(model.name))
        return made

    monkeypatch.setattr(tasks.pull, "client", counted)
    monkeypatch.setattr(tasks.pull, "file_digests", lambda path: found.append("hash") or file_digests(path))  # type: ignore[func-returns-value]
    return found


def test_a_file_is_asked_for_once_and_hashed_once(registry, tmp_path, asked):
    pull.fn(str(registry), "v1", "train", tmp_path)
    assert sorted(asked) == ["GetObject"] * 26 + ["hash"] * 26  # and the list
    asked.clear()
    assert pull.fn(str(registry), "v1", "train", tmp_path).fetched == 0
    assert asked == []


def test_what_was_touched_is_hashed_again_and_what_is_too_much_goes(registry, tmp_path, asked):
    pulled = pull.fn(str(registry), "v1", "train", tmp_path)
    asked.clear()
    os.utime(pulled.folder / "t00.png")
    pull.fn(str(registry), "v1", "train", tmp_path)
    assert asked == ["hash"] * 2  # the list, and the file
    asked.clear()
    (pulled.folder / "more.png").write_bytes(b"")
    assert pull.fn(str(registry), "v1", "train", tmp_path) == pulled.__class__(**vars(pulled) | {"fetched": 0})
    assert asked == ["hash"]
    assert not (pulled.folder / "more.png").exists()


def test_a_set_that_grows_is_not_hashed_anew(s3, world, tmp_path, asked):
    folder = world.copy("train", tmp_path / "train")
    for version in ("v1", "v2"):
        register.fn(tmp_path / "registry", "s3://registry/grown", {"train": folder}, version)
        (folder / "more.txt").write_text("more")
    first = pull.fn(str(tmp_path / "registry"), "v1", "train", tmp_path / "cache")
    asked.clear()
    second = pull.fn(str(tmp_path / "registry"), "v2", "train", tmp_path / "cache")
    assert (second.files, second.fetched) == (first.files + 1, 1)
    assert sorted(asked) == ["GetObject"] * 2 + ["hash"] * 2
    asked.clear()
    assert pull.fn(str(tmp_path / "registry"), "v1", "train", tmp_path / "cache").digest == first.digest
    assert asked == []


def test_a_remote_that_keeps_versions_gives_those_of_the_commit(s3, world, tmp_path):
    client().create_bucket(Bucket="versioned")
    client().put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    folder = tmp_path / "registry"
    init_registry(folder, "s3://versioned/data")

    def dvc(*words: str) -> None:
        subprocess.run((Path(sys.executable).parent / "dvc", *words), cwd=folder, check=True)

    dvc("remote", "modify", "s3", "version_aware", "true")
    (folder / "sub").mkdir()
    for tag in ("v1", "v2"):
        shutil.copytree(world.train, folder / "sub/train", dirs_exist_ok=True)
        (folder / "sub/train/new").mkdir(exist_ok=True)
        (folder / "sub/train/new/note.txt").write_text(tag)
        (folder / "one.txt").write_text(f"{tag} alone")
        dvc("add", "--quiet", "sub/train", "one.txt")
        dvc("push", "--quiet")
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", tag)
        git(folder, "tag", tag)
    keys = {each["Key"] for each in client().list_objects_v2(Bucket="versioned")["Contents"]}
    assert {"data/one.txt", "data/sub/train/t00.png"} < keys
    for tag in ("v1", "v2"):
        pulled = pull.fn(str(folder), tag, "sub/train", tmp_path / "cache")
        assert pulled.files == 26
        assert (pulled.folder / "new/note.txt").read_text() == tag
        assert (pulled.folder / "t03.png").read_bytes() == (world.train / "t03.png").read_bytes()
        assert (
            pull.fn(str(folder), tag, "one.txt", tmp_path / "cache").folder / "one.txt"
        ).read_text() == f"{tag} alone"
    for version in client().list_object_versions(Bucket="versioned", Prefix="data/one.txt")["Versions"]:
        client().delete_object(Bucket="versioned", Key="data/one.txt", VersionId=version["VersionId"])
    with pytest.raises(InputError, match=r"does not hold all of 'one\.txt'"):
        pull.fn(str(folder), "v1", "one.txt", tmp_path / "other")
    (folder / "one.txt").write_text("not pushed")
    dvc("add", "--quiet", "one.txt")
    git(folder, "commit", "-qam", "not pushed")
    with pytest.raises(InputError, match=r"'one\.txt' has no version on the remote 's3'.*`dvc push`"):
        pull.fn(str(folder), "HEAD", "one.txt", tmp_path / "other")
