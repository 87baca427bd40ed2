"""Commands that ask the ledger."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.shared import JSON, LEDGER, print_json, print_table
from mucs import InputError


@click.command()
@click.argument("generated")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="How many training items.")
@LEDGER
@JSON
def why(generated: str, top: int, ledger: Path, as_json: bool) -> None:
    """What is behind this generated item (its id, or the start of its SHA-256)?"""
    from mucs.ledger import Ledger

    with Ledger.open(ledger) as opened:
        rows = opened.ask("why", generated=generated, top=top)
    if not rows:
        raise InputError(
            f'The ledger has no attribution of a generated item {generated!r}; list them with `mucs sql "SELECT DISTINCT generated FROM lineage"`.'
        )
    if as_json:
        return print_json(rows)
    state = "" if rows[0]["converged"] else ", not converged"
    print_table(
        rows,
        [
            "rank",
            "training",
            *(["annotation"] if rows[0]["annotation"] else []),
            "rights_holder",
            "licence",
            "score",
            "standard_error",
            "p_value",
            *(["decoy_p_value", "decoy_z"] if rows[0]["decoy_p_value"] is not None else []),
        ],
        f"Behind {rows[0]['generated']} (run {rows[0]['run'][:16]}{state})",
    )


@click.command()
@click.argument("training")
@click.option("--top", type=click.IntRange(1), default=20, show_default=True, help="How many generated items.")
@LEDGER
@JSON
def used(training: str, top: int, ledger: Path, as_json: bool) -> None:
    """What is this training item behind (its id, or the start of its SHA-256)?"""
    from mucs.ledger import Ledger

    with Ledger.open(ledger) as opened:
        rows = opened.ask("used", training=training, top=top)
        known = rows or opened.ask("known", training=training)
    if not known:
        raise InputError(
            f'The ledger has no training item {training!r}; list them with `mucs sql "SELECT id, rights_holder FROM training_items"`.'
        )
    if as_json:
        return print_json(rows)
    if not rows:
        return click.echo(f"{known[0]['training']} by {known[0]['rights_holder']} is in no generated item's ranking.")
    print_table(
        rows,
        ["generated", "rank", "score", "standard_error", "p_value", "run"],
        f"{rows[0]['training']} by {rows[0]['rights_holder']} is behind",
    )


@click.command()
@click.argument("query")
@LEDGER
@JSON
def sql(query: str, ledger: Path, as_json: bool) -> None:
    """Answer one SELECT over the ledger; it can neither write nor reach anything else."""
    from mucs.ledger import Ledger

    with Ledger.open(ledger) as opened:
        rows = opened.select(query)
    if as_json:
        return print_json(rows)
    if not rows:
        return click.echo("No rows.")
    print_table(rows, list(rows[0]))
