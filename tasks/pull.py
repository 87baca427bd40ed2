"""Pull: bring a folder of a registry from its DVC remote into the local cache, and digest every file."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs import InputError
from mucs.canonical import digest
from mucs.evidence.layout import sent_object
from mucs.evidence.log import Broken, Log
from mucs.files import file_sha256, is_inside, replacing
from mucs.parse import load_json
from mucs.text import for_terminal
from tasks.listing import Hashed, Known, Listing, State, listing_path
from tasks.registry import MD5, Registry, Remote, Stored, open_registry
from tasks.s3 import Unreachable, causes, client, plain_errors, save
from tasks.stores import open_store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log_of_pull = logging.getLogger("mucs.pull")

JOBS = 16
MOST_AT_ONCE = 64  # files that one job brings
MOST_LISTED = 256_000_000  # bytes of a folder's list: about two million files
SECONDS_BETWEEN_REPORTS = 5
SHARD = "batch.parquet"  # the file of a batch that was sent


class Altered(InputError):
    """A registry's remote does not hold the bytes that it should."""


class Missing(Exception):
    """A registry's remote does not hold an object."""


@dataclass(frozen=True)
class Pulled:
    """A folder of the registry, or a batch that was sent, here and verified.

    path: inside the registry, or `object:<SHA-256>`. commit: the Git commit that it was read at; empty for a batch that was
    sent. folder: where its files lie (read only).
    files: how many. bytes: their size in all. digest: SHA-256 over the canonical JSON of `listing()`.
    fetched: how many files were not in the cache.
    """

    path: str
    commit: str
    folder: Path
    files: int
    bytes: int
    digest: str
    fetched: int

    @property
    def sent(self) -> Path | None:
        """The file of a batch that was sent; None for a folder of the registry."""
        return self.folder / SHARD if sent_object(self.path) else None

    def listing(self) -> dict[str, str]:
        """SHA-256 by name of the folder's files, as they were pulled."""
        return {name: file.sha256 for name, file in Listing.read(listing_path(self.folder)).files.items()}


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


def as_pulled(folder: Path) -> Pulled:
    """A folder that is here already, as if it had been pulled."""
    sha256 = {p.relative_to(folder).as_posix(): file_digests(p)[1] for p in sorted(folder.rglob("*")) if p.is_file()}
    size = sum((folder / name).stat().st_size for name in sha256)
    return Pulled(folder.name, "", folder, len(sha256), size, digest(sha256), 0)


def bearing_on(registry: Registry, path: str) -> dict[str, Stored]:
    """What DVC tracks at, above or within a path of the registry, by its own path."""
    return {
        output: stored
        for output, stored in registry.outputs.items()
        if f"{output}/".startswith(f"{path}/") or f"{path}/".startswith(f"{output}/")
    }


def find(registry: Registry, path: str, listing: Callable[[str, Stored], bytes]) -> dict[str, tuple[str, Stored]]:
    """Every file under a path of the registry: its path in it, and how it is stored, by its name under the path.

    listing: gives the bytes of a folder's list.
    """
    names: dict[str, tuple[str, Stored]] = {}
    for output, stored in bearing_on(registry, path).items():
        if not stored.is_folder:
            inner = {output: stored}
        else:
            inner = {
                f"{output}/{name}": Stored(md5) for name, md5 in read_listing(listing(output, stored), output).items()
            }
        for full, of_file in inner.items():
            if full == path or full.startswith(f"{path}/"):
                names[full.removeprefix(f"{path}/") if full != path else Path(full).name] = full, of_file
    for name in registry.tracked:
        if name == path or name.startswith(f"{path}/"):
            raise InputError(
                f"{for_terminal(name)} in the registry {registry.address} is not under DVC; `dvc add` its folder and push it."
            )
    if not names:
        raise InputError(
            f"The registry {registry.address} has no files at {path!r} in its commit {registry.commit[:12]}; check the path, and `dvc list` it."
        )
    folders = {name.rpartition("/")[0] for name in names}
    above = {parent.as_posix() for folder in folders for parent in PurePosixPath(folder).parents}
    if both := (folders | above) & names.keys():
        raise InputError(f"{min(both)!r} in {path} of the registry is a file and a folder; add it again.")
    return names


def read_listing(content: bytes, output: str) -> dict[str, str]:
    """MD5 by name of the files in a folder, from the list that DVC keeps of it; InputError if it is none."""
    try:
        entries = load_json(content)
        names = {entry["relpath"]: entry["md5"] for entry in entries}
        if not isinstance(entries, list):
            raise TypeError
    except (ValueError, TypeError, KeyError):
        raise InputError(f"The list of the files in {output} is none of DVC's; add and push it again.") from None
    for name, md5 in names.items():
        if not isinstance(name, str) or not is_inside(name):
            raise InputError(f"{output} holds {for_terminal(str(name), 200)!r}, which is no path in it; add it again.")
        if not isinstance(md5, str) or not MD5.fullmatch(md5) or md5.endswith(".dir"):
            raise InputError(f"The list of the files in {output} gives no MD5 of {name!r}; add and push it again.")
    if len(names) != len(entries):
        raise InputError(f"The list of the files in {output} names one twice; add and push it again.")
    return names


def fetch(
    s3: S3Client, remote: Remote, full: str, stored: Stored, place: Path, known: Hashed | None
) -> tuple[Hashed, bool]:
    """Bring one object into the cache unless its right bytes are there.

    Args:
        s3: A client for the remote.
        remote: Where it is.
        full: Its path in the registry.
        stored: How DVC stores it.
        place: Where the cache has it, or is to have it.
        known: What it was when it was hashed last; it is hashed again only if it was touched since.

    Returns:
        Its digests and state, and whether it had to be fetched.

    Raises:
        Missing: If the remote does not hold it.
        InputError: If its bytes are not those that DVC says, or S3 does not answer or refuses.
    """
    right = stored.md5.removesuffix(".dir")
    with contextlib.suppress(FileNotFoundError):
        state = State.of(place.stat())
        if known is not None and known.state == state:
            return known, False
        found, sha256 = file_digests(place)
        if found == right:
            return Hashed(stored.md5, sha256, state), False
        place.unlink()
    with replacing(place) as partial:
        key, version = remote.key(full, stored)
        if not save(s3, remote.bucket, key, partial, version):
            raise Missing(full)
        found, sha256 = file_digests(partial)
        if found != right:
            raise Altered(
                f"The bytes of {full} have MD5 {found}, DVC says {right}; the remote's object was altered: push it again."
            )
        partial.chmod(0o444)
        return Hashed(stored.md5, sha256, State.of(partial.stat())), True


def lay_out(objects: dict[str, Path], folder: Path) -> None:
    """Hard links to the cached objects under their own names, and nothing else; an older layout that differs is replaced."""
    there = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    }
    if there == objects.keys() and all((folder / name).samefile(place) for name, place in objects.items()):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent))
    for name, place in objects.items():
        (fresh / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(place, fresh / name)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        fresh.replace(folder)
    except OSError:  # another process has just laid it out
        shutil.rmtree(fresh, ignore_errors=True)


@task(
    task_run_name="pull {path}",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=[2, 4, 8],
    # only silence is worth another try; what was fetched before it stays
    retry_condition_fn=lambda task, run, state: (
        any(isinstance(e, Unreachable) for e in causes(state.data)) if isinstance(state.data, BaseException) else False
    ),
)
def pull(registry: str, revision: str, path: str, cache: Path, log: str | None = None) -> Pulled:
    """Bring a folder of a registry into the cache, each file checked against DVC's MD5.

    What lies there untouched since it was hashed is neither fetched nor hashed again.

    Args:
        registry: A path or Git address, of which nothing is obeyed but where on S3 its bytes are; see `tasks.registry`.
        revision: Tag, branch or commit of it.
        path: The folder's, or a file's, in it; or `object:<SHA-256>`, a batch that was sent and lies in the log.
        cache: Where it goes.
        log: The log's place, where a batch may have been sent.

    Returns:
        Where it lies, and its digest.

    Raises:
        InputError: If registry, revision, path, bucket or object do not exist or are not as they should be, S3 does not
            answer or refuses, or bytes differ.
    """
    sent = sent_object(path)
    if sent and log is not None:
        return bring_sent(log, path, sent, cache)
    path = path.strip("/")
    if not is_inside(path):
        raise InputError(f"{for_terminal(path, 200)!r} is no path in a registry; give the folder's, such as train.")
    opened = open_registry(registry, revision, path)
    known = Known(cache, path, {output: stored.md5 for output, stored in bearing_on(opened, path).items()})
    kept = known.listing()
    if kept and kept[1].is_of(kept[0]):
        (folder, listing), fetched = kept, 0
    else:
        listing, fetched = bring(opened, path, cache, known.last())
        folder = cache / "folders" / listing.digest
        lay_out({name: object_path(cache, file.md5) for name, file in listing.files.items()}, folder)
        known.write(listing, folder)
    count, size = len(listing.files), listing.bytes
    log_of_pull.info("pull      %s: %d files, %.1f MB, %d of them fetched", path, count, size / 1e6, fetched)
    return Pulled(path, opened.commit, folder, count, size, folder.name, fetched)


def bring_sent(log: str, path: str, sha256: str, cache: Path) -> Pulled:
    """Bring a batch that was sent from the log into the cache, unless it is there.

    Args:
        log: The log's place.
        path: `object:<SHA-256>`.
        sha256: Its object's.
        cache: Where it goes.

    Raises:
        InputError: If the log does not hold it, or does not answer or refuses.
    """
    folder = cache / "folders" / digest({SHARD: sha256})
    place = folder / SHARD
    there = place.is_file() and file_sha256(place) == sha256
    if not there:
        try:
            with Log(open_store(log)).file(sha256) as found, replacing(place) as partial:
                shutil.copyfile(found, partial)
                partial.chmod(0o444)
        except Broken as error:
            raise Altered(str(error)) from None
    size = place.stat().st_size
    log_of_pull.info("pull      %s: %.1f MB", path, size / 1e6)
    return Pulled(path, "", folder, 1, size, folder.name, int(not there))


def object_path(cache: Path, md5: str) -> Path:
    """Where the cache has an object of DVC's."""
    return cache / "objects" / md5[:2] / md5


def bring(opened: Registry, path: str, cache: Path, before: Listing) -> tuple[Listing, int]:
    """Bring every file under a path of a registry into the cache.

    Args:
        opened: The registry.
        path: In it.
        cache: Where objects go.
        before: Files that were hashed already.

    Returns:
        The files, and how many had to be fetched.

    Raises:
        InputError: As `pull` does.
    """
    remote = opened.remote
    s3 = client(remote.region, remote.endpoint, JOBS)
    hashed = {file.md5: file for file in before.files.values()}

    def one(full: str, stored: Stored) -> tuple[Hashed, bool]:
        return fetch(s3, remote, full, stored, object_path(cache, stored.md5), hashed.get(stored.md5))

    def some(files: Sequence[tuple[str, Stored]]) -> list[tuple[Hashed, bool]]:
        return [one(*file) for file in files]

    def listing(output: str, stored: Stored) -> bytes:
        one(output, stored)
        place = object_path(cache, stored.md5)
        if place.stat().st_size > MOST_LISTED:
            raise InputError(
                f"The list of the files in {path} has {place.stat().st_size} bytes; make it several folders."
            )
        return place.read_bytes()

    found: list[tuple[Hashed, bool]] = []
    told = time.monotonic()
    try:
        with plain_errors(f"pulling {path} of {opened.address}"):
            names = dict(sorted(find(opened, path, listing).items()))
            files = list(names.values())
            size = max(1, min(MOST_AT_ONCE, len(files) // (4 * JOBS)))
            with ThreadPoolExecutor(JOBS) as pool:
                jobs = [pool.submit(some, files[k : k + size]) for k in range(0, len(files), size)]
                try:
                    for job in jobs:
                        found += job.result()
                        if time.monotonic() - told > SECONDS_BETWEEN_REPORTS:
                            told = time.monotonic()
                            log_of_pull.info("pull      %s: %d of %d files", path, len(found), len(files))
                finally:
                    pool.shutdown(cancel_futures=True)
    except Missing:
        with plain_errors(f"the remote {remote.url} of {opened.address}"):
            s3.head_bucket(Bucket=remote.bucket)
        raise Altered(
            f"The remote {remote.url} of {opened.address} does not hold all of {path!r}; push it again with `dvc push`."
        ) from None
    listed = Listing({name: file for name, (file, _) in zip(names, found, strict=True)})
    return listed, sum(fetched for _, fetched in found)
