"""Fit index: fit an index to all scores that there are of a training set, and keep it in the log if it is the better one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs.images.rows import rows_and_holders
from mucs.ledger import Ledger, Said
from tasks.embed import fetch_vectors, projection
from tasks.indexes import current, read_index, scored_with, subject
from tasks.ledgers import writing
from tasks.plan import Plan

if TYPE_CHECKING:
    from torch import Tensor

MOST = 256  # generated items whose scores are fitted to, the latest
# generated items of which every training item has an edge, the latest first
EXACT = """
SELECT g.row_sha256, a.run_id, a.generated_id, r.record->'settings' AS settings
FROM speaking s JOIN attributions a USING (run_id, generated_id) JOIN generated_items g USING (generated_id) JOIN runs r USING (run_id)
JOIN artifacts c ON c.artifact_id = r.checkpoint_id JOIN artifacts t ON t.artifact_id = r.training_set_id
WHERE a.survivors = a.candidates AND a.converged AND c.sha256 = $checkpoint AND t.sha256 = $training_set
    AND r.method_sha256 = $method_sha256
ORDER BY a.run_id DESC, a.generated_id DESC
"""
SCORES = """
SELECT t.row_sha256, e.score::FLOAT AS score FROM edges e JOIN training_items t USING (training_id)
WHERE e.run_id = ? AND e.generated_id = ?
"""


@dataclass(frozen=True)
class Indexed:
    """What came of fitting an index.

    Attributes:
        index: SHA-256 of the index that is used now.
        made: Whether it is a new one.
        pictures: How many measured pictures the one that was fitted now was fitted to; 0 if there were too few.
        measured: How well it tells pictures that were left out, as `mucs.index.errors.Measured` has it.
        training: How many training items there are.
    """

    index: str
    made: bool
    pictures: int
    measured: dict[str, Any] | None
    training: int


@task(task_run_name="fit index", cache_policy=NO_CACHE)
def fit_index(plan: Plan, calibration: Path | None, ledger: str, log: str) -> Indexed:
    """Fit an index, and have the log keep it if it tells pictures better that the one which is used was not fitted to.

    Args:
        plan: Whose vectors are in the work store.
        calibration: The file with the decoys' scores, if there is one.
        ledger: The ledger, where scores of generated items are looked up.
        log: Its log.

    Raises:
        InputError: If vectors are gone, or the log or the ledger cannot be used.
    """
    from mucs.index.index import build, is_better

    of = subject(plan)
    with writing(ledger, log) as opened:
        opened.sync()
        queries, scores, names = pictures(plan, calibration, opened)
        made, predicted = build(projection(plan), fetch_vectors(plan, "training"), queries, scores, names, of)
        old = current(opened, of)
        told = dataclasses.asdict(made.measured) if made.measured else None
        fitted, training = len(made.queries), len(made.items)
        if old and not is_better(read_index(log, old), predicted, queries, scores, names):
            return Indexed(old, False, fitted, told, training)
        body = made.to_bytes()
        sha256 = hashlib.sha256(body).hexdigest()
        said = {
            "index": sha256,
            "of": of,
            "pictures": fitted,
            "spearman": told and round(told["spearman"], 6),
        }
        opened.say(lambda _: Said("index", said, [body]))
    return Indexed(sha256, True, fitted, told, training)


def pictures(plan: Plan, calibration: Path | None, ledger: Ledger) -> tuple[Tensor, Tensor, list[str]]:
    """The pictures of which every training item's score is known: decoys, and generated items of the plan's batch that were not screened.

    Returns:
        Their projected vectors (Q, r), scores (Q, N) float32, and the SHA-256 of their manifest rows, without
        the rights holder.
    """
    import torch

    from mucs.attribution import Calibration

    training = plan.images("training")
    queries, scores, names = [], [], []
    if calibration:
        found = Calibration.read(calibration)
        queries.append(fetch_vectors(plan, "held_out")[found.decoys])
        scores.append(found.null_scores.T.contiguous())
        rows = rows_and_holders(plan.images("held_out").rows.take(found.decoys.tolist()))
        names += rows["row_sha256"].to_pylist()
    if plan.batch:
        of_batch, vectors = plan.images("batch").row_sha256.to_pylist(), fetch_vectors(plan, "batch")
        wanted = {row: k for k, row in enumerate(of_batch)}
        of = subject(plan)
        alike = of.pop("settings")
        exact = [
            row
            for row in ledger.rows(EXACT, of)
            if row["row_sha256"] in wanted and scored_with(json.loads(row["settings"])) == alike
        ][:MOST]
        said = rows_and_holders(training.rows)["row_sha256"].to_pylist() if exact else []
        place = {row: k for k, row in enumerate(said)}
        for row in exact:
            table = ledger.connection.execute(SCORES, [row["run_id"], row["generated_id"]]).to_arrow_table()
            where = np.array([place.get(sha256, -1) for sha256 in table["row_sha256"].to_pylist()])
            if (where < 0).any():  # rows of another version of the manifest
                continue
            found_scores = torch.full((len(training),), torch.nan)
            found_scores[torch.from_numpy(where)] = torch.from_numpy(table["score"].to_numpy().astype(np.float32))
            if found_scores.isnan().any():
                continue
            queries.append(vectors[wanted[row["row_sha256"]]][None])
            scores.append(found_scores[None])
            names.append(row["row_sha256"])
    if not queries:
        return torch.empty(0, projection(plan).basis.shape[1]), torch.empty(0, len(training)), []
    return torch.cat(queries), torch.cat(scores), names
