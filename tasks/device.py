"""Device: where the model runs, how many items side by side, and which of its operations are not deterministic."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from mucs import InputError

# how torch says it: of operations, and of attention
ALERT = r"(.+?) (?:does not have a deterministic implementation|defaults to a non-deterministic algorithm)"
CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


def choose_device(device: str) -> str:
    """The device that a name means.

    Args:
        device: "cpu", "cuda" (or "cuda:1" and so on), or "auto" for the GPU where there is one.

    Raises:
        InputError: For a device that is not there.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
        raise InputError(f"The device {device!r} is not there; use cpu or auto.")
    return device


def cores() -> int:
    """How many cores this process may use, for units of work that take one each."""
    return len(os.sched_getaffinity(0))


class Alerts:
    """Operations that torch could not do deterministically, by the thread that asked for them."""

    def __init__(self) -> None:
        self.heard: defaultdict[int, set[str]] = defaultdict(set)

    def hear(self, operation: str) -> None:
        """Remember an operation that this thread asked for."""
        self.heard[threading.get_ident()].add(operation)

    def take(self) -> list[str]:
        """Those of this thread since it was last asked, in alphabetical order."""
        return sorted(self.heard.pop(threading.get_ident(), set()))


class Blocks:
    """What blocks that overlap in several threads share: the first to begin changes torch, the last to end changes it back."""

    def __init__(self) -> None:
        self.lock, self.count, self.threads = threading.Lock(), 0, 1
        self.stack, self.alerts, self.of_thread = contextlib.ExitStack(), Alerts(), threading.local()


BLOCKS = Blocks()


@contextlib.contextmanager
def deterministic(device: str) -> Iterator[Alerts]:
    """Have torch compute the same bits each time, with one thread a unit of work on a CPU, and hear where it cannot.

    One thread each is faster for units side by side, and gives the same bits on any number of cores. Blocks may overlap
    in several threads; all is as it was when the last has ended.

    Args:
        device: What the block computes on.

    Yields:
        What torch could not do deterministically.
    """
    import torch

    blocks, depth = BLOCKS, getattr(BLOCKS.of_thread, "depth", 0)
    with blocks.lock:
        # asked in every thread: one that never was takes the number anew at its first operation, when another block may have ended
        now = torch.get_num_threads()
        if not blocks.count:
            blocks.threads = now
            change_torch(device, blocks.stack, blocks.alerts)
        blocks.count += 1
        blocks.of_thread.depth = depth + 1
        if device == "cpu":
            torch.set_num_threads(1)  # of this thread, and of those that begin from now on
    try:
        yield blocks.alerts
    finally:
        with blocks.lock:
            blocks.of_thread.depth = depth
            if not depth:
                torch.set_num_threads(blocks.threads)
            blocks.count -= 1
            if not blocks.count:
                blocks.stack.close()


def change_torch(device: str, stack: contextlib.ExitStack, alerts: Alerts) -> None:
    """Have torch compute the same bits each time, and tell `alerts` where it cannot, until the stack is closed."""
    import torch

    def change(value: bool, now: bool, change_to: Callable[[bool], object]) -> None:
        stack.callback(change_to, now)
        change_to(value)

    if device != "cpu":
        stack.enter_context(cublas_workspace())
        cudnn = torch.backends.cudnn
        change(False, cudnn.benchmark, lambda value: setattr(cudnn, "benchmark", value))
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    stack.callback(
        torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled(), warn_only=warn_only
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    change(True, torch.is_warn_always_enabled(), torch.set_warn_always)  # some alerts come once a process otherwise
    stack.enter_context(warnings.catch_warnings())
    show = warnings.showwarning

    def hear(message: Warning | str, *rest: Any, **more: Any) -> None:
        operation = re.match(ALERT, str(message))
        if operation:
            alerts.hear(operation[1])
        else:
            show(message, *rest, **more)

    warnings.filterwarnings("always", ALERT)
    warnings.showwarning = hear


@contextlib.contextmanager
def cublas_workspace() -> Iterator[None]:
    """The variable that CUDA's matrix products need to be deterministic, unless it is set; read when CUDA is first used."""
    if CUBLAS in os.environ:
        yield
        return
    os.environ[CUBLAS] = ":4096:8"
    try:
        yield
    finally:
        os.environ.pop(CUBLAS, None)
