"""Commands that tell the ledger what it cannot measure: rights, descent, withdrawals."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.shared import LEDGER, PLACE


@click.command()
@click.argument("file", type=PLACE)
@LEDGER
def rights(file: Path, ledger: Path) -> None:
    """Record who granted what for which image over which days.

    FILE is a CSV with the columns item, rights_holder, licence, standing, uses, valid_from, valid_to.
    """
    from mucs.ledger import Ledger
    from mucs.ledger.rights import read_rights, record_rights

    Ledger.open(ledger).connection.close()
    with Ledger.open(ledger, read_only=False) as opened:
        found = read_rights(opened, file)
        new = record_rights(opened, found)
    click.echo(
        f"Recorded {len(found)} rights." if new else "Nothing to do: these are the rights that were recorded last."
    )


@click.command()
@click.argument("child")
@click.argument("parent")
@LEDGER
def derive(child: str, parent: str, ledger: Path) -> None:
    """Record that one checkpoint or data set (CHILD) was made from another (PARENT), each by its SHA-256."""
    from mucs.ledger import Ledger
    from mucs.ledger.rights import artifact, record_derivation

    Ledger.open(ledger).connection.close()
    with Ledger.open(ledger, read_only=False) as opened:
        ends = artifact(opened, child), artifact(opened, parent)
        new = record_derivation(opened, *ends)
    told = f"{ends[0][:16]} was made from {ends[1][:16]}"
    click.echo(f"Recorded: {told}." if new else f"Nothing to do: the ledger knows that {told}.")


@click.command()
@click.argument("run")
@click.option("--reason", required=True, help="Why it must not be relied on.")
@LEDGER
def withdraw(run: str, reason: str, ledger: Path) -> None:
    """Have a run (by the start of its SHA-256) speak no longer; the run before it speaks again, and nothing is deleted."""
    from mucs.ledger import Ledger
    from mucs.ledger.rights import withdraw as record

    Ledger.open(ledger).connection.close()
    with Ledger.open(ledger, read_only=False) as opened:
        new = record(opened, run, reason)
    click.echo(f"Run {run[:16]} speaks no longer." if new else f"Nothing to do: run {run[:16]} was withdrawn before.")
