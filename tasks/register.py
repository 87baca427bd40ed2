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


@task
def register(registry: Path, remote: str, folders: Mapping[str, Path], tag: str) -> None:
    """Make or extend the registry so that each name holds its folder's files, push them to `remote`, and tag the commit.

    remote: `s3://bucket/prefix`; credentials and endpoint come from boto3's usual chain.
    Raises InputError if a folder is missing or Git, DVC or S3 refuse.
    """
    from dvc.repo import Repo

    registry.mkdir(parents=True, exist_ok=True)
    if not (registry / ".git").exists():
        command(registry, "git", "init", "-q", "-b", "main")
        with Repo.init(str(registry)) as repo, repo.config.edit() as config:
            config["core"] = {"remote": "s3", "analytics": False, "autostage": True}
            config["remote"] = {"s3": {"url": remote}}
    for name, folder in folders.items():
        if not folder.is_dir():
            raise InputError(f"{folder} is missing; run `dvc repro` to build it.")
        shutil.rmtree(registry / name, ignore_errors=True)
        shutil.copytree(folder, registry / name)
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
