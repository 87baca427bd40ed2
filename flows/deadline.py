"""Deadline: a process of its own ends this one when something does not come back, as code that holds the interpreter may not."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def deadline(seconds: float, sentence: str) -> Iterator[None]:
    """End this process by SIGKILL if the block takes longer; what it was at goes on when the command is run again.

    Args:
        seconds: How long the block may take.
        sentence: What is written to standard error then.
    """
    command = [sys.executable, "-I", __file__, str(os.getpid()), str(seconds), sentence]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as watcher:
        try:
            yield
        finally:
            assert watcher.stdin
            watcher.stdin.close()
            watcher.kill()


def watch(process: int, seconds: float, sentence: str) -> None:
    """Wait until standard input is closed, as it is when the block or the process ends; end the process if that takes too long."""
    if not select.select([sys.stdin], [], [], seconds)[0]:
        sys.stderr.write(f"mucs: {sentence}\n")
        sys.stderr.flush()
        os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    watch(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
