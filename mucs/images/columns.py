"""Columns: which ones a manifest may have, and their values as text."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from mucs import InputError
from mucs.text import first_line, for_terminal, is_fit

MOST_COLUMNS = 200
FACTS = (  # what the inspection of an image adds to its row
    *("text can be shown", "path stays inside", "file exists", "image decodes", "image has 8 bits"),
    *("width", "height", "digest matches"),
)
SIZES = ("original_height", "original_width", "crop_top", "crop_left")  # pixels, as Stable Diffusion XL is told them
RESERVED = {
    *FACTS,
    "date is sane",
    "class is known",
    *(f"{name} is known" for name in SIZES),
}  # columns that the gates add


@contextlib.contextmanager
def reading(what: str, form: str = "a table") -> Iterator[None]:
    """What goes wrong in reading a table of the block becomes an InputError that names it."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, OSError, csv.Error, pa.ArrowException, OverflowError) as error:
        raise InputError(f"{what} cannot be read as {form} ({first_line(error)}); write it again.") from None


def check_columns(names: Sequence[str], what: str) -> None:
    """See that a manifest has at most 200 columns, each with a name of its own that no gate adds.

    Args:
        names: Of the columns, in order.
        what: What a sentence calls the manifest, such as "The manifest of the training set".

    Raises:
        InputError: If a name is empty, cannot be shown, is there twice or is taken, or there are too many.
    """
    if len(names) > MOST_COLUMNS:
        raise InputError(f"{what} has {len(names)} columns; give at most {MOST_COLUMNS}.")
    for name in names:
        shown = for_terminal(name, 100)
        if not name or not is_fit(name, 100):
            raise InputError(f"{what} has a column {shown!r}, which is no name; give it one.")
        if name in RESERVED:
            raise InputError(f"{what} has a column {shown!r}, which the gate adds itself; rename it.")
    if len(set(names)) != len(names):
        twice = next(name for k, name in enumerate(names) if name in names[:k])
        raise InputError(f"{what} has the column {twice!r} twice; rename one.")


def check_kinds(schema: pa.Schema, what: str) -> None:
    """See that columns of Parquet hold text or numbers.

    Args:
        schema: Of the columns.
        what: As `check_columns` takes it.

    Raises:
        InputError: If one holds something else, such as lists.
    """
    is_any = pa.types
    tests = (
        *(is_any.is_string, is_any.is_large_string, is_any.is_integer, is_any.is_floating, is_any.is_boolean),
        *(is_any.is_date, is_any.is_timestamp, is_any.is_decimal, is_any.is_null),
    )
    for field in schema:
        kind = field.type.value_type if is_any.is_dictionary(field.type) else field.type
        if not any(test(kind) for test in tests):
            said = for_terminal(str(kind), 60)
            raise InputError(f"{what} has a column {field.name!r} of {said}; give text or numbers.")


def as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column's values as text, as Python writes them.

    Args:
        values: Of a kind that `check_kinds` lets pass.

    Returns:
        Strings, null where a value is missing or not a number.
    """
    if pa.types.is_dictionary(values.type):
        values = pc.cast(values, values.type.value_type)
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind):
        return pc.cast(values, pa.string())
    said = [None if value is None or value != value else str(value) for value in values.to_pylist()]
    return pa.chunked_array([pa.array(said, pa.string())])
