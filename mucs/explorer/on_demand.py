"""On demand: the addresses under /v1 that pictures are sent to, and that say what has become of them."""

from __future__ import annotations

from typing import Any

import anyio
from fastapi import APIRouter, Path, Request, Response

from mucs.explorer.attributions import Attributions, record, told
from mucs.explorer.render import as_json
from mucs.explorer.streams import Streams
from mucs.explorer.upload import PICTURE, TYPES, Uploads
from mucs.ledger.asked import Asked

JSON, EVENTS = "application/json", "text/event-stream"
PLACE = "http://127.0.0.1:8787/v1/attributions"


def command(line: str) -> dict[str, Any]:
    """A command for the description."""
    return {"x-codeSamples": [{"lang": "Shell", "source": line}]}


FIELDS: dict[str, dict[str, Any]] = {
    "class": {"type": "string", "description": "The class that it was made for, where the model has classes."},
    "prompt": {"type": "string", "description": "The words that it was made from, where the model takes words."},
    "seed": {"type": "string", "description": "The seed that it was made from, where you know it."},
}
FILE = {
    "type": "string",
    "format": "binary",
    "minLength": 1,
    "description": "A PNG, JPEG or WebP file of the model's size.",
}
FORM = {
    "type": "object",
    "required": [PICTURE],
    "properties": {PICTURE: FILE, **FIELDS},
    "additionalProperties": False,
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": {"schema": FORM}, **{kind: {"schema": FILE} for kind in TYPES}},
    },
    "parameters": [{"name": name, "in": "query", "schema": schema} for name, schema in FIELDS.items()],
    **command(f"curl -F picture=@drawing.png -F class=3 {PLACE}"),
}
ADDRESS = Path(description="The SHA-256 by which a picture that was sent is found, as the answer to sending it says.")
ESTIMATE = {
    **dict.fromkeys(("measured_rank", "measured_score", "run")),
    **{"rank": 1, "training": "2665", "training_sha256": "3f79" * 16, "likeness": 0.87, "predicted": 0.59},
    **{"low": 0.43, "high": 1.0, "among_best": 0.98, "pictures": 32, "spearman": 0.64, "index_sha256": "9f2c" * 16},
}
WAITS = told(Asked("5d0c" * 16, "waiting", before=2), [ESTIMATE])
RUNS = told(Asked("5d0c" * 16, "running", step="scoring", done=399, of=2543), [ESTIMATE])
DONE = told(Asked("5d0c" * 16, "done", run="3f79" * 16, generated="sent-8c1d2e3f4a5b6c7d"), [])


def router(attributions: Attributions, uploads: Uploads) -> APIRouter:
    """The routes.

    Args:
        attributions: Where pictures are handed on.
        uploads: What takes them in.
    """
    made, streams = APIRouter(prefix="/v1/attributions", tags=["attributions"]), Streams(attributions)

    @made.post(
        "",
        summary="Have a picture attributed",
        openapi_extra=BODY,
        responses={
            200: described("It was attributed before: the answer.", DONE),
            202: described("It waits or is being attributed; `Location` says where its state is.", WAITS),
            **faults(
                {
                    400: "It is no picture that the model takes; `error` says why.",
                    413: "It is too large.",
                    415: "It is neither a form nor a picture.",
                    429: "Too many wait; send it again after the seconds in `Retry-After`.",
                    503: "Nobody is there to attribute it; try again after the seconds in `Retry-After`.",
                }
            ),
        },
    )
    async def send(request: Request) -> Response:
        """Send a picture as a form (multipart/form-data) with the file as `picture`, and with `class`, `prompt` and `seed` as the model needs them; or the file alone, with these in the query. The same picture with the same words is answered from the ledger."""
        async with uploads.read(request) as sent:
            found = await anyio.to_thread.run_sync(attributions.submit, sent)
        status = 200 if found.state == "done" else 202
        return await anyio.to_thread.run_sync(answer, attributions, found, status)

    @made.get(
        "/{address}",
        summary="What has become of a picture that was sent",
        openapi_extra=command(f"curl {PLACE}/ADDRESS"),
        responses={
            200: described(
                "Its `state` is waiting, running, done or failed; once it is done, `answer` says where the answer is.",
                RUNS,
            ),
            **faults({404: "Nobody sent it.", 503: "That cannot be told just now."}),
        },
    )
    def state(address: str = ADDRESS) -> Response:
        """How far it is: `before` are the pictures that come first, and `done` of `of` is how much of the step is done. `provisional` is what an index estimated of it, where there is one: no evidence, and never paid."""
        return answer(attributions, attributions.state(address), 200)

    @made.get(
        "/{address}/events",
        summary="The same, as it changes",
        openapi_extra=command(f"curl -N {PLACE}/ADDRESS/events"),
        response_class=Response,
        responses={
            200: {
                "description": "Server-sent events.",
                "content": {
                    EVENTS: {
                        "example": f"event: change\ndata: {as_json(record(Asked('5d0c' * 16, 'running', step='scoring', done=399, of=2543))).decode()}\n\n"
                    }
                },
            },
            **faults({404: "Nobody sent it.", 429: "Too many follow.", 503: "That cannot be told just now."}),
        },
    )
    async def events(address: str = ADDRESS) -> Response:
        """Server-sent events: `change` for each change, with the same JSON as data. It ends once the picture is done or has failed."""
        return await streams.follow(address)

    return made


def answer(attributions: Attributions, found: Asked, status: int) -> Response:
    """What has become of a request, and where it is told again."""
    body = told(found, attributions.provisional(found.address))
    headers = {"location": body["self"], "cache-control": "no-store"}
    return Response(as_json(body), status, headers, JSON)


def described(words: str, example: dict[str, Any]) -> dict[str, Any]:
    """A response for the description."""
    return {"description": words, "content": {JSON: {"example": example}}}


def faults(words: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Responses that say what is wrong."""
    return {status: described(each, {"error": "…"}) for status, each in words.items()}
