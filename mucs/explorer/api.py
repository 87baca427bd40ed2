"""The answers for programs: JSON under /v1, a page at a time, and their description."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Query, Request, Response
from markupsafe import Markup

from mucs import InputError
from mucs.explorer.address import name_of
from mucs.explorer.answers import Answers
from mucs.explorer.making import AS_OF
from mucs.explorer.page import Asked, Page
from mucs.explorer.pages import holders, items, runs, statements
from mucs.explorer.render import as_json
from mucs.explorer.snapshot import Snapshots
from mucs.explorer.telling import Telling
from mucs.explorer.unchanged import PRIVATE, tag
from mucs.explorer.view import View, plain
from mucs.ledger import Ledger, prove
from mucs.ledger.names import Unknown
from mucs.ledger.questions import names, question

LIMIT = 100  # rows of a page, unless another number is asked for
MOST_TO_PROVE = 2_000_000  # edges of a run whose tree is made while somebody waits
NAME = {"generated": "0005", "training": "2665", "name": "Ferdinand Sorg", "sha": "3f79b0315ba3562f"}
EXAMPLE = {
    "log": {"position": 3, "head": "9f2c…"},
    "as_of": None,
    "facts": {"id": "0005", "verdict": "above chance"},
    "rows": [{"rank": 1, "training": "2665", "score": 0.91}],
    "next": "5f1c09ab34d2e876.100",
}
CURSOR = Query(
    None, description="Where the page before ended, as its `next` says.", pattern=r"^[0-9a-f]{16}\.[0-9]{1,9}$"
)
MOST = Query(LIMIT, ge=1, le=1000, description="Rows of a page.")
THEN = Query(
    "infinity",
    description="Answer from what was known at that time, such as 2026-10-31.",
    max_length=40,
    json_schema_extra={"anyOf": [{"const": "infinity"}, {"format": "date"}, {"format": "date-time"}]},
)
FOUND = {
    "type": "object",
    "required": ["log", "as_of", "facts", "rows", "next"],
    "properties": {
        "log": {"type": "object", "properties": {"position": {"type": "integer"}, "head": {"type": "string"}}},
        "as_of": {"type": ["string", "null"]},
        "facts": {"type": "object"},
        "rows": {"type": "array", "items": {"type": "object"}},
        "next": {"type": ["string", "null"]},
    },
}
WRONG = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}


class Changed(InputError):
    """There are other rows than when the page before was read."""


def paged(rows: Sequence[Any], cursor: str | None, limit: int) -> tuple[list[Any], str | None]:
    """Some of the rows, and the cursor of those that follow.

    Raises:
        Changed: If there were others when the cursor was given, so that some might be missed or come twice.
    """
    known = hashlib.sha256(repr(rows).encode()).hexdigest()[:16]
    before, _, offset = (cursor or f"{known}.0").partition(".")
    if before != known:
        raise Changed("The answer has changed since the page before; begin again without a cursor.")
    end = int(offset) + limit
    return list(rows[int(offset) : end]), f"{known}.{end}" if end < len(rows) else None


def router(snapshots: Snapshots, answers: Answers, telling: Telling) -> APIRouter:
    """The routes. Args: snapshots: of the ledger. answers: that were given. telling: tells the log what is taken out."""
    made = APIRouter(prefix="/v1")
    shown: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "Facts, and a page of rows.",
            "content": {"application/json": {"schema": FOUND, "example": EXAMPLE}},
        },
        304: {"description": "Nothing has changed since the answer whose ETag was given."},
        400: {
            "description": "A parameter is wrong; `error` says which.",
            "content": {"application/json": {"schema": WRONG, "example": {"error": "…"}}},
        },
        404: {
            "description": "There is nothing of that name; `error` names the nearest.",
            "content": {"application/json": {"schema": WRONG, "example": {"error": "…"}}},
        },
        409: {"description": "The answer has changed since the page that the cursor is of."},
        503: {"description": "The ledger cannot be read just now."},
    }

    async def answer(request: Request, as_of: str, make: Any, cursor: str | None, limit: int) -> Response:
        snapshot = snapshots.current()
        etag = tag(snapshot, request)

        def made() -> Response:
            with snapshot.ledger() as ledger:
                asked = Asked(snapshot, ledger, AS_OF.value(as_of), request.scope["person"])
                facts, rows = make(asked)
            few, following = paged(rows, cursor, limit)
            body = {
                "log": {"position": snapshot.position, "head": snapshot.head},
                "as_of": None if asked.as_of == "infinity" else asked.as_of,
                "facts": plain(facts),
                "rows": plain(few),
                "next": following,
            }
            return Response(as_json(body), 200, {"etag": etag, "cache-control": PRIVATE}, "application/json")

        return await answers.answer(request, etag, made)

    def of_page(make: Any, view: str, *given: str) -> Any:
        def asked_for(asked: Asked) -> tuple[Mapping[str, Any], list[Any]]:
            page: Page = make(asked, *map(name_of, given))
            found = next((each for each in page.views if each.name == view), View(view, "", [], [], ""))
            return page.facts, found.rows

        return asked_for

    @made.get("/generated/{item}", responses=shown, summary="What is behind a generated item", tags=["items"])
    async def generated(
        request: Request, item: str, as_of: str = THEN, cursor: str | None = CURSOR, limit: int = MOST
    ) -> Response:
        """The item, its verdict, and the training items behind it, best first."""

        def asked_for(asked: Asked) -> tuple[Mapping[str, Any], list[Any]]:
            page = items.generated(asked, name_of(item))
            if page.template == "search.html":
                raise InputError(f"{page.title}; name one by its SHA-256.")
            return page.facts, asked.ledger.ask(
                "why", generated=page.facts["sha256"], top=asked.snapshot.most_rank, as_of=asked.as_of
            )

        return await answer(request, as_of, asked_for, cursor, limit)

    @made.get(
        "/generated/{item}/edges/{training}/proof",
        summary="The proof of one edge",
        tags=["items"],
        responses=shown
        | {
            200: {
                "description": "What `mucs verify --proof` checks.",
                "content": {
                    "application/json": {
                        "example": {"run": "3f79…", "root": "ab…", "edges": 320, "index": 7, "path": ["…"]}
                    }
                },
            },
        },
    )
    def proof(request: Request, item: str, training: str, as_of: str = THEN) -> Response:
        """A proof that this edge is among those that its run committed to, which shows no other."""
        snapshot = snapshots.current()
        then = AS_OF.value(as_of)
        with snapshot.ledger() as ledger:
            made = as_proof(one_proof(ledger, name_of(item), name_of(training), then))
        return telling.handed(request, "proof", then, snapshot.position, made)

    @made.get("/training/{item}", responses=shown, summary="What a training item is behind", tags=["items"])
    async def training_item(
        request: Request, item: str, as_of: str = THEN, cursor: str | None = CURSOR, limit: int = MOST
    ) -> Response:
        """The item, how its rights stand, and the generated items in whose ranking it stands, highest first."""
        return await answer(request, as_of, of_page(items.training, "used", item), cursor, limit)

    @made.get("/holders/{name}", responses=shown, summary="A rights holder's works and exposure", tags=["holders"])
    async def one_holder(
        request: Request, name: str, as_of: str = THEN, cursor: str | None = CURSOR, limit: int = MOST
    ) -> Response:
        """How much rests on a rights holder's works, and these, the ones behind most first."""
        return await answer(request, as_of, of_page(holders.holder, "works", name), cursor, limit)

    @made.get("/runs/{sha}", responses=shown, summary="What a run found", tags=["runs"])
    async def one_run(
        request: Request, sha: str, as_of: str = THEN, cursor: str | None = CURSOR, limit: int = MOST
    ) -> Response:
        """The run (the first eight digits or more of its SHA-256) and its generated items."""
        return await answer(request, as_of, of_page(runs.run, "items", sha), cursor, limit)

    @made.get("/statements/{sha}", responses=shown, summary="A statement and its lines", tags=["statements"])
    async def one_statement(
        request: Request, sha: str, as_of: str = THEN, cursor: str | None = CURSOR, limit: int = MOST
    ) -> Response:
        """The statement (the first eight digits or more of its SHA-256) and its lines, the largest first."""
        return await answer(request, as_of, of_page(statements.statement, "lines", sha), cursor, limit)

    @made.get("/questions/{name}", responses=shown, summary="The answer of a named question", tags=["questions"])
    async def one_question(
        request: Request, name: str, as_of: str = THEN, cursor: str | None = CURSOR, limit: int = MOST
    ) -> Response:
        """Its parameters go into the query by their names, as the page of questions lists them."""
        given = {key: value for key, value in request.query_params.items() if key not in ("as_of", "cursor", "limit")}

        def asked_for(asked: Asked) -> tuple[Mapping[str, Any], list[Any]]:
            if name_of(name) not in names():
                raise Unknown(f"There is no question {name[:80]!r}; see them at /questions.json.")
            found = question(name_of(name))
            return {"question": found.name, "about": found.about}, asked.ledger.ask(
                found.name, **given, as_of=asked.as_of
            )

        return await answer(request, as_of, asked_for, cursor, limit)

    return made


def one_proof(ledger: Ledger, generated: str, training: str, as_of: str) -> dict[str, Any]:
    """The proof of an edge, unless its run has too many to make the tree of them here."""
    found = ledger.ask("edge", generated=generated, training=training, as_of=as_of)
    edges = ledger.edges_of(found[0]["run"]) if found else 0
    if edges > MOST_TO_PROVE:
        raise InputError(
            f"The run has {edges:,} edges, too many to prove one of them here; write the proof with `mucs prove`."
        )
    if not found:
        raise Unknown(
            f"The ledger has no edge between {generated[:80]!r} and {training[:80]!r}; see those of the generated item."
        )
    return prove(ledger, generated, training, as_of)


def as_proof(made: Mapping[str, Any]) -> Response:
    """A proof, as a file to keep."""
    name = f"proof-{made['run'][:16]}-{made['index']}.json"
    told = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Response(as_json(made), 200, told, "application/json")


def docs(description: Mapping[str, Any]) -> Page:
    """The page that describes them. Args: description: as OpenAPI has it."""
    found = [
        described(path, method, said)
        for path, methods in description["paths"].items()
        for method, said in methods.items()
    ]
    return Page("docs.html", "For programs", [], {"description": "/v1/openapi.json"}, {"found": found})


def described(path: str, method: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of one of them."""
    form = said.get("requestBody", {}).get("content", {}).get("multipart/form-data", {}).get("schema", {})
    given = {each["name"]: each for each in said.get("parameters", []) if each["in"] == "query"} | form.get(
        "properties", {}
    )
    ((_, answer),) = said["responses"]["202" if "202" in said["responses"] else "200"]["content"].items()
    example = answer["example"]
    return {
        "path": path,
        "method": method.upper(),
        "about": marked(said.get("description") or said["summary"]),
        "given": {
            name: marked(each.get("description") or each.get("schema", {}).get("description", ""))
            for name, each in given.items()
        },
        "commands": [each["source"] for each in said.get("x-codeSamples", [])],
        "example": example if isinstance(example, str) else as_json(example).decode(),
    }


def marked(words: str) -> Markup:
    """Words as HTML, in which what stands between back quotes is code."""
    parts = words.split("`")
    return Markup().join(Markup("<code>{}</code>").format(part) if k % 2 else part for k, part in enumerate(parts))
