"""A served ledger: the command in a process of its own, as a person starts it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
ADDRESS = re.compile(r"Serving .* at (http://127\.0\.0\.1:(\d+)) until Ctrl-C\.\n")
WAIT = 60  # seconds that it may take to start


@dataclass
class Served:
    """An explorer that runs: its address and port, its process, and the file that its standard error goes to."""

    address: str
    port: int
    process: subprocess.Popen
    errors: Path

    def said(self) -> str:
        """What it has written to its standard error since it began to serve."""
        return ADDRESS.sub("", self.errors.read_text())


@contextlib.contextmanager
def serving(folder: Path, errors: Path, *words: str) -> Iterator[Served]:
    """The explorer over a folder with a ledger in it; at the end it is told to stop, and must."""
    command = [sys.executable, "-m", "flows.cli", "explore", str(folder), "--port", "0", *words]
    with (
        errors.open("w") as file,
        subprocess.Popen(command, stderr=file, env=os.environ | {"PYTHONPATH": str(ROOT)}) as process,
    ):
        try:
            end = time.monotonic() + WAIT
            while not (found := ADDRESS.search(errors.read_text())):
                assert process.poll() is None, errors.read_text()
                assert time.monotonic() < end, errors.read_text()
                time.sleep(0.05)
            yield Served(found[1], int(found[2]), process, errors)
            process.send_signal(signal.SIGTERM)
            ended = process.wait(30)
            assert ended == 143, (ended, errors.read_text())
        finally:
            process.kill()
