"""The command that makes, lists and ends the tokens of the explorer."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from flows.cli.shared import JSON, Place, Whole, print_json, print_table

TOKENS = click.option(
    "--tokens",
    type=Place(path_type=Path),
    envvar="MUCS_TOKENS",
    metavar="FILE",
    default="mucs.tokens",
    show_default=True,
    help="The file of tokens.",
)


@click.group()
def token() -> None:
    """Tokens for the explorer: who may see what of it. The file has their digests alone."""


@token.command()
@click.option("--role", required=True, help="viewer, analyst, officer or holder.")
@click.option("--holder", help="The rights holder, for the role holder.")
@click.option("--days", type=Whole(), default=365, show_default=True, help="For how long it counts.")
@click.option(
    "--name", default="", help="Whose it is, as the log names him; of a rights holder, the holder's own name."
)
@TOKENS
def new(role: str, holder: str | None, days: int, name: str, tokens: Path) -> None:
    """Make a token, and print it: this once, as it is kept nowhere."""
    from mucs.explorer.tokens import Tokens

    secret, made = Tokens(tokens).add(name, role, holder, days)
    click.echo(f"Token {made.id} of {made.name}, {made.role}, until {made.until[:10]}:", err=True)
    click.echo(secret)


@token.command("list")
@TOKENS
@JSON
def list_(tokens: Path, as_json: bool) -> None:
    """List the tokens that were not ended."""
    from mucs.explorer.tokens import Tokens

    now = datetime.datetime.now(datetime.UTC)
    names = ("id", "name", "role", "holder", "made", "until")
    rows = [
        {name: getattr(each, name) for name in names} | {"expired": not each.counts(now)}
        for each in Tokens(tokens).all()
    ]
    if as_json:
        return print_json(rows)
    if not rows:
        return click.echo("No tokens.")
    shown = [
        row | {"made": row["made"][:10], "until": row["until"][:10] + (" (expired)" if row["expired"] else "")}
        for row in rows
    ]
    print_table(shown, list(names))


@token.command()
@click.argument("id")
@TOKENS
def end(id: str, tokens: Path) -> None:
    """End the token ID: it counts no longer, nor does a login with it."""
    from mucs.explorer.tokens import Tokens

    ended = Tokens(tokens).end(id)
    click.echo(f"Token {ended.id} of {ended.name} is ended.")
