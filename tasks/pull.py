"""Pull: bring a folder of a registry from its DVC remote into the local cache, and digest every file."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs import InputError
from mucs.canonical import digest
from tasks.s3 import Unreachable, causes, check_bucket, translate

log = logging.getLogger("mucs.pull")

JOBS = 16
SECONDS_BETWEEN_REPORTS = 5


class Altered(InputError):
    """A registry's remote does not hold the bytes that it should."""


@dataclass(frozen=True)
class Pulled:
    """A folder of the registry, here and verified.

    path: inside the registry. commit: the Git commit that it was read at. folder: where its files lie (read only).
    files: SHA-256 by name. bytes: their size in all. digest: SHA-256 over the canonical JSON of `files`.
    fetched: how many files were not in the cache.
    """

    path: str
    commit: str
    folder: Path
    files: dict[str, str]
    bytes: int
    digest: str
    fetched: int


def default_cache() -> Path:
    """`$MUCS_CACHE`, or the user's cache folder."""
    return Path(
        os.environ.get("MUCS_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mucs"
    )


def file_digests(path: Path) -> tuple[str, str]:
    """(MD5, SHA-256) of a file in one reading. DVC addresses by MD5, which proves nothing; SHA-256 does."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as f:
        while block := f.read(1 << 20):
            md5.update(block)
            sha256.update(block)
    return md5.hexdigest(), sha256.hexdigest()


def find(fs: Any, registry: str, revision: str, path: str) -> dict[str, str]:
    """MD5 by name of every file under a path of the registry."""
    found = fs.find(path, detail=True)
    if not found:
        raise InputError(
            f"The registry {registry} has no files at {path!r} in revision {revision!r}; check the path, and `dvc list` it."
        )
    names = {}
    for name, info in found.items():
        relative = name.removeprefix(path.strip("/") + "/") if name != path else Path(name).name
        if not info.get("md5"):
            raise InputError(f"{name} in the registry {registry} is not under DVC; `dvc add` its folder and push it.")
        names[relative] = str(info["md5"])
    return names


def fetch(fs: Any, remote_name: str, md5: str, place: Path) -> tuple[str, bool]:
    """Bring one object into the cache unless its right bytes are there; its SHA-256, and whether it had to be fetched."""
    if place.exists():
        found, sha256 = file_digests(place)
        if found == md5:
            return sha256, False
        place.unlink()
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=place.parent, prefix=".part-")
    os.close(handle)
    try:
        fs.get_file(remote_name, partial)
        found, sha256 = file_digests(Path(partial))
        if found != md5:
            raise Altered(
                f"The bytes of {remote_name} have MD5 {found}, DVC says {md5}; the remote's object was altered: push it again."
            )
        Path(partial).chmod(0o444)
        Path(partial).replace(place)
    finally:
        Path(partial).unlink(missing_ok=True)
    return sha256, True


def lay_out(objects: dict[str, Path], folder: Path) -> None:
    """Hard links to the cached objects under their own names; an older layout that differs is replaced."""
    if folder.is_dir() and all(
        (folder / name).exists() and (folder / name).samefile(place) for name, place in objects.items()
    ):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent))
    for name, place in objects.items():
        (fresh / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(place, fresh / name)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)


def open_registry(registry: str, revision: str) -> Any:
    """DVC's view of the registry at a revision; InputError if there is no such registry or revision."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import NotDvcRepoError
    from dvc.scm import CloneError, RevError, SCMError

    try:
        fs = DVCFileSystem(registry, rev=revision)
        fs.repo.scm.resolve_rev(revision)
        return fs
    except RevError:
        raise InputError(
            f"The registry {registry} has no revision {revision!r}; give a tag, branch or commit that it has."
        ) from None
    except (NotDvcRepoError, CloneError, SCMError, FileNotFoundError):
        raise InputError(
            f"{registry} is not a registry that can be opened; give the path or address of a Git repository with DVC."
        ) from None


def missing(error: Exception, fs: Any, registry: str, path: str) -> InputError | None:
    """Why the remote does not give a file: its bucket does not exist, or the object does not; None for another error."""
    if not any(isinstance(e, FileNotFoundError) for e in causes(error)):
        return None
    remotes = fs.repo.config["remote"]
    url = remotes[fs.repo.config["core"].get("remote") or next(iter(remotes))]["url"]
    check_bucket(url, f"the remote {url} of {registry}")
    return Altered(f"The remote {url} of {registry} does not hold all of {path!r}; push it again with `dvc push`.")


@task(
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=[2, 4, 8],
    # only silence is worth another try; what was fetched before it stays
    retry_condition_fn=lambda task, run, state: (
        any(isinstance(e, Unreachable) for e in causes(state.data)) if isinstance(state.data, BaseException) else False
    ),
)
def pull(registry: str, revision: str, path: str, cache: Path) -> Pulled:
    """The folder at `path` of the registry at `revision`, in the cache, each file checked against DVC's MD5.

    registry: a path or Git address.
    Raises InputError if registry, revision, path, bucket or object do not exist, S3 does not answer or refuses, or bytes differ.
    """
    what = f"pulling {path} of {registry}"
    fs = open_registry(registry, revision)
    try:
        commit = str(fs.repo.scm.resolve_rev(revision))
        names = find(fs, registry, revision, path)
        places = {name: cache / "objects" / md5[:2] / md5 for name, md5 in names.items()}
        digests, fetched, told = {}, 0, time.monotonic()
        with ThreadPoolExecutor(JOBS) as pool:
            whole = f"{path}/" if list(names) != [Path(path).name] else path.removesuffix(Path(path).name)
            jobs = [pool.submit(fetch, fs, whole + name, md5, places[name]) for name, md5 in names.items()]
            try:
                for done, (name, job) in enumerate(zip(names, jobs, strict=True), start=1):
                    digests[name], was_fetched = job.result()
                    fetched += was_fetched
                    if time.monotonic() - told > SECONDS_BETWEEN_REPORTS:
                        told = time.monotonic()
                        log.info("pull      %s: %d of %d files", path, done, len(jobs))
            finally:
                pool.shutdown(cancel_futures=True)
    except InputError:
        raise
    except Exception as error:
        raise translate(error, what) or missing(error, fs, registry, path) or error from error
    digests = dict(sorted(digests.items()))
    whole_digest = digest(digests)
    folder = cache / "folders" / whole_digest
    lay_out(places, folder)
    size = sum(place.stat().st_size for place in set(places.values()))
    log.info("pull      %s: %d files, %.1f MB, %d of them fetched", path, len(digests), size / 1e6, fetched)
    return Pulled(path, commit, folder, digests, size, whole_digest, fetched)
