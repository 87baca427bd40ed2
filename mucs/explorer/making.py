"""Making: a page for a request, in the form that it asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from mucs.evidence.thumbnails import Thumbnails
from mucs.explorer.address import name_of
from mucs.explorer.page import Asked, Page
from mucs.explorer.pictures import thumbnail
from mucs.explorer.render import as_json, first_csv, html, record
from mucs.explorer.snapshot import Snapshot
from mucs.ledger.names import Unknown
from mucs.ledger.questions import Parameter

AS_OF = Parameter("as_of", "time", None, "")


def as_of(request: Request) -> str:
    """The time whose knowledge a request is answered from. Raises InputError if what it says is none."""
    return str(AS_OF.value(request.query_params.get("as_of") or "infinity"))


def taken_out(request: Request) -> str | None:
    """What the page of a request takes out of the ledger, if the log is to be told of it."""
    first, *rest = request.scope["path"].split("/")[1:]
    if first == "sql":
        return "sql" if request.query_params.get("q", "").strip() else None
    if first == "statements" and "holders" in rest[1:2]:
        return "document"
    return "csv" if request.scope["form"] == "csv" else None


def make(
    request: Request,
    snapshot: Snapshot,
    thumbnails: Thumbnails,
    page: Callable[..., Page],
    headers: Mapping[str, str],
    takes_pictures: bool = False,
) -> Response:
    """The answer.

    Args:
        request: What it answers.
        snapshot: What it is answered from.
        thumbnails: Of the ledger's log.
        page: Makes the page, of the names in the address.
        headers: Of the answer.
        takes_pictures: Whether pictures can be sent to be attributed.

    Raises:
        InputError: Whatever `page` raises.
        Unknown: If there is no PDF of the page, and one was asked for.
    """
    query = dict(request.query_params)
    with snapshot.ledger() as ledger:
        asked = Asked(snapshot, ledger, as_of(request), request.scope["person"], query, takes_pictures)
        made = page(asked, **{key: name_of(value) for key, value in request.path_params.items()})
    if made.to:
        return RedirectResponse(made.to, 303)
    form = request.scope.get("form")
    if form == "pdf":
        if made.pdf is None:
            raise Unknown("Of this page there is no PDF; each rights holder's document of a statement has one.")
        document = made.pdf(lambda sha256: thumbnail(snapshot, thumbnails, sha256))
        return Response(document, made.status, headers, "application/pdf")
    if form == "json":
        return Response(as_json(record(made, asked)), made.status, headers, "application/json")
    if form == "csv":
        return Response(first_csv(made), made.status, headers, "text/csv; charset=utf-8")
    raw = request.scope.get("raw_path", b"").decode("ascii", "replace").partition("?")[0]
    return Response(html(made, asked, raw or "/", query), made.status, headers, "text/html; charset=utf-8")
