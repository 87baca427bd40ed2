"""Row file: rows of one size that are computed block by block into a file, to be mapped from there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mucs.files import creating, reserve

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class RowFile:
    """Rows, and behind them a byte for each block that says whether it is there.

    Several processes may fill one file: they write the same. Killed, they go on where they were.

    Attributes:
        path: Of the file.
        rows: How many there are, at least one.
        row_bytes: Of a row.
        block: Rows that are written at once.
    """

    path: Path
    rows: int
    row_bytes: int
    block: int

    def todo(self) -> list[int]:
        """The first row of each block that is not there.

        Raises:
            InputError: If the disk has no room for the file.
        """
        starts, marks = range(0, self.rows, self.block), self.rows * self.row_bytes
        if self.path.exists() and self.path.stat().st_size != marks + len(starts):  # cut short
            self.path.unlink(missing_ok=True)
        if not self.path.exists():
            with creating(self.path) as partial:
                reserve(partial, marks + len(starts))
        with self.path.open("rb") as f:
            f.seek(marks)
            return [start for start, mark in zip(starts, f.read(), strict=True) if not mark]

    def write(self, start: int, content: Iterable[NDArray[np.generic]]) -> None:
        """Write a block.

        Args:
            start: Its first row.
            content: Its rows, in contiguous arrays of one or more of them.
        """
        with self.path.open("r+b") as f:
            f.seek(start * self.row_bytes)
            for rows in content:
                f.write(rows.data)
            f.flush()
            os.fsync(f.fileno())  # the rows are there before the mark that says so, whatever happens
            f.seek(self.rows * self.row_bytes + start // self.block)
            f.write(b"\1")
