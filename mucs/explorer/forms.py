"""Forms: what officers and rights holders say to the log from a page, by the functions that the commands use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import duckdb
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from mucs import InputError
from mucs.explorer.access import is_genuine
from mucs.explorer.address import address
from mucs.explorer.entrance import FORGED, sent
from mucs.explorer.fault import fault
from mucs.explorer.page import Asked, Page
from mucs.explorer.pages import disputes, holders, items, own, runs, statements
from mucs.explorer.render import html
from mucs.explorer.roles import HOLDER, Person
from mucs.explorer.snapshot import Snapshots
from mucs.explorer.telling import Telling
from mucs.ledger import Ledger
from mucs.ledger.asked import Unavailable
from mucs.ledger.names import run_called
from mucs.ledger.rights import opted_out, read_right, say_rights, withdraw
from mucs.royalties.dispute import move_dispute, open_dispute
from mucs.text import first_line
from mucs.written import one_name, read_whole

Fields: TypeAlias = Mapping[str, str]


@dataclass(frozen=True)
class Form:
    """Something that can be said.

    Attributes:
        path: Where its form is sent to.
        say: Says it, to a ledger that is open to be written; gives the parts of the address of the page that shows it then.
        page: The page that the form stands on, which is shown again where it cannot be said.
        at: The parts of that page's address.
    """

    path: str
    say: Callable[[Ledger, Person, Fields], tuple[str, ...]]
    page: Callable[[Asked, Fields], Page]
    at: Callable[[Person, Fields], tuple[str, ...]]


def _field(fields: Fields, name: str) -> str:
    return fields.get(name, "")


def _withdraw(ledger: Ledger, _: Person, fields: Fields) -> tuple[str, ...]:
    run = run_called(ledger.connection, _field(fields, "run"))
    withdraw(ledger, run, _field(fields, "reason"))
    return "runs", run


def _say_right(ledger: Ledger, _: Person, fields: Fields) -> tuple[str, ...]:
    right = read_right(ledger, fields)
    say_rights(ledger, [right])
    return "training", right.sha256


def _take_down(ledger: Ledger, _: Person, fields: Fields) -> tuple[str, ...]:
    target = _field(fields, "target")
    if one_name(_field(fields, "confirmation")) != one_name(target):
        raise InputError(f"Nothing was recorded: to confirm it, write {target!r}, letter by letter.")
    say_rights(ledger, opted_out(ledger, target, _field(fields, "valid_from")))
    return "takedown", target


def _open(ledger: Ledger, person: Person, fields: Fields) -> tuple[str, ...]:
    statement, holder = _field(fields, "statement"), _field(fields, "holder")
    if person.role == HOLDER:
        holder = str(person.holder)
        if not ledger.one("SELECT 1 FROM balances WHERE statement = ? AND rights_holder = ?", statement, holder):
            raise own.NotYours
    number, _ = open_dispute(ledger, statement, holder, _field(fields, "reason"))
    return "disputes", str(number)


def _document(asked: Asked, fields: Fields) -> Page:
    statement = _field(fields, "statement")
    if asked.person.role == HOLDER:
        return own.document(asked, statement, str(asked.person.holder))
    return statements.document(asked, statement, _field(fields, "holder"))


def _decide(ledger: Ledger, _: Person, fields: Fields) -> tuple[str, ...]:
    dispute, amount = _field(fields, "dispute"), _field(fields, "amount").strip()
    try:
        number = read_whole(dispute)
    except ValueError:
        raise InputError(f"There is no dispute {dispute[:40]!r}; see them on the page of disputes.") from None
    move_dispute(ledger, number, _field(fields, "state"), _field(fields, "reason"), amount or None)
    return "disputes", dispute


def _at(place: str, name: str) -> Callable[[Person, Fields], tuple[str, ...]]:
    """The address of the page of the thing that a field names."""
    return lambda _, fields: (place, _field(fields, name))


OPEN = Form(
    "/disputes",
    _open,
    _document,
    lambda person, fields: (
        "statements",
        _field(fields, "statement"),
        "holders",
        person.holder or _field(fields, "holder"),
    ),
)
FORMS = (
    OPEN,
    Form(
        "/disputes/steps",
        _decide,
        lambda asked, fields: disputes.dispute(asked, _field(fields, "dispute")),
        _at("disputes", "dispute"),
    ),
    Form("/withdrawals", _withdraw, lambda asked, fields: runs.run(asked, _field(fields, "run")), _at("runs", "run")),
    Form(
        "/rights",
        _say_right,
        lambda asked, fields: items.training(asked, _field(fields, "item")),
        _at("training", "item"),
    ),
    Form(
        "/takedowns",
        _take_down,
        lambda asked, fields: holders.takedown(asked, _field(fields, "target")),
        _at("takedown", "target"),
    ),
)


def taking(form: Form, snapshots: Snapshots, telling: Telling) -> Callable[[Request], Awaitable[Response]]:
    """What takes a form that was sent.

    Args:
        form: The form.
        snapshots: Of the ledger.
        telling: Tells the log.
    """

    def say(request: Request, fields: dict[str, str]) -> Response:
        person = request.scope["person"]
        if not is_genuine(person, fields.pop("form_token", "")):
            return fault(request, 403, FORGED, search=person.role != HOLDER)
        try:
            to = telling.change(person, lambda ledger: form.say(ledger, person, fields))
            return RedirectResponse(address(*to), 303, {"cache-control": "no-store"})
        except own.NotYours:
            raise
        except Unavailable as error:
            status, wrong = 503, str(error)
        except InputError as error:
            status, wrong = 400, str(error)
        except duckdb.Error as error:
            status, wrong = 503, f"It could not be recorded ({first_line(error)}); send it again."
        snapshot = snapshots.current()
        with snapshot.ledger() as ledger:
            asked = Asked(snapshot, ledger, "infinity", person)
            page = form.page(asked, fields)
        page = replace(page, shown=page.shown | {"wrong": wrong, "typed": fields})
        text = html(page, asked, address(*form.at(person, fields)), {})
        return Response(text, status, {"cache-control": "no-store"}, "text/html; charset=utf-8")

    async def answer(request: Request) -> Response:
        return await to_thread.run_sync(say, request, await sent(request))

    return answer
