"""Doctor: is everything there that the service needs, and does it do what it must?"""

from __future__ import annotations

import email.utils
import os
import platform
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from mucs import InputError, __version__
from mucs.evidence.log import Log, entry_name
from mucs.files import check_writable
from mucs.ledger.catalogue import SCHEMA
from mucs.ledger.lake import Lake
from mucs.outbox import HELD, Outbox
from mucs.text import first_line
from tasks.ledgers import followed, open_log, reading
from tasks.pull import bearing_on
from tasks.registry import open_registry, recorded
from tasks.s3 import client, exists, plain_errors, split_url
from tasks.scratch import try_lock, try_put

OK, WARNING, WRONG, SKIPPED = "ok", "warning", "wrong", "skipped"  # the last where there is nothing to look at
SECONDS = 60.0  # that a check may take
LITTLE, TOO_LITTLE = 5e9, 5e8  # bytes on a disk
SLOW, TOO_SLOW = 5.0, 60.0  # seconds that a clock may be off; by more than the second, the log refuses what is new
SHOWN = ("torch", "diffusers", "duckdb", "prefect")
PINS = Path(__file__).parents[1] / "constraints.txt"  # in a clone
SECRETS = ("SECRET", "TOKEN", "PASSWORD", "API_KEY", "AUTH_STRING")  # in names of variables
NO_LOG = "no log was named; give its place as --log or MUCS_LOG"


@dataclass(frozen=True)
class Places:
    """What is to be looked at.

    Attributes:
        ledger: The ledger's place; there need not be one.
        log: The log's; None for the one that the ledger follows, if there is one.
        registry: The registry's path or address; None for none.
        revision: Of it.
        outbox: The file that knows when the log was verified; None for none.
        cache: Where what is pulled goes.
    """

    ledger: str
    log: str | None
    registry: str | None
    revision: str
    outbox: Path | None
    cache: Path

    @property
    def followed(self) -> str | None:
        """The log's place, as far as it is known."""
        if self.log or not Lake.at(self.ledger).exists():
            return self.log
        return followed(self.ledger)

    @property
    def bucket(self) -> str | None:
        """A place on S3: the log's, or where the registry's bytes lie; None where neither is there."""
        log = self.followed
        if log and "://" in log:
            return log
        return open_registry(self.registry, self.revision, "").remote.url if self.registry else None


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        check: Its name.
        state: "ok", "warning", "wrong", or "skipped" where there is nothing to look at.
        said: What there is, and what to do about it.
    """

    check: str
    state: str
    said: str


Said = tuple[str, str]  # a state, and what was found


def examine(places: Places) -> list[Finding]:
    """Do all checks side by side, each within a minute.

    Args:
        places: What is to be looked at.

    Returns:
        A finding of each check, in a fixed order, with no secret in it.
    """
    import boto3  # noqa: F401  (in several threads at once, what is imported may be half of it)
    import prefect.client.orchestration  # noqa: F401

    found: dict[str, Said] = {}

    def run(name: str, check: Callable[[Places], Said]) -> None:
        try:
            found[name] = check(places)
        except InputError as error:
            found[name] = (WRONG, str(error).removesuffix("."))
        except Exception as error:
            found[name] = (WRONG, f"it could not be looked at ({type(error).__name__}: {first_line(error)})")

    # nothing waits for them when the program ends
    threads = [threading.Thread(target=run, args=each, daemon=True) for each in CHECKS.items()]
    end = time.monotonic() + SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    silent = (
        WRONG,
        f"it gave no answer within {SECONDS:.0f} seconds; see whether what it asks is there, and the network",
    )
    return [Finding(name, state, without_secrets(said)) for name in CHECKS for state, said in [found.get(name, silent)]]


def without_secrets(text: str) -> str:
    """A text without what variables of the environment keep secret, or an address has as its password."""
    for name, value in os.environ.items():
        if len(value) >= 8 and any(word in name.upper() for word in SECRETS):
            text = text.replace(value, "…")
    return re.sub(r"(?i)(password=)\S+|(://)[^/\s@]+(?=@)", r"\1\2…", text)


def check_versions(_: Places) -> Said:
    """Whether the packages are those that are asked for, and those that were tested."""
    from packaging.requirements import Requirement

    wrong, other = [], []
    for word in metadata.requires("mucs") or []:
        asked = Requirement(word)
        here = installed(asked.name)
        if here is None:
            if asked.marker is None or asked.marker.evaluate({"extra": "service"}):
                wrong.append(f"{asked.name} is missing")
        elif not asked.specifier.contains(here, prereleases=True):
            wrong.append(f"{asked.name} is {here} and must be {asked.specifier}")
    for line in PINS.read_text().splitlines() if PINS.is_file() else ():
        name, version = line.strip().partition("==")[::2]
        here = installed(name) if version else None
        if here and here.partition("+")[0] != version:
            other.append(f"{name} is {here}, tested with {version}")
    are = ", ".join(
        [f"mucs {__version__}", f"Python {platform.python_version()}", *(f"{name} {installed(name)}" for name in SHOWN)]
    )
    if wrong:
        return WRONG, f"{are}; but {listed(wrong)}: run pip install 'mucs[service]' again"
    if other:
        return WARNING, f"{are}; {listed(other)}: install with --constraint constraints.txt"
    return OK, f"{are}{', as they were tested' if PINS.is_file() else ''}"


def installed(name: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def listed(words: Sequence[str], most: int = 3) -> str:
    """The first of some, and how many more there are."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return f"{', '.join(words[:most])}{more}"


def check_s3(places: Places) -> Said:
    """Whether a log can be written where it lies."""
    place = places.followed
    if place is None:
        return SKIPPED, NO_LOG
    if "://" not in place:
        check_writable(Path(place), "the log")
        return OK, f"the log is a folder that can be written, {place}"
    faults = try_put(place)
    if faults:
        return WRONG, f"at {place}, {' and '.join(faults)}: the log may be damaged there; use another S3"
    return OK, f"under {place}: puts, puts only where nothing is, refuses what has another checksum, removes"


def check_lock(places: Places) -> Said:
    """Whether evidence can be kept from being deleted."""
    place = places.followed
    if place is None:
        return SKIPPED, NO_LOG
    if "://" not in place:
        return SKIPPED, "a log in a folder cannot be kept from being deleted; --retention-days needs one on S3"
    return {
        "works": (OK, f"what is locked under {place} cannot be removed"),
        "always": (OK, f"the bucket of {place} locks everything by a rule of its own; not tried, as a try would stay"),
        "none": (SKIPPED, f"the bucket of {place} has none; --retention-days needs one that was made with it"),
        "fails": (WRONG, f"what is locked under {place} can be removed; use an S3 that keeps it"),
    }[try_lock(place)]


def check_registry(places: Places) -> Said:
    """Whether a registry's remote holds what its commit says."""
    if places.registry is None:
        return SKIPPED, "no registry was named; give its path or address as --registry or MUCS_REGISTRY"
    opened = open_registry(places.registry, places.revision, "")
    remote = opened.remote
    s3 = client(remote.region, remote.endpoint)
    with plain_errors(f"the remote {remote.url}"):
        s3.head_bucket(Bucket=remote.bucket)
    there = {}
    for path, stored in opened.outputs.items():
        key, version = remote.key(path, stored)
        there[path] = version is not None or exists(remote.bucket, key, s3)
    lost = [path for path, is_there in there.items() if not is_there]
    where = f"{recorded(places.registry)} at {opened.commit[:12]}"
    if lost:
        return (
            WRONG,
            f"{where}: {remote.url} does not hold {listed(lost)}; add {'it' if len(lost) == 1 else 'them'} again",
        )
    if not bearing_on(opened, "checkpoint"):
        return WARNING, f"{where} has no checkpoint; add one with `mucs registry add checkpoint FOLDER`"
    return OK, f"{where}: {', '.join(there)} on {remote.url}"


def check_prefect(_: Places) -> Said:
    """Whether Prefect's server answers, where one is configured."""
    from prefect.settings import PREFECT_API_URL

    from flows.on_demand import prefect_client

    url = PREFECT_API_URL.value()
    if not url:
        return OK, "PREFECT_API_URL names no server, so each command starts one of its own, within some 15 seconds"
    with prefect_client() as prefect:
        theirs, ours = prefect.api_version(), metadata.version("prefect")
    if theirs != ours:
        return WARNING, f"the server at {url} is of version {theirs}, and the client of {ours}; use one version"
    return OK, f"the server at {url} answers"


def check_gpu(_: Places) -> Said:
    """Whether torch can use a GPU, by using it."""
    import torch

    if not torch.cuda.is_available():
        if shutil.which("nvidia-smi"):
            return WARNING, "there is a GPU, and torch cannot use it; install a torch for its CUDA, or mend the driver"
        return OK, "none; audits run on the CPU"
    torch.ones(8, 8, device="cuda").sum().item()
    names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    free, whole = torch.cuda.mem_get_info()
    return OK, f"{', '.join(names)}, {free / 1e9:.0f} of {whole / 1e9:.0f} GB free"


def check_disk(places: Places) -> Said:
    """Whether there is room, and leave to write, where files go."""
    lake = Lake.at(places.ledger)
    folders = {"cache": places.cache, "temporary files": Path(tempfile.gettempdir())}
    folders |= {"ledger": Path(lake.catalogue)} if lake.is_local else {}
    free = {}
    for name, folder in folders.items():
        check_writable(folder, f"the {name}")
        whole = folder.absolute()
        free[name] = shutil.disk_usage(next(place for place in (whole, *whole.parents) if place.exists())).free
    least = min(free.values())
    said = ", ".join(f"{size / 1e9:.1f} GB for {name}" for name, size in free.items())
    if least >= LITTLE:
        return OK, f"free: {said}"
    return (
        WRONG if least < TOO_LITTLE else WARNING,
        f"free: {said}; make room, or give another MUCS_CACHE, TMPDIR or --ledger",
    )


def check_clock(places: Places) -> Said:
    """How far this machine's clock is from S3's."""
    from botocore.exceptions import ClientError

    place = places.bucket
    if place is None:
        return SKIPPED, "neither log nor registry on S3, whose clock it could be held to"
    s3, began = client(), time.time()
    with plain_errors(f"the clock of {place}"):
        try:
            headers = s3.head_bucket(Bucket=split_url(place)[0])["ResponseMetadata"]["HTTPHeaders"]
        except ClientError as error:  # a clock that is far off is a reason to refuse
            headers = error.response["ResponseMetadata"]["HTTPHeaders"]
    ended = time.time()
    try:
        theirs = email.utils.parsedate_to_datetime(headers.get("date", "")).timestamp()
    except ValueError:
        return WARNING, "S3 does not say what time it is"
    # what S3 says is cut to seconds, and was said some time in between
    off = began - theirs - 1 if began > theirs + 1 else min(0.0, ended - theirs)
    said = (
        "within a second of S3's"
        if abs(off) < 1
        else f"{abs(off):.0f} seconds {'ahead of' if off > 0 else 'behind'} S3's"
    )
    if abs(off) < SLOW:
        return OK, said
    return WRONG if abs(off) > TOO_SLOW else WARNING, f"{said}; have it set by NTP"


def check_ledger(places: Places) -> Said:
    """Whether the ledger opens."""
    if not Lake.at(places.ledger).exists():
        return SKIPPED, f"there is none at {places.ledger} yet; an audit makes it"
    with reading(places.ledger) as opened:
        position, _ = opened.at()
    return OK, f"{places.ledger} opens, schema {SCHEMA}, up to entry {position} of its log"


def check_log(places: Places) -> Said:
    """How far the log is ahead of the ledger, and when it was verified."""
    place = places.followed
    if place is None:
        return SKIPPED, NO_LOG
    log, position, head = open_log(place), 0, ""
    has_ledger = Lake.at(places.ledger).exists()
    if has_ledger:
        with reading(places.ledger) as opened:
            position, head = opened.at()
    last = log.entry(position) if position else None
    if position and (last is None or last.sha256 != head):
        return (
            WRONG,
            f"{place} is not the log that {places.ledger} was made from, or has lost entries; give the right --log",
        )
    entries = height(log, position)
    said = f"{place}, up to entry {entries}{verified(places.outbox, log.place)}"
    if has_ledger and entries > position:
        return WARNING, f"{said}; the ledger lacks {entries - position} of them: run mucs sync"
    return OK, said


def height(log: Log, known: int) -> int:
    """The position of a log's last entry, in a few questions; known: one that is there, or 0."""
    low, step = known, 1
    while log.store.has(entry_name(low + step)):
        low, step = low + step, 2 * step
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if log.store.has(entry_name(middle)) else (low, middle)
    return low


def verified(outbox: Path | None, log: str) -> str:
    """What is known of a log's last verification, as the end of a sentence."""
    if outbox is None or not outbox.is_file():
        return ", not known when it was verified (--outbox)"
    event = Outbox(outbox).verified(log)
    if event is None:
        return ", never verified as far as the outbox knows"
    return f", {'held' if event.type == HELD else 'DID NOT HOLD'} when it was verified at {event.at[:19]} UTC"


CHECKS: dict[str, Callable[[Places], Said]] = {
    "versions": check_versions,
    "s3": check_s3,
    "lock": check_lock,
    "registry": check_registry,
    "prefect": check_prefect,
    "gpu": check_gpu,
    "disk": check_disk,
    "clock": check_clock,
    "ledger": check_ledger,
    "log": check_log,
}
