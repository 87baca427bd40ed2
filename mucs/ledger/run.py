"""Run: a run of the method, as it is said to the log."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mucs.canonical import canonical, digest
from mucs.evidence.log import Log
from mucs.evidence.pseudonyms import Pseudonyms
from mucs.ledger.ledger import Ledger, Said

KNOWN = """SELECT entry->>'$.body.objects.training' FROM entries
WHERE kind = 'run' AND (entry->>'$.body.members') = ? AND (entry->>'$.body.objects.training') IS NOT NULL LIMIT 1"""
MANIFEST = {"compression": "zstd", "store_schema": False}


@dataclass(frozen=True)
class Run:
    """What a run brings.

    Attributes:
        record: The run record (JSON), whose digest is the run's name.
        artifacts: `kind`, `sha256`, `files` and `bytes` of each input and output.
        training: (N,) rows of the training set's manifest, as `rows_and_holders` gives them.
        generated: Those of the generated items that were attributed, as `canonical_rows` gives them.
        edges: The edge file.
        validations: Results of the gates.
        noise_bank: The noise bank's file.
        unseen: That of the unseen edges, as `stage_items` writes it; None where there are none.
        calibration: The calibration's; None without one.
        batch: The generated batch's, where it was sent; None where it is a folder of a registry.
        envelope: The signed statement about the run, as JSON; None where it was not signed.
        thumbnails: Files of those that the log lacks, as `write_thumbnails` makes them.
    """

    record: dict[str, Any]
    artifacts: Sequence[Mapping[str, Any]]
    training: pa.Table
    generated: pa.Table
    edges: Path
    validations: Sequence[dict[str, Any]]
    noise_bank: Path
    unseen: Path | None = None
    calibration: Path | None = None
    batch: Path | None = None
    envelope: dict[str, Any] | None = None
    thumbnails: Sequence[Path] = ()

    @cached_property
    def sha256(self) -> str:
        """Of the record: the run's name."""
        return digest(self.record)


def keep_run(ledger: Ledger, log: Log, run: Run, until: datetime.datetime | None = None) -> Said:
    """Keep a run's objects in a log; gives what its entry is to say.

    Args:
        ledger: One that is made from the log: a training set that it knows is not written again.
        log: Where they go.
        run: As it was staged.
        until: Until when the log's store is to keep them, and the entry, from being deleted.

    Raises:
        InputError: If the log cannot be written, or holds something else in an object's place.
    """
    holders = run.training["rights_holder"].combine_chunks().dictionary_encode()
    pseudonyms = Pseudonyms(log.store).of_all(holders.dictionary.to_pylist())
    holder = pa.array([pseudonyms[name] for name in holders.dictionary.to_pylist()], pa.string()).take(holders.indices)
    training = run.training.select(["said", "row_sha256"]).append_column("holder", holder)
    members = members_of(training)
    known = ledger.one(KNOWN, members)
    if known and until:
        log.retain(known, until)
    objects = {
        "edges": log.keep(run.edges, until),
        "noise_bank": log.keep(run.noise_bank, until),
        "validations": log.keep(canonical(list(run.validations)), until),
        "training": known or _keep_manifest(log, training, until),
        "generated": _keep_manifest(log, run.generated.select(["said", "row_sha256"]), until),
    }
    for name, path in (("unseen_edges", run.unseen), ("calibration", run.calibration), ("batch", run.batch)):
        if path is not None:
            objects[name] = log.keep(path, until)
    if run.envelope is not None:
        objects["envelope"] = log.keep(canonical(run.envelope), until)
    log.keep(canonical(run.record), until)
    body = {
        "run": run.sha256,
        "objects": objects,
        "thumbnails": [log.keep(path, until) for path in run.thumbnails],
        "artifacts": [dict(artifact) for artifact in run.artifacts],
        "members": members,
    }
    return Said("run", body | ({"retained_until": until.isoformat()} if until else {}))


def without_thumbnail(ledger: Ledger, images: pa.ChunkedArray) -> list[int]:
    """The places of the images that the log has no thumbnail of; of images that are alike, that of the first.

    Args:
        ledger: Up to the log.
        images: Their SHA-256, in hexadecimal.
    """
    ledger.connection.register("asked", pa.table({"sha256": images, "place": pa.array(range(len(images)))}))
    found = ledger.connection.execute(
        "SELECT min(place) FROM asked ANTI JOIN thumbnails ON image_sha256 = sha256 GROUP BY sha256 ORDER BY ALL"
    ).fetchall()
    return [place for (place,) in found]


def say_run(ledger: Ledger, run: Run) -> bool:
    """Append a run to the log that a ledger follows; False, with nothing changed, if it is there already.

    Args:
        ledger: Open to write.
        run: As it was staged.

    Raises:
        InputError: If the run's edges are gone or not those of its record, name items that its manifests do not have, or name a
            pair twice; if a manifest has a row twice; or if the log cannot be written.
    """
    ledger.sync()
    kept = keep_run(ledger, ledger.followed, run)
    return ledger.say(lambda _: None if ledger.has_run(run.sha256) else kept) is not None


def members_of(training: pa.Table) -> str:
    """What an entry commits to of a training set: the digest of its rows' SHA-256, each with its holder's pseudonym, in order."""
    return digest(sorted(pc.binary_join_element_wise(training["row_sha256"], training["holder"], "").to_pylist()))


def _keep_manifest(log: Log, rows: pa.Table, until: datetime.datetime | None) -> str:
    with tempfile.TemporaryDirectory(prefix="mucs-manifest-") as folder:
        path = Path(folder) / "manifest.parquet"
        pq.write_table(rows, path, **MANIFEST)
        return log.keep(path, until)
