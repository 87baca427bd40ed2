"""Compose: a set of images with a manifest, from a folder of images and a table that may call its columns otherwise."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mucs import InputError
from mucs.files import file_sha256
from mucs.images.manifest import KINDS, read_table
from mucs.text import for_terminal

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# columns of a manifest that a table may call otherwise, or not have
COLUMNS = ("id", "file_name", "rights_holder", "licence", "date", "class", "prompt", "seed")
EXAMPLES = {
    **{"rights_holder": "'Ada Lovelace'", "licence": "CC-BY-4.0", "date": "2024-01-31"},
    **{"class": "0", "prompt": "'a cat'", "seed": "unknown"},
}
SHOWN = 5  # names in a sentence


def compose(
    folder: Path,
    table: Path | None,
    columns: Mapping[str, str],
    fill: Mapping[str, str],
    needed: Sequence[str],
) -> pa.Table:
    """The rows of a manifest for the images of a folder, in the table's order.

    Args:
        folder: With PNG, JPEG and WebP images, also in folders; what begins with a dot is left out.
        table: Names the images, from the folder or from beside itself, with or without their suffix. Without it, the
            folder's own `metadata.*`, or else the images in the order of their names.
        columns: What the table calls columns of a manifest, by the manifest's name.
        fill: Values by the manifest's name, for images of which the table says none.
        needed: Columns that the manifest must have.

    Returns:
        One row an image, every column a string. An image's id, where the table has none, is its path without the suffix.

    Raises:
        InputError: If the table lacks a column that is needed, or a row or an image has no other half.
    """
    images = find_images(folder)
    table = table or next((path for kind in KINDS if (path := folder / f"metadata.{kind}").is_file()), None)
    if table is None:
        rows, what = pa.table({"file_name": pa.array(images, pa.string())}), f"The folder {folder}"
    else:
        what = f"The table {table}"
        rows = _renamed(read_table(table, what), columns, what)
        if lacking := [name for name in ("file_name", *needed) if name not in {*rows.column_names, *fill}]:
            raise InputError(_lacks(what, lacking, rows.column_names))
        rows = _placed(rows, folder, table, images)
    if columns and table is None:
        raise InputError(f"{what} has no table whose columns have other names; give one as --csv.")
    if "id" not in rows.column_names:
        ids = [str(name).rpartition(".")[0] for name in rows["file_name"].to_pylist()]
        rows = rows.add_column(0, "id", pa.array(ids, pa.string()))
    for name, value in fill.items():
        rows = _filled(rows, name, value)
    if lacking := [name for name in needed if name not in rows.column_names]:
        raise InputError(_lacks(what, lacking, []))
    return rows


def find_images(folder: Path) -> list[str]:
    """The images in a folder by their names, sorted, as paths from it.

    Raises:
        InputError: If there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; give one with images.")
    found = []
    for at, inner, files in os.walk(folder, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith(".")]
        start = Path(at).relative_to(folder)
        found += [
            (start / name).as_posix() for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    if not found:
        raise InputError(f"The folder {folder} has no PNG, JPEG or WebP images in it; give another.")
    return sorted(found)


def write_set(folder: Path, rows: pa.Table, to: Path) -> None:
    """Copy images, and write `metadata.csv` beside them, with the SHA-256 of each where the rows do not say it.

    Args:
        folder: Where the images lie.
        rows: As `compose` gives them.
        to: A folder that is not there yet.

    Raises:
        InputError: If an image cannot be read.
    """
    digests = []
    to.mkdir(parents=True)
    for name in rows["file_name"].to_pylist():
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(folder / name, target)
        except OSError as error:
            raise InputError(f"{folder / name} cannot be copied ({str(error.strerror).lower()}); mend that.") from None
        digests.append(file_sha256(target))
    if "sha256" not in rows.column_names:
        rows = rows.append_column("sha256", pa.array(digests, pa.string()))
    with (to / "metadata.csv").open("w", encoding="utf-8", newline="") as f:
        written = csv.writer(f)
        written.writerow(rows.column_names)
        written.writerows(zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True))


def _renamed(rows: pa.Table, columns: Mapping[str, str], what: str) -> pa.Table:
    for name, said in columns.items():
        if said not in rows.column_names:
            raise InputError(f"{what} has no column {said!r} to be the {name}; it has {_listed(rows.column_names)}.")
        if name != said and name in rows.column_names:
            raise InputError(f"{what} has a column {name} beside {said!r}, which is to be that; leave one of them out.")
    names = {said: name for name, said in columns.items()}
    if len(names) < len(columns):
        raise InputError("One column of the table is to be two of a manifest's; name another for one of them.")
    return rows.rename_columns([names.get(name, name) for name in rows.column_names])


def _placed(rows: pa.Table, folder: Path, table: Path, images: Sequence[str]) -> pa.Table:
    """The rows with each image's path from the folder. Raises InputError if rows and images are not one to one."""
    what = f"The table {table}"
    known, stems = set(images), {name.rpartition(".")[0]: name for name in images}

    def place(said: str) -> str | None:
        for start in (folder, table.parent):
            name = os.path.relpath(start / said, folder)
            if name in known:
                return name
            if name in stems:
                return stems[name]
        return None

    said = rows["file_name"].to_pylist()
    names = [place(each) if each else None for each in said]
    if lost := [f"{said[k]!r} in row {k + 1}" for k, name in enumerate(names) if name is None]:
        raise InputError(
            f"{what} names {_some(lost)}, which {'is no image' if len(lost) == 1 else 'are no images'} of {folder};"
            " put them there, or take out the rows."
        )
    if unsaid := sorted(known - {name for name in names if name}):
        raise InputError(
            f"{what} has no row for {_some(unsaid)} of {folder}; add {'it' if len(unsaid) == 1 else 'them'}, or take the"
            f" {'image' if len(unsaid) == 1 else 'images'} away."
        )
    return rows.set_column(rows.column_names.index("file_name"), "file_name", pa.array(names, pa.string()))


def _filled(rows: pa.Table, name: str, value: str) -> pa.Table:
    if name not in rows.column_names:
        return rows.append_column(name, pa.array([value] * rows.num_rows, pa.string()))
    return rows.set_column(rows.column_names.index(name), name, pc.fill_null(rows[name], value))


def _lacks(what: str, names: Sequence[str], there: Sequence[str]) -> str:
    """The sentence for columns that are needed and missing."""
    options = _listed([f"--{name.removeprefix('rights_').removesuffix('_name')}-column" for name in names])
    has = f" (it has {_listed(there)})" if there else ""
    say = (
        f"say what it calls {'them' if len(names) > 1 else 'it'} with {options}"
        if there
        else "give a table that says it, as --csv"
    )
    first = next((name for name in names if name in EXAMPLES), None)
    value = f", or one value for all images, such as --fill {first}={EXAMPLES[first]}" if first else ""
    return f"{what} has no {_listed(names)}{has}; {say}{value}."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(for_terminal(name, 60) for name in names)


def _some(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - SHOWN
    return f"{_listed(names[:SHOWN])}{f' and {more} more' if more > 0 else ''}"
