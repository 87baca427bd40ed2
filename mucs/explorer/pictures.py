"""Pictures: the thumbnail of an image from the log's objects, or a placeholder where there is none."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from mucs import InputError
from mucs.evidence.thumbnails import Thumbnails
from mucs.explorer.page import Asked
from mucs.explorer.snapshot import Snapshot, Snapshots
from mucs.explorer.unchanged import PRIVATE
from mucs.ledger.names import Unknown

FOREVER = "private, max-age=31536000, immutable"
PLACEHOLDER = """<svg xmlns="http://www.w3.org/2000/svg" width="192" height="192" viewBox="0 0 192 192">
<rect width="192" height="192" fill="#eceff1"/><path d="M20 150 L75 85 L110 125 L130 105 L172 150 Z" fill="#b9c2c9"/>
<circle cx="135" cy="60" r="16" fill="#b9c2c9"/>
<text x="96" y="178" font-family="monospace" font-size="14" text-anchor="middle" fill="#455a64">{name}</text></svg>"""


def thumbnail(snapshot: Snapshot, thumbnails: Thumbnails, image_sha256: str) -> bytes | None:
    """The WebP of an image; None where the log has none, was altered, or does not answer."""
    with snapshot.ledger() as ledger:
        place = ledger.one("SELECT object_sha256 FROM thumbnails WHERE image_sha256 = ?", image_sha256)
    try:
        return None if place is None else thumbnails.webp(place, image_sha256)
    except InputError:
        return None


def placeholder(image_sha256: str) -> str:
    """A picture that stands for an image that is not there: SVG with the first digits of its SHA-256."""
    return PLACEHOLDER.format(name=image_sha256[:12])


def picture(
    snapshots: Snapshots, thumbnails: Thumbnails, look: Callable[[Asked, str], None] | None = None
) -> Callable[[Request], Response]:
    """What answers with pictures.

    Args:
        snapshots: Of the ledger.
        thumbnails: Of its log.
        look: Raises InputError if whoever asks may not see the image of a SHA-256; without it, everybody may.
    """

    def answer(request: Request) -> Response:
        sha256 = request.path_params["name"].removesuffix(".webp")
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise Unknown("A picture is named by the SHA-256 of its image.")
        snapshot = snapshots.current()
        if look:
            with snapshot.ledger() as ledger:
                look(Asked(snapshot, ledger, "infinity", request.scope["person"]), sha256)
        found = thumbnail(snapshot, thumbnails, sha256)
        if found is None:  # it may come with a later run
            return Response(placeholder(sha256), 200, {"cache-control": PRIVATE}, "image/svg+xml")
        return Response(found, 200, {"cache-control": FOREVER}, "image/webp")

    return answer
