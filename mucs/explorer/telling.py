"""Telling: the log is told what somebody changes here, and what he takes out."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote, unquote_plus

import duckdb
from starlette.requests import Request
from starlette.responses import Response

from mucs import InputError
from mucs.evidence.pseudonyms import Pseudonyms
from mucs.explorer.roles import Person
from mucs.explorer.snapshot import Snapshots
from mucs.ledger import Ledger, Said
from mucs.ledger.asked import Unavailable
from mucs.ledger.names import HOLDERS
from mucs.text import as_clause, first_line

Made = TypeVar("Made")


class Telling:
    """Tells the log, one entry at a time.

    Args:
        writing: Opens the ledger to be written.
        snapshots: Of the ledger, which are to know what was changed.
        takings: Whether the log is told what is taken out; of whoever could take the ledger itself, it is not.
    """

    def __init__(self, writing: Callable[[], Ledger], snapshots: Snapshots, takings: bool) -> None:
        self._writing, self._snapshots, self.takings = writing, snapshots, takings
        self._one = threading.Lock()

    def change(self, person: Person, do: Callable[[Ledger], Made]) -> Made:
        """Have something said in somebody's name; then pages know it.

        Args:
            person: Who changes it.
            do: Given the ledger, up to its log, says it.

        Raises:
            InputError: Whatever `do` raises, or if the ledger cannot be written.
        """
        with self._one, self._writing() as ledger:
            ledger.sync()
            ledger.by = _by(ledger, person)
            made = do(ledger)
        self._snapshots.look()
        return made

    def handed(self, request: Request, what: str | None, as_of: str, position: int, answer: Response) -> Response:
        """An answer, once the log was told of it where it takes something out.

        Args:
            request: What it answers.
            what: `csv`, `sql`, `document`, `proof` or the kind of an export; None for what takes nothing out.
            as_of: The time whose knowledge it was answered from.
            position: Of the log, that it was answered from.
            answer: Nothing is told of one that refuses, or that has no body.

        Raises:
            Unavailable: If the log cannot be told; then the answer is not to be given.
        """
        if not self.takings or what is None or answer.status_code != 200 or request.method != "GET":
            return answer
        path, query = request.scope["raw_path"].decode("ascii", "replace").partition("?")[0], request.url.query
        asked = unquote(path) + (f"?{unquote_plus(query)}" if query else "")

        def said(ledger: Ledger) -> Said:
            return Said(
                "access",
                {
                    "what": what,
                    "address": _without_names(ledger, asked),
                    "as_of": None if as_of == "infinity" else as_of,
                    "position": position,
                    "sha256": hashlib.sha256(answer.body).hexdigest(),
                },
            )

        try:
            with self._one, self._writing() as ledger:
                ledger.by = _by(ledger, request.scope["person"])
                ledger.say(lambda _: said(ledger))
        except (InputError, duckdb.Error, OSError) as error:
            why = as_clause(error) if isinstance(error, InputError) else first_line(error)
            raise Unavailable(
                f"What is taken out is told to the log first, and that cannot be done just now ({why}); try again in a minute."
            ) from error
        return answer


def _by(ledger: Ledger, person: Person) -> dict[str, str]:
    """Somebody as entries have him: a rights holder's name can be erased."""
    who = person.name if person.holder is None else Pseudonyms(ledger.followed.store).of(person.holder)
    return {"who": who, "role": person.role}


def _without_names(ledger: Ledger, text: str) -> str:
    """A text with the pseudonyms of rights holders in place of their names, which can be erased then."""
    lower = text.casefold()
    # a name as it is, or as SQL has it in quotes
    said = {
        form.casefold(): row["name"]
        for row in ledger.rows(HOLDERS)
        for form in (row["name"], row["name"].replace("'", "''"))
    }
    there = sorted((form for form in said if form in lower), key=len, reverse=True)
    if not there:
        return text
    known = Pseudonyms(ledger.followed.store).of_all(said[form] for form in there)
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(form)}(?!\w)" for form in there), re.IGNORECASE)
    return pattern.sub(
        lambda found: known[said[found[0].casefold()]] if found[0].casefold() in said else found[0], text
    )
