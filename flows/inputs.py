"""Inputs: what an audit and a calibration are of and where they run, checked, pulled and validated."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.engine import Engine
from mucs import InputError
from mucs.attribution import Settings
from mucs.files import check_writable
from mucs.text import for_terminal
from tasks.device import choose_device
from tasks.plan import Plan
from tasks.pull import Pulled, bearing_on, default_cache, pull
from tasks.registry import open_registry
from tasks.stores import open_store
from tasks.validate import ImageSpec, Validation, validate_checkpoint, validate_training


@dataclass(frozen=True)
class Job:
    """What an audit and a calibration share; all are as `audit` takes them."""

    registry: str
    revision: str
    checkpoint: str
    training_set: str
    held_out: str | None
    licences: list[str]
    log: str
    settings: Settings
    device: str
    cache: Path
    engine: Engine
    work: str | None

    @classmethod
    def given(cls, parameters: Mapping[str, Any]) -> Job:
        """A job from a flow's parameters; others than a job's are left alone."""
        own = {each.name: parameters[each.name] for each in dataclasses.fields(cls) if each.name in parameters}
        own["settings"] = own.get("settings") or Settings()
        own["cache"] = own.get("cache") or default_cache()
        return cls(**own)

    @property
    def work_store(self) -> str:
        """The work store: the one that is given, or one in the cache, or beside the log where machines share it."""
        return self.work or (f"{self.log.rstrip('/')}/work" if self.engine.is_fleet else str(self.cache / "work"))

    def check(self) -> None:
        """See whether the bucket answers, the registry has the revision, and so on; what is seen at once comes first.

        Raises:
            InputError: For the first that cannot be used.
        """
        open_store(self.log).check()
        check_writable(self.cache, "the cache, MUCS_CACHE")
        opened = open_registry(self.registry, self.revision, "")
        if self.held_out and not bearing_on(opened, self.held_out):
            raise InputError(
                f"The registry {opened.address} has no held-out set at {for_terminal(self.held_out, 100)!r} in its commit"
                f" {opened.commit[:12]}; add one with `mucs registry add held_out FOLDER`, or give --held-out '' to do without."
            )
        if not self.engine.is_fleet:  # the workers' devices are theirs
            choose_device(self.device)
        self.engine.check()
        if self.engine.is_fleet and not (self.work or "://" in self.log):
            raise InputError(
                "The machines of a Ray cluster share a work store; give one on S3 as --work, or a log on S3."
            )
        open_store(self.work_store).check()

    def spec(self) -> ImageSpec:
        """The images that the checkpoint takes.

        Raises:
            InputError: If it cannot be pulled or used.
        """
        checkpoint = pull.fn(self.registry, self.revision, self.checkpoint, self.cache)
        return validate_checkpoint.fn(checkpoint, self.cache)[1]

    def pull(self) -> Inputs:
        """Bring the inputs here and through their gates.

        Raises:
            InputError: For what cannot be used.
        """
        checkpoint = pull(self.registry, self.revision, self.checkpoint, self.cache)
        training = pull(self.registry, self.revision, self.training_set, self.cache)
        held_out = pull(self.registry, self.revision, self.held_out, self.cache) if self.held_out else None
        validations, spec = validate_checkpoint(checkpoint, self.cache, return_state=True).result()
        for pulled, what in ((training, "training set"), (held_out, "held-out set")):
            if pulled:
                gated = validate_training(pulled, what, spec, self.licences, self.cache, return_state=True)
                validations += gated.result()
        return Inputs(checkpoint, training, held_out, spec, validations)

    def plan(self, checkpoint: Pulled, training: Pulled, held_out: Pulled | None, batch: Pulled | None) -> Plan:
        """The plan of the job's units, as this machine, which computes none of a fleet's, works with it."""
        return Plan(
            registry=str(Path(self.registry).resolve()) if Path(self.registry).is_dir() else self.registry,
            checkpoint=checkpoint,
            training=training,
            held_out=held_out,
            batch=batch,
            settings=self.settings,
            device="cpu" if self.engine.is_fleet else self.device,
            cache=self.cache,
            work=self.work_store,
            log=self.log,
        )

    def for_workers(self, plan: Plan) -> Plan:
        """The same plan as the workers need it: those of a fleet have devices and caches of their own."""
        return dataclasses.replace(plan, device=self.device, cache=None) if self.engine.is_fleet else plan


@dataclass(frozen=True)
class Inputs:
    """A checkpoint, its training set, and a held-out set if there is one, past their gates.

    Attributes:
        spec: Of the images that the model takes.
    """

    checkpoint: Pulled
    training: Pulled
    held_out: Pulled | None
    spec: ImageSpec
    validations: list[Validation]
