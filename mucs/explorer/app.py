"""The application: which address is answered by which page, in which form, and what is said where there is no answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import duckdb
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from mucs import InputError, __version__
from mucs.evidence.thumbnails import Thumbnails
from mucs.explorer import api
from mucs.explorer.address import address, name_of
from mucs.explorer.answers import Answers
from mucs.explorer.attributions import Attributions, OnDemand
from mucs.explorer.gate import Gate, TooLarge
from mucs.explorer.on_demand import router as attributions_router
from mucs.explorer.page import Asked, Page, Picture
from mucs.explorer.pages import ask, attributions, holders, home, items, lineage, runs, statements
from mucs.explorer.pictures import placeholder, thumbnail
from mucs.explorer.render import HERE, as_json, first_csv, html, record, templates
from mucs.explorer.snapshot import Snapshot, Snapshots
from mucs.explorer.unchanged import tag
from mucs.explorer.upload import NotTaken, Uploads
from mucs.ledger.asked import Busy, Unavailable
from mucs.ledger.names import Unknown
from mucs.ledger.questions import Parameter
from mucs.text import first_line

AS_OF = Parameter("as_of", "time", None, "")
KINDS = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
STATIC = {path.name: path for path in (HERE / "static").iterdir() if path.suffix[1:] in KINDS}
STATUSES = {  # of what is wrong; of all else 400
    Unknown: 404,
    api.MovedOn: 409,
    TooLarge: 413,
    NotTaken: 415,
    Busy: 429,
    Unavailable: 503,
    duckdb.Error: 503,
    TimeoutError: 503,
}
TITLES = {404: "There is no such page", 429: "Too much is asked at once", 503: "Just now there is no answer"}
FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Route:
    """An address, with names in braces, and the page that answers it.

    Attributes:
        path: The address.
        page: Makes the page.
        is_live: Whether it may be another while the ledger is the same.
    """

    path: str
    page: Callable[..., Page]
    is_live: bool = False


def routes(select: Callable[[str, int, float], list[dict[str, Any]]], sent: Attributions) -> list[Route]:
    """All pages. Args: select: answers an analyst's SELECT. sent: pictures that are sent to be attributed."""
    return [
        Route("/", home.home),
        Route("/index", home.home),
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
    on_demand: OnDemand | None = None,
) -> Gate:
    """The explorer as an ASGI application.

    Args:
        snapshots: Of the ledger.
        thumbnails: Of its log.
        select: Answers an analyst's SELECT, of so many rows in so many seconds.
        on_demand: Attributes pictures that are sent; without it, none can be sent.
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
        endpoint = _endpoint(snapshots, answers, thumbnails, route, sent.are_taken)
        app.add_route(route.path, endpoint, include_in_schema=False)

    for route in routes(select, sent):
        add(route)
    app.add_route("/attribute", _sending(sent, uploads), methods=["POST"], include_in_schema=False)
    app.add_route("/pictures/{name}", _picture(snapshots, thumbnails), include_in_schema=False)
    app.add_route("/static/{name}", _static, include_in_schema=False)
    app.include_router(api.router(snapshots, answers))
    app.include_router(attributions_router(sent, uploads))
    add(Route("/docs", lambda asked: api.docs(app.openapi())))

    def fault(request: Request, error: Exception) -> Response:
        return _sentence(request, snapshots, error)

    def wrong(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        names = ", ".join(str(each["loc"][-1]) for each in error.errors())
        return Response(
            as_json({"error": f"What was given as {names} cannot be used; see /docs."}),
            400,
            media_type="application/json",
        )

    for kind in (InputError, duckdb.Error, TimeoutError):
        app.add_exception_handler(kind, fault)
    app.add_exception_handler(RequestValidationError, wrong)
    app.add_route("/{rest:path}", _nothing, include_in_schema=False)
    return Gate(app)


def _endpoint(
    snapshots: Snapshots, answers: Answers, thumbnails: Thumbnails, route: Route, takes_pictures: bool
) -> Callable[[Request], Awaitable[Response]]:
    def make(request: Request, snapshot: Snapshot, headers: Mapping[str, str]) -> Response:
        query = dict(request.query_params)
        with snapshot.ledger() as ledger:
            as_of = AS_OF.value(query.get("as_of") or "infinity")
            asked = Asked(snapshot, ledger, as_of, query, takes_pictures)
            names = {key: name_of(value) for key, value in request.path_params.items()}
            made = route.page(asked, **names)
        if request.scope.get("form") == "pdf":
            return _pdf(made, headers, lambda sha256: thumbnail(snapshot, thumbnails, sha256))
        return _rendered(request, asked, made, headers)

    async def answer(request: Request) -> Response:
        snapshot = snapshots.current()
        if route.is_live:
            return await anyio.to_thread.run_sync(make, request, snapshot, {"cache-control": "no-store"})
        etag = tag(snapshot, request, takes_pictures)
        headers = {"etag": etag, "cache-control": "no-cache"}
        return await answers.answer(request, etag, lambda: make(request, snapshot, headers))

    return answer


def _sending(sent: Attributions, uploads: Uploads) -> Callable[[Request], Awaitable[Response]]:
    """What takes the form of a picture, and leads to the page that tells what becomes of it."""

    async def answer(request: Request) -> Response:
        async with uploads.read(request) as picture:
            found = await anyio.to_thread.run_sync(sent.submit, picture)
        return RedirectResponse(address("attributions", found.address), 303)

    return answer


def _pdf(page: Page, headers: Mapping[str, str], picture: Picture) -> Response:
    if page.pdf is None:
        raise Unknown("Of this page there is no PDF; each rights holder's document of a statement has one.")
    return Response(page.pdf(picture), page.status, headers, "application/pdf")


def _rendered(request: Request, asked: Asked, page: Page, headers: Mapping[str, str]) -> Response:
    if page.to:
        return RedirectResponse(page.to, 303)
    form = request.scope.get("form")
    if form == "json":
        return Response(as_json(record(page, asked)), page.status, headers, "application/json")
    if form == "csv":
        return Response(first_csv(page), page.status, headers, "text/csv; charset=utf-8")
    raw = request.scope.get("raw_path", b"").decode("ascii", "replace").partition("?")[0]
    return Response(
        html(page, asked, raw or "/", dict(request.query_params)), page.status, headers, "text/html; charset=utf-8"
    )


def _sentence(request: Request, snapshots: Snapshots, error: Exception) -> Response:
    """A page that says what is wrong."""
    status = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 400)
    words = str(error)
    if isinstance(error, duckdb.Error):
        words = f"The ledger cannot be read just now ({first_line(error)}); this page comes back when it can."
    elif isinstance(error, TimeoutError):
        words = "This takes longer than the server may work on one page; ask for less of it."
    headers = {"cache-control": "no-store"}
    if status in (429, 503):
        headers["retry-after"] = str(error.seconds) if isinstance(error, Busy) else "2"
    headers |= {"connection": "close"} if status == 413 else {}  # the rest of what is sent is not read
    if request.scope.get("form") or request.scope["path"].startswith("/v1/"):
        return Response(as_json({"error": words}), status, headers, "application/json")
    title = TITLES.get(status, "That cannot be answered")
    back = "/attribute" if request.method == "POST" else ""
    text = templates().get_template("fault.html").render(title=title, words=words, back=back, status=status)
    return Response(text, status, headers, "text/html; charset=utf-8")


def _nothing(request: Request) -> Response:
    raise Unknown("There is no page at this address; begin at the first page, or search.")


def _static(request: Request) -> Response:
    path = STATIC.get(request.path_params["name"])
    if path is None:
        raise Unknown("There is no such file.")
    return FileResponse(path, media_type=KINDS[path.suffix[1:]], headers={"cache-control": "no-cache"})


def _picture(snapshots: Snapshots, thumbnails: Thumbnails) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        sha256 = request.path_params["name"].removesuffix(".webp")
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise Unknown("A picture is named by the SHA-256 of its image.")
        found = thumbnail(snapshots.current(), thumbnails, sha256)
        if found is None:  # it may come with a later run
            return Response(placeholder(sha256), 200, {"cache-control": "no-cache"}, "image/svg+xml")
        return Response(found, 200, {"cache-control": FOREVER}, "image/webp")

    return answer
