"""Exports over HTTP: what the ledger knows in the formats of others, as files to keep; the log is told of each that is given out."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Query, Request, Response

from mucs import InputError
from mucs.evidence.thumbnails import Thumbnails
from mucs.explorer.address import name_of
from mucs.explorer.api import MOST_TO_PROVE, THEN, WRONG
from mucs.explorer.making import AS_OF
from mucs.explorer.snapshot import Snapshots
from mucs.explorer.telling import Telling
from mucs.ledger import Ledger
from mucs.ledger.names import run_called
from mucs.ledger.questions import Parameter

FIRST = (1980, 1, 1, 0, 0, 0)  # the earliest time that a ZIP can name; with it, the same files are the same bytes
DAY = Query(
    "today",
    description="The day on which rights are looked at, such as 2026-10-31.",
    max_length=10,
    json_schema_extra={"anyOf": [{"const": "today"}, {"format": "date"}]},
)
ON = Parameter("day", "day", None, "")
JSON, ZIP = "application/json", "application/zip"
OTHERWISE: dict[int | str, dict[str, Any]] = {
    status: {"description": why, "content": {JSON: {"schema": WRONG, "example": {"error": "…"}}}}
    for status, why in {
        400: "A parameter is wrong; `error` says which.",
        404: "There is nothing of that name, or more than one; `error` says how to find it.",
        503: "The ledger cannot be read, or the log cannot be told, just now.",
    }.items()
}


def router(snapshots: Snapshots, telling: Telling, thumbnails: Thumbnails) -> APIRouter:
    """The routes.

    Args:
        snapshots: Of the ledger.
        telling: Tells the log what is given out.
        thumbnails: Of its log.
    """
    routes = APIRouter(prefix="/v1/exports", tags=["exports"])

    def give(request: Request, as_of: str, made: Callable[[Ledger, str], tuple[str, bytes]]) -> Response:
        """A file, of the name and with the bytes that are made."""
        snapshot, then = snapshots.current(), AS_OF.value(as_of)
        with snapshot.ledger() as ledger:
            try:
                name, body = made(ledger, then)
            except ImportError:
                raise InputError(
                    "This server lacks the packages of that format; on its machine run: pip install 'mucs[exports]'."
                ) from None
        told = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
        what = request.scope["path"].split("/")[3]
        answer = Response(body, 200, told, ZIP if name.endswith(".zip") else JSON)
        return telling.handed(request, what, then, snapshot.position, answer)

    def add(path: str, summary: str, form: str, about: str) -> Callable[[Any], Any]:
        shown: dict[int | str, dict[str, Any]] = {200: {"description": about, "content": {form: {"example": "…"}}}}
        return routes.get(path, summary=summary, responses=shown | OTHERWISE, response_class=Response)

    @add("/statement/{sha}", "A statement's files", ZIP, "The files that `mucs royalties` writes.")
    def statement(request: Request, sha: str) -> Response:
        """A statement's lines and accounts, by the start of its SHA-256: CSV, a flat file, a workbook and a page."""
        from mucs.royalties.export import FILES, file_name
        from mucs.royalties.statement import find

        def made(ledger: Ledger, _: str) -> tuple[str, bytes]:
            found = find(ledger, name_of(sha))
            name = file_name(found)
            return f"{name}.zip", zipped({f"{name}{end}": text(found) for end, text in FILES.items()})

        return give(request, "infinity", made)

    @add("/rocrate/{run}", "A run's evidence", ZIP, "The folder that `mucs export rocrate` writes.")
    def rocrate(request: Request, run: str) -> Response:
        """The evidence of a run, by the start of its SHA-256, as an RO-Crate that is checked with nothing but Python."""
        from mucs.exports.crate import write_crate

        def made(ledger: Ledger, _: str) -> tuple[str, bytes]:
            sha256 = run_called(ledger.connection, name_of(run))
            edges = ledger.edges_of(sha256)
            if edges > MOST_TO_PROVE:
                raise InputError(
                    f"The run has {edges:,} edges, too many to hand over here; write the folder with `mucs export rocrate`."
                )
            with tempfile.TemporaryDirectory(prefix="mucs-crate-") as name:
                folder = Path(name) / f"evidence-{sha256[:12]}"
                write_crate(ledger, thumbnails.log, sha256, folder)
                files = sorted(path for path in folder.rglob("*") if path.is_file())
                within = {path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in files}
            return f"{folder.name}.zip", zipped(within)

        return give(request, "infinity", made)

    @add("/openlineage/{run}", "A run as an event", JSON, "The event of a run that ended.")
    def openlineage(request: Request, run: str) -> Response:
        """What an OpenLineage receiver is told of a run, by the start of its SHA-256, with counts of edges."""

        def made(ledger: Ledger, _: str) -> tuple[str, bytes]:
            from mucs.exports.openlineage import run_event

            sha256 = run_called(ledger.connection, name_of(run))
            return f"openlineage-{sha256[:12]}.json", run_event(ledger, sha256)

        return give(request, "infinity", made)

    @add("/spdx/{checkpoint}", "A checkpoint's bill of materials", JSON, "A document of SPDX 3.0.1, as JSON-LD.")
    def spdx(request: Request, checkpoint: str, day: str = DAY, as_of: str = THEN) -> Response:
        """What a checkpoint, by the start of its SHA-256, was trained on, and under which licences."""

        def made(ledger: Ledger, then: str) -> tuple[str, bytes]:
            from mucs.exports.spdx import bill

            sha256, body = bill(ledger, name_of(checkpoint), str(ON.value(day)), then)
            return f"spdx-{sha256[:12]}.json", body

        return give(request, as_of, made)

    @add("/croissant/{training_set}", "A training set, described", ZIP, "The metadata and the table that they name.")
    def croissant(request: Request, training_set: str, day: str = DAY, as_of: str = THEN) -> Response:
        """A training set, by the start of its SHA-256, as Croissant metadata, with its images, their rights holders and licences."""
        from mucs.exports.croissant import describe
        from mucs.exports.summary import training_set_called

        def made(ledger: Ledger, then: str) -> tuple[str, bytes]:
            sha256 = training_set_called(ledger, name_of(training_set), then)
            found = describe(ledger, sha256, "croissant.csv", str(ON.value(day)), then)
            files = {"croissant.json": found.metadata, "croissant.csv": found.table}
            return f"croissant-{sha256[:12]}.zip", zipped(files)

        return give(request, as_of, made)

    def summarised(request: Request, kind: str, training_set: str, day: str, as_of: str) -> Response:
        from mucs.exports.summary import as_json, as_markdown, facts, summary

        def made(ledger: Ledger, then: str) -> tuple[str, bytes]:
            on = str(ON.value(day))
            said = summary(kind, facts(ledger, name_of(training_set), on, then), {}, on, ledger.at())
            files = {f"{kind}.md": as_markdown(said).encode(), f"{kind}.json": as_json(said)}
            return f"{kind}-{said['training_set'][:12]}.zip", zipped(files)

        return give(request, as_of, made)

    @add("/eu-summary/{training_set}", "The summary for the AI Act", ZIP, "The summary as Markdown and as JSON.")
    def eu_summary(request: Request, training_set: str, day: str = DAY, as_of: str = THEN) -> Response:
        """What Article 53(1)(d) asks of a training set, by the start of its SHA-256; what only its provider can say is named as missing."""
        return summarised(request, "eu-summary", training_set, day, as_of)

    @add(
        "/ab2013/{training_set}", "The documentation for California", ZIP, "The documentation as Markdown and as JSON."
    )
    def ab2013(request: Request, training_set: str, day: str = DAY, as_of: str = THEN) -> Response:
        """What Civil Code 3111 asks of a training set, by the start of its SHA-256; what only its developer can say is named as missing."""
        return summarised(request, "ab2013", training_set, day, as_of)

    return routes


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Files in a ZIP, whose bytes are the same whenever it is made."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, FIRST), content, zipfile.ZIP_DEFLATED)
    return body.getvalue()
