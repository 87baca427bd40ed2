"""The audit report: what stands behind each generated image, and on what evidence."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from mucs.evidence.record import devices
from mucs.evidence.thumbnails import Thumbnails
from mucs.ledger import Ledger
from mucs.parse import load_json
from mucs.report import words
from mucs.report.page import page

TOP = 5  # training images shown behind each generated one
COUNTED = 10  # edges of each generated image that count for the shares
READ = 500  # edges that are read at a time

EDGES = """
SELECT g.row_sha256 AS generated, t.manifest_row, t.rights_holder, t.licence, e.score::DOUBLE AS score,
    e.standard_error::DOUBLE AS standard_error, e.seed_spread::DOUBLE AS seed_spread, e.p_value::DOUBLE AS p_value,
    e.decoy_p_value::DOUBLE AS decoy_p_value, e.decoy_z::DOUBLE AS decoy_z, t.sha256, p.object_sha256
FROM edges e JOIN generated_items g USING (generated_id) JOIN training_items t USING (training_id)
LEFT JOIN thumbnails p ON p.image_sha256 = t.sha256
JOIN (SELECT unnest($items) AS row_sha256, generate_subscripts($items, 1) AS place) asked ON asked.row_sha256 = g.row_sha256
WHERE run_id = $run AND rank <= $top ORDER BY place, rank
"""
GENERATED = """
SELECT g.row_sha256, g.manifest_row, g.sha256, p.object_sha256, v.verdict
FROM attributions a JOIN generated_items g USING (generated_id) JOIN verdicts v USING (run_id, generated_id)
LEFT JOIN thumbnails p ON p.image_sha256 = g.sha256
WHERE run_id = $run
"""
TRAINING = """
SELECT count(*) AS images, count(DISTINCT rights_holder) AS holders, list_sort(list(DISTINCT licence)) AS licences
FROM members m JOIN training_items t USING (training_id) JOIN runs r USING (training_set_id)
WHERE run_id = $run
"""


def audit_page(
    ledger: Ledger, thumbnails: Thumbnails, sha256: str, shares: Sequence[Mapping[str, Any]], counted: int
) -> Iterator[str]:
    """The page of a loaded run, piece by piece, as HTML that needs no other file.

    Args:
        ledger: it is asked while the page is made.
        thumbnails: of its log; asked for what is shown, and no other. Runs of before the log had any may have none.
        sha256: the run's.
        shares: the answer of the question `shares` over the first `counted` edges of each generated item.
        counted: see there.

    Raises:
        Broken: if an object of thumbnails is missing or was altered.
    """
    run = ledger.run(sha256)
    number = {"run": ledger.one("SELECT run_id FROM runs WHERE sha256 = ?", sha256)}
    (training,) = ledger.rows(TRAINING, number)
    generated = {row["row_sha256"]: row for row in ledger.rows(GENERATED, number)}
    outcomes = run["record"]["results"]["attributions"]
    # validated rows: a folder can hold files that its manifest does not list
    held_out = next((v["rows"] for v in run["validations"] if v["suite"] == "held-out set"), 0)
    calibration = run["record"]["calibration"]
    bounds = words.bounds_of_run(calibration)

    def items() -> Iterator[dict[str, Any]]:
        asked = {"items": [outcome["row_sha256"] for outcome in outcomes], "top": TOP}
        for outcome, edges in zip(outcomes, _by_item(ledger, number | asked), strict=True):
            item = generated[outcome["row_sha256"]]
            row = load_json(item["manifest_row"])
            shown = [_shown(edge, thumbnails) for edge in edges]
            picture = _picture(item, thumbnails)
            yield outcome | {"row": row, "picture": picture, "verdict": item["verdict"], "edges": shown}

    return page(
        "audit.html",
        run=run,
        training=training,
        items=items(),
        outcomes=outcomes,
        failed=run["record"].get("failed", []),
        shares=shares,
        counted=counted,
        held_out=held_out,
        decoys=calibration["decoys"] if calibration else 0,
        results=run["record"]["results"],
        controls=words.controls(run["record"]["results"]["controls"], held_out)
        if run["record"]["results"]["controls"]
        else [],
        places={share["rights_holder"]: place for place, share in enumerate(shares, start=1)},
        machines=_machines(run["record"]),
        converged=sum(outcome["converged"] for outcome in outcomes),
        verdicts=Counter(item["verdict"] for item in generated.values()),
        false_payments=words.run_pays_falsely(ledger.ask("false_payments", run=sha256, **bounds), bounds),
        say=words,
    )


def _by_item(ledger: Ledger, asked: Mapping[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """The best edges of each generated item that is asked for, in that order, a few hundred read at a time."""
    found = ledger.cursor().execute(EDGES, asked)
    names = [column[0] for column in found.description]
    rows = (dict(zip(names, row, strict=True)) for many in iter(lambda: found.fetchmany(READ), []) for row in many)
    groups = groupby(rows, key=itemgetter("generated"))
    group = next(groups, None)
    for item in asked["items"]:
        yield list(group[1]) if group and group[0] == item else []
        if group and group[0] == item:
            group = next(groups, None)


def _shown(edge: Mapping[str, Any], thumbnails: Thumbnails) -> dict[str, Any]:
    row = load_json(edge["manifest_row"])
    return {**edge, "picture": _picture(edge, thumbnails), "title": row.get("annotation") or row["id"]}


def _picture(image: Mapping[str, Any], thumbnails: Thumbnails) -> str | None:
    """An image as a `data:` address; None if the log has no thumbnail of it."""
    if image["object_sha256"] is None:
        return None
    webp = thumbnails.webp(image["object_sha256"], image["sha256"])
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"


def _machines(record: Mapping[str, Any]) -> list[tuple[str, int]]:
    """On what the generated images were attributed, in words, and how many of them on each."""
    words = (f"torch {each['torch']} on {each['type']} ({each['name']})" for each in devices(record))
    return list(Counter(words).items())
