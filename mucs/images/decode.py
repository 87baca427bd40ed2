"""Decode: an image's pixels, of 8 bits a channel."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mucs.text import for_terminal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

MAX_PIXELS = 64_000_000
FORMATS = ("PNG", "JPEG", "WEBP")
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError)  # what Pillow raises, and DecompressionBombError
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")


def read_image(content: Path | BinaryIO | bytes) -> NDArray[np.uint8]:
    """Decode a PNG, JPEG or WebP image.

    Args:
        content: The image's file, or what is in it.

    Returns:
        Pixels (H, W, 3), 0 to 255. What is transparent counts in its own colour.

    Raises:
        ValueError: As `open_image` does, or if it is torn.
    """
    import numpy as np

    with open_image(content) as image:
        return np.array(image.convert("RGB"))


@contextlib.contextmanager
def open_image(content: Path | BinaryIO | bytes) -> Iterator[Image.Image]:
    """A PNG, JPEG or WebP image, to be decoded in the block.

    Args:
        content: As `read_image` takes it.

    Raises:
        ValueError: If it is no such image, of more than 64 million pixels, or not of 8 bits a channel; or if the block finds
            it torn.
    """
    from PIL import Image

    try:
        with Image.open(BytesIO(content) if isinstance(content, bytes) else content, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError("too large")
            if not has_8_bits(image):
                raise ValueError("not one picture of 8 bits a channel")
            yield image
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        raise ValueError(for_terminal(str(error), 200)) from None


def has_8_bits(image: Image.Image) -> bool:
    """Whether an image, just opened, is one picture of 8 bits a channel, in grey, colours or a palette.

    Pillow would make 8 of 16 bits without a word.
    """
    return image.mode in MODES and ";16" not in str(getattr(image, "tile", "")) and getattr(image, "n_frames", 1) == 1
