"""The command that tells others what happens."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import click

from flows.cli.jobs import quiet_tools
from flows.cli.shared import LEDGER, LOG, OUTBOX
from mucs import InputError


@click.command()
@click.argument("receivers", nargs=-1, required=True, metavar="RECEIVER...", envvar="MUCS_RECEIVERS")
@click.option(
    "--event",
    "types",
    multiple=True,
    metavar="TYPE",
    help="Tell only of these, such as run.published, statement.issued, verify.failed, job.failed; of all without it.",
)
@click.option(
    "--expect",
    "expected",
    multiple=True,
    metavar="JOB=HOURS",
    help="Tell of a job, such as audit/nightly=26, that was not completed for so long. Repeat it for more.",
)
@click.option("--once", is_flag=True, help="Tell what is due, and end; exit status 1 if something could not be told.")
@OUTBOX
@LEDGER
@LOG
def notify(
    receivers: tuple[str, ...],
    types: tuple[str, ...],
    expected: tuple[str, ...],
    once: bool,
    outbox: Path | None,
    ledger: str,
    log: str | None,
) -> None:
    """Tell each RECEIVER when a run is published, a statement issued, a verification failed, or a job failed, until Ctrl-C.

    A RECEIVER is the https address of a webhook, or an address of Apprise, such as mailto://user:password@mail.example.org?to=ops@example.org;
    MUCS_RECEIVERS has them as well, with blanks between. Messages to webhooks are signed with the secret in MUCS_WEBHOOK_SECRET, as
    Standard Webhooks says. Jobs are those of the Prefect server at PREFECT_API_URL, where that is set. What cannot be told waits in the outbox,
    where `mucs verify` puts what it finds as well, and is tried again for three days.
    """
    quiet_tools()
    import httpx

    from flows.notify import TYPES, receiver
    from flows.notify import notify as tell
    from flows.watch import Watch
    from mucs.outbox import Outbox
    from mucs.written import nearest
    from tasks.ledgers import followed, open_log
    from tasks.webhook import VARIABLE, read_secret

    for each in types:
        if each not in TYPES:
            raise InputError(f"There is no event {each!r}{nearest(each, TYPES)}; they are {', '.join(TYPES)}.")
    if outbox is None:
        raise InputError("What is to be told must wait somewhere; give a file as --outbox, or set MUCS_OUTBOX.")
    hours = dict(read_expected(each) for each in expected)
    has_prefect = bool(os.environ.get("PREFECT_API_URL"))
    if hours and not has_prefect:
        raise InputError("--expect asks a Prefect server about jobs; set PREFECT_API_URL to its address.")
    with httpx.Client() as client:
        to = [receiver(each, client, lambda: read_secret(os.environ.get(VARIABLE))) for each in receivers]
        opened = open_log(log or followed(ledger))
        if not once:
            what = f"{opened.place}{' and the jobs of ' + os.environ['PREFECT_API_URL'] if has_prefect else ''}"
            click.echo(f"Following {what} for {len(to)} receiver{'s' * (len(to) > 1)} until Ctrl-C.", err=True)
        waits_in = Outbox(outbox)
        jobs = Watch(waits_in, hours) if has_prefect else None
        failed = tell(opened, waits_in, to, types or TYPES, jobs, lambda: not once)
    if failed:
        sys.exit(1)


def read_expected(text: str) -> tuple[str, float]:
    """A job and the hours that may pass between completed runs of it.

    Raises:
        InputError: If it is not written so.
    """
    job, _, hours = text.partition("=")
    try:
        found = float(hours)
    except ValueError:
        found = 0.0
    if job.count("/") != 1 or not 0 < found < math.inf:
        raise InputError(f"--expect cannot be {text!r}; write a job and hours, such as audit/nightly=26.")
    return job, found
