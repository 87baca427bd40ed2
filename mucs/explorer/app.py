"""The application: which address is answered by which page, in which form, and what is said where there is no answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from mucs import InputError, __version__
from mucs.evidence.thumbnails import Thumbnails
from mucs.explorer import api
from mucs.explorer.address import name_of
from mucs.explorer.answers import Answers
from mucs.explorer.gate import Gate, TooLarge
from mucs.explorer.page import Asked, Page, Picture
from mucs.explorer.pages import ask, holders, home, items, lineage, runs, statements
from mucs.explorer.pictures import placeholder, thumbnail
from mucs.explorer.render import HERE, as_json, first_csv, html, record, templates
from mucs.explorer.snapshot import Snapshot, Snapshots, Unavailable
from mucs.explorer.unchanged import tag
from mucs.ledger.names import Unknown
from mucs.ledger.questions import Parameter
from mucs.text import first_line

AS_OF = Parameter("as_of", "time", None, "")
KINDS = {"css": "text/css", "svg": "image/svg+xml"}
FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Route:
    """An address, with names in braces, and the page that answers it."""

    path: str
    page: Callable[..., Page]


def routes(select: Callable[[str, int, float], list[dict[str, Any]]]) -> list[Route]:
    """All pages. Args: select: answers an analyst's SELECT."""
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
    ]


def make_app(
    snapshots: Snapshots, thumbnails: Thumbnails, select: Callable[[str, int, float], list[dict[str, Any]]]
) -> Gate:
    """The explorer as an ASGI application.

    Args:
        snapshots: Of the ledger.
        thumbnails: Of its log.
        select: Answers an analyst's SELECT, of so many rows in so many seconds.
    """
    app = FastAPI(
        title="mucs explorer",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        redirect_slashes=False,
    )
    answers = Answers()
    for route in routes(select):
        app.add_route(route.path, _endpoint(snapshots, answers, route.page, thumbnails), include_in_schema=False)
    app.add_route("/pictures/{name}", _picture(snapshots, thumbnails), include_in_schema=False)
    app.add_route("/static/{name}", _static, include_in_schema=False)
    app.include_router(api.router(snapshots, answers))
    app.add_route(
        "/docs",
        _endpoint(snapshots, answers, lambda asked: api.docs(app.openapi()), thumbnails),
        include_in_schema=False,
    )

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
    snapshots: Snapshots, answers: Answers, page: Callable[..., Page], thumbnails: Thumbnails
) -> Callable[[Request], Awaitable[Response]]:
    def make(request: Request, snapshot: Snapshot, etag: str) -> Response:
        query = dict(request.query_params)
        with snapshot.ledger() as ledger:
            asked = Asked(snapshot, ledger, AS_OF.value(query.get("as_of") or "infinity"), query)
            names = {key: name_of(value) for key, value in request.path_params.items()}
            made = page(asked, **names)
        headers = {"etag": etag, "cache-control": "no-cache"}
        if request.scope.get("form") == "pdf":
            return _pdf(made, headers, lambda sha256: thumbnail(snapshot, thumbnails, sha256))
        return _rendered(request, asked, made, headers)

    async def answer(request: Request) -> Response:
        snapshot = snapshots.current()
        etag = tag(snapshot, request)
        return await answers.answer(request, etag, lambda: make(request, snapshot, etag))

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
    status = 400
    if isinstance(error, Unavailable | duckdb.Error | TimeoutError):
        status = 503
    elif isinstance(error, Unknown):
        status = 404
    elif isinstance(error, ask.Busy):
        status = 429
    elif isinstance(error, TooLarge):
        status = 413
    words = str(error)
    if isinstance(error, duckdb.Error):
        words = f"The ledger cannot be read just now ({first_line(error)}); this page comes back when it can."
    elif isinstance(error, TimeoutError):
        words = "This takes longer than the server may work on one page; ask for less of it."
    headers = {"cache-control": "no-store"} | ({"retry-after": "2"} if status in (429, 503) else {})
    headers |= {"connection": "close"} if status == 413 else {}  # the rest of what is sent is not read
    if request.scope.get("form") or request.scope["path"].startswith("/v1/"):
        return Response(as_json({"error": words}), status, headers, "application/json")
    title = {404: "There is no such page", 503: "Just now there is no answer"}.get(status, "That cannot be answered")
    text = templates().get_template("fault.html").render(title=title, words=words, status=status)
    return Response(text, status, headers, "text/html; charset=utf-8")


def _nothing(request: Request) -> Response:
    raise Unknown("There is no page at this address; begin at the first page, or search.")


def _static(request: Request) -> Response:
    path = HERE / "static" / request.path_params["name"]
    if path.parent != HERE / "static" or not path.is_file() or path.suffix[1:] not in KINDS:
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
