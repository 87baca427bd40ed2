"""State: what programs ask of the server itself: whether it goes, whether it can answer, and its figures for Prometheus."""

from __future__ import annotations

import datetime
import time
from collections.abc import Awaitable, Callable

import anyio
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mucs.explorer.pages.home import Verified
from mucs.explorer.snapshot import Snapshot, Snapshots
from mucs.ledger.asked import Unavailable
from mucs.outbox import HELD

OPEN = ("/health", "/ready")  # which tell nothing of anybody, and ask nobody who he is
COUNTS = """SELECT (SELECT count(*) FROM runs) AS runs, (SELECT count(*) FROM statements) AS statements,
    (SELECT count(*) FROM disputes WHERE state IN ('open', 'under review')) AS disputes,
    (SELECT epoch(max(loaded_at)) FROM runs) AS last_run"""
VERDICTS = """SELECT coalesce(v.verdict, 'not attributed') AS verdict, count(*) AS items
FROM generated_items g LEFT JOIN speaking s USING (generated_id) LEFT JOIN verdicts v USING (run_id, generated_id) GROUP BY ALL"""
Endpoint = Callable[[Request], Awaitable[Response]]


async def health(_: Request) -> Response:
    """Whether the process goes."""
    return JSONResponse({"goes": True}, headers={"cache-control": "no-store"})


def ready(snapshots: Snapshots) -> Endpoint:
    """Whether it can answer: 503 while the ledger cannot be read."""

    async def answer(_: Request) -> Response:
        try:
            snapshots.current()
        except Unavailable:
            return JSONResponse({"ready": False}, 503, {"cache-control": "no-store", "retry-after": "1"})
        return JSONResponse({"ready": True}, headers={"cache-control": "no-store"})

    return answer


def metrics(snapshots: Snapshots, verified: Verified) -> Endpoint:
    """The figures, in the text format of Prometheus.

    Args:
        snapshots: Of the ledger; what cannot be read is not told.
        verified: Tells what the last verification of the log found.
    """

    async def answer(_: Request) -> Response:
        text = await anyio.to_thread.run_sync(_text, snapshots, verified)
        return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4, headers={"cache-control": "no-store"})

    return answer


def _text(snapshots: Snapshots, verified: Verified) -> bytes:
    registry = CollectorRegistry()

    def gauge(name: str, help: str, value: float | None) -> None:
        if value is not None:
            Gauge(f"mucs_{name}", help, registry=registry).set(value)

    try:
        snapshot = snapshots.current()
    except Unavailable:
        gauge("ledger_readable", "Whether the ledger can be read.", 0)
        return generate_latest(registry)
    gauge("ledger_readable", "Whether the ledger can be read.", 1)
    gauge("log_position", "Entries of the log that the ledger has.", snapshot.position)
    _of_ledger(snapshot, gauge, registry)
    found = verified("infinity")
    if found is not None:
        gauge("verify_held", "Whether the last verification held.", found.type == HELD)
        age = time.time() - datetime.datetime.fromisoformat(found.at).timestamp()
        gauge("verify_age_seconds", "Seconds since the last verification.", age)
    return generate_latest(registry)


def _of_ledger(
    snapshot: Snapshot, gauge: Callable[[str, str, float | None], None], registry: CollectorRegistry
) -> None:
    ledger = snapshot.ledger()
    try:
        (counts,), verdicts = ledger.rows(COUNTS), ledger.rows(VERDICTS)
    finally:
        ledger.connection.close()
    gauge("runs", "Runs in the ledger.", counts["runs"])
    gauge("statements", "Statements in the ledger.", counts["statements"])
    gauge("disputes_open", "Disputes that are not decided.", counts["disputes"])
    last = counts["last_run"]
    gauge("run_age_seconds", "Seconds since the last run was published.", None if last is None else time.time() - last)
    items = Gauge(
        "mucs_generated_items", "Generated items, by what their attribution comes to.", ["verdict"], registry=registry
    )
    for row in verdicts:
        items.labels(row["verdict"].replace(" ", "_")).set(row["items"])
