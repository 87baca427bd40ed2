"""A view: rows with the SQL that they came from; the same as a table of a page, as JSON and as CSV."""

from __future__ import annotations

import csv
import datetime
import io
import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from mucs.text import for_spreadsheet

CAP = 1000  # rows that are shown; who wants more asks for the next ones


@dataclass(frozen=True)
class Facet:
    """The values of a column, each with how many rows have it, and the one that was chosen."""

    column: str
    counts: list[tuple[str, int]]
    chosen: str | None


@dataclass(frozen=True)
class View:
    """Rows.

    Attributes:
        name: What it is called in JSON, and in the page's address.
        title: The same in words.
        columns: Those that a page shows, in order.
        rows: Each with all that there is.
        sql: Where they come from.
        parameters: What it was asked with.
        reached: Whether there are more rows than these.
        facets: By which they can be narrowed.
        note: A sentence about them.
        more: Where all of them are, if they are but the first on purpose.
    """

    name: str
    title: str
    columns: list[str]
    rows: list[dict[str, Any]]
    sql: str
    parameters: dict[str, Any] = field(default_factory=dict)
    reached: bool = False
    facets: list[Facet] = field(default_factory=list)
    note: str = ""
    more: str = ""

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "title": self.title,
            "rows": [{name: plain(value) for name, value in row.items()} for row in self.rows],
            "row_cap_reached": self.reached,
            "sql": self.sql,
            "parameters": plain(self.parameters),
        }


def plain(value: Any) -> Any:
    """A value as JSON has it: decimals and times as text, what is not finite as null."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if value is None or isinstance(value, bool | int | str):
        return value
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def as_csv(view: View) -> str:
    """The rows as CSV, in which no cell is a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(view.rows[0]) if view.rows else view.columns
    writer.writerow(map(for_spreadsheet, names))
    for row in view.rows:
        writer.writerow(["" if row[name] is None else for_spreadsheet(str(plain(row[name]))) for name in names])
    return text.getvalue()


def capped(rows: list[dict[str, Any]], cap: int = CAP) -> tuple[list[dict[str, Any]], bool]:
    """The first rows, and whether there are more."""
    return rows[:cap], len(rows) > cap


def narrowed(
    rows: list[dict[str, Any]], columns: list[str], chosen: dict[str, str | None]
) -> tuple[list[dict[str, Any]], list[Facet]]:
    """The rows that have what was chosen, and the facets of some columns, each counted over what the other choices leave."""
    facets = []
    for column in columns:
        counts: dict[str, int] = {}
        for row in rows:
            if all(want is None or other == column or str(row[other]) == want for other, want in chosen.items()):
                counts[str(row[column])] = counts.get(str(row[column]), 0) + 1
        ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
        facets.append(Facet(column, ordered[:20], chosen.get(column)))
    kept = [row for row in rows if all(want is None or str(row[name]) == want for name, want in chosen.items())]
    return kept, facets
