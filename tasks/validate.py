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
from mucs.ledger.edges import NUMBERS, given_back
from tasks.pull import Pulled

if TYPE_CHECKING:
    import pandas as pd

Expectation = tuple[str, dict[str, Any]]
Validation = dict[str, Any]

ARGUMENTS = ("column", "value_set", "min_value", "max_value", "strict_min", "strict_max")
ROWS_SHOWN = 10
MAX_PIXELS = 64_000_000


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
        {"row": str(row.get(index)), "value": str(next((v for k, v in row.items() if k != index), row.get(index)))}
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
    """`metadata.parquet` or `metadata.csv` of an image folder, every value a string or missing."""
    import pandas as pd

    try:
        if (folder / "metadata.parquet").exists():
            frame = pd.read_parquet(folder / "metadata.parquet")
        elif (folder / "metadata.csv").exists():
            frame = pd.read_csv(folder / "metadata.csv", dtype=str, keep_default_na=False, na_values=[""])
        else:
            raise InputError(
                f"The {what} has no metadata.parquet or metadata.csv; write one row for each image beside the images."
            )
    except (ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"The manifest of the {what} cannot be read as a table; write it again.") from None
    return frame.astype(object).where(frame.notna(), None).map(lambda value: None if value is None else str(value))


def inspect_images(frame: pd.DataFrame, folder: Path, files: dict[str, str]) -> pd.DataFrame:
    """The manifest with what its files really are: inside, exists, decodes, width, height, digest matches."""
    from PIL import Image

    facts = []
    for name, sha256 in zip(frame["file_name"], frame["sha256"], strict=True):
        parts = Path(name or "/").parts
        inside = bool(name) and ".." not in parts and not Path(name).is_absolute() and "\\" not in name
        fact = {
            "path stays inside": inside,
            "file exists": inside and name in files,
            "image decodes": False,
            "width": 0,
            "height": 0,
            "digest matches": False,
        }
        if fact["file exists"]:
            fact["digest matches"] = files[name] == sha256
            try:
                with Image.open(folder / name, formats=("PNG", "JPEG", "WEBP")) as image:
                    fact["width"], fact["height"] = image.size
                    if image.width * image.height <= MAX_PIXELS:
                        image.load()
                        fact["image decodes"] = True
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
                pass
        facts.append(fact)
    import pandas as pd

    return pd.concat(
        [frame.reset_index(drop=True), pd.DataFrame(facts, columns=list(IMAGE_FACTS), index=range(len(frame)))], axis=1
    )


IMAGE_FACTS = ("path stays inside", "file exists", "image decodes", "width", "height", "digest matches")


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
        *present("id", "file_name", "sha256"),
        *unique("id", "file_name"),
        *holds("path stays inside", "file exists", "image decodes"),
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
            return datetime.date(1800, 1, 1) <= datetime.date.fromisoformat((date or "")[:10]) <= datetime.date.today()
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

    from mucs.attribution.model import DiffusionModel, network_from_config, network_part, read_json, read_weights

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
    read_json(pulled.folder / "scheduler" / "scheduler_config.json")
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
    height, width = (side * model.pixels_per_latent for side in model.shape[1:])
    return [first, second], Takes(height, width, model.classes, "encoder_hidden_states" in model.conditioning)


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
