"""Croissant: a training set as the metadata that data portals and loaders read (Croissant 1.1 of MLCommons), with its images in a table.

The images themselves are where DVC has them; the table names each by its SHA-256, with rights holder, licence, and how its rights stand.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import dataclass
from typing import Any

from mucs.ledger import Ledger
from mucs.text import for_spreadsheet

SPECIFICATION = "http://mlcommons.org/croissant/1.1"
COLUMNS = {
    "id": "What the manifest calls the image.",
    "sha256": "SHA-256 of its file.",
    "rights_holder": "Whose it is, as the rights on record stand on the day.",
    "licence": "Under which licence, likewise.",
    "standing": "How the rights stand on the day: granted, opted out, lapsed, or not yet.",
    "date": "The image's, by the manifest.",
}
ITEMS = """
SELECT min(t.id) AS id, t.sha256, any_value(h.rights_holder) AS rights_holder, any_value(h.licence) AS licence, any_value(h.standing) AS standing, min(t.date) AS date
FROM members m JOIN training_items t USING (training_id) JOIN artifacts a ON a.artifact_id = m.training_set_id
JOIN rights_on($day, $as_of) h ON h.sha256 = t.sha256 WHERE a.sha256 = $set AND a.kind = 'training_set'
GROUP BY t.sha256 ORDER BY id, t.sha256
"""
USED = """
SELECT any_value(r.record->'inputs'->'training_set'->>'path') AS path, any_value(r.record->'inputs'->'training_set'->>'commit') AS commit,
    any_value(r.record->>'registry') AS registry, min(r.loaded_at) AS first
FROM runs r JOIN artifacts a ON a.artifact_id = r.training_set_id WHERE a.sha256 = $set AND r.loaded_at <= $as_of::TIMESTAMPTZ
"""
OWN = (
    *(
        "citeAs",
        "column",
        "containedIn",
        "extract",
        "field",
        "fileProperty",
        "fileObject",
        "fileSet",
        "format",
        "includes",
        "isArray",
    ),
    *(
        "arrayShape",
        "equivalentProperty",
        "isLiveDataset",
        "jsonPath",
        "key",
        "md5",
        "parentField",
        "path",
        "recordSet",
        "references",
    ),
    *("regex", "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    **{name: f"cr:{name}" for name in OWN},
}


@dataclass(frozen=True)
class Described:
    """A training set, described.

    Attributes:
        metadata: JSON-LD.
        table: The images, as CSV.
        images: How many.
    """

    metadata: bytes
    table: bytes
    images: int


def describe(ledger: Ledger, training_set: str, table: str, day: str, as_of: str = "infinity") -> Described:
    """Describe a training set.

    Args:
        ledger: Open.
        training_set: Its SHA-256.
        table: What the file with its images will be called, beside the metadata.
        day: On which rights are looked at, as 2026-11-30.
        as_of: What the ledger knew then.
    """
    given = {"set": training_set, "as_of": as_of}
    rows, (used,) = ledger.rows(ITEMS, given | {"day": day}), ledger.rows(USED, given)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([for_spreadsheet(str(row[name] or "")) for name in COLUMNS] for row in rows)
    body = text.getvalue().encode()
    licences = sorted({row["licence"] for row in rows if row["licence"]})
    standing = {
        name: sum(row["standing"] == name for row in rows) for name in ("granted", "opted out", "lapsed", "not yet")
    }
    counted = ", ".join(f"{count} {name}" for name, count in standing.items() if count)
    metadata: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": SPECIFICATION,
        "name": f"training-set-{training_set[:12]}",
        "description": (
            f"{len(rows)} images that a diffusion model was trained on, with rights holder and licence of each. They lie under DVC at {used['path']} of"
            f" {used['registry']}, commit {used['commit']}; the SHA-256 of the whole is {training_set}."
        ),
        "identifier": f"sha256:{training_set}",
        "url": used["registry"],
        "version": used["commit"],
        "citeAs": f"Training set sha256:{training_set}",
        "datePublished": str(used["first"].date()),
        "license": licences,
        "isLiveDataset": False,
        "rai:dataCollection": "By the manifest that the training set was registered with; each change of rights is on record with the time from which it was known.",
        "rai:personalSensitiveInformation": [f"Names of {len({row['rights_holder'] for row in rows})} rights holders."],
        "rai:dataReleaseMaintenancePlan": f"On {day}, of {len(rows)} images, by standing: {counted}. Opt-outs are kept with the day from which they hold.",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "images",
                "name": "images",
                "description": "One row an image.",
                "contentUrl": table,
                "encodingFormat": "text/csv",
                "sha256": hashlib.sha256(body).hexdigest(),
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "image",
                "name": "image",
                "description": "The images of the training set.",
                "key": {"@id": "image/sha256"},
                "field": [
                    {
                        "@type": "cr:Field",
                        "@id": f"image/{name}",
                        "name": name,
                        "description": about,
                        "dataType": "sc:Text",
                        "source": {"fileObject": {"@id": "images"}, "extract": {"column": name}},
                    }
                    for name, about in COLUMNS.items()
                ],
            }
        ],
    }
    return Described(json.dumps(metadata, indent=2, ensure_ascii=False).encode() + b"\n", body, len(rows))
