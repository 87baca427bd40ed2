"""Thumbnail: an image as pages show it, small enough that a page can have many; those of a set in files of some hundred."""

from __future__ import annotations

import functools
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mucs.files import replacing
from mucs.images.blocks import in_blocks, starts
from mucs.images.decode import open_image
from mucs.images.imageset import ImageSet

SIDE = 192  # pixels at the most
TINY = 64  # pixels of a side, up to which nothing is lost: of small drawings, each pixel is seen
QUALITY, EFFORT = 80, 2  # of WebP; with its usual effort of 4 it takes twice the time for 4 % fewer bytes
FILED = 250  # thumbnails in a file at the most: whoever shows one reads the file
SCHEMA = pa.schema([("image_sha256", pa.string()), ("webp", pa.binary())])
PARQUET = {"compression": {"image_sha256": "zstd", "webp": "none"}, "use_dictionary": False, "store_schema": False}


def thumbnail(content: bytes) -> bytes:
    """An image as WebP without metadata, of at most 192 pixels a side and never enlarged; the same bytes each time.

    Args:
        content: A PNG, JPEG or WebP image. What is transparent stays so.

    Raises:
        ValueError: If it cannot be decoded, as `read_image` says.
    """
    with open_image(content) as image:
        image.draft("RGB", (2 * SIDE, 2 * SIDE))  # a JPEG is not decoded finer than that needs
        pixels = image.convert("RGBA" if image.has_transparency_data else "RGB")
    is_tiny = max(pixels.size) <= TINY
    pixels.thumbnail((SIDE, SIDE))
    body = BytesIO()
    pixels.save(body, "WEBP", lossless=is_tiny, quality=QUALITY, method=EFFORT)
    return body.getvalue()


def write_thumbnails(images: ImageSet, folder: Path) -> list[Path]:
    """Make the thumbnails of a set, on all cores; killed, it goes on where it was.

    Args:
        images: Whose rows have the column sha256, each another one.
        folder: Where the files go, for these images and this code alone.

    Returns:
        Parquet files of SCHEMA, each in the order of `image_sha256`; the same bytes each time.

    Raises:
        InputError: If an image cannot be taken, or a process was killed.
    """
    paths = {start: folder / f"{start:09d}.parquet" for start in starts(images, FILED)}
    todo = [start for start, path in paths.items() if not path.exists()]
    in_blocks(images, todo, functools.partial(_write_block, folder), "shrink", FILED)
    return list(paths.values())


def _write_block(folder: Path, block: ImageSet, start: int) -> None:
    made = {sha256: block.decoded(k, thumbnail) for k, sha256 in enumerate(block.column("sha256"))}
    rows = [{"image_sha256": sha256, "webp": made[sha256]} for sha256 in sorted(map(str, made))]
    with replacing(folder / f"{start:09d}.parquet") as partial:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), partial, **PARQUET)
