"""Pixels: a set's images decoded into one file, and mapped from it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mucs import InputError
from mucs.images import blocks
from mucs.images.imageset import ImageSet
from mucs.rowfile import RowFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def mapped_pixels(images: ImageSet, path: Path) -> NDArray[np.uint8]:
    """Decode a set's images, on all cores, into a file that is mapped; killed, it goes on where it was.

    Args:
        images: At least one, all of one size.
        path: The file, for these images and this code alone; if it is there, nothing is decoded.

    Returns:
        Pixels (N, 3, H, W), to which writing changes nothing in the file.

    Raises:
        InputError: If an image cannot be taken, they are of several sizes, or the disk is full.
    """
    import numpy as np

    height, width, channels = images.pixels(0).shape
    shape = (channels, height, width)
    file = RowFile(path, len(images), height * width * channels, blocks.BLOCK)
    blocks.in_blocks(images, file.todo(), functools.partial(_decode_block, file, shape), "decode")
    return np.memmap(path, np.uint8, "c", shape=(len(images), *shape))


def _decode_block(file: RowFile, shape: tuple[int, ...], block: ImageSet, start: int) -> None:
    import numpy as np

    def rows() -> Iterator[NDArray[np.uint8]]:
        for k in range(len(block)):
            pixels = block.pixels(k).transpose(2, 0, 1)
            if pixels.shape != shape:
                raise InputError(f"The images of the {block.name} are of several sizes; give them one size.")
            yield np.ascontiguousarray(pixels)

    file.write(start, rows())
