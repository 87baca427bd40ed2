"""OpenLineage: a run of the method as events for the lineage graph of a whole platform (specification 2-0-2).

Its inputs and what came of it are data sets with the revisions of DVC, digests, counts and gate results; edges are counted, and not listed.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    data_quality_assertions_dataset,
    dataset_version_dataset,
    documentation_job,
    error_message_run,
    job_type_job,
    output_statistics_output_dataset,
    processing_engine_run,
    tags_dataset,
    tags_run,
)
from openlineage.client.serde import Serde

from mucs import __version__
from mucs.evidence.log import object_name

if TYPE_CHECKING:
    from mucs.ledger import Ledger

PRODUCER = f"https://mucs.dev/{__version__}"
SUITES = {
    "checkpoint": "checkpoint",
    "training_set": "training set",
    "held_out": "held-out set",
    "batch": "generated batch",
}
ABOUT = "Attribution of generated images to training images (MUCS), kept as evidence."


def started(job: str, registry: str, paths: Sequence[str], run: uuid.UUID, at: datetime.datetime) -> RunEvent:
    """The event of a run that begins, of which its inputs are known by name alone.

    Args:
        job: What it is called on every night.
        registry: Where its inputs come from.
        paths: Their paths there.
        run: Its name among events.
        at: When.
    """
    inputs = [InputDataset(registry, path) for path in paths]
    return _event(RunState.START, run, at, _job(registry, job), inputs, [], {})


def failed(job: str, registry: str, run: uuid.UUID, at: datetime.datetime, reason: str) -> RunEvent:
    """The event of a run that ended without a result."""
    said = {"errorMessage": error_message_run.ErrorMessageRunFacet(reason, "PYTHON")}
    return _event(RunState.FAIL, run, at, _job(registry, job), [], [], said)


def nothing(job: str, registry: str, run: uuid.UUID, at: datetime.datetime) -> RunEvent:
    """The event of a run that ended, for which there was nothing to do."""
    return _event(RunState.COMPLETE, run, at, _job(registry, job), [], [], {})


def completed(
    job: str,
    record: Mapping[str, Any],
    validations: Sequence[Mapping[str, Any]],
    log: str,
    sha256: str,
    run: uuid.UUID,
    at: datetime.datetime,
) -> RunEvent:
    """The event of a run that ended.

    Args:
        job: As in `started`.
        record: The run's.
        validations: Results of its gates, as the ledger has them.
        log: Where its evidence lies.
        sha256: Of the record.
        run: Its name among events.
        at: When.
    """
    registry, results = str(record["registry"]), record["results"]
    inputs = [
        InputDataset(
            registry,
            given["path"],
            facets={
                "version": dataset_version_dataset.DatasetVersionDatasetFacet(f"sha256:{given['sha256']}"),
                "tags": _tags({"kind": kind, "dvc_commit": given["commit"]}),
            },
            inputFacets=_gates(validations, SUITES.get(kind, kind)),
        )
        for kind, given in record["inputs"].items()
        if given
    ]
    edges = OutputDataset(
        log,
        object_name(results["edges_sha256"]),
        facets={
            "version": dataset_version_dataset.DatasetVersionDatasetFacet(f"sha256:{results['edges_sha256']}"),
            "tags": _tags({"kind": "edges", "run": sha256, "edges_root": results["edges_root"]}),
        },
        outputFacets={
            "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                rowCount=results["edges"]
            )
        },
    )
    measured = results["attributions"]
    told = {
        "run": sha256,
        "generated_items": len(measured),
        "converged": sum(item["converged"] for item in measured),
        "failed": len(record.get("failed", ())),
        "method_sha256": record.get("code", {}).get("method_sha256", ""),
    }
    tags = [tags_run.TagsRunFacetFields(name, str(value), "mucs") for name, value in told.items()]
    said = {"tags": tags_run.TagsRunFacet(tags)}
    return _event(RunState.COMPLETE, run, at, _job(registry, job), inputs, [edges], said)


def run_event(ledger: Ledger, run: str) -> bytes:
    """The event of a run that ended, as a line of JSON. Args: ledger: one that has the run. run: its SHA-256."""
    found = ledger.run(run)
    at = ledger.one("SELECT loaded_at FROM runs WHERE sha256 = ?", run)
    job = f"audit.{found['record']['inputs']['batch']['path']}"
    event = completed(job, found["record"], found["validations"], ledger.follows, run, name_of(run), at)
    return f"{as_json(event)}\n".encode()


def name_of(sha256: str) -> uuid.UUID:
    """A name for a run among events, where it has none: always the same."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"sha256:{sha256}")


def as_json(event: RunEvent) -> str:
    """An event as a line of JSON."""
    return str(Serde.to_json(event))


def _event(
    state: RunState,
    run: uuid.UUID,
    at: datetime.datetime,
    job: Job,
    inputs: list[InputDataset],
    outputs: list[OutputDataset],
    said: Mapping[str, Any],
) -> RunEvent:
    engine = processing_engine_run.ProcessingEngineRunFacet(__version__, "mucs", __version__)
    return RunEvent(
        eventTime=at.astimezone(datetime.UTC).isoformat(),
        producer=PRODUCER,
        eventType=state,
        run=Run(str(run), facets={"processing_engine": engine, **said}),
        job=job,
        inputs=inputs,
        outputs=outputs,
    )


def _job(registry: str, name: str) -> Job:
    kind = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="MUCS", jobType="AUDIT")
    return Job(
        registry, name, facets={"jobType": kind, "documentation": documentation_job.DocumentationJobFacet(ABOUT)}
    )


def _tags(told: Mapping[str, Any]) -> tags_dataset.TagsDatasetFacet:
    fields = [tags_dataset.TagsDatasetFacetFields(name, str(value), "mucs") for name, value in told.items()]
    return tags_dataset.TagsDatasetFacet(fields)


def _gates(validations: Sequence[Mapping[str, Any]], suite: str) -> dict[str, Any]:
    """Each gate that a set went through, and whether it passed."""
    found = [
        data_quality_assertions_dataset.Assertion(
            each["expectation"], bool(each["success"]), column=each.get("column") or None
        )
        for validation in validations
        if validation["suite"] == suite
        for each in validation["results"]
    ]
    return (
        {"dataQualityAssertions": data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(found)}
        if found
        else {}
    )
