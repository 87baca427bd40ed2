"""Manifest: the table beside the images of a folder, one row an image, as text."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mucs import InputError
from mucs.images.columns import MOST_COLUMNS, as_text, check_columns, check_kinds, reading
from mucs.parse import load_json
from mucs.text import for_terminal

KINDS = ("parquet", "csv", "jsonl")  # of manifests, in the order in which they are looked for
BLOCK = 65_536  # rows read at once
MOST_BYTES = 2_000_000_000  # of a manifest in Parquet, unpacked
MOST_HEADER = 100_000  # characters
MOST_LINE = 1_000_000  # characters of a line of JSON


def read_manifest(folder: Path, name: str) -> pa.Table:
    """The manifest of an image folder: `metadata.parquet`, else `metadata.csv`, else `metadata.jsonl`, both in UTF-8.

    Args:
        folder: Where it lies.
        name: What a sentence calls the images, such as "training set".

    Returns:
        Its rows in order, every column a string, null where a value is missing.

    Raises:
        InputError: If there is none, it cannot be read, or is no plain table of columns that a manifest may have.
    """
    for kind in KINDS:
        path = folder / f"metadata.{kind}"
        if path.is_file():
            return read_table(path, f"The manifest of the {name}")
    raise InputError(
        f"The {name} has no metadata.csv, .parquet or .jsonl, and no Parquet files with the images in them; write one row"
        " for each image beside the images."
    )


def read_table(path: Path, what: str) -> pa.Table:
    """A table that names images, of the kind that its suffix says: .parquet, .csv or .jsonl, the last two in UTF-8.

    Args:
        path: The file.
        what: What a sentence calls it, such as "The manifest of the training set".

    Returns:
        Its rows in order, every column a string, null where a value is missing.

    Raises:
        InputError: If it cannot be read, or is no plain table of columns that a manifest may have.
    """
    read = {"parquet": _read_parquet, "csv": _read_csv, "jsonl": _read_jsonl}.get(path.suffix.lower()[1:])
    if read is None:
        raise InputError(f"{what} is none of CSV, Parquet or JSON lines by its name; call it .csv, .parquet or .jsonl.")
    with reading(what):
        return read(path, what)


def _read_csv(path: Path, what: str) -> pa.Table:
    with path.open(encoding="utf-8-sig", newline="") as f:
        if len(header := f.readline(MOST_HEADER + 1)) > MOST_HEADER:
            raise InputError(f"{what} has a first line without an end; write it again.")
        names = next(csv.reader([header], strict=True), [])
        check_columns(names, what)
        lines = csv.reader(f, strict=True)

        def rows() -> Iterator[list[str]]:
            for row in lines:
                if row and len(row) != len(names):
                    raise InputError(
                        f"{what} has {len(row)} values in line {lines.line_num + 1} and {len(names)} columns;"
                        " quote those that have a comma in them."
                    )
                if row:
                    yield row

        blocks = [
            pa.record_batch([pa.array(values, pa.string()) for values in columns], names)
            for columns in _columns(rows(), len(names))
        ]
    return pa.Table.from_batches(blocks, pa.schema([(name, pa.string()) for name in names]))


def _columns(rows: Iterator[list[str]], width: int) -> Iterator[list[list[str | None]]]:
    """The rows' values by column, a block of rows at a time, None for empty ones."""
    columns: list[list[str | None]] = [[] for _ in range(width)]
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            column.append(value or None)
        if len(columns[0]) == BLOCK:
            yield columns
            columns = [[] for _ in range(width)]
    if columns and columns[0]:
        yield columns


def _read_parquet(path: Path, what: str) -> pa.Table:
    with pq.ParquetFile(path) as file:
        check_columns(file.schema_arrow.names, what)
        check_kinds(file.schema_arrow, what)
        return read_columns(file, file.schema_arrow.names, MOST_BYTES, what)


def read_columns(file: pq.ParquetFile, names: Sequence[str], most: int, what: str) -> pa.Table:
    """Columns of a Parquet file as text, in bounded memory: a few kilobytes may say a value a billion times.

    Args:
        file: Open.
        names: Of the columns.
        most: Bytes that they may take unpacked.
        what: As `check_columns` takes it.

    Returns:
        The columns, strings, null where a value is missing.

    Raises:
        InputError: If they take more.
    """
    schema = pa.schema([(name, pa.string()) for name in names])
    size, blocks = 0, []
    for block in file.iter_batches(BLOCK, columns=list(names)) if names else ():
        size += block.nbytes
        if size > most:
            raise InputError(f"{what} unpacks to more than {most:,} bytes; make several sets of it.")
        blocks.append(pa.table([as_text(pa.chunked_array([block[name]])) for name in names], schema=schema))
    return pa.concat_tables(blocks) if blocks else schema.empty_table()


def _read_jsonl(path: Path, what: str) -> pa.Table:
    blocks: list[pa.Table] = []
    names: dict[str, None] = {}  # in the order in which they come
    rows: list[dict[str, str | None]] = []

    def add_block() -> None:
        check_columns(list(names), what)
        blocks.append(pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names}))
        rows.clear()

    with path.open(encoding="utf-8-sig") as f:
        for number, line in enumerate(iter(lambda: f.readline(MOST_LINE + 1), ""), start=1):
            if len(line) > MOST_LINE:
                raise InputError(f"{what} has more than {MOST_LINE:,} characters in line {number}; write it again.")
            if not line.strip():
                continue
            value = load_json(line)
            if not isinstance(value, dict):
                raise InputError(f"{what} has no JSON object in line {number}; write one row a line.")
            rows.append({name: _plain(each, name, what) for name, each in value.items()})
            names |= dict.fromkeys(value)
            if len(rows) == BLOCK or len(names) > MOST_COLUMNS:
                add_block()
    add_block()
    return pa.concat_tables(blocks, promote_options="default")


def _plain(value: Any, name: str, what: str) -> str | None:
    if isinstance(value, list | dict):
        kind = "lists" if isinstance(value, list) else "objects"
        raise InputError(f"{what} has a column {for_terminal(name, 100)!r} of {kind}; give text or numbers.")
    return None if value is None else str(value)
