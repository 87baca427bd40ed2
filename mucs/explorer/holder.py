"""The holder's side: all that there is for rights holders. What is not here is not there at all, to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mucs import InputError
from mucs.evidence.thumbnails import Thumbnails
from mucs.explorer import api
from mucs.explorer.address import name_of
from mucs.explorer.fault import fault
from mucs.explorer.forms import OPEN, taking
from mucs.explorer.gate import TooLarge
from mucs.explorer.making import as_of, make, taken_out
from mucs.explorer.page import Asked, Page
from mucs.explorer.pages import home, own
from mucs.explorer.pictures import picture
from mucs.explorer.snapshot import Snapshots
from mucs.explorer.telling import Telling
from mucs.ledger.asked import Unavailable
from mucs.ledger.names import Unknown

PAGES: dict[str, Callable[..., Page]] = {
    "/": own.first,
    "/holders/{name}": own.holder,
    "/training/{item}": own.training,
    "/generated/{item}": own.generated,
    "/statements/{statement}": own.statement,
    "/statements/{statement}/lines/{line}": own.line,
    "/statements/{statement}/holders/{name}": own.document,
    "/disputes/{dispute}": own.dispute,
    "/glossary": home.glossary,
}


def holder_app(snapshots: Snapshots, thumbnails: Thumbnails, telling: Telling) -> Starlette:
    """The application.

    Args:
        snapshots: Of the ledger.
        thumbnails: Of its log.
        telling: Tells the log what is changed, and what is taken out.
    """
    handlers: dict[Any, Any] = dict.fromkeys((InputError, duckdb.Error, TimeoutError), _sentence)
    return Starlette(
        routes=[
            *(Route(path, _endpoint(snapshots, thumbnails, page, telling)) for path, page in PAGES.items()),
            Route(OPEN.path, taking(OPEN, snapshots, telling), methods=["POST"]),
            Route("/v1/generated/{item}/edges/{training}/proof", _proof(snapshots, telling)),
            Route("/pictures/{name}", picture(snapshots, thumbnails, _look)),
            Route("/{rest:path}", _nothing, methods=["GET", "POST"]),
        ],
        exception_handlers=handlers,
    )


def _endpoint(
    snapshots: Snapshots, thumbnails: Thumbnails, page: Callable[..., Page], telling: Telling
) -> Callable[[Request], Response]:
    """No ETag goes with what it answers, as that would tell how much is in the log."""

    def answer(request: Request) -> Response:
        snapshot = snapshots.current()
        made = make(request, snapshot, thumbnails, page, {"cache-control": "no-store"})
        return telling.handed(request, taken_out(request), as_of(request), snapshot.position, made)

    return answer


def _proof(snapshots: Snapshots, telling: Telling) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        snapshot, then = snapshots.current(), as_of(request)
        with snapshot.ledger() as ledger:
            asked = Asked(snapshot, ledger, then, request.scope["person"])
            ends = own.edge(asked, *(name_of(request.path_params[name]) for name in ("item", "training")))
            try:
                made = api.one_proof(ledger, *ends, then)
            except InputError:  # how many edges a run has is not told
                raise InputError("This proof cannot be made here; ask whoever runs this server for it.") from None
        return telling.handed(request, "proof", then, snapshot.position, api.as_proof(made))

    return answer


def _look(asked: Asked, sha256: str) -> None:
    """Raises NotYours for a picture that is not his to see."""
    if not own.may_see(asked, sha256):
        raise own.NotYours


def _nothing(_: Request) -> Response:
    raise own.NotYours


def _sentence(request: Request, error: Exception) -> Response:
    """What is wrong; but of what he does not see, not whether it is there."""
    words, status = str(error), 400
    if isinstance(error, Unknown):
        status, words = 404, str(own.NotYours())
    elif isinstance(error, duckdb.Error | Unavailable | TimeoutError):
        status, words = 503, "There is no answer just now; this page comes back when there is one."
    elif isinstance(error, TooLarge):
        status = 413
    return fault(request, status, words, search=False)
