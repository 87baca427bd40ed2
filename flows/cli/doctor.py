"""The command that looks whether all is well."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click

from flows.cli.jobs import quiet_loggers, quiet_tools
from flows.cli.shared import JSON, LEDGER, LOG, OUTBOX, print_json
from mucs.text import for_terminal


@click.command()
@click.option("--registry", envvar="MUCS_REGISTRY", help="Path or address of the registry.")
@click.option("--revision", default="main", show_default=True, help="Tag, branch or commit of it.")
@OUTBOX
@LEDGER
@LOG
@JSON
def doctor(
    registry: str | None, revision: str, outbox: Path | None, ledger: str, log: str | None, as_json: bool
) -> None:
    """See whether all that the service needs is there and does what it must; exit status 1 if something is wrong.

    Under the log's place on S3 an object is put, locked for three seconds if the bucket can, and removed. It takes a minute at most.
    """
    quiet_tools()
    from flows.doctor import WRONG, Places, examine
    from tasks.pull import default_cache

    quiet_loggers()
    found = examine(Places(ledger, log, registry, revision, outbox, default_cache()))
    is_wrong = any(each.state == WRONG for each in found)
    if as_json:
        print_json({"well": not is_wrong, "checks": [dataclasses.asdict(each) for each in found]})
    else:
        for each in found:
            click.echo(f"{each.state:9}{each.check:10}{for_terminal(each.said)}.")
    if is_wrong:
        sys.exit(1)
