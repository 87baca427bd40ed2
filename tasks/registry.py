"""Registry: what DVC tracks in a Git repository, read from a bare copy of it, by known words alone; nothing in it runs.

DVC itself obeys a repository's configuration: commands that give credentials, caches, remotes of any kind, imports from
other repositories. This reads the same files (DVC 3) and takes from them paths, MD5s, and one address on S3.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mucs import InputError
from mucs.files import is_inside
from mucs.parse import compose_yaml
from mucs.text import for_terminal, is_fit
from tasks.s3 import BUCKET

TRANSPORTS = ("file", "git", "http", "https", "ssh")
SECONDS_TO_COPY = 600
MOST_BYTES = 4_000_000  # of a file of DVC in the repository
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
SECTION = re.compile(r"""\[\s*(?:'remote "(?P<remote>[^"']+)"'|(?P<name>\w+))\s*\]""")
SETTING = re.compile(r"(?P<key>\w+)\s*=\s*(?P<value>[^#]*[^#\s])?\s*(?:#.*)?")
TAKEN = ("url", "region", "endpointurl", "version_aware")  # of a remote
# how DVC shall behave for those who write to the registry
IGNORED = ("analytics", "autostage", "check_update", "interactive")
REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class Stored:
    """How DVC stores a file, or the list of a folder's files, whose MD5 ends in .dir.

    versions: what S3 calls the object that has the file's own name, by the name of a remote that keeps versions.
    """

    md5: str
    versions: tuple[tuple[str, str], ...] = ()

    @property
    def is_folder(self) -> bool:
        """Whether it is the list of a folder's files."""
        return self.md5.endswith(".dir")


@dataclass(frozen=True)
class Remote:
    """Where a registry's bytes are: a bucket, a prefix in it, and region and endpoint where the registry names them.

    name: DVC's for it. versioned: whether objects lie there under their own names, in versions that the bucket keeps.
    """

    name: str
    bucket: str
    prefix: str
    region: str | None
    endpoint: str | None
    versioned: bool = False

    @property
    def url(self) -> str:
        """As `s3://bucket/prefix`."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def key(self, full: str, stored: Stored) -> tuple[str, str | None]:
        """The key of an object and its version, None for the only one; full: its path in the registry.

        Raises:
            InputError: If the remote keeps versions and DVC does not say which one it is.
        """
        if not self.versioned:
            return f"{self.prefix}/files/md5/{stored.md5[:2]}/{stored.md5[2:]}".lstrip("/"), None
        version = dict(stored.versions).get(self.name)
        if version is None:
            raise InputError(
                f"{full!r} has no version on the remote {self.name!r}, which keeps versions; push it with `dvc push`,"
                " and commit what that writes."
            )
        return f"{self.prefix}/{full}".lstrip("/"), version


@dataclass(frozen=True)
class Registry:
    """A registry at one commit.

    Attributes:
        address: Absolute path or URL, without credentials.
        outputs: What DVC tracks, by path.
        tracked: Paths of the other files, which Git holds.
    """

    address: str
    commit: str
    remote: Remote
    outputs: dict[str, Stored]
    tracked: frozenset[str]


def recorded(registry: str) -> str:
    """A registry as it is written down: an absolute path, or the address without what might be a password."""
    if Path(registry).is_dir():
        return str(Path(registry).resolve())
    try:
        parts = urlsplit(registry)
    except ValueError:  # no address at all, which may have a password nevertheless
        return registry.rpartition("@")[2]
    if not parts.scheme or not parts.netloc:
        return registry
    user, at, host = parts.netloc.rpartition("@")
    user = user.partition(":")[0] if parts.scheme == "ssh" else ""
    return parts._replace(netloc=f"{user}{at if user else ''}{host}", query="", fragment="").geturl()


@contextlib.contextmanager
def _copy(registry: str) -> Iterator[Path]:
    """A bare copy of a Git repository, for as long as the block lasts. A copy has no hooks, filters or work tree."""
    said = for_terminal(recorded(registry))
    unknown = f"{said} is not a registry that can be opened; give the path or address of a Git repository with DVC."
    if not is_fit(registry) or not registry or registry.startswith("-"):
        raise InputError(unknown)
    local = Path(registry).is_dir()
    if not local and ("::" in registry or not re.fullmatch(r"\w+://.+|[^/:]+:.+", registry)):
        raise InputError(unknown)
    with tempfile.TemporaryDirectory(prefix="mucs-registry-") as folder:
        # not as a local path, for then Git would copy the objects' files as they are
        words = ("clone", "--bare", "--quiet", "--no-local", "--template=", "--")
        try:
            _git(Path(folder), *words, str(Path(registry).resolve()) if local else registry, "copy")
        except (subprocess.SubprocessError, OSError) as error:
            stderr = getattr(error, "stderr", None) or b""
            lines = [
                line for line in stderr.decode(errors="replace").splitlines() if line.startswith(("fatal:", "ssh:"))
            ]
            reason = lines[0].partition(":")[2].strip().replace(registry, said) if lines else type(error).__name__
            raise InputError(f"{unknown.removesuffix('.')} (Git says: {for_terminal(reason, 200)}).") from None
        yield Path(folder) / "copy"


def _git(folder: Path, *words: str) -> bytes:
    """What Git prints; it asks nobody, fetches nothing by itself, and takes no repository from the environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or "SSH" in name}
    environment = kept | {
        "GIT_ALLOW_PROTOCOL": ":".join(TRANSPORTS),
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }
    done = subprocess.run(
        ("git", "-c", "core.hooksPath=/dev/null", *words),
        cwd=folder, env=environment, capture_output=True, check=True, timeout=SECONDS_TO_COPY, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.stdout


def open_registry(registry: str, revision: str, path: str) -> Registry:
    """A registry at a revision, as far as its files bear on `path`.

    Raises:
        InputError: If there is no such registry or revision, or its files of DVC are not as they should be.
    """
    address = recorded(registry)
    said = for_terminal(address)
    with _copy(registry) as copy:
        try:
            if not is_fit(revision) or revision.startswith("-"):
                raise ValueError
            commit = _git(copy, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").decode().strip()
        except (ValueError, subprocess.SubprocessError):
            raise InputError(
                f"The registry {said} has no revision {for_terminal(revision, 200)!r}; give a tag, branch or commit that it has."
            ) from None
        blobs = {}
        for line in _git(copy, "ls-tree", "-r", "-z", "--long", "--full-tree", commit).split(b"\0")[:-1]:
            about, _, name = line.decode(errors="surrogateescape").partition("\t")
            mode, _, blob, size = about.split()
            if mode in ("100644", "100755"):  # a plain file: no link, no other repository
                blobs[name] = (blob, int(size))

        def read(name: str) -> str:
            blob, size = blobs[name]
            if size > MOST_BYTES:
                raise InputError(f"{for_terminal(name)} in the registry {said} has {size} bytes; make it shorter.")
            try:
                return _git(copy, "cat-file", "blob", blob).decode()
            except UnicodeDecodeError:
                raise InputError(f"{for_terminal(name)} in the registry {said} is no text; restore it.") from None

        if ".dvc/config" not in blobs:
            raise InputError(
                f"{said} is not a registry that can be opened: it has no .dvc/config at {commit[:12]}; run `dvc init` in it, and commit."
            )
        remote = _remote(read(".dvc/config"), f".dvc/config of the registry {said}")
        outputs: dict[str, Stored] = {}
        for name in sorted(blobs):
            if _is_of_dvc(name) and _bears_on(Path(name).parent, path):
                where = f"{for_terminal(name)} in the registry {said}"
                for output, stored in _outputs(read(name), where, lock=name.endswith("dvc.lock")).items():
                    full = (Path(name).parent / output).as_posix()
                    if outputs.setdefault(full, stored) != stored:
                        raise InputError(f"{where} says of {full!r} what another file contradicts; mend one of them.")
    tracked = frozenset(
        name for name in blobs if not _is_of_dvc(name) and Path(name).name not in (".gitignore", "dvc.yaml")
    )
    return Registry(address, commit, remote, outputs, tracked)


def _is_of_dvc(name: str) -> bool:
    return Path(name).name == "dvc.lock" or (name.endswith(".dvc") and not name.startswith(".dvc/"))


def _bears_on(folder: Path, path: str) -> bool:
    """Whether files of DVC in a folder may say something of a path: it lies above, or within."""
    return folder == Path() or Path(path).is_relative_to(folder) or folder.is_relative_to(path)


def _remote(text: str, what: str) -> Remote:
    """The default remote of a configuration. Raises InputError for anything else than that, its URL, region and endpoint."""
    core: dict[str, str] = {}
    remotes: dict[str, dict[str, str]] = {}
    section: dict[str, str] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if found := SECTION.fullmatch(line):
            if found["remote"]:
                section = remotes.setdefault(found["remote"], {})
            elif found["name"].lower() == "core":
                section = core
            else:
                raise InputError(
                    f"{what} has a section [{found['name']}], which is not taken from a registry; {LOCALLY}."
                )
        elif (found := SETTING.fullmatch(line)) and section is not None:
            key, value = found["key"].lower(), (found["value"] or "").strip().strip("'\"")
            if section is core and key not in ("remote", *IGNORED):
                raise InputError(f"{what} sets core.{key}, which is not taken from a registry; {LOCALLY}.")
            if key in section or not is_fit(value):
                raise InputError(f"{what} sets {key} twice, or to what cannot be shown, in line {number}; mend it.")
            section[key] = value
        else:
            raise InputError(f"{what} cannot be read: line {number} is no `key = value`; mend it.")
    name = core.get("remote") or (next(iter(remotes)) if len(remotes) == 1 else None)
    if name is None or name not in remotes:
        raise InputError(f"{what} does not say which remote holds the data; run `dvc remote add --default`.")
    for key in remotes[name]:
        if key not in TAKEN:
            raise InputError(
                f"{what} sets {key} of the remote {name!r}, which is not taken from a registry: only {', '.join(TAKEN)} are; {LOCALLY}."
            )
    return _address(name, remotes[name], what)


LOCALLY = "take it out, or put it into .dvc/config.local, which this never reads"


def _address(name: str, given: dict[str, str], what: str) -> Remote:
    try:
        parts = urlsplit(given.get("url", ""))
        if parts.scheme != "s3" or not BUCKET.fullmatch(parts.netloc) or parts.query or parts.fragment:
            raise ValueError
    except ValueError:
        raise InputError(
            f"{what} has its data at {given.get('url', 'no address')!r}; only s3://bucket/prefix is taken from a registry, so push it to S3."
        ) from None
    region, endpoint = given.get("region"), given.get("endpointurl")
    if region is not None and not REGION.fullmatch(region):
        raise InputError(f"{what} names the region {region!r}, which is none; mend it.")
    if endpoint is not None:
        try:
            at = urlsplit(endpoint)
            good = at.scheme in ("http", "https") and bool(at.hostname) and "@" not in at.netloc and at.port != 0
        except ValueError:
            good = False
        if not good or at.query or at.fragment:
            raise InputError(
                f"{what} names the endpoint {endpoint!r}, which is no plain http:// or https:// address; mend it."
            )
    versioned = given.get("version_aware", "false").lower()
    if versioned not in ("true", "false"):
        raise InputError(f"{what} sets version_aware to {versioned!r}; write true or false.")
    return Remote(name, parts.netloc, parts.path.strip("/"), region, endpoint, versioned == "true")


def _outputs(text: str, where: str, lock: bool) -> dict[str, Stored]:
    """By path, how DVC stores what a `.dvc` file or a `dvc.lock` says that it tracks."""
    import yaml

    try:
        node = compose_yaml(text)
        # safe, and of no depth: it makes plain values, and what it is made of was looked through
        said = None if node is None else yaml.SafeLoader("").construct_document(node)
    except (ValueError, yaml.YAMLError, TypeError, RecursionError):
        raise InputError(f"{where} cannot be read as YAML; restore it.") from None
    stages = [said]
    if lock and isinstance(said, dict):
        listed = said.get("stages") or {}
        stages = list(listed.values()) if isinstance(listed, dict) else [listed]
    found: dict[str, Stored] = {}
    for stage in stages:
        outs = stage.get("outs") or [] if isinstance(stage, dict) else None
        if not isinstance(outs, list) or not isinstance(stage, dict):
            raise InputError(f"{where} does not say what it tracks; restore it.")
        if stage.get("wdir") not in (None, "."):
            raise InputError(f"{where} has a folder of its own to work in (wdir); `dvc add` without one.")
        for out in outs:
            for path, stored in _output(out, where):
                if found.setdefault(path, stored) != stored:
                    raise InputError(f"{where} says two things of {path!r}; restore it.")
    return found


def _output(out: Any, where: str) -> Iterator[tuple[str, Stored]]:
    """The path of each file or folder of an output, and how it is stored; none for what is to come, for example of a run."""
    path = _path(out, "path", where)
    for name in ("remote", "version_id", "fs_config"):
        if out.get(name):
            raise InputError(f"{where} keeps {path!r} in a way of its own ({name}); push it to the default remote.")
    files, md5 = out.get("files"), out.get("md5")
    if files is None and md5 is None:
        return
    if out.get("hash") != "md5":
        raise InputError(
            f"{where} was written by a DVC before version 3; run `dvc cache migrate --dvc-files` and push it again."
        )
    if files is None:
        yield path, _stored(out, path, where, folders=True)
        return
    if not isinstance(files, list):
        raise InputError(f"{where} does not list the files of {path!r}; restore it.")
    for file in files:  # as DVC lists those of a folder on a remote that keeps versions
        full = f"{path}/{_path(file, 'relpath', where)}"
        yield full, _stored(file, full, where, folders=False)


def _path(said: Any, name: str, where: str) -> str:
    path = said.get(name) if isinstance(said, dict) else None
    if not isinstance(path, str) or not is_inside(path):
        raise InputError(f"{where} tracks {for_terminal(str(path), 200)!r}, which is no path in its folder; mend it.")
    return path


def _stored(said: dict[str, Any], path: str, where: str, folders: bool) -> Stored:
    md5, cloud = said.get("md5"), said.get("cloud") or {}
    if not isinstance(md5, str) or not MD5.fullmatch(md5) or (md5.endswith(".dir") and not folders):
        raise InputError(f"{where} gives no MD5 of {path!r}; restore it.")
    versions = {}
    for remote, about in cloud.items() if isinstance(cloud, dict) else [("", None)]:
        version = about.get("version_id") if isinstance(about, dict) else None
        if not isinstance(remote, str) or not isinstance(version, str) or not is_fit(version) or not version:
            raise InputError(f"{where} does not say which version of {path!r} the remote has; restore it.")
        versions[remote] = version
    return Stored(md5, tuple(sorted(versions.items())))
