"""Commands that say what cannot be measured: rights, descent, withdrawals."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.shared import LEDGER, LOG, PLACE


@click.command()
@click.argument("file", type=PLACE)
@LEDGER
@LOG
def rights(file: Path, ledger: str, log: str | None) -> None:
    """Record who granted what for which image over which days.

    FILE is a CSV with the columns item, rights_holder, licence, standing, uses, valid_from, valid_to, cap, source.
    """
    from mucs.ledger.rights import read_rights, say_rights
    from tasks.ledgers import writing

    with writing(ledger, log) as opened:
        opened.sync()
        found = read_rights(opened, file)
        new = say_rights(opened, found)
    click.echo(
        f"Recorded {len(found)} rights." if new else "Nothing to do: these are the rights that were recorded last."
    )


@click.command("opt-out")
@click.argument("file", type=PLACE)
@LEDGER
@LOG
def opt_out(file: Path, ledger: str, log: str | None) -> None:
    """Record which training images a list of opt-outs names: they are opted out from the day that it was seen.

    FILE is a CSV with the columns domain, work, source, seen. A domain is that of an address in an image's manifest row; a work is an
    id, the SHA-256 of an image, or such an address. Run it again when the training set has grown.
    """
    from mucs.ledger.opt_outs import read_opt_outs
    from mucs.ledger.rights import say_rights
    from tasks.ledgers import writing

    with writing(ledger, log) as opened:
        opened.sync()
        found = read_opt_outs(opened, file)
        if found.rights:
            say_rights(opened, found.rights)
    told = f"Opted out {len(found.rights)} images" if found.rights else "Nothing to do: no more images are opted out"
    click.echo(f"{told}, by {found.rows} rows, of which {len(found.unknown)} name no training image.")


@click.command()
@click.argument("child")
@click.argument("parent")
@LEDGER
@LOG
def derive(child: str, parent: str, ledger: str, log: str | None) -> None:
    """Record that one checkpoint or data set (CHILD) was made from another (PARENT), each by its SHA-256."""
    from mucs.ledger.rights import artifact, say_derivation
    from tasks.ledgers import writing

    with writing(ledger, log) as opened:
        opened.sync()
        ends = artifact(opened, child), artifact(opened, parent)
        new = say_derivation(opened, *ends)
    told = f"{ends[0][:16]} was made from {ends[1][:16]}"
    click.echo(f"Recorded: {told}." if new else f"Nothing to do: the ledger knows that {told}.")


@click.command()
@click.argument("holder")
@LEDGER
@LOG
def forget(holder: str, ledger: str, log: str | None) -> None:
    """Erase the name of a rights holder (HOLDER) beside the log, and make the ledger anew without it.

    What the log commits to has a pseudonym in the name's place, and holds as before. Take the name out of the registry's manifests
    first: the next audit would learn it again.
    """
    from mucs.ledger.rights import forget as erase
    from tasks.ledgers import writing

    with writing(ledger, log) as opened:
        pseudonym = erase(opened, holder)
    click.echo(
        f"{holder} is erased; the ledger has {pseudonym!r} in its place. Pages and statements that were written before still name it."
    )


@click.command()
@click.argument("run")
@click.option("--reason", required=True, help="Why it must not be relied on.")
@LEDGER
@LOG
def withdraw(run: str, reason: str, ledger: str, log: str | None) -> None:
    """Have a run (by the start of its SHA-256) speak no longer; the run before it speaks again, and nothing is deleted."""
    from mucs.ledger.rights import withdraw as say
    from tasks.ledgers import writing

    with writing(ledger, log) as opened:
        new = say(opened, run, reason)
    click.echo(f"Run {run[:16]} speaks no longer." if new else f"Nothing to do: run {run[:16]} was withdrawn before.")
