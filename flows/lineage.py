"""Lineage: tell an OpenLineage receiver of audits as they begin and end, where the environment names one; whatever it does, audits go on."""

from __future__ import annotations

import datetime
import logging
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from prefect.utilities.callables import get_parameter_defaults

from mucs.text import first_line
from tasks.ledgers import reading
from tasks.registry import recorded

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun, State

log_of_lineage = logging.getLogger("mucs.lineage")
NAMED = "OPENLINEAGE_"  # what variables of the environment begin with that say where events go, as OpenLineage's own client reads them
SENT = "object:"  # what the batch of a picture begins with that was sent


def started(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """An audit has begun."""

    def event() -> RunEvent:
        from mucs.exports import openlineage

        given = parameters(flow, flow_run)
        paths = [given[name] for name in ("checkpoint", "training_set", "held_out", "batch") if given[name]]
        return openlineage.started(job_of(given), recorded(str(given["registry"])), paths, flow_run.id, now())

    emit(event)


def completed(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """An audit has ended; where there was nothing to do, nothing came of it."""

    def event() -> RunEvent:
        from mucs.exports import openlineage

        given, done = parameters(flow, flow_run), state.result()
        if done.run is None:
            return openlineage.nothing(job_of(given), recorded(str(given["registry"])), flow_run.id, now())
        with reading(given["ledger"]) as ledger:
            found = ledger.run(done.run)
        told = (found["record"], found["validations"], str(given["log"]), found["sha256"])
        return openlineage.completed(job_of(given), *told, flow_run.id, now())

    emit(event)


def failed(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """An audit has failed."""

    def event() -> RunEvent:
        from mucs.exports import openlineage

        given, reason = parameters(flow, flow_run), (state.message or "failed").splitlines()[0]
        return openlineage.failed(job_of(given), recorded(str(given["registry"])), flow_run.id, now(), reason)

    emit(event)


def emit(event: Callable[[], RunEvent]) -> None:
    """Tell of an event, where the environment says to whom."""
    if not any(name.startswith(NAMED) for name in os.environ):
        return
    try:
        from openlineage.client import OpenLineageClient

        OpenLineageClient().emit(event())
    except ImportError:
        log_of_lineage.warning("lineage   not told, as OpenLineage is not installed: pip install 'mucs[exports]'")
    except Exception as error:  # whatever a receiver does is no reason to fail
        log_of_lineage.warning("lineage   not told: %s", first_line(error))


def parameters(flow: Flow[..., Any], flow_run: FlowRun) -> dict[str, Any]:
    """What an audit was given, and what it has where it was not given anything."""
    return get_parameter_defaults(flow.fn) | flow_run.parameters


def job_of(given: Mapping[str, Any]) -> str:
    """What an audit is called on every night; those of pictures that were sent have one name."""
    batch = str(given["batch"])
    return f"audit.{'sent' if batch.startswith(SENT) else batch}"


def now() -> datetime.datetime:
    """The time, with its zone."""
    return datetime.datetime.now(datetime.UTC)
