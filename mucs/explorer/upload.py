"""Upload: a picture as it comes in over HTTP, and the request that it becomes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as Incoming

from mucs import InputError
from mucs.explorer.gate import MOST_BODY, TooLarge
from mucs.images.request import MOST_BYTES, UNKNOWN, Request
from mucs.ledger.asked import Busy

PICTURE, WORDS = "picture", ("class", "prompt", "seed")
TYPES = ("image/png", "image/jpeg", "image/webp")
AT_ONCE = 8  # pictures that are in memory at the most
SECONDS = 60.0  # in which one must have come


class NotTaken(InputError):
    """What was sent is of a type that is not taken."""


class Uploads:
    """Takes pictures in, a few at a time."""

    def __init__(self) -> None:
        self._now = 0

    @asynccontextmanager
    async def read(self, incoming: Incoming) -> AsyncIterator[Request]:
        """The request that was sent, for the block.

        Raises:
            InputError: If there is no picture in it, what it says of it cannot be used, or it does not come in a minute.
            NotTaken: If it is neither a form nor a picture.
            TooLarge: If the picture is.
            Busy: If as many come in as may.
        """
        if self._now >= AT_ONCE:
            raise Busy(f"{AT_ONCE} pictures are being sent already; send it again in a few seconds.", 2)
        self._now += 1
        try:
            yield await self._request(incoming)
        finally:
            self._now -= 1

    async def _request(self, incoming: Incoming) -> Request:
        try:
            with anyio.fail_after(SECONDS):
                return request(*await content(incoming))
        except TimeoutError:
            raise InputError(f"The picture did not come in {SECONDS:.0f} seconds; send it again.") from None
        except ClientDisconnect:  # nobody reads this
            raise InputError("The connection ended before the picture did; send it again.") from None


async def content(incoming: Incoming) -> tuple[bytes, Mapping[str, Any]]:
    """The picture's file, and what is said of it by name."""
    kind = incoming.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in TYPES:
        return await incoming.body(), dict(incoming.query_params)
    if kind != "multipart/form-data":
        raise NotTaken(
            f"Send a form (multipart/form-data) with the file as {PICTURE}, or the file alone as {', '.join(TYPES)}."
        )
    try:
        async with incoming.form(max_files=1, max_fields=len(WORDS), max_part_size=MOST_BODY) as form:
            fields = dict(form.multi_items())
            file = fields.pop(PICTURE, None)
            if not isinstance(file, UploadFile):
                raise InputError(f"The form has no file called {PICTURE}; curl sends one with -F {PICTURE}=@FILE.")
            return await file.read(), fields
    except HTTPException as error:
        raise InputError(
            f"The form cannot be read ({str(error.detail).rstrip('.')}); send it as curl -F does."
        ) from None


def request(picture: bytes, said: Mapping[str, Any]) -> Request:
    """The request with a picture and what is said of it. Raises InputError where that cannot be used."""
    strange = sorted(said.keys() - set(WORDS))
    if strange:
        raise InputError(f"There is no {strange[0][:80]!r} of a picture; say nothing but {', '.join(WORDS)}.")
    if len(picture) > MOST_BYTES:
        raise TooLarge(f"The picture has {len(picture):,} bytes; send one of at most {MOST_BYTES:,}.")
    files = [name for name in WORDS if isinstance(said.get(name), UploadFile)]
    if files:
        raise InputError(f"The {files[0]} was sent as a file; send it as text, and the picture as {PICTURE}.")
    return Request(
        picture, label=said.get("class") or None, prompt=said.get("prompt") or None, seed=said.get("seed") or UNKNOWN
    )
