"""Prefect server: a command's own, where no other is configured; it ends with the command, however that ends."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mucs import InputError
from mucs.files import check_writable

SECONDS_TO_STOP = 5
READY = b"ready\n"


@contextlib.contextmanager
def prefect_server() -> Iterator[Callable[[], None]]:
    """A Prefect server for the block, unless one is configured. It comes up beside the block, which calls what it is given to wait for it.

    Prefect starts one by itself as well, but that outlives a command that is killed, and Ctrl-C ends it before the
    command has told it so.

    Raises:
        InputError: If it does not come up.
    """
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    if not home.is_dir():  # Prefect makes it when it is imported
        check_writable(home, "Prefect's files, PREFECT_HOME")
    from prefect.context import refresh_global_settings_context
    from prefect.settings import PREFECT_API_URL

    if PREFECT_API_URL.value():
        yield lambda: None
        return
    check_writable(home, "Prefect's files, PREFECT_HOME")
    with socket.socket() as listener, tempfile.TemporaryFile() as said:
        listener.bind(("127.0.0.1", 0))
        port, number = listener.getsockname()[1], listener.fileno()
        # Its standard input is a pipe of which this process alone holds the other end: the kernel closes that in any case.
        server = subprocess.Popen(
            [sys.executable, "-P", __file__, str(number)],  # nothing is imported from the folder that it runs in
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            pass_fds=[number],
            start_new_session=True,  # a terminal's Ctrl-C is for the command, which then tells the server
        )
        listener.close()
        assert server.stdin
        assert server.stdout
        out, is_ready = server.stdout, False

        def wait() -> None:
            nonlocal is_ready
            is_ready = is_ready or out.readline() == READY
            if not is_ready:
                said.seek(0)
                last = (said.read().decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
                raise InputError(
                    f"Prefect's own server did not come up ({last}); give the address of one as PREFECT_API_URL."
                )

        # its log ends with it, and whoever runs a command reads what that says
        given = {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "PREFECT_LOGGING_TO_API_ENABLED": "false"}
        kept = {name: os.environ.get(name) for name in given}
        os.environ |= given
        refresh_global_settings_context()
        try:
            yield wait
        finally:
            server.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(SECONDS_TO_STOP if is_ready else 0)
            server.kill()
            server.wait()
            server.stdout.close()
            for name, value in kept.items():
                del os.environ[name]
                os.environ |= {name: value} if value is not None else {}
            refresh_global_settings_context()


def serve(number: int) -> None:
    """Serve Prefect's API on the socket of that number until standard input is closed."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    os.environ |= {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}

    import uvicorn
    from prefect.settings import PREFECT_HOME

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            # of two that come up at once in a fresh home, both would make its database
            with (Path(PREFECT_HOME.value()) / "starting.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                await super().startup(sockets)
            sys.stdout.buffer.write(READY)
            sys.stdout.buffer.flush()

    config = uvicorn.Config("prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on")
    with socket.socket(fileno=number) as listener:
        asyncio.run(Server(config).serve([listener]))


def end_with_parent() -> None:
    """End this process, in an orderly way if that does not take long, when its parent has ended or wants it to."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_STOP)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
