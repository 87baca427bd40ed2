"""Unchanged: what an answer is known by, so that whoever has it already is told so in a word."""

from __future__ import annotations

import datetime
import hashlib

from starlette.requests import Request

from mucs import __version__
from mucs.explorer.snapshot import Snapshot

PRIVATE = "private, no-cache"  # kept by the reader alone, who asks each time whether it still holds


def tag(snapshot: Snapshot, request: Request, also: object = None) -> str:
    """What an answer is known by: another position, day, program, address, person or what `also` is makes another one."""
    today = datetime.datetime.now(datetime.UTC).date()
    url = request.scope["path"], request.scope["form"], request.url.query
    said = f"{__version__} {snapshot.head} {snapshot.version} {today} {url} {request.scope['person']} {also}"
    return f'"{snapshot.position}-{hashlib.sha256(said.encode()).hexdigest()[:32]}"'


def not_changed(request: Request, etag: str) -> bool:
    """Whether the reader has this answer already."""
    return etag in [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
