"""Request: a picture that somebody sends to be attributed, and the batch of one that it becomes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from mucs import InputError
from mucs.canonical import digest
from mucs.images.shards import IMAGE

MOST_BYTES = 20_000_000  # of a picture's file
UNKNOWN = "unknown"  # the seed of a picture that comes without one
SHARD = {"compression": "none", "store_schema": False, "write_statistics": False}  # an image's file is packed already


@dataclass(frozen=True)
class Request:
    """A picture that somebody sends to be attributed.

    Attributes:
        picture: The image's file.
        label: Its class, where the model takes one.
        prompt: What it was made from, where the model takes prompts.
        seed: What it was made from as well; "unknown" where that is not known.
    """

    picture: bytes
    label: str | None = None
    prompt: str | None = None
    seed: str = UNKNOWN

    def __post_init__(self) -> None:
        if not self.picture:
            raise InputError("There is no picture in what was sent; send a PNG, JPEG or WebP file.")
        if len(self.picture) > MOST_BYTES:
            raise InputError(f"The picture has {len(self.picture):,} bytes; send one of at most {MOST_BYTES:,}.")

    @cached_property
    def row(self) -> dict[str, str]:
        """Its row, as a generated batch's manifest has it; the id says what is asked, and the same gets the same."""
        said = {"class": self.label, "prompt": self.prompt, "seed": self.seed}
        asked = {"sha256": hashlib.sha256(self.picture).hexdigest()} | {k: v for k, v in said.items() if v}
        return {"id": f"sent-{digest(asked)[:16]}", **asked}

    @cached_property
    def address(self) -> str:
        """What it is found by: the SHA-256 of its row, under which the ledger has its generated item."""
        return digest(self.row)

    def to_shard(self) -> bytes:
        """As a batch of one: a Parquet file with the image in it. The same request gives the same bytes."""
        image = pa.array([{"bytes": self.picture}], pa.struct([("bytes", pa.binary())]))
        columns = {name: pa.array([value], pa.string()) for name, value in self.row.items()}
        sink = BytesIO()
        pq.write_table(pa.table({**columns, IMAGE: image}), sink, **SHARD)
        return sink.getvalue()
