"""Ray cluster: a command's own, on this machine alone; all of its processes end with the command, however that ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mucs import InputError

READY = b"ready\n"
BECOME_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux: orphans among the descendants become this process's children
STORE_BYTES = 100_000_000  # of Ray's object store: what tasks hand each other is small


@contextlib.contextmanager
def ray_cluster(workers: int) -> Iterator[str]:
    """Start a Ray cluster for the block.

    Ray starts one by itself as well, but some of its processes outlive a command that is killed.

    Args:
        workers: How many tasks it runs side by side.

    Yields:
        Its address, HOST:PORT. A token of its own, in this process's environment, keeps others out.

    Raises:
        InputError: If it does not come up.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}.items():
        os.environ.setdefault(name, value)  # for good, as Ray reads them when it is first imported and no more
    with tempfile.TemporaryFile() as log:
        # Its standard input is a pipe of which this process alone holds the other end: the kernel closes that in any case.
        keeper = subprocess.Popen(
            [sys.executable, "-P", __file__, str(port), str(workers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # a terminal's Ctrl-C is for the command
        )
        assert keeper.stdin
        assert keeper.stdout
        try:
            if keeper.stdout.readline() != READY:
                log.seek(0)
                last = (log.read().decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
                raise InputError(f"A local Ray cluster did not come up ({last}); leave out --ray, or give an address.")
            yield f"127.0.0.1:{port}"
        finally:
            keeper.stdin.close()
            keeper.wait()
            keeper.stdout.close()


def keep(port: int, workers: int) -> None:
    """Run a cluster until standard input is closed, and then end all of its processes."""
    ctypes.CDLL(None).prctl(BECOME_SUBREAPER, 1)
    folder = tempfile.mkdtemp(prefix="mucs-ray-")  # Ray's sockets need a short path
    try:
        ray = Path(sys.executable).parent / "ray"
        words = ["--head", f"--port={port}", f"--num-cpus={workers}", "--include-dashboard=false"]
        words += ["--disable-usage-stats", f"--object-store-memory={STORE_BYTES}", f"--temp-dir={folder}"]
        started = subprocess.run([ray, "start", *words], stdin=subprocess.DEVNULL, capture_output=True)
        if started.returncode:
            sys.stderr.buffer.write(started.stderr or started.stdout)
            return
        sys.stdout.buffer.write(READY)
        sys.stdout.buffer.flush()
        sys.stdin.buffer.read()
    finally:
        while children := descendants(os.getpid()):
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        shutil.rmtree(folder, ignore_errors=True)


def descendants(root: int) -> list[int]:
    """The processes below one, by number; those that have ended and were not waited for are among them."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(") ")[2].split()[1])
    below = [root]
    for parent in below:
        below += [child for child, of_child in parents.items() if of_child == parent]
    return below[1:]


if __name__ == "__main__":
    keep(int(sys.argv[1]), int(sys.argv[2]))
