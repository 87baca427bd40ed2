"""Register: make a Git registry with a remote on S3, and put folders under DVC in it, whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from prefect import task

from mucs import InputError
from mucs.text import first_line, for_terminal
from tasks.registry import open_registry
from tasks.s3 import check_bucket, split_url, translate

NAME, EMAIL = "mucs", "mucs@localhost"  # who commits, where Git knows nobody
JOBS = 8
BEGUN = {".dvc", ".dvcignore"}  # what a killed `init_registry` may leave, as `.git` comes last
SAID = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")


def command(folder: Path, *words: str) -> str:
    """Run Git in a folder and return what it prints; InputError with its reason if it fails."""
    done = _git(folder, *words)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith(("error:", "fatal:"))]
        reason = for_terminal((said or done.stderr.strip().splitlines() or ["no reason given"])[0], 200).rstrip(".:")
        raise InputError(f"`git {words[0]}` failed in {folder} ({reason}); mend that, and run this again.")
    return done.stdout.strip()


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in SAID}
    return subprocess.run(
        ("git", *words), cwd=folder, env=kept, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def is_begun(registry: Path) -> bool:
    """Whether a folder is a Git repository of its own with a commit."""
    return (registry / ".git").exists() and not _git(registry, "rev-parse", "--verify", "--quiet", "HEAD").returncode


def init_registry(registry: Path, remote: str) -> bool:
    """Make a registry with nothing in it, unless it is there.

    Args:
        registry: A folder that is empty, or not there.
        remote: `s3://bucket/prefix`, where DVC is to keep the bytes.

    Returns:
        Whether it was made.

    Raises:
        InputError: If there is something else, or the bucket does not answer.
    """
    from dvc.repo import Repo

    check_bucket(remote)
    bucket, prefix = split_url(remote)
    if is_begun(registry):
        there = open_registry(str(registry), "HEAD", "").remote.url
        if there != f"s3://{bucket}/{prefix}".rstrip("/"):
            raise InputError(f"{registry} is a registry that has its data at {there}; give that, or another folder.")
        return False
    if os.path.lexists(registry) and (not registry.is_dir() or {path.name for path in registry.iterdir()} - BEGUN):
        raise InputError(f"{registry} holds something else than a registry; give a folder that is empty or new.")
    fresh = registry.absolute().parent / f".{registry.absolute().name}.part"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    command(fresh, "init", "-q", "-b", "main")
    with Repo.init(str(fresh)) as repo, repo.config.edit() as config:
        config["core"] = {"remote": "s3"}
        config["remote"] = {"s3": {"url": remote}}
    commit(fresh, "Make the registry")
    registry.mkdir(exist_ok=True)
    for path in sorted(fresh.iterdir(), key=lambda path: path.name == ".git"):
        place = registry / path.name
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        path.replace(place)
    fresh.rmdir()
    return True


@contextlib.contextmanager
def changing(registry: Path) -> Iterator[Path]:
    """A clone of a registry for one writer at a time, to be changed and then taken by `keep`; it goes with the block.

    So the registry is as it was until all is well, however the block ends.

    Raises:
        InputError: If it is no registry, or another process changes it.
    """
    if not is_begun(registry):
        raise InputError(
            f"{registry} is not a registry; make it with `mucs registry init {registry} --remote s3://bucket/prefix`, or"
            " give the folder of one as --registry."
        )
    open_registry(str(registry), "HEAD", "")  # DVC obeys a configuration; this refuses what it must not
    parent = registry.absolute() / ".dvc" / "tmp"
    parent.mkdir(parents=True, exist_ok=True)
    with (parent / "mucs.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{registry} is being changed by another process; run this again after it.") from None
        for left in (registry / ".git").rglob("*.lock"):  # of a Git that was killed
            left.unlink()
        copy = parent / "mucs"
        shutil.rmtree(copy, ignore_errors=True)
        command(parent, "clone", "-q", "--template=", str(registry.absolute()), copy.name)
        try:
            yield copy
        finally:
            shutil.rmtree(copy, ignore_errors=True)


def keep(registry: Path, copy: Path, names: Sequence[str], message: str, tag: str | None = None) -> str:
    """Put folders of a clone under DVC, push them to S3, commit, and have the registry take the commit.

    Args:
        registry: The registry.
        copy: Its clone, in which the folders lie.
        names: Theirs.
        message: The commit's.
        tag: What Git is to call it, too.

    Returns:
        The commit that has them; the one that was there if nothing is new.

    Raises:
        InputError: If Git, DVC or S3 refuse, or the tag names another commit, with the registry as it was.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    before = command(copy, "rev-parse", "HEAD")
    what = f"pushing {', '.join(names)}"
    try:
        # links, so that the folder takes no room again in the cache
        with Repo(str(copy), config={"cache": {"type": ["hardlink", "copy"]}}) as repo:
            for name in names:
                repo.add(str(copy / name))
            repo.push(targets=[str(copy / f"{name}.dvc") for name in names], jobs=JOBS)
    except Exception as error:
        told = translate(error, what)
        if told is None and isinstance(error, DvcException):
            told = InputError(f"DVC refuses ({first_line(error)}, {what}); mend that, and run this again.")
        raise told or error from error
    commit(copy, message)
    after = command(copy, "rev-parse", "HEAD")
    if tag:
        check_tag(registry, tag, after)
    if after != before:
        command(registry, "fetch", "-q", str(copy), "HEAD")
        command(registry, "update-ref", "-m", "mucs registry add", "HEAD", after, before)
    # the registry's own files were not asked for, as somebody may be at work on them
    changed = command(copy, "diff", "--name-only", before, after).splitlines()
    command(registry, "checkout", "-q", after, "--", *{*changed, *(f"{name}.dvc" for name in names)})
    if tag:
        command(registry, "tag", "-f", tag, after)
    return after


def check_tag(registry: Path, tag: str, commit: str = "HEAD") -> None:
    """InputError if a tag is no name for one, or names another commit than this one: audits rely on that it stays."""
    if tag.startswith("-") or _git(registry, "check-ref-format", f"refs/tags/{tag}").returncode:
        raise InputError(f"{for_terminal(tag, 100)!r} is no name for a tag; give one such as v1.")
    there = _git(registry, "rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}").stdout.strip()
    if there and there != _git(registry, "rev-parse", commit).stdout.strip():
        raise InputError(f"The tag {tag} names another version already, the commit {there[:12]}; give another --tag.")


def commit(copy: Path, message: str) -> None:
    """Commit all changes in a clone, as whoever Git knows, if there are any."""
    command(copy, "add", "-A")
    if not command(copy, "status", "--porcelain"):
        return
    known = "GIT_AUTHOR_EMAIL" in os.environ or not _git(copy, "config", "user.email").returncode
    who = () if known else ("-c", f"user.name={NAME}", "-c", f"user.email={EMAIL}")
    command(copy, *who, "commit", "-q", "-m", message)


@task
def register(registry: Path, remote: str, folders: Mapping[str, Path], tag: str) -> None:
    """Make or extend the registry so that each name holds its folder's files as they are, push them, and tag the commit.

    Nothing is validated; `flows.registry` does that.

    Args:
        registry: The folder, which becomes a Git repository unless it is one.
        remote: `s3://bucket/prefix`; credentials and endpoint come from boto3's usual chain.
        folders: What to register, by name in the registry.
        tag: What Git calls the commit.

    Raises:
        InputError: If a folder is missing or Git, DVC or S3 refuse.
    """
    for folder in folders.values():
        if not folder.is_dir():
            raise InputError(f"{folder} is missing; run `dvc repro` to build it.")
    init_registry(registry, remote)
    with changing(registry) as copy:
        for name, folder in folders.items():
            shutil.copytree(folder, copy / name)
        made = keep(registry, copy, list(folders), f"Register {', '.join(folders)}")
    command(registry, "tag", "-f", tag, made)
