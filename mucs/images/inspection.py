"""Inspection: what the images of a set really are, beside what their manifest says."""

from __future__ import annotations

import functools
import hashlib
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mucs.files import replacing
from mucs.images.blocks import in_blocks, starts
from mucs.images.columns import FACTS
from mucs.images.decode import FORMATS, MAX_PIXELS, UNREADABLE, has_8_bits
from mucs.images.imageset import ImageSet
from mucs.text import is_fit

SHOWN = ("id", "file_name", "sha256", "rights_holder", "licence", "date", "class", "seed")
MOST_TEXT = 20_000  # characters of any other value, such as a prompt
KINDS = {"width": pa.int32(), "height": pa.int32()}  # of facts; the others are true or false
SCHEMA = pa.schema([(name, KINDS.get(name, pa.bool_())) for name in FACTS])


def inspect(images: ImageSet) -> pa.Table:
    """Look at each image of a set.

    Args:
        images: Whose rows have the column sha256.

    Returns:
        One row an image, of `columns.FACTS`: whether its row's text can be shown, its path stays inside the folder, its
        file exists, it decodes, it has 8 bits a channel; its width and height in pixels, 0 if it is no image; and
        whether the SHA-256 of its file is the one in its row.

    Raises:
        InputError: If a Parquet file with images cannot be read.
    """
    shown = _can_be_shown(images.rows)
    digests = images.rows["sha256"].to_pylist()
    facts = [{"text can be shown": shown[k], **_fact(images, k, digest)} for k, digest in enumerate(digests)]
    return pa.Table.from_pylist(facts, SCHEMA)


def _fact(images: ImageSet, k: int, digest: str | None) -> dict[str, bool | int]:
    from PIL import Image

    source = images.source
    fact: dict[str, bool | int] = dict.fromkeys(FACTS[1:], False) | {"width": 0, "height": 0}
    fact["path stays inside"] = source.is_inside(k)
    fact["file exists"] = source.exists(k)
    if not fact["file exists"]:
        return fact
    content = source.content(k)
    fact["digest matches"] = hashlib.sha256(content).hexdigest() == digest
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            fact["width"], fact["height"] = image.size
            fact["image has 8 bits"] = has_8_bits(image)
            if image.width * image.height <= MAX_PIXELS:
                image.load()
                fact["image decodes"] = True
    except (*UNREADABLE, Image.DecompressionBombError):
        pass
    return fact


def _can_be_shown(rows: pa.Table) -> list[bool]:
    """Whether all values of a row can be shown: those that pages and terminals do, in one line."""
    shown = [True] * rows.num_rows
    for name in rows.column_names:
        is_name = name in SHOWN
        for k, value in enumerate(rows[name].to_pylist()):
            if value is not None and not (is_fit(value) if is_name else "\0" not in value and len(value) <= MOST_TEXT):
                shown[k] = False
    return shown


def inspect_all(images: ImageSet, folder: Path) -> pa.Table:
    """Look at each image of a large set, on all cores; killed, it goes on where it was.

    Args:
        images: As `inspect` takes them.
        folder: Where what is known of each block is kept, for these images and this code alone.

    Returns:
        As `inspect` does.

    Raises:
        InputError: As `inspect` does, or if a process was killed.
    """
    paths = {start: folder / f"{start:09d}.parquet" for start in starts(images)}
    todo = [start for start, path in paths.items() if not path.exists()]
    in_blocks(images, todo, functools.partial(_inspect_block, folder), "inspect")
    return pa.concat_tables([pq.read_table(path) for path in paths.values()] or [SCHEMA.empty_table()])


def _inspect_block(folder: Path, block: ImageSet, start: int) -> None:
    facts = inspect(block)
    with replacing(folder / f"{start:09d}.parquet") as partial:
        pq.write_table(facts, partial)
