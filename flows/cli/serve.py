"""The command that serves an S3 of its own."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click

from flows.cli.shared import PLACE
from mucs import InputError


@click.command()
@click.argument("folder", type=PLACE)
@click.argument("command", nargs=-1)
@click.option("--bucket", "buckets", multiple=True, metavar="NAME", help="A bucket, which is made if it is not there.")
def serve(folder: Path, command: tuple[str, ...], buckets: tuple[str, ...]) -> None:
    """Serve an S3 to this machine alone, whose objects lie in FOLDER; for a try, or for the demo (mucs-demo/s3).

    It prints what to export in other shells, and serves until it is stopped. With a COMMAND after --, as in
    `mucs serve mucs-demo/s3 -- mucs verify --inputs`, it runs that with these variables, and ends with its exit status.
    """
    from tasks.serve import check_served, make_buckets, s3_server

    check_served(folder, buckets)
    with s3_server(folder) as server:
        make_buckets(buckets)
        if command:
            path = f"{os.environ.get('PATH', '')}{os.pathsep}{Path(sys.executable).parent}"
            try:
                status = subprocess.run(command, env=os.environ | server.environment | {"PATH": path}).returncode
            except OSError:
                raise InputError(f"{command[0]!r} cannot be run; give a command that can.") from None
        else:
            for name, value in server.environment.items():
                click.echo(f"export {name}={shlex.quote(value)}")
            click.echo(
                f"Serving {folder} until Ctrl-C; paste the lines above into the shell that is to use it.", err=True
            )
            status = 0
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    sys.exit(status if status >= 0 else 128 - status)
