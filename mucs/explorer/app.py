"""The application: which address is answered by which page, in which form, and what is said where there is no answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import duckdb
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from mucs import InputError, __version__
from mucs.evidence.thumbnails import Thumbnails
from mucs.explorer import api, exports
from mucs.explorer.access import Access
from mucs.explorer.address import address
from mucs.explorer.answers import Answers
from mucs.explorer.attributions import Attributions, OnDemand
from mucs.explorer.entrance import Entrance
from mucs.explorer.fault import fault
from mucs.explorer.forms import FORMS, taking
from mucs.explorer.gate import HOSTS, Gate, TooLarge
from mucs.explorer.holder import holder_app
from mucs.explorer.making import as_of, make, taken_out
from mucs.explorer.on_demand import router as attributions_router
from mucs.explorer.page import Page
from mucs.explorer.pages import ask, attributions, disputes, holders, home, items, lineage, runs, statements
from mucs.explorer.pages.home import Verified
from mucs.explorer.pictures import picture
from mucs.explorer.render import HERE, as_json
from mucs.explorer.snapshot import Snapshots
from mucs.explorer.state import health, metrics, ready
from mucs.explorer.telling import Telling
from mucs.explorer.unchanged import PRIVATE, tag
from mucs.explorer.upload import NotTaken, Uploads
from mucs.ledger.asked import Busy, Unavailable
from mucs.ledger.names import Unknown
from mucs.text import first_line

KINDS = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
STATIC = {path.name: path for path in (HERE / "static").iterdir() if path.suffix[1:] in KINDS}
STATUSES = {  # of what is wrong; of all else 400
    Unknown: 404,
    api.Changed: 409,
    TooLarge: 413,
    NotTaken: 415,
    Busy: 429,
    Unavailable: 503,
    duckdb.Error: 503,
    TimeoutError: 503,
}


@dataclass(frozen=True)
class Route:
    """An address, with names in braces, and the page that answers it.

    Attributes:
        path: The address.
        page: Makes the page.
        is_live: Whether it may be another while the ledger is the same.
        also: Tells what makes it another besides the ledger, if anything does.
    """

    path: str
    page: Callable[..., Page]
    is_live: bool = False
    also: Callable[[], object] | None = None


def routes(
    select: Callable[[str, int, float], list[dict[str, Any]]], sent: Attributions, verified: Verified
) -> list[Route]:
    """All pages.

    Args:
        select: Answers an analyst's SELECT.
        sent: Pictures that are sent to be attributed.
        verified: Tells what the last verification found, up to a time.
    """
    first = partial(Route, page=home.home(verified), also=lambda: verified("infinity"))
    return [
        first("/"),
        first("/index"),
        Route("/search", home.search),
        Route("/glossary", home.glossary),
        Route("/sha256/{digest}", home.digest),
        Route("/generated", items.generated_items),
        Route("/generated/{item}", items.generated),
        Route("/training", items.training_items),
        Route("/training/{item}", items.training),
        Route("/holders", holders.holders),
        Route("/holders/{name}", holders.holder),
        Route("/takedown/{name}", holders.takedown),
        Route("/runs", runs.runs),
        Route("/runs/{run}", runs.run),
        Route("/runs/{run}/against/{other}", runs.against),
        Route("/statements", statements.statements),
        Route("/statements/{statement}", statements.statement),
        Route("/statements/{statement}/lines/{line}", statements.line),
        Route("/statements/{statement}/holders/{name}", statements.document),
        Route("/disputes", disputes.disputes),
        Route("/disputes/{dispute}", disputes.dispute),
        Route("/lineage/{kind}/{name}", lineage.lineage),
        Route("/artifacts/{name}", ask.artifact),
        Route("/entries", ask.entries),
        Route("/entries/{position}", ask.entry),
        Route("/questions", ask.questions),
        Route("/questions/{name}", ask.one_question),
        Route("/sql", ask.sql(select)),
        Route("/attribute", attributions.form(sent), is_live=True),
        Route("/attributions/{address}", attributions.one(sent), is_live=True),
    ]


def make_app(
    snapshots: Snapshots,
    thumbnails: Thumbnails,
    select: Callable[[str, int, float], list[dict[str, Any]]],
    access: Access,
    telling: Telling,
    on_demand: OnDemand | None = None,
    hosts: Iterable[str] = HOSTS,
    verified: Verified = lambda _: None,
) -> Gate:
    """The explorer as an ASGI application.

    Args:
        snapshots: Of the ledger.
        thumbnails: Of its log.
        select: Answers an analyst's SELECT, of so many rows in so many seconds.
        access: Who may come in, and how.
        telling: Tells the log what is changed, and what is taken out.
        on_demand: Attributes pictures that are sent; without it, none can be sent.
        hosts: Names that it goes by.
        verified: Tells what the last verification of the log found, up to a time as questions take it.
    """
    sent, uploads = Attributions(snapshots, on_demand), Uploads()
    app = FastAPI(
        title="mucs explorer",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        redirect_slashes=False,
    )
    answers = Answers()

    def add(route: Route) -> None:
        endpoint = _endpoint(snapshots, answers, thumbnails, route, sent.are_taken, telling)
        app.add_route(route.path, endpoint, include_in_schema=False)

    for route in routes(select, sent, verified):
        add(route)
    app.add_route("/attribute", _sending(sent, uploads), methods=["POST"], include_in_schema=False)
    for form in FORMS:
        app.add_route(form.path, taking(form, snapshots, telling), methods=["POST"], include_in_schema=False)
    app.add_route("/pictures/{name}", picture(snapshots, thumbnails), include_in_schema=False)
    app.add_route("/static/{name}", _static, include_in_schema=False)
    app.add_route("/health", health, include_in_schema=False)
    app.add_route("/ready", ready(snapshots), include_in_schema=False)
    app.add_route("/metrics", metrics(snapshots, verified), include_in_schema=False)
    for router in (
        api.router(snapshots, answers, telling),
        exports.router(snapshots, telling, thumbnails),
        attributions_router(sent, uploads),
    ):
        app.include_router(router)
        for known in router.routes:
            if isinstance(known, APIRoute) and "GET" in (
                known.methods or ()
            ):  # HEAD, which FastAPI does not add by itself
                app.add_api_route(known.path, known.endpoint, methods=["HEAD"], include_in_schema=False)
    add(Route("/docs", lambda asked: api.docs(app.openapi())))

    def wrong(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        names = ", ".join(str(each["loc"][-1]) for each in error.errors())
        return Response(
            as_json({"error": f"What was given as {names} cannot be used; see /docs."}),
            400,
            media_type="application/json",
        )

    for kind in (InputError, duckdb.Error, TimeoutError):
        app.add_exception_handler(kind, _sentence)
    app.add_exception_handler(RequestValidationError, wrong)
    app.add_route("/{rest:path}", _nothing, include_in_schema=False)
    return Gate(Entrance(app, holder_app(snapshots, thumbnails, telling), access), hosts)


def _endpoint(
    snapshots: Snapshots,
    answers: Answers,
    thumbnails: Thumbnails,
    route: Route,
    takes_pictures: bool,
    telling: Telling,
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        snapshot = snapshots.current()
        if route.is_live:
            headers = {"cache-control": "no-store"}
            return await anyio.to_thread.run_sync(
                make, request, snapshot, thumbnails, route.page, headers, takes_pictures
            )
        also: object = None if route.also is None else await anyio.to_thread.run_sync(route.also)
        etag = tag(snapshot, request, (takes_pictures, also))
        headers = {"etag": etag, "cache-control": PRIVATE}
        made = await answers.answer(
            request, etag, lambda: make(request, snapshot, thumbnails, route.page, headers, takes_pictures)
        )
        what = taken_out(request)
        if what is None:
            return made
        return await anyio.to_thread.run_sync(telling.handed, request, what, as_of(request), snapshot.position, made)

    return answer


def _sending(sent: Attributions, uploads: Uploads) -> Callable[[Request], Awaitable[Response]]:
    """What takes the form of a picture, and leads to the page that tells what becomes of it."""

    async def answer(request: Request) -> Response:
        async with uploads.read(request) as picture:
            found = await anyio.to_thread.run_sync(sent.submit, picture)
        return RedirectResponse(address("attributions", found.address), 303)

    return answer


def _sentence(request: Request, error: Exception) -> Response:
    """What is wrong."""
    status = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 400)
    words = str(error)
    if isinstance(error, duckdb.Error):
        words = f"The ledger cannot be read just now ({first_line(error)}); this page comes back when it can."
    elif isinstance(error, TimeoutError):
        words = "This takes longer than the server may work on one page; ask for less of it."
    headers = {"retry-after": str(error.seconds)} if isinstance(error, Busy) else {}
    headers |= {"connection": "close"} if status == 413 else {}  # the rest of what is sent is not read
    back = "/attribute" if request.method == "POST" and request.scope["path"] == "/attribute" else ""
    return fault(request, status, words, headers, back=back)


def _nothing(request: Request) -> Response:
    raise Unknown("There is no page at this address; begin at the first page, or search.")


def _static(request: Request) -> Response:
    path = STATIC.get(request.path_params["name"])
    if path is None:
        raise Unknown("There is no such file.")
    return FileResponse(path, media_type=KINDS[path.suffix[1:]], headers={"cache-control": "no-cache"})
