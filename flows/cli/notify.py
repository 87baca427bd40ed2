"""The command that tells others what happens."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from flows.cli.jobs import quiet_tools
from flows.cli.shared import LEDGER, LOG, OUTBOX
from mucs import InputError


@click.command()
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@click.option(
    "--event",
    "types",
    multiple=True,
    metavar="TYPE",
    help="Tell only of these: run.published, statement.issued, verify.failed; of all without it.",
)
@click.option("--once", is_flag=True, help="Tell what is due, and end; exit status 1 if something could not be told.")
@OUTBOX
@LEDGER
@LOG
def notify(
    urls: tuple[str, ...], types: tuple[str, ...], once: bool, outbox: Path | None, ledger: str, log: str | None
) -> None:
    """Tell each URL when a run is published, a statement issued, or a verification failed, until Ctrl-C.

    Messages are signed with the secret in MUCS_WEBHOOK_SECRET, as Standard Webhooks says. What cannot be told waits in the outbox,
    where `mucs verify` puts what it finds as well, and is tried again for three days.
    """
    quiet_tools()
    from flows.notify import TYPES
    from flows.notify import notify as tell
    from mucs.outbox import Outbox
    from mucs.written import nearest
    from tasks.ledgers import followed, open_log
    from tasks.webhook import VARIABLE, read_secret, read_url

    for each in types:
        if each not in TYPES:
            raise InputError(f"There is no event {each!r}{nearest(each, TYPES)}; they are {', '.join(TYPES)}.")
    if outbox is None:
        raise InputError("What is to be told must wait somewhere; give a file as --outbox, or set MUCS_OUTBOX.")
    to = [read_url(each) for each in urls]
    secret = read_secret(os.environ.get(VARIABLE))
    opened = open_log(log or followed(ledger))
    if not once:
        click.echo(f"Following {opened.place} for {len(to)} receiver{'s' * (len(to) > 1)} until Ctrl-C.", err=True)
    failed = tell(opened, Outbox(outbox), to, types or TYPES, secret, lambda: not once)
    if failed:
        sys.exit(1)
