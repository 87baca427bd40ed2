"""A page: what a request asked, and what is to be shown for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from mucs import InputError
from mucs.explorer.address import address
from mucs.explorer.roles import Person
from mucs.explorer.snapshot import Snapshot
from mucs.explorer.view import CAP, View, capped, narrowed
from mucs.ledger import Ledger
from mucs.ledger.names import Unknown
from mucs.ledger.questions import question

Picture: TypeAlias = Callable[[str], bytes | None]


@dataclass(frozen=True)
class Asked:
    """A request for a page.

    Attributes:
        snapshot: What it is answered from.
        ledger: The same, to be asked.
        as_of: The time whose knowledge it is answered from, as questions take it.
        person: Who asks.
        query: What stands behind the question mark, the last of each.
        takes_pictures: Whether pictures can be sent to be attributed.
    """

    snapshot: Snapshot
    ledger: Ledger
    as_of: str
    person: Person
    query: Mapping[str, str] = field(default_factory=dict)
    takes_pictures: bool = False

    def link(self, *parts: str, **query: Any) -> str:
        """The address of a page, as of the same time."""
        return address(*parts, as_of=self.as_of, **query)

    def view(
        self,
        name: str,
        title: str,
        columns: list[str],
        facets: list[str] | None = None,
        most: int = CAP,
        note: str = "",
        more: str = "",
        **given: Any,
    ) -> View:
        """The answer of a named question, narrowed by what was chosen of its facets.

        Args:
            name: The question's.
            title: In words.
            columns: Those to show.
            facets: Columns that it can be narrowed by.
            most: Rows to show.
            note: A sentence about them.
            more: Where all of them are.
            given: The question's parameters.
        """
        told = given | {"as_of": self.as_of}
        rows = self.ledger.ask(name, **told)
        kept, made = narrowed(rows, facets or [], {each: self.query.get(each) for each in facets or []})
        shown, reached = capped(kept, most)
        return View(name, title, columns, shown, question(name).sql, told, reached, made, note, more)

    def query_view(self, name: str, title: str, columns: list[str], sql: str, **given: Any) -> View:
        """The rows of a query that stands beside a page's code."""
        rows, reached = capped(self.ledger.rows(sql, given, CAP + 1))
        return View(name, title, columns, rows, sql, given, reached)

    def number(self, name: str, default: int) -> int:
        """A whole number above 0 of the query. Raises InputError for anything else."""
        said = self.query.get(name, str(default))
        if not (said.isascii() and said.isdigit() and 0 < len(said) < 7 and int(said)):
            raise InputError(f"{name} cannot be {said[:40]!r}; give a whole number from 1 to 999999.")
        return int(said)


@dataclass(frozen=True)
class Page:
    """What is shown.

    Attributes:
        template: The HTML's.
        title: Of the page.
        views: Its tables; the first is what its CSV has.
        facts: What else there is, as JSON has it too.
        shown: What only the HTML needs.
        status: Of the answer.
        to: Another address to go to instead.
        pdf: Makes the same as PDF, given what has the picture of an image by its SHA-256; None for what is no document.
    """

    template: str
    title: str
    views: list[View] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    to: str | None = None
    pdf: Callable[[Picture], bytes] | None = None


def only(rows: list[dict[str, Any]], what: str, name: str) -> dict[str, Any]:
    """The one row that is meant. Raises Unknown if there is none, and InputError if there are several."""
    if not rows:
        raise Unknown(
            f"The ledger has no {what} called {name[:100]!r} as of this time; look for it with the search above."
        )
    if len(rows) > 1:
        raise InputError(f"The ledger has {len(rows)} {what}s called {name[:100]!r}; give more of its SHA-256.")
    return rows[0]
