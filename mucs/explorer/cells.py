"""Cells: a value of a row as a page shows it: text that cannot act, numbers that line up, and a link wherever there is a page."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from markupsafe import Markup, escape

from mucs.explorer.address import called
from mucs.explorer.view import View
from mucs.explorer.words import HEADINGS
from mucs.text import for_terminal

SHOWN, UNFOLDED = 60, 2000  # characters of a text at first, and when it is unfolded
DIGEST = re.compile(r"[0-9a-f]{16}|[0-9a-f]{64}")
LEAST = 2  # decimals of an exact share as a percentage, as sentences have them
SHARES = re.compile(r"share|overlap|first|first_ten|share_.*|.*_share|among_best")
ITEMS = {"generated": "generated", "training": "training"}
PAGES = {
    **dict.fromkeys(("rights_holder", "holder_today", "holder"), "holders"),
    **dict.fromkeys(("run", "latest_run", "first_run", "second_run"), "runs"),
    **dict.fromkeys(("statement", "supersedes", "adjusted_by"), "statements"),
    "position": "entries",
    "dispute": "disputes",
    "question": "questions",
}
Link = Callable[..., str]


def cell(row: dict[str, Any], column: str, link: Link, decimals: int = LEAST) -> Markup:
    """A value of a row as HTML.

    Args:
        row: All of it, as names of things may stand in other columns.
        column: The value's.
        link: Makes addresses.
        decimals: Of an exact share as a percentage.
    """
    value = row[column]
    if value is None or value == "":
        return Markup('<span class="none">–</span>')
    if column in ITEMS:
        name = called(str(value), row.get(f"{column}_sha256"))
        return _linked(link(ITEMS[column], name), text(str(value)))
    if column in PAGES:
        shown = digest(value) if DIGEST.fullmatch(str(value)) else text(str(value))
        return _linked(link(PAGES[column], str(value)), shown)
    if column == "line" and "statement" in row:
        return _linked(link("statements", row["statement"], "lines", str(value)), text(str(value)))
    if isinstance(value, Decimal) and SHARES.fullmatch(column):
        return Markup('<span class="n" title="%s">%s</span>') % (number(value), percentage(value, decimals))
    return _value(value, column, link)


def percentage(share: Decimal, decimals: int) -> str:
    """An exact share as a percentage, rounded to so many decimals."""
    return f"{100 * share:.{decimals}f} %".replace("-", "−")


def decimals_of(shares: Iterable[Decimal]) -> int:
    """How many decimals keep percentages of exact shares apart, and those that are not 0 or 1 from 0 % and 100 %."""
    apart = {*shares, Decimal(0), Decimal(1)}
    most = max(0, *(-int(each.as_tuple().exponent) - 2 for each in apart))
    return next(
        (n for n in range(LEAST, most) if len({percentage(each, n) for each in apart}) == len(apart)), max(LEAST, most)
    )


def _value(value: Any, column: str, link: Link) -> Markup:
    if isinstance(value, bool):
        return text("yes" if value else "no")
    if isinstance(value, float):
        shown = f"{100 * value:.1f} %" if SHARES.fullmatch(column) else f"{value:.3f}"
        return Markup('<span class="n">%s</span>') % shown.replace("-", "−")
    if isinstance(value, int | Decimal):
        return Markup('<span class="n">%s</span>') % number(value)
    if isinstance(value, datetime.datetime):
        at = value.astimezone(datetime.UTC)
        return Markup('<time datetime="%s">%s</time>') % (at.isoformat(), f"{at:%Y-%m-%d %H:%M}")
    if isinstance(value, str) and DIGEST.fullmatch(value):
        return _linked(link("sha256", value), digest(value))
    return text(str(value))


def number(value: int | Decimal) -> str:
    """A number as it is: of a decimal, all digits but needless noughts beyond the second."""
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f").replace("-", "−")
    whole, _, rest = f"{value:f}".partition(".")
    rest = rest.rstrip("0").ljust(2, "0") if rest else ""
    return (whole + ("." + rest if rest else "")).replace("-", "−")


def digest(value: str) -> Markup:
    """A SHA-256 by its first digits."""
    return Markup('<code title="%s">%s</code>') % (value, value[:12])


def text(value: str, shown: int = SHOWN) -> Markup:
    """A text from outside: isolated, what cannot be seen made visible, and folded where it is long."""
    told = for_terminal(value, UNFOLDED)
    if len(told) <= shown:
        return Markup("<bdi>%s</bdi>") % told
    more = (
        Markup(" <em>({} characters in all; they are in the JSON)</em>").format(len(value))
        if len(value) > UNFOLDED
        else ""
    )
    return Markup('<details class="long"><summary><bdi>{}…</bdi></summary><bdi>{}</bdi>{}</details>').format(
        told[:shown], told, more
    )


def short(value: str) -> Markup:
    """The same in one piece, cut where it is long: in a link, as what unfolds cannot stand in one."""
    return Markup("<bdi>%s</bdi>") % for_terminal(value, SHOWN)


def _linked(address: str, shown: Markup) -> Markup:
    if shown.startswith("<details"):  # what unfolds is no link: that stands behind it
        return shown + Markup(' <a href="%s">page</a>') % address
    return Markup('<a href="%s">%s</a>') % (address, shown)


@dataclass(frozen=True)
class Head:
    """A column of a table.

    Attributes:
        column: Its name.
        words: Above it.
        number: Whether it is one of numbers.
        decimals: Of its exact shares as percentages.
    """

    column: str
    words: Markup
    number: bool
    decimals: int


def headed(view: View) -> list[Head]:
    """The columns that a view shows."""
    return [
        Head(
            each,
            escape(HEADINGS.get(each, each).replace("_", " ")),
            is_number(view.rows, each),
            decimals_of(row[each] for row in view.rows if isinstance(row[each], Decimal) and SHARES.fullmatch(each)),
        )
        for each in view.columns
    ]


def is_number(rows: list[dict[str, Any]], column: str) -> bool:
    """Whether a column is one of numbers."""
    values = [row[column] for row in rows if row[column] is not None]
    return bool(values) and all(
        isinstance(value, int | float | Decimal) and not isinstance(value, bool) for value in values
    )
