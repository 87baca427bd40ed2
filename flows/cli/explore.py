"""The command that serves a ledger to browsers and programs."""

from __future__ import annotations

import contextlib
import errno
import getpass
import ipaddress
import logging
import os
import socket
import threading
import webbrowser
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.cli.jobs import quiet_tools
from flows.cli.shared import LEDGER, OUTBOX, Place, Whole
from mucs import InputError

if TYPE_CHECKING:
    from flows.on_demand import OnDemand
    from mucs.explorer.access import Access


@click.command()
@click.argument("place", required=False, type=Place(path_type=str))
@LEDGER
@click.option("--port", type=Whole(0, 65535), default=8787, show_default=True, help="The port; 0 for any that is free.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to serve at; beyond this machine, say who may come in.",
)
@click.option(
    "--name", "names", multiple=True, metavar="HOSTNAME", help="Another name that browsers reach it by; repeatable."
)
@click.option(
    "--tokens",
    type=Place(path_type=Path),
    envvar="MUCS_TOKENS",
    metavar="FILE",
    help="Let in whoever has one of these tokens, and nobody else; `mucs token new` makes one.",
)
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    help="Believe X-Forwarded-Email and X-Forwarded-Groups from this address, or network such as 10.0.0.0/8; repeatable.",
)
@click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="NAME=ROLE",
    help="What a group of the proxy's may do: viewer, analyst, officer, or holder:RIGHTS HOLDER; repeatable.",
)
@OUTBOX
@click.option("--open", "show", is_flag=True, help="Open the first page in a browser.")
def explore(
    place: str | None,
    ledger: str,
    port: int,
    host: str,
    names: tuple[str, ...],
    tokens: Path | None,
    proxies: tuple[str, ...],
    groups: tuple[str, ...],
    outbox: Path | None,
    show: bool,
) -> None:
    """Serve a ledger as pages, JSON and CSV: to this machine alone, unless it is told who may come in.

    PLACE is a ledger, or a folder with one in it, such as mucs-demo; without it, that of --ledger. Where PREFECT_API_URL is set,
    pictures can be sent to be attributed.
    """
    from mucs.explorer.snapshot import Snapshots
    from tasks.ledgers import credentials, open_log, reading, writing

    if place and (Path(place) / "ledger").is_dir():
        place = str(Path(place) / "ledger")
    where = place or ledger
    access = entrance(host, tokens, proxies, groups)
    opened = reading(where)  # refuses what is none
    follows = opened.follows
    with listening(host, port) as listener, ThreadPoolExecutor(1) as pool:
        taking = pool.submit(Snapshots, where, partial(reading, where), opened)  # while everything else is imported
        import uvicorn

        from mucs.evidence.thumbnails import Thumbnails
        from mucs.explorer.app import make_app
        from mucs.explorer.gate import HOSTS
        from mucs.explorer.protocol import Protocol
        from mucs.explorer.telling import Telling
        from mucs.ledger import analyst
        from mucs.outbox import Outbox

        thumbnails = Thumbnails(open_log(follows))
        verified = partial(Outbox(outbox).verified, follows) if outbox else lambda _: None
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}"

        def select(query: str, rows: int, seconds: float) -> list[dict[str, object]]:
            return analyst.select(where, query, rows, seconds, credentials(where))

        on_demand = None
        if os.environ.get("PREFECT_API_URL"):
            quiet_tools()
            from flows.on_demand import OnDemand

            logging.getLogger("mucs").setLevel(logging.WARNING)
            on_demand = OnDemand(ledger=where)
            threading.Thread(target=load_index, args=(on_demand,), daemon=True).start()

        snapshots = taking.result()

        class Server(uvicorn.Server):
            def handle_exit(self, *given: Any) -> None:
                snapshots.stop()  # which ends the streams; the server waits for them
                super().handle_exit(*given)

        logging.getLogger("python_multipart").setLevel(logging.ERROR)  # what a client does wrong is told to the client
        telling = Telling(partial(writing, where), snapshots, takings=access.local is None)
        known = [*HOSTS, shown, *(name.lower() for name in names)]
        config = uvicorn.Config(
            make_app(snapshots, thumbnails, select, access, telling, on_demand, known, verified),
            proxy_headers=False,  # who is at the other end of the socket is not for the request to say
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
            if on_demand:
                on_demand.close()


def load_index(on_demand: OnDemand) -> None:
    """Load what answers provisionally, if that can be done now; if not, the first picture has it loaded."""
    with contextlib.suppress(InputError):
        on_demand.load_index()


def entrance(host: str, tokens: Path | None, proxies: Sequence[str], groups: Sequence[str]) -> Access:
    """Who may come in, from the options.

    Raises:
        InputError: If one of them cannot be, or everybody beyond this machine could come in.
    """
    from mucs.explorer.access import Access, read_groups, read_network
    from mucs.explorer.tokens import Tokens

    try:
        is_here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise InputError(
            f"The host {host[:100]!r} is no address; give one as 127.0.0.1, or 0.0.0.0 for all, and names as --name."
        ) from None
    known, found = read_groups(groups), tuple(map(read_network, proxies))
    if bool(known) != bool(found):
        raise InputError("A proxy and its groups go together; give --proxy and --group, or neither.")
    if tokens is None and not found:
        if not is_here:
            raise InputError(
                f"Everybody who reaches {host} could read and change all of the ledger; give --tokens (see `mucs token new`), or --proxy and --group."
            )
        return Access(local=getpass.getuser())
    kept = None if tokens is None else Tokens(tokens)
    if kept is not None and not kept.all() and not found:
        raise InputError(f"There is no token in {tokens}, so nobody could come in; make one with `mucs token new`.")
    return Access(kept, found, known)


def listening(host: str, port: int) -> socket.socket:
    """A socket at an address. Raises InputError if it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, proto=socket.IPPROTO_TCP)  # by which asyncio knows to send small answers at once
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise InputError(f"This machine has no address {host}; give one of its own as --host.") from None
        raise InputError(
            f"Port {port} cannot be used ({str(error.strerror).lower()}); give another --port, or 0 for any."
        ) from None
    made.listen(128)
    return made
