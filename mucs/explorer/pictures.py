"""Pictures: the thumbnail of an image from the log's objects, or a placeholder where there is none."""

from __future__ import annotations

from mucs import InputError
from mucs.evidence.thumbnails import Thumbnails
from mucs.explorer.snapshot import Snapshot

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
