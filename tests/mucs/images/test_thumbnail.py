"""What a page shows of an image: itself if it is small, else something that looks like it and is not large."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from mucs.images.thumbnail import SIDE, thumbnail


def encoded(size: tuple[int, int], kind: str, mode: str = "RGB") -> bytes:
    """A picture that goes from dark to light from left to right."""
    row = np.linspace(0, 255, size[0], dtype=np.uint8)
    body = io.BytesIO()
    Image.fromarray(np.tile(row, (size[1], 1))).convert(mode).save(body, kind)
    return body.getvalue()


def decoded(address: str) -> tuple[str, bytes]:
    head, body = address.split(";base64,")
    return head, base64.b64decode(body)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_small_image_is_shown_as_it_is(kind):
    content = encoded((SIDE, 40), kind)
    assert decoded(thumbnail(content)) == (f"data:image/{kind.lower()}", content)


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGBA"), ("PNG", "P"), ("PNG", "L"), ("JPEG", "RGB"), ("WEBP", "RGB")]
)
def test_a_large_one_becomes_smaller_and_keeps_its_look(kind, mode):
    head, content = decoded(thumbnail(encoded((1200, 600), kind, mode)))
    assert head == "data:image/jpeg"
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (SIDE, SIDE // 2)
        middle = np.asarray(image)[SIDE // 4]
    assert np.abs(middle.mean(axis=1) - np.linspace(0, 255, SIDE)).max() < 8
