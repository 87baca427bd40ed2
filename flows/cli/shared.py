"""What the commands share: options, and how answers are printed."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mucs.text import for_terminal, unfit
from mucs.written import read_number, read_whole

if TYPE_CHECKING:
    from mucs.ledger import Ledger


class Place(click.Path):
    """A path; an empty word, as an empty variable of a shell gives, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, unless the word is empty."""
        if value == "":
            self.fail("an empty word is no path.", param, ctx)
        return super().convert(value, param, ctx)


class Whole(click.IntRange):
    """A whole number, in ASCII."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, within its range."""
        return super().convert(written(self, read_whole, value, param, ctx), param, ctx)


class Number(click.FloatRange):
    """A finite number, in ASCII."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, within its range."""
        return super().convert(written(self, read_number, value, param, ctx), param, ctx)


def written(
    kind: click.ParamType[Any],
    read: Callable[[str], Any],
    value: Any,
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> Any:
    """What was written as a word, read; a default as it is."""
    try:
        return read(value) if isinstance(value, str) else value
    except ValueError as error:
        kind.fail(str(error), param, ctx)


PLACE = Place(path_type=Path)
LEDGER = click.option(
    "--ledger",
    type=Place(path_type=str),
    envvar="MUCS_LEDGER",
    default="mucs.ledger",
    show_default=True,
    help="The ledger: a folder, or ducklake:postgres:dbname=….",
)
LOG = click.option(
    "--log",
    type=Place(path_type=str),
    metavar="PLACE",
    envvar="MUCS_LOG",
    help="The log, a folder or s3://bucket/prefix; without it, the one that the ledger follows.",
)
OUTBOX = click.option(
    "--outbox",
    type=PLACE,
    envvar="MUCS_OUTBOX",
    help="The file in which waits what `mucs notify` tells others; a missing one is made.",
)
AS_OF = click.option(
    "--as-of",
    default="infinity",
    metavar="TIME",
    help="Answer from what the ledger knew then, as 2026-10-31 or 2026-10-31T12:00:00 (UTC); now without it.",
)
DIGEST = re.compile("[0-9a-f]{12,16}")  # the start of a SHA-256
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")


@contextlib.contextmanager
def reading(ledger: str) -> Iterator[Ledger]:
    """A ledger to ask; says in a line if its log has more."""
    from tasks import ledgers

    with ledgers.reading(ledger) as opened:
        if ledgers.is_behind(opened):
            click.echo("mucs: The log has entries that this ledger has not; `mucs sync` brings them.", err=True)
        yield opened


def print_json(value: Any) -> None:
    """JSON, with anything that JSON lacks as text; NaN as null."""
    import math

    def plain(x: Any) -> Any:
        if isinstance(x, dict):
            return {k: plain(v) for k, v in x.items()}
        if isinstance(x, list | tuple):
            return [plain(v) for v in x]
        return None if isinstance(x, float) and not math.isfinite(x) else x

    text = json.dumps(plain(value), indent=1, default=str, ensure_ascii=False)
    # what is unfit to be shown stands within strings, where JSON has an escape for it
    click.echo("".join(c if c == "\n" or not unfit(c) else json.dumps(c)[1:-1] for c in text))


def _cell(value: Any) -> str:
    """Decimals as they are, without an exponent; floats with four."""
    if isinstance(value, float | Decimal):
        return f"{value:.4f}" if isinstance(value, float) else f"{value:f}"
    return "" if value is None else for_terminal(str(value))


def print_table(rows: list[dict[str, Any]], columns: list[str], title: str | None = None) -> None:
    """A table for a person."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=title and for_terminal(title), title_justify="left", box=None, pad_edge=False, header_style="bold"
    )
    for column in columns:
        numeric = all(isinstance(row[column], int | float | Decimal) or row[column] is None for row in rows)
        whole = all(DIGEST.fullmatch(str(row[column])) for row in rows)  # to be copied
        table.add_column(
            for_terminal(column.replace("_", " ")),
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=whole,
        )
    for row in rows:
        table.add_row(*(_cell(row[c]) for c in columns))
    Console(width=None if sys.stdout.isatty() else 160, markup=False, highlight=False).print(table)
