"""Tensors in files, computed once and mapped from there: as a whole, or block by block."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mucs.files import replacing, reserve
from mucs.rowfile import RowFile


def mapped(
    path: Path | None,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    fill: Callable[[slice], Tensor],
    block: int,
    done: Callable[[int, int], None] | None = None,
) -> Tensor:
    """A tensor whose rows are computed once, block by block; several processes may do so.

    Args:
        path: The file, where a later call finds what is there; None keeps the tensor in memory.
        shape: (N, …), N ≥ 1.
        dtype: Of the rows.
        fill: Gives the rows of a block: from a slice of at most `block` rows to (rows, …).
        block: Rows that are computed and written at once.
        done: Told how many rows are there, and of how many, after each block.

    Returns:
        The tensor; what is written to it stays in memory.

    Raises:
        InputError: If the disk has no room.
    """
    count, numbers = shape[0], math.prod(shape)
    file = path and RowFile(path, count, numbers // count * dtype.itemsize, block)
    values = torch.empty(() if file else shape, dtype=dtype)
    for start in file.todo() if file else range(0, count, block):
        stop = min(start + block, count)
        rows = fill(slice(start, stop)).to(dtype)
        if file:
            file.write(start, [rows.contiguous().view(-1).view(torch.uint8).numpy()])
        else:
            values[start:stop] = rows
        if done:
            done(stop, count)
    return torch.from_file(str(path), shared=False, size=numbers, dtype=dtype).view(shape) if file else values


def cached(path: Path | None, shape: tuple[int, ...], fill: Callable[[Tensor], object]) -> Tensor:
    """A float32 tensor that `fill` writes once; with a path it is mapped from that file, where a later call finds it."""
    if path is None:
        values = torch.empty(shape)
        fill(values)
        return values
    size = 4 * int(np.prod(shape))
    if not path.exists() or path.stat().st_size != size:
        with replacing(path) as partial:
            reserve(partial, size)
            writable = np.memmap(partial, np.float32, "r+", shape=shape)
            fill(torch.from_numpy(writable))
            writable.flush()
    return torch.from_numpy(np.memmap(path, np.float32, "c", shape=shape))
