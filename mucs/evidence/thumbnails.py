"""Thumbnails of a log: which images an object has them of, and the picture of one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mucs.evidence.log import Broken, Log
from mucs.evidence.reading import raw_digests
from mucs.images.thumbnail import SCHEMA

KEPT_BYTES = 64_000_000  # of objects in memory
MOST_BYTES = 64_000_000  # of an object, unpacked: a few kilobytes may say much
AT_ONCE = 64  # rows that are read, so that more than that many bytes are soon noticed


class Thumbnails:
    """The thumbnails of a log; any number of threads may ask for them.

    Args:
        log: The log.
    """

    def __init__(self, log: Log) -> None:
        self.log = log
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, pa.Table] = OrderedDict()  # the one that was asked for last comes last

    def webp(self, object_sha256: str, image_sha256: str) -> bytes:
        """The thumbnail of an image, as WebP.

        Args:
            object_sha256: The object that has it, as the ledger's table `thumbnails` says.
            image_sha256: The image's.

        Raises:
            Broken: If the object is missing, was altered, or does not have it.
        """
        pictures = self._object(object_sha256)
        place = pc.index(pictures["image_sha256"], image_sha256).as_py()
        if place < 0:
            raise Broken(
                f"The object {object_sha256} of the log {self.log.place} has no thumbnail of the image {image_sha256}; make the"
                " ledger anew with `mucs rebuild`."
            )
        body: bytes = pictures["webp"][place].as_py()
        return body

    def _object(self, sha256: str) -> pa.Table:
        with self._lock:
            pictures = self._kept.pop(sha256, None)
            if pictures is not None:
                self._kept[sha256] = pictures
                return pictures
        pictures = _read(self.log, sha256, BytesIO(self.log.object(sha256)), SCHEMA.names)
        with self._lock:
            self._kept[sha256] = pictures
            while len(self._kept) > 1 and sum(each.nbytes for each in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)
        return pictures


def thumbnail_images(log: Log, sha256: str) -> pa.Array:
    """The SHA-256 of the images that an object has thumbnails of, in hexadecimal; the pictures are not read.

    Raises:
        Broken: If the object is missing, was altered, or is none of thumbnails.
    """
    with log.file(sha256) as path:
        images = _read(log, sha256, path, ["image_sha256"])["image_sha256"].combine_chunks()
    try:
        raw_digests(images)
    except ValueError:
        raise Broken(_of_another_form(log, sha256)) from None
    return images


def _read(log: Log, sha256: str, source: Path | BytesIO, names: Sequence[str]) -> pa.Table:
    """Columns of an object of thumbnails."""
    size, blocks = 0, []
    try:
        with pq.ParquetFile(source) as file:
            if file.schema_arrow != SCHEMA:
                raise ValueError("other columns")
            for block in file.iter_batches(AT_ONCE, columns=list(names)):
                size += block.nbytes
                if size > MOST_BYTES or any(column.null_count for column in block.columns):
                    raise ValueError("too much, or too little")
                blocks.append(block)
    except (OSError, ValueError, pa.ArrowException):
        raise Broken(_of_another_form(log, sha256)) from None
    return pa.Table.from_batches(blocks, pa.schema([SCHEMA.field(name) for name in names]))


def _of_another_form(log: Log, sha256: str) -> str:
    return f"The object {sha256} of the log {log.place} is not one of thumbnails; restore the log from a copy."
