"""Retraining: a queue of independent trainings on parts of the training set, each kept when it is done."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mucs.attribution import DiffusionModel, Items
from mucs.attribution.losses import machine
from mucs.attribution.version import METHOD_SHA256
from mucs.digests import source_sha256
from mucs.evaluation import training
from mucs.evaluation.training import Recipe, fresh, train
from mucs.files import replacing

log = logging.getLogger("mucs.evaluation")


@dataclass(frozen=True)
class Job:
    """One training: what it must not see (indices of training items, sorted), and its seed."""

    removed: tuple[int, ...] = ()
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Retraining:
    """Trainings of one architecture, data set and recipe, kept in a folder by content address.

    A queue that is killed goes on with the next job; a job of over 500 steps goes on within.

    Attributes:
        like: Gives architecture, parameterisation and device.
        from_scratch: Trainings begin with fresh weights; otherwise they go on from those of `like`, which is quicker,
            and weaker: such a model has seen what it must not see.
        workers: Trainings side by side, one thread each on a CPU.
    """

    like: DiffusionModel
    items: Items
    recipe: Recipe
    folder: Path
    workers: int = 1
    from_scratch: bool = True

    @cached_property
    def about(self) -> dict[str, object]:
        """What all of its trainings have in common, whichever version trains them on whichever machine; as JSON."""
        config = {name: value for name, value in self.like.network.config.items() if not name.startswith("_")}
        scheduler = {name: value for name, value in self.like.scheduler.config.items() if not name.startswith("_")}
        described = json.dumps([type(self.like.network).__name__, config, scheduler], sort_keys=True, default=str)
        return {
            "model": hashlib.sha256(described.encode()).hexdigest(),
            "items": self.items.digest,
            "recipe": asdict(self.recipe),
            **({} if self.from_scratch else {"from": self.like.digest}),
        }

    def path(self, job: Job) -> Path:
        """Where its weights are kept."""
        made = {"code": source_sha256(METHOD_SHA256, Path(training.__file__)), "machine": machine(self.like.device)}
        about = json.dumps(self.about | made | asdict(job), sort_keys=True)
        return self.folder / f"{hashlib.sha256(about.encode()).hexdigest()}.safetensors"

    def run(self, jobs: Iterable[Job], then: Callable[[Job], object] = lambda job: None) -> None:
        """Do whichever of the jobs have not been done, in their order, and after each of these call `then` with it."""
        wanted = list(dict.fromkeys(jobs))
        missing = [job for job in wanted if not self.path(job).exists()]
        if not missing:
            return
        log.info("retrain   %d of %d are kept from before", len(wanted) - len(missing), len(wanted))
        began = time.monotonic()
        stopped = threading.Event()
        with ThreadPoolExecutor(self.workers) as pool:
            waiting: list[Future[None]] = [pool.submit(self._train, job, stopped, then) for job in missing]
            try:
                for done, future in enumerate(as_completed(waiting), start=1):
                    future.result()
                    left = (time.monotonic() - began) / done * (len(missing) - done) / 60
                    log.info("retrain   %d of %d, %.0f min left", len(wanted) - len(missing) + done, len(wanted), left)
            except BaseException:
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def model(self, job: Job) -> DiffusionModel:
        """The trained model of a job that has been done."""
        model = fresh(self.like, 0)
        model.network.load_state_dict(load_file(self.path(job)))
        return model

    def _train(self, job: Job, stopped: threading.Event, then: Callable[[Job], object]) -> None:
        def look(step: int, loss: float) -> None:
            if stopped.is_set():
                raise CancelledError

        path = self.path(job)
        if path.exists():
            return
        model = fresh(self.like, job.seed) if self.from_scratch else self.like.copy()
        present = torch.ones(len(self.items), dtype=torch.bool)
        present[torch.tensor(job.removed, dtype=torch.long)] = False
        path.parent.mkdir(parents=True, exist_ok=True)
        state = path.with_suffix(".state") if self.recipe.steps > 500 else None
        train(model, self.items, self.recipe, job.seed, present=present, state=state, report=look)
        weights = {name: tensor.contiguous().cpu() for name, tensor in model.network.state_dict().items()}
        with replacing(path) as partial:
            save_file(weights, partial)
        then(job)


def part(which: Tensor | Sequence[int]) -> tuple[int, ...]:
    """Indices as a job names them."""
    return tuple(sorted(int(i) for i in which))
