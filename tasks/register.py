"""Register: put folders under DVC in a Git registry, push them to its S3 remote, and tag the state."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from prefect import task

from mucs import InputError
from tasks.s3 import plain_errors, translate

IDENTITY = {
    "GIT_AUTHOR_NAME": "mucs",
    "GIT_AUTHOR_EMAIL": "mucs@localhost",
    "GIT_COMMITTER_NAME": "mucs",
    "GIT_COMMITTER_EMAIL": "mucs@localhost",
}


def command(registry: Path, *words: str) -> str:
    """Run a program in the registry and return what it prints; InputError with its last line if it fails."""
    done = subprocess.run(words, cwd=registry, env=os.environ | IDENTITY, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InputError(f"`{' '.join(words[:3])}` failed in the registry {registry}: {reason}.")
    return done.stdout


def begin(registry: Path, remote: str) -> None:
    """An empty registry with a remote, made beside and moved into the folder, `.git` last."""
    from dvc.repo import Repo

    fresh = registry.parent / f".{registry.name}.part"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    command(fresh, "git", "init", "-q", "-b", "main")
    with Repo.init(str(fresh)) as repo, repo.config.edit() as config:
        config["core"] = {"remote": "s3"}
        config["remote"] = {"s3": {"url": remote}}
    registry.mkdir(exist_ok=True)
    shutil.rmtree(registry / ".git", ignore_errors=True)
    for path in sorted(fresh.iterdir(), key=lambda path: path.name == ".git"):
        place = registry / path.name
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        path.replace(place)
    fresh.rmdir()


def is_begun(registry: Path) -> bool:
    """Whether there is a commit: what was killed before it had one is begun anew."""
    done = subprocess.run(
        ("git", "rev-parse", "--verify", "--quiet", "HEAD"),
        cwd=registry,
        env=os.environ | IDENTITY,
        capture_output=True,
    )
    return done.returncode == 0


@task
def register(registry: Path, remote: str, folders: Mapping[str, Path], tag: str) -> None:
    """Make or extend the registry so that each name holds its folder's files, push them to `remote`, and tag the commit.

    Args:
        registry: The folder, which becomes a Git repository unless it is one.
        remote: `s3://bucket/prefix`; credentials and endpoint come from boto3's usual chain.
        folders: What to register, by name in the registry.
        tag: What Git calls the commit.

    Raises:
        InputError: If a folder is missing or Git, DVC or S3 refuse.
    """
    from dvc.repo import Repo

    if not (registry / ".git").exists() or not is_begun(registry):
        begin(registry, remote)
    for lock in (registry / ".git").rglob("*.lock"):  # of a Git that was killed
        lock.unlink()
    for name, folder in folders.items():
        if not folder.is_dir():
            raise InputError(f"{folder} is missing; run `dvc repro` to build it.")
        shutil.rmtree(registry / name, ignore_errors=True)
        shutil.copytree(folder, registry / name)
        (registry / f"{name}.dvc").unlink(missing_ok=True)  # written anew, as a kill may have torn it
    with plain_errors(f"pushing to {remote}"), Repo(str(registry)) as repo:
        for name in folders:
            repo.add(str(registry / name))
        try:
            repo.push(jobs=8)
        except Exception as error:
            raise translate(error, f"pushing to {remote}") or error from error
    command(registry, "git", "add", "-A")
    if command(registry, "git", "status", "--porcelain"):
        command(registry, "git", "commit", "-q", "-m", f"Register {', '.join(folders)}")
    command(registry, "git", "tag", "-f", tag)
    # the registry keeps references; the bytes are in S3, and that is where they are pulled from
    shutil.rmtree(registry / ".dvc" / "cache", ignore_errors=True)
    for name in folders:
        shutil.rmtree(registry / name)
