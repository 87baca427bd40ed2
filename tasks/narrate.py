"""Narrate: what our loggers say of a job goes into Prefect's log of its run."""

from __future__ import annotations

import logging
import sys

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler

from tasks.lines import Json, chosen


def narrate() -> None:
    """Have the `mucs` loggers tell Prefect's API, whatever Prefect's settings say of levels and loggers; every flow begins with it."""
    narrator = logging.getLogger("mucs")
    if narrator.level == logging.NOTSET:
        narrator.setLevel(logging.INFO)
    if not any(isinstance(handler, APILogHandler) for handler in narrator.handlers):
        handler = APILogHandler()
        handler.addFilter(
            lambda _: bool(FlowRunContext.get() or TaskRunContext.get())
        )  # a bare thread has no run to tell of
        narrator.addHandler(handler)
    if chosen() == "json" and not any(isinstance(handler.formatter, Json) for handler in narrator.handlers):
        lines = logging.StreamHandler(sys.stderr)  # of a worker's process, whose lines nobody else writes
        lines.setFormatter(Json())
        narrator.addHandler(lines)
