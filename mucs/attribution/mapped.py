"""Tensors in files, computed once and mapped from there: as a whole, or block by block."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mucs.files import creating, replacing, reserve


def mapped(
    path: Path | None,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    fill: Callable[[slice], Tensor],
    block: int,
    done: Callable[[int, int], None] | None = None,
) -> Tensor:
    """A tensor whose rows are computed once.

    The file holds the rows, and behind them a byte for each block that says whether it is there. Several processes may
    fill one file: they write the same.

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
    starts = range(0, shape[0], block)
    if path is None:
        values = torch.empty(shape, dtype=dtype)
        for start in starts:
            values[start : start + block] = fill(slice(start, min(start + block, shape[0])))
            if done:
                done(min(start + block, shape[0]), shape[0])
        return values
    numbers, marks = math.prod(shape), math.prod(shape) * dtype.itemsize
    if not path.exists():
        with creating(path) as partial:
            reserve(partial, marks + len(starts))
    with path.open("r+b") as f:
        there = os.pread(f.fileno(), len(starts), marks)
        if not all(there) or len(there) < len(starts):
            values = torch.from_file(str(path), shared=True, size=numbers, dtype=dtype).view(shape)
            for k, start in enumerate(starts):
                if not there[k]:
                    values[start : start + block] = fill(slice(start, min(start + block, shape[0])))
                    os.fsync(f.fileno())  # the rows are there before the mark that says so, whatever happens
                    os.pwrite(f.fileno(), b"\1", marks + k)
                if done:
                    done(min(start + block, shape[0]), shape[0])
    return torch.from_file(str(path), shared=False, size=numbers, dtype=dtype).view(shape)


def cached(
    path: Path | None, shape: tuple[int, ...], fill: Callable[[Tensor], object], dtype: torch.dtype = torch.float32
) -> Tensor:
    """A tensor that `fill` writes once; with a path it is mapped from that file, where a later call finds it."""
    if path is None:
        values = torch.empty(shape, dtype=dtype)
        fill(values)
        return values
    kind = torch.empty(0, dtype=dtype).numpy().dtype
    size = int(np.prod(shape)) * kind.itemsize
    if not path.exists() or path.stat().st_size != size:
        with replacing(path) as partial:
            reserve(partial, size)
            writable = np.memmap(partial, kind, "r+", shape=shape)
            fill(torch.from_numpy(writable))
            writable.flush()
    return torch.from_numpy(np.memmap(path, kind, "c", shape=shape))
