"""Pull: bring a folder of a registry from its DVC remote into the local cache, and digest every file."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs import InputError
from mucs.canonical import digest
from mucs.files import is_inside, replacing
from mucs.parse import load_json
from mucs.text import for_terminal
from tasks.registry import MD5, Registry, Remote, open_registry
from tasks.s3 import Unreachable, causes, client, plain_errors, save

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger("mucs.pull")

JOBS = 16
MOST_LISTED = 256_000_000  # bytes of a folder's list: about two million files
SECONDS_BETWEEN_REPORTS = 5


class Altered(InputError):
    """A registry's remote does not hold the bytes that it should."""


class Missing(Exception):
    """A registry's remote does not hold an object."""


@dataclass(frozen=True)
class Pulled:
    """A folder of the registry, here and verified.

    path: inside the registry. commit: the Git commit that it was read at. folder: where its files lie (read only).
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

    def listing(self) -> dict[str, str]:
        """SHA-256 by name of the folder's files, as they were pulled."""
        import pyarrow.parquet as pq

        kept = pq.read_table(listing_path(self.folder), columns=["name", "sha256"])
        return dict(zip(kept["name"].to_pylist(), kept["sha256"].to_pylist(), strict=True))


def listing_path(folder: Path) -> Path:
    """Where the listing of a pulled folder lies."""
    return folder.with_name(f"{folder.name}.parquet")


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


def find(registry: Registry, path: str, listing: Callable[[str], bytes]) -> dict[str, str]:
    """MD5 by name of every file under a path of the registry; listing: the bytes of a folder's list, by its MD5."""
    names: dict[str, str] = {}
    for output, md5 in registry.outputs.items():
        if not (f"{output}/".startswith(f"{path}/") or f"{path}/".startswith(f"{output}/")):
            continue
        inner = {"": md5} if not md5.endswith(".dir") else read_listing(listing(md5), output)
        for name, of_file in inner.items():
            full = f"{output}/{name}" if name else output
            if full == path or full.startswith(f"{path}/"):
                names[full.removeprefix(f"{path}/") if full != path else Path(full).name] = of_file
    for name in registry.tracked:
        if name == path or name.startswith(f"{path}/"):
            raise InputError(
                f"{for_terminal(name)} in the registry {registry.address} is not under DVC; `dvc add` its folder and push it."
            )
    if not names:
        raise InputError(
            f"The registry {registry.address} has no files at {path!r} in its commit {registry.commit[:12]}; check the path, and `dvc list` it."
        )
    folders = {parent.as_posix() for name in names for parent in PurePosixPath(name).parents}
    if both := folders & names.keys():
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


def fetch(s3: S3Client, remote: Remote, name: str, md5: str, place: Path) -> tuple[str, bool]:
    """Bring one object into the cache unless its right bytes are there; its SHA-256, and whether it had to be fetched."""
    right = md5.removesuffix(".dir")
    if place.exists():
        found, sha256 = file_digests(place)
        if found == right:
            return sha256, False
        place.unlink()
    with replacing(place) as partial:
        if not save(s3, remote.bucket, remote.key(md5), partial):
            raise Missing(name)
        found, sha256 = file_digests(partial)
        if found != right:
            raise Altered(
                f"The bytes of {name} have MD5 {found}, DVC says {right}; the remote's object was altered: push it again."
            )
        partial.chmod(0o444)
    return sha256, True


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
    fresh.replace(folder)


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

    registry: a path or Git address, of which nothing is obeyed but where on S3 its bytes are; see `tasks.registry`.
    Raises InputError if registry, revision, path, bucket or object do not exist or are not as they should be, S3 does not
    answer or refuses, or bytes differ.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = path.strip("/")
    if not is_inside(path):
        raise InputError(f"{for_terminal(path, 200)!r} is no path in a registry; give the folder's, such as train.")
    opened = open_registry(registry, revision, path)
    remote = opened.remote
    s3 = client(remote.region, remote.endpoint, JOBS)

    def bring(name: str, md5: str) -> tuple[str, bool]:
        return fetch(s3, remote, name, md5, cache / "objects" / md5[:2] / md5)

    def listing(md5: str) -> bytes:
        bring(f"the list of {path}", md5)
        place = cache / "objects" / md5[:2] / md5
        if place.stat().st_size > MOST_LISTED:
            raise InputError(
                f"The list of the files in {path} has {place.stat().st_size} bytes; make it several folders."
            )
        return place.read_bytes()

    digests, fetched, told = {}, 0, time.monotonic()
    try:
        with plain_errors(f"pulling {path} of {opened.address}"):
            names = find(opened, path, listing)
            places = {name: cache / "objects" / md5[:2] / md5 for name, md5 in names.items()}
            with ThreadPoolExecutor(JOBS) as pool:
                jobs = [pool.submit(bring, f"{path}/{name}", md5) for name, md5 in names.items()]
                try:
                    for done, (name, job) in enumerate(zip(names, jobs, strict=True), start=1):
                        digests[name], was_fetched = job.result()
                        fetched += was_fetched
                        if time.monotonic() - told > SECONDS_BETWEEN_REPORTS:
                            told = time.monotonic()
                            log.info("pull      %s: %d of %d files", path, done, len(jobs))
                finally:
                    pool.shutdown(cancel_futures=True)
    except Missing:
        with plain_errors(f"the remote {remote.url} of {opened.address}"):
            s3.head_bucket(Bucket=remote.bucket)
        raise Altered(
            f"The remote {remote.url} of {opened.address} does not hold all of {path!r}; push it again with `dvc push`."
        ) from None
    digests = dict(sorted(digests.items()))
    whole_digest = digest(digests)
    folder = cache / "folders" / whole_digest
    lay_out(places, folder)
    with replacing(listing_path(folder)) as partial:
        pq.write_table(pa.table({"name": list(digests), "sha256": list(digests.values())}), partial)
    size = sum(place.stat().st_size for place in set(places.values()))
    log.info("pull      %s: %d files, %.1f MB, %d of them fetched", path, len(digests), size / 1e6, fetched)
    return Pulled(path, opened.commit, folder, len(digests), size, whole_digest, fetched)
