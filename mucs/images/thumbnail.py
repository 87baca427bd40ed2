"""Thumbnail: an image as a page shows it, small enough that a page can hold thousands."""

from __future__ import annotations

import base64
from io import BytesIO

from mucs.images.decode import FORMATS

SIDE = 256  # pixels at the most: half as much again as pages show, for screens of fine grain
KINDS = {b"\x89P": "png", b"\xff\xd8": "jpeg", b"RI": "webp"}  # by an image's first two bytes


def thumbnail(content: bytes) -> str:
    """An image as a `data:` address: its own bytes, or a smaller JPEG if it has more than 256 pixels on a side.

    Args:
        content: A PNG, JPEG or WebP image that has passed its gate.
    """
    from PIL import Image

    with Image.open(BytesIO(content), formats=FORMATS) as image:
        if max(image.size) > SIDE:
            image.thumbnail((SIDE, SIDE))  # a JPEG is not decoded finer than that needs
            smaller = BytesIO()
            image.convert("RGB").save(smaller, "JPEG", quality=80)
            content = smaller.getvalue()
    return f"data:image/{KINDS[content[:2]]};base64,{base64.b64encode(content).decode()}"
