"""CSV files that people write: their rows, with the line that each stands in."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mucs import InputError
from mucs.files import read_at_most

MOST_BYTES = 1_000_000_000


def read_csv(
    path: Path, columns: Sequence[str], check: Callable[[Sequence[str]], None]
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a file, one by one: the line, and what stands under each of `columns` without blanks around it.

    Args:
        path: The file, in UTF-8 and of at most MOST_BYTES.
        columns: What there can be; where one is not there, or has nothing, its value is empty.
        check: Is given the file's own columns, and refuses them by raising InputError.

    Raises:
        InputError: If it cannot be read, or a line has more values than there are columns.
    """
    try:
        text = read_at_most(path, MOST_BYTES).decode("utf-8-sig")
        with io.StringIO(text, newline="") as f:
            reader = csv.DictReader(f)
            check(reader.fieldnames or ())
            for row in reader:
                if None in row:
                    raise InputError(
                        f"{path}, line {reader.line_num}: there are more values than columns; quote those that have a comma in them."
                    )
                yield reader.line_num, {name: (row.get(name) or "").strip() for name in columns}
    except InputError:
        raise
    except (OSError, ValueError, csv.Error):  # also too many bytes, or none of UTF-8
        raise InputError(
            f"{path} cannot be read as CSV; give a text file with the columns {', '.join(columns)}."
        ) from None


def check_columns(path: Path, found: Sequence[str], columns: Sequence[str], needed: Sequence[str]) -> None:
    """See whether a file has the columns that it must have, no others than it can have, and each once.

    Raises:
        InputError: If not.
    """
    for name in needed:
        if name not in found:
            raise InputError(f"{path} has no column {name}; give {', '.join(columns)}.")
    for name in found:
        if name not in columns:
            raise InputError(f"{path} has a column {name!r}, which says nothing; give {', '.join(columns)}.")
    if len(found) > len(set(found)):
        raise InputError(f"{path} has a column twice; give each once.")
