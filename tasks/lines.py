"""Lines: what our loggers say of a job, for people, or as JSON for what collects logs."""

from __future__ import annotations

import datetime
import json
import logging
import os
import sys
from typing import Any

from mucs import InputError
from mucs.text import for_terminal

FORMAT = "MUCS_LOG_FORMAT"  # the variable that chooses: text, or json
FORMS = ("text", "json")


def chosen() -> str:
    """The form that the environment chooses. Raises InputError if there is none of that name."""
    form = os.environ.get(FORMAT) or FORMS[0]
    if form not in FORMS:
        raise InputError(f"{FORMAT} cannot be {form!r}; set it to {' or '.join(FORMS)}.")
    return form


class Text(logging.Formatter):
    """A log record as a line for a person: the minutes and seconds since the command began, and the message."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        seconds = int(record.relativeCreated / 1000)
        return f"{seconds // 60:2d}:{seconds % 60:02d}  {for_terminal(record.getMessage())}"


class Json(logging.Formatter):
    """A log record as a line of JSON: when, how grave, which logger, what, and in which run of a flow and of a task, which is named for its item."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")
        told = {"at": at, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return json.dumps(told | _runs(), ensure_ascii=False)


def formatter() -> logging.Formatter:
    """What writes lines of the form that the environment chooses."""
    return Json() if chosen() == "json" else Text()


def _runs() -> dict[str, str]:
    """The runs that this is said in, by id and name, if Prefect runs anything here."""
    prefect: Any = sys.modules.get("prefect.context")
    if prefect is None:
        return {}
    found: dict[str, str] = {}
    flow, task = prefect.FlowRunContext.get(), prefect.TaskRunContext.get()
    if flow and flow.flow_run:
        found |= {"flow_run": str(flow.flow_run.id), "flow_run_name": flow.flow_run.name}
    if task:
        if task.task_run.flow_run_id:
            found["flow_run"] = str(task.task_run.flow_run_id)
        found |= {"task_run": str(task.task_run.id), "task_run_name": task.task_run.name}
    return found
