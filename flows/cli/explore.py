"""The command that serves a ledger to browsers and programs."""

from __future__ import annotations

import logging
import os
import socket
import threading
import webbrowser
from functools import partial
from pathlib import Path
from typing import Any

import click

from flows.cli.jobs import quiet_tools
from flows.cli.shared import LEDGER, Place, Whole
from flows.on_demand import OnDemand
from mucs import InputError

HOST = "127.0.0.1"
SECONDS_TO_END = (
    2  # that answers have which are being given when the server is stopped; who follows a picture would stay
)


@click.command()
@click.argument("place", required=False, type=Place(path_type=str))
@LEDGER
@click.option("--port", type=Whole(0, 65535), default=8787, show_default=True, help="The port; 0 for any that is free.")
@click.option("--open", "show", is_flag=True, help="Open the first page in a browser.")
def explore(place: str | None, ledger: str, port: int, show: bool) -> None:
    """Serve a ledger as pages, JSON and CSV, to this machine alone.

    PLACE is a ledger, or a folder with one in it, such as mucs-demo; without it, that of --ledger. Where PREFECT_API_URL is set,
    pictures can be sent to be attributed; nothing else is written.
    """
    import uvicorn

    from mucs.evidence.thumbnails import Thumbnails
    from mucs.explorer.app import make_app
    from mucs.explorer.protocol import Protocol
    from mucs.explorer.snapshot import Snapshots
    from mucs.ledger import analyst
    from tasks.ledgers import credentials, open_log, reading

    if place and (Path(place) / "ledger").is_dir():
        place = str(Path(place) / "ledger")
    where = place or ledger
    with reading(where) as opened:  # refuses what is none
        thumbnails = Thumbnails(open_log(opened.follows))
    with listening(port) as listener:
        address = f"http://{HOST}:{listener.getsockname()[1]}"
        snapshots = Snapshots(where, partial(reading, where))

        def select(query: str, rows: int, seconds: float) -> list[dict[str, object]]:
            return analyst.select(where, query, rows, seconds, credentials(where))

        on_demand = None
        if os.environ.get("PREFECT_API_URL"):
            quiet_tools()
            logging.getLogger("mucs").setLevel(logging.WARNING)
            on_demand = OnDemand(ledger=where)

        class Server(uvicorn.Server):
            def handle_exit(self, *given: Any) -> None:
                snapshots.stop()  # which ends the streams; the server waits for them
                super().handle_exit(*given)

        logging.getLogger("python_multipart").setLevel(logging.ERROR)  # what a client does wrong is told to the client
        config = uvicorn.Config(
            make_app(snapshots, thumbnails, select, on_demand),
            log_level="error",
            access_log=False,
            server_header=False,
            lifespan="off",
            http=Protocol,
            ws="none",
        )
        click.echo(f"Serving {where} at {address} until Ctrl-C.", err=True)
        if show:
            threading.Timer(0.5, webbrowser.open, (address,)).start()
        try:
            Server(config).run([listener])
        finally:
            snapshots.close()


def listening(port: int) -> socket.socket:
    """A socket of this machine alone. Raises InputError if the port is taken."""
    made = socket.socket(proto=socket.IPPROTO_TCP)  # by which asyncio knows to send small answers at once
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((HOST, port))
    except OSError as error:
        made.close()
        raise InputError(
            f"Port {port} cannot be used ({str(error.strerror).lower()}); give another --port, or 0 for any."
        ) from None
    made.listen(128)
    return made
