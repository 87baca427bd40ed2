"""The usage report: how often each generated item was used in a period, and what that earned."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from mucs import InputError
from mucs.canonical import canonical, digest
from mucs.csvfile import check_columns, read_csv
from mucs.evidence.chain import Entry
from mucs.ledger import Ledger, Said
from mucs.royalties.contract import NUMBER, TERRITORY, Contract
from mucs.text import is_fit
from mucs.written import read_day

MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
COLUMNS = ("generated", "date", "units", "revenue", "territory")


@dataclass(frozen=True)
class Period:
    """A month in UTC: from the first day up to the first that is not in it."""

    start: datetime.date
    end: datetime.date

    @classmethod
    def month(cls, name: str) -> Period:
        """From its name, such as 2026-10.

        Raises:
            InputError: If it is none.
        """
        try:
            if not MONTH.fullmatch(name):
                raise ValueError(name)
            start = read_day(f"{name}-01")
            return cls(start, (start + datetime.timedelta(days=31)).replace(day=1))
        except (ValueError, OverflowError):
            raise InputError(f"The period cannot be {name!r}; give a month, such as 2026-10.") from None

    @property
    def last_day(self) -> datetime.date:
        """The last day that belongs to it."""
        return self.end - datetime.timedelta(days=1)

    def __str__(self) -> str:
        return f"{self.start.isoformat()[:7]}"


@dataclass(frozen=True)
class Use:
    """One row.

    Attributes:
        generated: An id or SHA-256.
        revenue: None where it was not given.
        territory: Empty where it was not.
    """

    line: int
    generated: str
    date: datetime.date
    units: Decimal
    revenue: Decimal | None
    territory: str

    def record(self) -> dict[str, str]:
        """As JSON, numbers as text without the zeros that say nothing; the line does not matter."""
        row = {"generated": self.generated, "date": str(self.date), "units": shortest(self.units)}
        row |= {"territory": self.territory} if self.territory else {}
        return row | ({} if self.revenue is None else {"revenue": shortest(self.revenue)})


def shortest(number: Decimal) -> str:
    """A number as text, without trailing zeros and exponent."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True)
class Usage:
    """The rows of a period, whatever their order was.

    Attributes:
        outside: How many rows of the file are of other periods.
    """

    rows: tuple[Use, ...]
    outside: int

    def records(self) -> list[dict[str, str]]:
        """As JSON, sorted."""
        return sorted((row.record() for row in self.rows), key=canonical)

    @property
    def sha256(self) -> str:
        """Of all rows as canonical JSON: a report's name, whatever order its rows had."""
        return digest(self.records())

    def counted(self, contract: Contract) -> list[Use]:
        """The rows in the contract's territories."""
        return [row for row in self.rows if not contract.territories or row.territory in contract.territories]


def read_usage(path: Path, period: Period) -> Usage:
    """The rows of a CSV file with the columns generated, date and units, and perhaps revenue and territory.

    Args:
        path: The file; units and revenue are at least 0, with at most 9 decimals.
        period: The rows of other periods are left out, and counted.

    Raises:
        InputError: With the line, for what cannot be read.
    """
    rows = list(_uses(path))
    within = [row for row in rows if period.start <= row.date < period.end]
    return Usage(tuple(within), len(rows) - len(within))


def _uses(path: Path) -> Iterator[Use]:
    for line, values in read_csv(path, COLUMNS, lambda found: check_columns(path, found, COLUMNS, COLUMNS[:3])):
        here = f"{path}, line {line}:"
        if not values["generated"] or not is_fit(values["generated"]):
            raise InputError(f"{here} generated is empty or cannot be printed; give an id or a SHA-256.")
        try:
            day = read_day(values["date"])
        except ValueError:
            raise InputError(f"{here} date cannot be {values['date']!r}; write a day as 2026-10-31.") from None
        if values["territory"] and not TERRITORY.fullmatch(values["territory"]):
            raise InputError(
                f"{here} territory cannot be {values['territory']!r}; write two capital letters of ISO 3166, such as DE."
            )
        revenue = _amount(values["revenue"], f"{here} revenue") if values["revenue"] else None
        units = _amount(values["units"], f"{here} units")
        yield Use(line, values["generated"], day, units, revenue, values["territory"])


def _amount(text: str, what: str) -> Decimal:
    if not NUMBER.fullmatch(text) or text.startswith("-"):
        raise InputError(f"{what} cannot be {text!r}; write a number of at least 0, such as 12 or 0.50.")
    return Decimal(text)


def say_usage(ledger: Ledger, usage: Usage) -> Entry | None:
    """Say the report, unless the ledger has it; gives the entry, if there is a new one."""

    def decide(_: datetime.datetime) -> Said | None:
        if ledger.one("SELECT 1 FROM usage_reports WHERE sha256 = ?", usage.sha256):
            return None
        return Said("usage", {"usage": usage.sha256, "rows": len(usage.rows)}, [canonical(usage.records())])

    return ledger.say(decide)
