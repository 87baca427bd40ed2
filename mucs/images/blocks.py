"""Blocks: work on a set of images block by block, on all cores where it is worth it, and tell how far it is."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

from mucs import InputError
from mucs.images.imageset import ImageSet

log = logging.getLogger("mucs.images")

BLOCK = 1024  # images
SECONDS_ALONE = 3.0  # of work that other processes are not started for
SECONDS_BETWEEN_REPORTS = 5.0

Work = Callable[[ImageSet, int], None]


def starts(images: ImageSet, size: int | None = None) -> range:
    """The image that each block begins with, of BLOCK images or another size."""
    return range(0, len(images), size or BLOCK)


def in_blocks(images: ImageSet, todo: Sequence[int], work: Work, verb: str, size: int | None = None) -> None:
    """Do some work on blocks of images, each of which can be done by itself, and keeps its own result.

    Args:
        images: All of them.
        todo: Where the blocks begin that are to be done.
        work: Given a block's images, and where it begins. It is sent to other processes, which know nothing of this one.
        verb: What is done, for the log, such as "inspect".
        size: Images of a block; BLOCK without.

    Raises:
        InputError: As `work` does, or if another process was killed.
    """
    cores = len(os.sched_getaffinity(0))
    told = _Told(images, len(todo), verb, size or BLOCK)
    for done, start in enumerate(todo):
        if done and cores > 1 and told.seconds_left(done) > SECONDS_ALONE:
            return _in_processes(images, todo[done:], work, told, cores)
        work(images.part(start, start + told.size), start)
        told.tell(done + 1)


class _Told:
    """How far the work is, in the log every few seconds."""

    def __init__(self, images: ImageSet, blocks: int, verb: str, size: int) -> None:
        self.images, self.blocks, self.verb, self.size = images, blocks, verb, size
        self.began = self.last = time.monotonic()

    def seconds_left(self, done: int) -> float:
        return (time.monotonic() - self.began) / done * (self.blocks - done)

    def tell(self, done: int) -> None:
        now = time.monotonic()
        if now - self.last > SECONDS_BETWEEN_REPORTS:
            self.last = now
            ready = len(self.images) - (self.blocks - done) * self.size
            log.info("%-9s %s: %d of %d images", self.verb, self.images.name, max(0, ready), len(self.images))


def _in_processes(images: ImageSet, todo: Sequence[int], work: Work, told: _Told, cores: int) -> None:
    spawned = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    rest, done = iter(todo), told.blocks - len(todo)
    pool = ProcessPoolExecutor(min(cores, len(todo)), mp_context=spawned, initializer=_end_with_parent)
    try:
        jobs = {pool.submit(work, images.part(k, k + told.size), k) for k in islice(rest, 2 * cores)}
        while jobs:
            ready, jobs = wait(jobs, return_when=FIRST_COMPLETED)
            for job in ready:
                job.result()
            done += len(ready)
            told.tell(done)
            jobs |= {pool.submit(work, images.part(k, k + told.size), k) for k in islice(rest, len(ready))}
    except BrokenProcessPool:
        raise InputError(
            f"A process that was to {told.verb} images of the {images.name} was killed, perhaps for want of memory;"
            " run this again: it goes on where it was."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Have this process end as soon as the one that started it does, however it does, and leave Ctrl-C to that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
