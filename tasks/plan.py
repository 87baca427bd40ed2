"""Plan: what all units of work of an audit or a calibration share, by reference, so that it travels to any machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import mucs
from mucs import InputError
from mucs.attribution import Settings
from mucs.attribution.version import METHOD_SHA256
from mucs.canonical import digest
from tasks.prepare import NAMES, opened
from tasks.pull import Pulled

if TYPE_CHECKING:
    from mucs.images import ImageSet

OF_A_RUN = ("controls", "recall_sample", "decoys")  # settings that change nothing of what is measured for an item


def code_version() -> dict[str, str]:
    """The package's version, and a digest over the source of the method."""
    return {"version": mucs.__version__, "method_sha256": METHOD_SHA256}


def check_same_code(worker: str, theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    """See whether a worker has the code that a job is of; both as `code_version` has them.

    Raises:
        InputError: If it has another version.
    """
    if theirs != ours:
        raise InputError(
            f"{worker} has mucs {theirs['version']} with the method {theirs['method_sha256'][:12]}, the job has"
            f" {ours['version']} with {ours['method_sha256'][:12]}; install the same version on both."
        )


@dataclass(frozen=True)
class Plan:
    """What is measured, on what, and where its results go.

    Attributes:
        registry: Path or address of the Git repository that the folders come from, for machines that lack them.
        checkpoint, training, held_out: Folders of the registry; held_out may be None.
        batch: The generated batch; None for a calibration.
        settings: The method's.
        device: "cpu", "cuda" or "auto".
        cache: The folder for what is pulled and prepared; None for each machine's own.
        work: The work store: a folder or `s3://bucket/prefix`.
        log: The log's place, where the batch may have been sent; None where it was not.
        index: SHA-256 of the index in the log that names candidates; None without one.
        replaces: Runs that were withdrawn, whose items are measured again: nothing that was kept for them is used.
        version, method_sha256: Of the code that made the plan; no other works on it.
    """

    registry: str
    checkpoint: Pulled
    training: Pulled
    held_out: Pulled | None
    batch: Pulled | None
    settings: Settings
    device: str
    cache: Path | None
    work: str
    log: str | None = None
    index: str | None = None
    replaces: tuple[str, ...] = ()
    version: str = mucs.__version__
    method_sha256: str = METHOD_SHA256

    @property
    def fresh(self) -> str:
        """A name for what is kept for this plan apart from all that was kept before; empty where that is used."""
        return f"again/{digest(list(self.replaces))[:16]}" if self.replaces else ""

    def images(self, which: Literal["training", "held_out", "batch"]) -> ImageSet:
        """One of the sets, on the machine that made the plan.

        Raises:
            InputError: As `opened` does.
        """
        pulled: Pulled | None = getattr(self, which)
        assert pulled is not None
        return opened(pulled, NAMES[which])

    def check_code(self) -> None:
        """See whether this process has the code that made the plan.

        Raises:
            InputError: If it has another version.
        """
        check_same_code("A worker", code_version(), {"version": self.version, "method_sha256": self.method_sha256})
