"""Suite: expectations of a frame, held against it by Great Expectations; the first failure stops the run."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mucs import InputError
from mucs.canonical import canonical
from mucs.text import for_terminal

if TYPE_CHECKING:
    import pandas as pd

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
    """The table has these columns."""
    return [("ExpectColumnToExist", {"column": column}) for column in columns]


def present(*columns: str) -> list[Expectation]:
    """No value of these columns is missing."""
    return [("ExpectColumnValuesToNotBeNull", {"column": column}) for column in columns]


def unique(*columns: str) -> list[Expectation]:
    """No value of these columns comes twice."""
    return [("ExpectColumnValuesToBeUnique", {"column": column}) for column in columns]


def holds(*columns: str) -> list[Expectation]:
    """These columns are true in every row."""
    return [("ExpectColumnValuesToBeInSet", {"column": column, "value_set": [True]}) for column in columns]


def equals(column: str, value: object) -> list[Expectation]:
    """Each value of the column is this one."""
    return [("ExpectColumnValuesToBeInSet", {"column": column, "value_set": [value]})]


def between(column: str, least: float, most: float | None = None, **strict: bool) -> list[Expectation]:
    """Each value that is not null."""
    return [("ExpectColumnValuesToBeBetween", {"column": column, "min_value": least, "max_value": most, **strict})]


def some_rows() -> list[Expectation]:
    """The table has at least one row."""
    return [("ExpectTableRowCountToBeBetween", {"min_value": 1})]


def run_suite(
    name: str, frame: pd.DataFrame, expectations: Sequence[Expectation], named: Callable[[int], str]
) -> Validation:
    """Hold a frame against expectations.

    Args:
        name: Of the suite.
        frame: What is looked at, with rows numbered from 0.
        expectations: Of its columns.
        named: What the result calls a row, by number.

    Returns:
        The result, as JSON that is the same for the same data.

    Raises:
        GateFailed: If an expectation is not met.
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
    outcome = (
        context.validation_definitions.add(definition)
        .run(batch_parameters={"dataframe": frame}, result_format=result_format)
        .to_json_dict()
    )
    results = [summary(result, frame, named) for result in outcome["results"]]
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


def summary(result: dict[str, Any], frame: pd.DataFrame, named: Callable[[int], str]) -> dict[str, Any]:
    """What one expectation asked, and up to ten rows that fail it."""
    config, found = result["expectation_config"], result.get("result", {})
    arguments = {name: config["kwargs"][name] for name in ARGUMENTS if config["kwargs"].get(name) is not None}
    rows = [
        {
            "row": for_terminal(named(k), MOST_QUOTED),
            "value": for_terminal(str(frame[config["kwargs"]["column"]].iloc[k]), MOST_QUOTED),
        }
        for k in (found.get("unexpected_index_list") or [])[:ROWS_SHOWN]
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


def to_json(validations: Sequence[Validation]) -> bytes:
    """Validation results as the file that is kept with a run: canonical JSON, so that it can be written anew from the ledger."""
    return canonical(list(validations))
