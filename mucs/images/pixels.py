"""Pixels: a set's images decoded into one file, and mapped from it."""

from __future__ import annotations

import contextlib
import functools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mucs import InputError
from mucs.files import creating, reserve
from mucs.images.blocks import in_blocks, starts
from mucs.images.imageset import ImageSet

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

    shape = (len(images), *images[:1].shape[1:])
    if not path.exists():
        partial, marks = (
            path.with_suffix(".part"),
            path.with_suffix(".done"),
        )  # beside: another process may go on with them
        if not partial.exists():
            shutil.rmtree(marks, ignore_errors=True)
            with creating(partial) as empty:
                reserve(empty, int(np.prod(shape)))
        marks.mkdir(exist_ok=True)
        todo = [start for start in starts(images) if not (marks / str(start)).exists()]
        in_blocks(images, todo, functools.partial(_decode_block, path, shape), "decode")
        with contextlib.suppress(FileNotFoundError):  # another process was there first
            partial.replace(path)
        shutil.rmtree(marks, ignore_errors=True)
    return np.memmap(path, np.uint8, "c", shape=shape)


def _decode_block(path: Path, shape: tuple[int, ...], block: ImageSet, start: int) -> None:
    import numpy as np

    try:
        mapped = np.memmap(path.with_suffix(".part"), np.uint8, "r+", shape=shape)
    except FileNotFoundError:
        if path.exists():  # another process has decoded all of them
            return
        raise
    for k in range(len(block)):
        pixels = block.pixels(k).transpose(2, 0, 1)
        if pixels.shape != shape[1:]:
            raise InputError(f"The images of the {block.name} are of several sizes; give them one size.")
        mapped[start + k] = pixels
    mapped.flush()
    with contextlib.suppress(FileNotFoundError):  # as above
        (path.with_suffix(".done") / str(start)).touch()
