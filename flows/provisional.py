"""Provisional: have the index answer for pictures that wait to be attributed, here or in a process that has the model loaded."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from flows.inputs import Job
from tasks.ask_index import ask_index
from tasks.plan import Plan
from tasks.prepared import prepared
from tasks.pull import pull

SECONDS_FRESH = 60  # for which the registry is not asked again what its revision is


class Answering:
    """Has the index answer for pictures.

    Args:
        given: The parameters of `audit` but for the batch.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.job, self.ledger = Job.given(given), str(given["ledger"])
        self._plan: Plan | None = None
        self._asked = 0.0

    @property
    def plan(self) -> Plan:
        """What pictures are compared with, which is looked up again after a minute."""
        if self._plan is None or time.monotonic() - self._asked > SECONDS_FRESH:
            job, self._asked = self.job, time.monotonic()
            checkpoint, training = (
                pull.fn(job.registry, job.revision, each, job.cache) for each in (job.checkpoint, job.training_set)
            )
            self._plan = job.plan(checkpoint, training, None, None)
        return self._plan

    def load(self) -> None:
        """Load the model, so that the first picture does not wait for it."""
        from mucs.index import vectors

        ready = prepared(self.plan)
        vectors(ready.model, ready.training[:1])

    def ask(self, batch: str) -> str:
        """Have the index answer for a batch of one, as `audit` takes it; gives the SHA-256 of the picture's manifest row.

        Raises:
            InputError: If there is no index, or anything cannot be used.
        """
        job = self.job
        picture = pull.fn(job.registry, job.revision, batch, job.cache, job.log)
        return ask_index(dataclasses.replace(self.plan, batch=picture), self.ledger, job.log)


class Apart:
    """A process of its own that answers for one picture after the other; it ends with the one that has it.

    If it is killed, what it was asked has no answer, and what is asked next has one.

    Args:
        given: As `Answering` takes it.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given, self._lock = dict(given), threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._submit(_load)

    def ask(self, batch: str) -> Future[str]:
        """Have it answer for a batch of one."""
        return self._submit(_ask, batch)

    def close(self) -> None:
        """End it, whatever it does."""
        with self._lock:
            if self._pool is None:
                return
            for process in (self._pool._processes or {}).values():
                process.kill()
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _submit(self, do: Callable[..., Any], *words: str) -> Future[Any]:
        with self._lock:
            try:
                return self._there().submit(do, *words)
            except BrokenProcessPool:  # it was killed
                self._pool = None
                return self._there().submit(do, *words)

    def _there(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin, (self._given,))
        return self._pool


def _begin(given: Mapping[str, Any]) -> None:
    """Have this process answer, and end with the one that began it, which Ctrl-C is left to."""
    global HERE
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(0)

    threading.Thread(target=follow, daemon=True).start()
    HERE = Answering(given)


HERE: Answering  # of the process that is apart


def _load() -> None:
    HERE.load()


def _ask(batch: str) -> str:
    return HERE.ask(batch)
