"""Plan: what all units of work of an audit or a calibration share, by reference, so that it travels to any machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.cache_policies import NO_CACHE

import mucs
from mucs import InputError
from mucs.attribution import Settings
from mucs.attribution.version import METHOD_SHA256
from mucs.canonical import digest
from tasks.pull import Pulled
from tasks.s3 import Unreachable

TRIES = 3


def may_pass(task: Any, run: Any, state: Any) -> bool:
    """Whether a unit that failed is tried again: what is wrong with its input is as wrong the next time."""
    return not isinstance(state.data, InputError) or isinstance(state.data, Unreachable)


# options of every task that is a unit of work
UNIT: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "retries": TRIES - 1,
    "retry_delay_seconds": 1,
    "retry_condition_fn": may_pass,
}
OF_A_RUN = ("controls", "recall_sample", "decoys")  # settings that change nothing of what is measured for an item


def code_version() -> dict[str, str]:
    """The package's version, and a digest over the source of the method."""
    return {"version": mucs.__version__, "method_sha256": METHOD_SHA256}


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
    replaces: tuple[str, ...] = ()
    version: str = mucs.__version__
    method_sha256: str = METHOD_SHA256

    @property
    def fresh(self) -> str:
        """A name for what is kept for this plan apart from all that was kept before; empty where that is used."""
        return f"again/{digest(list(self.replaces))[:16]}" if self.replaces else ""

    def check_code(self) -> None:
        """See whether this process has the code that made the plan.

        Raises:
            InputError: If it has another version.
        """
        here = code_version()
        if here != {"version": self.version, "method_sha256": self.method_sha256}:
            raise InputError(
                f"A worker has mucs {here['version']} with the method {here['method_sha256'][:12]}, the job has {self.version}"
                f" with {self.method_sha256[:12]}; install the same version on both."
            )
