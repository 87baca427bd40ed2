"""Validate: Great Expectations gates over manifests, checkpoint and edges; the first failure stops the run."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs import InputError
from mucs.canonical import canonical
from mucs.images import ImageSet
from mucs.images.inspection import inspect
from mucs.text import for_terminal
from mucs.written import read_time
from tasks.prepare import opened
from tasks.pull import Pulled

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from mucs.attribution import DiffusionModel

Expectation = tuple[str, dict[str, Any]]
Validation = dict[str, Any]

ARGUMENTS = ("column", "value_set", "min_value", "max_value", "strict_min", "strict_max")
ROWS_SHOWN = 10
MOST_QUOTED = 100  # characters of a value in a result


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


def frame_of(images: ImageSet, *more: pa.Table) -> pd.DataFrame:
    """An image set's rows, and more columns beside them, as Great Expectations takes them."""
    import pandas as pd

    columns = {
        name: table[name].to_numpy(zero_copy_only=False)
        for table in (images.rows, *more)
        for name in table.column_names
    }
    return pd.DataFrame({name: pd.Series(values, dtype=values.dtype) for name, values in columns.items()})


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


def image_expectations(images: ImageSet, takes: Takes) -> list[Expectation]:
    """A manifest's images are there, are what it says, and are of the model's size."""
    return [
        *holds("text can be shown"),
        *present("id", *images.source.columns, "sha256"),
        *unique("id", *images.source.columns),
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

    images = opened(pulled, what)
    columns = ("id", *images.source.columns, "sha256", "rights_holder", "licence", "date", *takes.columns)
    first = run_suite(f"{what} manifest", frame_of(images), [*exists(*columns), *some_rows()], "id")
    frame = frame_of(images, inspect(images))

    def sane(date: str | None) -> bool:
        try:
            return datetime.date(1800, 1, 1) <= read_time(str(date)).date() <= datetime.date.today()
        except ValueError:
            return False

    frame["date is sane"] = [sane(date) for date in frame["date"]]
    expectations = [
        *image_expectations(images, takes),
        *present("rights_holder", "licence"),
        ("ExpectColumnValuesToBeInSet", {"column": "licence", "value_set": sorted(licences)}),
        *holds("date is sane"),
        *check_classes(frame, takes.classes),
    ]
    return [first, run_suite(what, frame, expectations, "id")]


@task(cache_policy=NO_CACHE)
def validate_generated(pulled: Pulled, takes: Takes) -> list[Validation]:
    """Gate a generated batch; takes: what the model does."""
    images = opened(pulled, "generated batch")
    columns = ("id", *images.source.columns, "sha256", "seed", *takes.columns)
    first = run_suite("generated batch manifest", frame_of(images), [*exists(*columns), *some_rows()], "id")
    frame = frame_of(images, inspect(images))
    expectations = [*image_expectations(images, takes), *present("seed"), *check_classes(frame, takes.classes)]
    return [first, run_suite("generated batch", frame, expectations, "id")]


@task(cache_policy=NO_CACHE)
def validate_checkpoint(pulled: Pulled) -> tuple[list[Validation], Takes]:
    """Gate a checkpoint; also says which images it takes."""
    import pandas as pd
    import torch

    from mucs.attribution import DiffusionModel
    from mucs.attribution.checkpoint import network_from_config, network_part, read_scheduler, read_weights

    names = sorted(p.relative_to(pulled.folder).as_posix() for p in pulled.folder.rglob("*") if not p.is_dir())
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


def to_json(validations: Sequence[Validation]) -> bytes:
    """Validation results as the file that is kept with a run: canonical JSON, so that it can be written anew from the ledger."""
    return canonical(list(validations))
