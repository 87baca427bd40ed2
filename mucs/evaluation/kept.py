"""Kept answers: what retrained models made of the generated items, as one file, so that nobody has to train them again to redraw a table."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from mucs import InputError
from mucs.evaluation.retraining import Job
from mucs.files import replacing

log = logging.getLogger("mucs.evaluation")

SCHEMA = pa.schema(
    [
        pa.field("removed", pa.list_(pa.int32()), nullable=False),  # training items that the training did not see
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("losses", pa.list_(pa.float32()), nullable=False),  # on each generated item
        pa.field(
            "images", pa.binary(), nullable=False
        ),  # from the seeds of the generated items: their 8-bit pixels, (G, C, H, W)
    ]
)


@dataclass(frozen=True)
class Kept:
    """A Parquet file of answers, a row for each training; the training on everything with seed 0 made the generated items.

    Attributes:
        path: Where it lies; it need not be there.
        about: What was trained, on what, how, and how it was asked, as JSON: answers of anything else are not these.
    """

    path: Path
    about: Mapping[str, Any]

    def read(self) -> dict[Job, dict[str, Tensor]]:
        """Its `images` (G, C, H, W) in [-1, 1] and `losses` (G,) by training; none if the file is not there, or is about something else.

        Raises:
            InputError: If it cannot be read.
        """
        if not self.path.exists():
            return {}
        try:
            table = pq.read_table(self.path)
            about = json.loads((table.schema.metadata or {}).get(b"about", b"{}"))
            shape = about.pop("shape", None)
            if about != json.loads(json.dumps(self.about)):
                log.info("answers   %s is about another study, and is not used", self.path)
                return {}
            return {Job(tuple(row["removed"]), row["seed"]): _tensors(row, shape) for row in table.to_pylist()}
        except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.path} cannot be read as kept answers ({error}); fetch it again.") from None

    def write(self, answers: Mapping[Job, Mapping[str, Tensor]]) -> None:
        """Put answers, as `read` gives them, in the place of what was there."""
        ordered = sorted(answers, key=lambda job: (job.seed, len(job.removed), job.removed))
        shape = list(answers[ordered[0]]["images"].shape)
        rows = [
            {
                "removed": list(job.removed),
                "seed": job.seed,
                "losses": answers[job]["losses"].tolist(),
                "images": ((answers[job]["images"] + 1) * 127.5).round().to(torch.uint8).numpy().tobytes(),
            }
            for job in ordered
        ]
        about = {b"about": json.dumps({**self.about, "shape": shape}, sort_keys=True)}
        with replacing(self.path) as partial:
            pq.write_table(pa.Table.from_pylist(rows, SCHEMA.with_metadata(about)), partial, compression="zstd")


def _tensors(row: Mapping[str, Any], shape: list[int]) -> dict[str, Tensor]:
    pixels = np.frombuffer(row["images"], np.uint8).reshape(shape)
    return {"images": torch.tensor(pixels) / 127.5 - 1, "losses": torch.tensor(row["losses"])}
