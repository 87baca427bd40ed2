"""Validate: Great Expectations gates over manifests, checkpoint and edges; the first failure stops the run."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs import InputError
from mucs.canonical import canonical
from mucs.ledger.edges import NUMBERS, given_back
from mucs.text import for_terminal, is_fit
from mucs.written import read_time
from tasks.pull import Pulled
from tasks.registry import is_inside

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from PIL import Image

    from mucs.attribution import DiffusionModel

Expectation = tuple[str, dict[str, Any]]
Validation = dict[str, Any]

ARGUMENTS = ("column", "value_set", "min_value", "max_value", "strict_min", "strict_max")
ROWS_SHOWN = 10
MOST_QUOTED = 100  # characters of a value in a result
MAX_PIXELS = 64_000_000
FORMATS = ("PNG", "JPEG", "WEBP")
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError)  # what Pillow raises, and DecompressionBombError
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
MOST_COLUMNS = 200
MOST_BYTES = 2_000_000_000  # of a manifest in Parquet, unpacked
MOST_HEADER = 100_000  # characters
SHOWN = ("id", "file_name", "sha256", "rights_holder", "licence", "date", "class", "seed")
MOST_TEXT = 20_000  # characters of any other value, such as a prompt


class GateFailed(InputError):
    """What was validated does not meet its expectations; `validation` is the result."""

    def __init__(self, message: str, validation: Validation) -> None:
        super().__init__(message)
        self.validation = validation


def exists(*columns: str) -> list[Expectation]:
    return [("ExpectColumnToExist", {"column": column}) for column in columns]


def present(*columns: str) -> list[Expectation]:
    return [("ExpectColumnValuesToNotBeNull", {"column": column}) for column in columns]


def unique(*columns: str) -> list[Expectation]:
    return [("ExpectColumnValuesToBeUnique", {"column": column}) for column in columns]


def holds(*columns: str) -> list[Expectation]:
    return [("ExpectColumnValuesToBeInSet", {"column": column, "value_set": [True]}) for column in columns]


def equals(column: str, value: object) -> list[Expectation]:
    return [("ExpectColumnValuesToBeInSet", {"column": column, "value_set": [value]})]


def between(column: str, least: float, most: float | None = None, **strict: bool) -> list[Expectation]:
    """Each value that is not null."""
    return [("ExpectColumnValuesToBeBetween", {"column": column, "min_value": least, "max_value": most, **strict})]


def some_rows() -> list[Expectation]:
    return [("ExpectTableRowCountToBeBetween", {"min_value": 1})]


def run_suite(name: str, frame: pd.DataFrame, expectations: Sequence[Expectation], index: str) -> Validation:
    """The result of a suite over a frame, as JSON that is the same for the same data; GateFailed if it fails.

    index: the column that names a row in the result.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx

    # it sets this level itself, to tell of temporary folders
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}  # type: ignore[assignment]
    batch = (
        context.data_sources.add_pandas("pandas")
        .add_dataframe_asset("frame")
        .add_batch_definition_whole_dataframe("whole")
    )
    suite = gx.ExpectationSuite(
        name=name, expectations=[getattr(gx.expectations, kind)(**arguments) for kind, arguments in expectations]
    )
    definition = gx.ValidationDefinition(name=name, data=batch, suite=context.suites.add(suite))
    result_format: dict[str, Any] = {"result_format": "COMPLETE", "return_unexpected_index_query": False}
    if index in frame.columns:
        result_format["unexpected_index_column_names"] = [index]
    outcome = (
        context.validation_definitions.add(definition)
        .run(batch_parameters={"dataframe": frame}, result_format=result_format)
        .to_json_dict()
    )
    results = [summary(result, index) for result in outcome["results"]]
    validation = {
        "suite": name,
        "great_expectations": gx.__version__,
        "rows": len(frame),
        "success": bool(outcome["success"]),
        "results": results,
    }
    failed = [result for result in results if not result["success"]]
    if failed:
        raise GateFailed(sentence(name, failed[0], len(failed), len(frame)), validation)
    return validation


def summary(result: dict[str, Any], index: str) -> dict[str, Any]:
    """What one expectation asked, and up to ten rows that fail it."""
    config, found = result["expectation_config"], result.get("result", {})
    arguments = {name: config["kwargs"][name] for name in ARGUMENTS if config["kwargs"].get(name) is not None}
    rows = [
        {
            "row": for_terminal(str(row.get(index)), MOST_QUOTED),
            "value": for_terminal(str(next((v for k, v in row.items() if k != index), row.get(index))), MOST_QUOTED),
        }
        for row in (found.get("unexpected_index_list") or [])[:ROWS_SHOWN]
        if isinstance(row, dict)
    ]
    seen = {"observed": found["observed_value"]} if isinstance(found.get("observed_value"), int) else {}
    return {
        "expectation": config["type"],
        **arguments,
        **seen,
        "success": bool(result["success"]),
        "unexpected_count": int(found.get("unexpected_count") or 0),
        "unexpected_rows": rows,
    }


def sentence(suite: str, failed: dict[str, Any], failures: int, rows: int) -> str:
    """One sentence for the first expectation that failed."""
    where = f" on column {failed['column']!r}" if "column" in failed else ""
    many = (
        f": {failed['unexpected_count']} of {rows} rows"
        if failed["unexpected_count"]
        else (f": {failed['observed']} rows" if "observed" in failed else "")
    )
    shown = ", ".join(
        f"{r['row']} ({r['value']})" if r["value"] != r["row"] else r["row"] for r in failed["unexpected_rows"]
    )
    more = f", and {failures - 1} more expectations failed" if failures > 1 else ""
    return f"The {suite} did not pass its gate, {failed['expectation']}{where}{many}{': ' + shown if shown else ''}{more}; mend it and register it again."


def read_manifest(folder: Path, what: str) -> pd.DataFrame:
    """`metadata.parquet` or `metadata.csv` (UTF-8) of an image folder, every value a string or missing.

    Raises InputError for what cannot be read, has no plain table of at most 200 columns, each with a name of its own, or
    has a column that the gate adds itself.
    """
    import pandas as pd
    import pyarrow as pa

    try:
        if (folder / "metadata.parquet").is_file():
            frame = _read_parquet(folder / "metadata.parquet", what)
        elif (folder / "metadata.csv").is_file():
            frame = _read_csv(folder / "metadata.csv", what)
        else:
            raise InputError(
                f"The {what} has no metadata.parquet or metadata.csv; write one row for each image beside the images."
            )
    except InputError:
        raise
    except (ValueError, OSError, csv.Error, pa.ArrowException, OverflowError) as error:
        reason = for_terminal((str(error).splitlines() or [""])[0].rstrip("."), 200)
        raise InputError(f"The manifest of the {what} cannot be read as a table ({reason}); write it again.") from None
    frame = frame.astype(object).where(frame.notna(), None)
    return pd.DataFrame(
        {name: [None if value is None else str(value) for value in frame[name]] for name in frame.columns},
        columns=frame.columns,
        dtype=object,
    )


def _check_columns(names: Sequence[str], what: str) -> None:
    if len(names) > MOST_COLUMNS:
        raise InputError(f"The manifest of the {what} has {len(names)} columns; give at most {MOST_COLUMNS}.")
    for name in names:
        shown = for_terminal(name, 100)
        if not name or not is_fit(name, 100):
            raise InputError(f"The manifest of the {what} has a column {shown!r}, which is no name; give it one.")
        if name in OWN_COLUMNS:
            raise InputError(
                f"The manifest of the {what} has a column {shown!r}, which the gate adds itself; rename it."
            )
    if len(set(names)) != len(names):
        twice = next(name for k, name in enumerate(names) if name in names[:k])
        raise InputError(f"The manifest of the {what} has the column {twice!r} twice; rename one.")


def _read_csv(path: Path, what: str) -> pd.DataFrame:
    import pandas as pd

    with path.open(encoding="utf-8-sig", newline="") as f:
        if len(header := f.readline(MOST_HEADER + 1)) > MOST_HEADER:
            raise InputError(f"The first line of the manifest of the {what} has no end; write it again.")
        names = next(csv.reader([header], strict=True), [])
        _check_columns(names, what)
        rows = []
        lines = csv.reader(f, strict=True)
        for row in lines:
            if row and len(row) != len(names):
                raise InputError(
                    f"The manifest of the {what} has {len(row)} values in line {lines.line_num + 1} and {len(names)} columns;"
                    " quote those that have a comma in them."
                )
            if row:
                rows.append([value or None for value in row])
    return pd.DataFrame(rows, columns=names, dtype=object)


def _read_parquet(path: Path, what: str) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    _check_columns(schema.names, what)
    is_any = pa.types
    for field in schema:
        kind = field.type.value_type if is_any.is_dictionary(field.type) else field.type
        if not any(
            test(kind)
            for test in (is_any.is_string, is_any.is_large_string, is_any.is_integer, is_any.is_floating, is_any.is_boolean,
                         is_any.is_date, is_any.is_timestamp, is_any.is_decimal, is_any.is_null)
        ):  # fmt: skip
            raise InputError(
                f"The column {field.name!r} in the manifest of the {what} is of {for_terminal(str(kind), 60)}; give text or numbers."
            )
    size, batches = 0, []
    with pq.ParquetFile(path) as file:  # a few kilobytes may say a value a billion times
        groups = [file.metadata.row_group(k) for k in range(file.metadata.num_row_groups)]
        size = sum(group.total_byte_size for group in groups)
        for batch in file.iter_batches() if size <= MOST_BYTES else ():
            size += batch.nbytes
            batches.append(batch)
            if size > MOST_BYTES:
                break
    if size > MOST_BYTES:
        raise InputError(
            f"The manifest of the {what} unpacks to more than {MOST_BYTES:,} bytes; make several sets of it."
        )
    frame: pd.DataFrame = pa.Table.from_batches(batches, schema).to_pandas(
        ignore_metadata=True, integer_object_nulls=True
    )
    return frame


def read_image(content: Path | BinaryIO) -> NDArray[np.uint8]:
    """The pixels (H, W, 3) of a PNG, JPEG or WebP image. Raises ValueError for what is none, is torn, large, or not of 8 bits."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(content, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError("too large")
            if not has_8_bits(image):
                raise ValueError("not one picture of 8 bits a channel")
            return np.array(image.convert("RGB"))
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        raise ValueError(for_terminal(str(error), 200)) from None


def has_8_bits(image: Image.Image) -> bool:
    """Whether an image, just opened, is one picture of 8 bits a channel, in grey, colours or a palette.

    Pillow would make 8 of 16 bits without a word. What is transparent counts in its own colour.
    """
    return image.mode in MODES and ";16" not in str(getattr(image, "tile", "")) and getattr(image, "n_frames", 1) == 1


def inspect_images(frame: pd.DataFrame, folder: Path, files: dict[str, str]) -> pd.DataFrame:
    """The manifest with what its files really are, and whether its text can be shown; see IMAGE_FACTS."""
    from PIL import Image

    facts = []
    for row in frame.to_dict("records"):
        name = row["file_name"]
        inside = name is not None and is_inside(name)
        fact = {
            "text can be shown": all(
                value is None or (is_fit(value) if column in SHOWN else "\0" not in value and len(value) <= MOST_TEXT)
                for column, value in row.items()
            ),
            "path stays inside": inside,
            "file exists": inside and name in files,
            "image decodes": False,
            "image has 8 bits": False,
            "width": 0,
            "height": 0,
            "digest matches": False,
        }
        if fact["file exists"]:
            fact["digest matches"] = files[name] == row["sha256"]
            try:
                with Image.open(folder / name, formats=FORMATS) as image:
                    fact["width"], fact["height"] = image.size
                    fact["image has 8 bits"] = has_8_bits(image)
                    if image.width * image.height <= MAX_PIXELS:
                        image.load()
                        fact["image decodes"] = True
            except (*UNREADABLE, Image.DecompressionBombError):
                pass
        facts.append(fact)
    import pandas as pd

    return pd.concat(
        [frame.reset_index(drop=True), pd.DataFrame(facts, columns=list(IMAGE_FACTS), index=range(len(frame)))], axis=1
    )


IMAGE_FACTS = (
    *("text can be shown", "path stays inside", "file exists", "image decodes", "image has 8 bits"),
    *("width", "height", "digest matches"),
)
OWN_COLUMNS = {*IMAGE_FACTS, "date is sane", "class is known"}


@dataclass(frozen=True)
class Takes:
    """The images that a checkpoint takes: their height and width in pixels, how many classes there are, None if it takes none, and whether each has a prompt."""

    height: int
    width: int
    classes: int | None
    prompts: bool

    @property
    def columns(self) -> list[str]:
        """What a manifest must have for it."""
        return ["class"] * (self.classes is not None) + ["prompt"] * self.prompts


def image_expectations(takes: Takes) -> list[Expectation]:
    """A manifest's images are there, are what it says, and are of the model's size."""
    return [
        *holds("text can be shown"),
        *present("id", "file_name", "sha256"),
        *unique("id", "file_name"),
        *holds("path stays inside", "file exists", "image decodes", "image has 8 bits"),
        *equals("height", takes.height),
        *equals("width", takes.width),
        *holds("digest matches"),
    ]


def check_classes(frame: pd.DataFrame, classes: int | None) -> list[Expectation]:
    """Adds a column that says whether each class is one of the model's, where the model takes classes."""
    if classes is None:
        return []
    known = {str(c) for c in range(classes)}
    frame["class is known"] = [value in known for value in frame["class"]] if "class" in frame else False
    return holds("class is known")


@task(cache_policy=NO_CACHE)
def validate_training(pulled: Pulled, what: str, takes: Takes, licences: Sequence[str]) -> list[Validation]:
    """Gate a training or held-out set: `what` names it; takes: what the model does; licences: those allowed."""
    import datetime

    frame = read_manifest(pulled.folder, what)
    columns = [
        *exists("id", "file_name", "sha256", "rights_holder", "licence", "date"),
        *exists(*takes.columns),
        *some_rows(),
    ]
    first = run_suite(f"{what} manifest", frame, columns, "id")
    frame = inspect_images(frame, pulled.folder, pulled.files)

    def sane(date: str | None) -> bool:
        try:
            return datetime.date(1800, 1, 1) <= read_time(str(date)).date() <= datetime.date.today()
        except ValueError:
            return False

    frame["date is sane"] = [sane(date) for date in frame["date"]]
    expectations = [
        *image_expectations(takes),
        *present("rights_holder", "licence"),
        ("ExpectColumnValuesToBeInSet", {"column": "licence", "value_set": sorted(licences)}),
        *holds("date is sane"),
        *check_classes(frame, takes.classes),
    ]
    return [first, run_suite(what, frame, expectations, "id")]


@task(cache_policy=NO_CACHE)
def validate_generated(pulled: Pulled, takes: Takes) -> list[Validation]:
    """Gate a generated batch; takes: what the model does."""
    frame = read_manifest(pulled.folder, "generated batch")
    columns = [*exists("id", "file_name", "sha256", "seed", *takes.columns), *some_rows()]
    first = run_suite("generated batch manifest", frame, columns, "id")
    frame = inspect_images(frame, pulled.folder, pulled.files)
    expectations = [*image_expectations(takes), *present("seed"), *check_classes(frame, takes.classes)]
    return [first, run_suite("generated batch", frame, expectations, "id")]


@task(cache_policy=NO_CACHE)
def validate_checkpoint(pulled: Pulled) -> tuple[list[Validation], Takes]:
    """Gate a checkpoint; also says which images it takes."""
    import pandas as pd
    import torch

    from mucs.attribution import DiffusionModel
    from mucs.attribution.checkpoint import network_from_config, network_part, read_scheduler, read_weights

    names = sorted(pulled.files)
    files = pd.DataFrame(
        {
            "file": names,
            "is safe to read": [
                Path(name).suffix in (".safetensors", ".json", ".md", ".txt", ".model") for name in names
            ],
        }
    )
    first = run_suite("checkpoint files", files, [*some_rows(), *holds("is safe to read")], "file")
    read_scheduler(pulled.folder)
    with torch.device("meta"):
        network = network_from_config(pulled.folder)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    tensors = read_weights(network_part(pulled.folder))
    every = sorted(expected.keys() | tensors.keys())
    frame = pd.DataFrame(
        {
            "tensor": every,
            "is in the configuration": [name in expected for name in every],
            "is in the file": [name in tensors for name in every],
            "shape fits": [
                name in tensors and name in expected and tuple(tensors[name].shape) == expected[name] for name in every
            ],
            "is finite": [name in tensors and bool(tensors[name].isfinite().all()) for name in every],
        }
    )
    expectations = holds("is in the configuration", "is in the file", "shape fits", "is finite")
    second = run_suite("checkpoint", frame, [*some_rows(), *expectations], "tensor")
    model = DiffusionModel.from_pretrained(pulled.folder)
    try_out(model)
    height, width = (side * model.pixels_per_latent for side in model.shape[1:])
    return [first, second], Takes(height, width, model.classes, "encoder_hidden_states" in model.conditioning)


def try_out(model: DiffusionModel) -> None:
    """One loss, where no prompt is needed for it: many values of a configuration are looked at only then."""
    import torch

    if set(model.conditioning) - {"class_labels"}:
        return
    conditioning = {"class_labels": torch.zeros(1, dtype=torch.int64)} if model.conditioning else {}
    level = model.parameterisation.schedule(1, model.shape)
    try:
        loss = model.losses(torch.zeros(1, *model.shape), torch.ones(1, *model.shape), level, conditioning)
    except Exception as error:
        reason = for_terminal((str(error).splitlines() or [type(error).__name__])[0].rstrip("."), 200)
        raise InputError(f"The checkpoint's network cannot be run ({reason}); restore its config.json.") from None
    if not loss.isfinite().all():
        raise InputError("The checkpoint's network gives numbers that are not finite; restore its weights.")


@task(cache_policy=NO_CACHE)
def validate_edges(edges: Path, expected: dict[str, int], bounded: bool, decoys: int | None = None) -> list[Validation]:
    """Gate an edge file: finite scores, complete, ranks right, all else in range or null, and nothing that the ledger would round.

    expected: number of edges by generated row's SHA-256. bounded: whether scores lie in (−1, 1). decoys: how many the
    calibration has; none without one.
    """
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(edges)
    frame["edge"] = [
        f"{g[:12]}/{t[:12]}" for g, t in zip(frame["generated_row_sha256"], frame["training_row_sha256"], strict=True)
    ]
    groups = frame.groupby("generated_row_sha256", sort=False)
    frame["rank is right"] = frame["rank"] == groups.cumcount() + 1
    frame["score falls with rank"] = ~(groups["score"].diff() > 0)
    counts = groups.size().to_dict()
    frame["edges are complete"] = [counts[g] == expected.get(g) for g in frame["generated_row_sha256"]]
    frame["decimals are right"] = True
    for name in NUMBERS:
        frame["decimals are right"] &= frame[name].isna() | (frame[name] == given_back(name, frame[name], decoys))
    frame["numbers are finite"] = ~np.isinf(frame[NUMBERS]).any(axis=1)
    expectations = [
        ("ExpectTableRowCountToBeBetween", {"min_value": sum(expected.values()), "max_value": sum(expected.values())}),
        *present("score", "generated_row_sha256", "training_row_sha256", "rank"),
        *(between("score", -1, 1, strict_min=True, strict_max=True) if bounded else []),
        *between("standard_error", 0),
        *between("seed_spread", 0),
        *between("p_value", 0, 1, strict_min=True),
        *between("decoy_p_value", 0, 1, strict_min=True),
        *holds(
            "numbers are finite", "decimals are right", "rank is right", "score falls with rank", "edges are complete"
        ),
        *unique("edge"),
    ]
    return [run_suite("edges", frame, expectations, "edge")]


def to_json(validations: Sequence[Validation]) -> bytes:
    """Validation results as the file that is kept with a run: canonical JSON, so that it can be written anew from the ledger."""
    return canonical(list(validations))
