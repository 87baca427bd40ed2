"""Images: the gates of training and held-out sets and of generated batches."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs.canonical import digest
from mucs.images import ImageSet
from mucs.images.columns import SIZES
from mucs.images.inspection import inspect_all
from mucs.images.version import IMAGES_SHA256
from mucs.written import read_time
from tasks.prepare import opened
from tasks.pull import Pulled
from tasks.validate.image_spec import ImageSpec
from tasks.validate.kept import as_state, kept_result
from tasks.validate.suite import Expectation, Validation, equals, exists, holds, present, run_suite, some_rows, unique

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@task(task_run_name="validate {what}", cache_policy=NO_CACHE)
def validate_training(
    pulled: Pulled, what: str, spec: ImageSpec, licences: Sequence[str], cache: Path
) -> list[Validation]:
    """Gate a training or held-out set, unless the cache has what came of that with the same bytes, wishes and code.

    Args:
        pulled: The set.
        what: What sentences call it, such as "training set".
        spec: The images that the checkpoint takes.
        licences: Those that an image may have.
        cache: Where results are kept, and what is known of each block of images.

    Returns:
        The results of both suites.

    Raises:
        GateFailed: If it does not pass.
        InputError: If it cannot be read.
    """
    about = {"data": pulled.digest, "images": dataclasses.asdict(spec), "licences": sorted(licences)}

    def gate() -> list[Validation]:
        return _gate(pulled, what, spec, ("rights_holder", "licence", "date"), cache, sorted(licences))

    return as_state(*kept_result(cache, what, about, gate))


@task(task_run_name="validate generated batch", cache_policy=NO_CACHE)
def validate_generated(pulled: Pulled, spec: ImageSpec, cache: Path) -> list[Validation]:
    """Gate a generated batch, as `validate_training` does a training set."""
    about = {"data": pulled.digest, "images": dataclasses.asdict(spec)}
    what = "generated batch"
    return as_state(*kept_result(cache, what, about, lambda: _gate(pulled, what, spec, ("seed",), cache)))


def _gate(
    pulled: Pulled, what: str, spec: ImageSpec, more: Sequence[str], cache: Path, licences: Sequence[str] | None = None
) -> list[Validation]:
    """more: columns of its own. licences: those allowed, of a set whose images have dates."""
    images = opened(pulled, what)
    columns = ("id", *images.source.columns, "sha256", *more, *spec.columns)
    told = [name for name in SIZES if spec.sizes and name in images.rows.column_names]
    frame = frame_of(images.rows, [name for name in (*columns, *told) if name in images.rows.column_names])

    def named(k: int) -> str:
        name = str(frame["id"].iloc[k])
        return name if images.source.columns else f"{name} in {images.source.place(k)}"

    first = run_suite(f"{what} manifest", frame, [*exists(*columns), *some_rows()], named)
    known = cache / "inspections" / digest([pulled.digest, IMAGES_SHA256])
    facts = inspect_all(images, known)
    for name in facts.column_names:
        frame[name] = facts[name].to_numpy()
    expectations = image_expectations(images, spec)
    if licences is None:
        expectations += present(*more)
    else:
        sane = {date: is_sane(date) for date in set(frame["date"])}
        frame["date is sane"] = [sane[date] for date in frame["date"]]
        expectations += [
            *present("rights_holder", "licence"),
            ("ExpectColumnValuesToBeInSet", {"column": "licence", "value_set": list(licences)}),
            *holds("date is sane"),
        ]
    expectations += [*check_classes(frame, spec.classes), *check_sizes(frame, told)]
    return [first, run_suite(what, frame, expectations, named)]


def frame_of(table: pa.Table, names: Sequence[str]) -> pd.DataFrame:
    """Columns of a table of strings as Great Expectations takes them."""
    import pandas as pd

    columns = {name: pd.Series(table[name].to_numpy(zero_copy_only=False), dtype=object) for name in names}
    return pd.DataFrame(columns, index=range(table.num_rows))


def image_expectations(images: ImageSet, spec: ImageSpec) -> list[Expectation]:
    """A manifest's images are there, are what it says, and are of the model's size."""
    return [
        *holds("text can be shown"),
        *present("id", *images.source.columns, "sha256"),
        *unique("id", *images.source.columns),
        *holds("path stays inside", "file exists", "image decodes", "image has 8 bits"),
        *equals("height", spec.height),
        *equals("width", spec.width),
        *holds("digest matches"),
    ]


def is_sane(date: str | None) -> bool:
    """Whether a date is one of the last centuries; once it is, it stays so."""
    try:
        return datetime.date(1800, 1, 1) <= read_time(str(date)).date() <= datetime.date.today()
    except ValueError:
        return False


def check_classes(frame: pd.DataFrame, classes: int | None) -> list[Expectation]:
    """Adds a column that says whether each class is one of the model's, where the model takes classes."""
    if classes is None:
        return []
    known = {str(c) for c in range(classes)}
    frame["class is known"] = [value in known for value in frame["class"]] if "class" in frame else False
    return holds("class is known")


def check_sizes(frame: pd.DataFrame, names: Sequence[str]) -> list[Expectation]:
    """Adds a column for each of an original size or crop that says whether it is a number of pixels, or nothing is said of it."""
    for name in names:
        known = {said: said is None or is_pixels(said, int(name.startswith("original"))) for said in set(frame[name])}
        frame[f"{name} is known"] = [known[said] for said in frame[name]]
    return holds(*(f"{name} is known" for name in names))


def is_pixels(said: str, least: int) -> bool:
    """Whether a text is a whole number of pixels, from `least` to a million."""
    try:
        value = float(said)
    except ValueError:
        return False
    return least <= value <= 1_000_000 and value.is_integer()
