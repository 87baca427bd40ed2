"""SPDX: which data sets a checkpoint was trained on, and under which licences these are, as SPDX 3.0.1 has it in JSON-LD.

Conformance is claimed to the profiles core, software and simple licensing. Those for AI and data sets ask for a supplier, an origin and times that
no ledger knows.
"""

from __future__ import annotations

import datetime
import io
import re
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from spdx_python_model import v3_0_1 as spdx

from mucs import __version__
from mucs.ledger import Ledger
from mucs.ledger.names import only_called
from mucs.parse import load_json

PURPOSE, KIND, HASH = spdx.software_SoftwarePurpose, spdx.RelationshipType, spdx.HashAlgorithm
COMPLETE = spdx.RelationshipCompleteness.complete
PROFILES = [
    spdx.ProfileIdentifierType.core,
    spdx.ProfileIdentifierType.software,
    spdx.ProfileIdentifierType.simpleLicensing,
]
MODELS = """
SELECT c.sha256 AS checkpoint, any_value(c.bytes) AS checkpoint_bytes, t.sha256 AS training_set, any_value(t.bytes) AS bytes,
    max(r.loaded_at) AS at, arg_max(r.record, r.run_id) AS record
FROM runs r JOIN artifacts c ON c.artifact_id = r.checkpoint_id JOIN artifacts t ON t.artifact_id = r.training_set_id
WHERE r.loaded_at <= $as_of::TIMESTAMPTZ GROUP BY c.sha256, t.sha256 ORDER BY max(r.run_id)
"""
LICENCES = """
SELECT DISTINCT h.licence FROM members m JOIN training_items t USING (training_id) JOIN artifacts a ON a.artifact_id = m.training_set_id
JOIN rights_on($day, $as_of) h ON h.sha256 = t.sha256 WHERE a.sha256 = $set AND a.kind = 'training_set' AND h.licence <> '' ORDER BY ALL
"""


def bill(ledger: Ledger, checkpoint: str | None, day: str, as_of: str = "infinity") -> tuple[str, bytes]:
    """The bill of materials of a checkpoint: its SHA-256, and JSON-LD.

    Args:
        ledger: Open.
        checkpoint: Its SHA-256, or the start of it; the only one without it.
        day: On which licences are looked at, as 2026-11-30.
        as_of: What the ledger knew then.

    Raises:
        InputError: If there is no such one, or several.
    """
    found = ledger.rows(MODELS, {"as_of": as_of})
    sha256 = only_called(list(dict.fromkeys(row["checkpoint"] for row in found)), checkpoint, "checkpoint")
    rows = [row for row in found if row["checkpoint"] == sha256]
    made = _Bill(sha256, max(row["at"] for row in rows))
    model = made.package(spdx.ai_AIPackage, "checkpoint", rows[-1], PURPOSE.model)
    sets = [made.package(spdx.dataset_DatasetPackage, "training_set", row, PURPOSE.data) for row in rows]
    for each, row in zip(sets, rows, strict=True):
        each.dataset_datasetType = [spdx.dataset_DatasetType.image]
        licences = [
            str(found["licence"])
            for found in ledger.rows(LICENCES, {"set": row["training_set"], "day": day, "as_of": as_of})
        ]
        if licences:
            made.relate(each, KIND.hasDeclaredLicense, [made.licence(licences)], COMPLETE)
    made.relate(model, KIND.trainedOn, sets, spdx.RelationshipCompleteness.noAssertion)  # on what else, no ledger knows
    return sha256, made.document(model)


class _Bill:
    """A document that is being made."""

    def __init__(self, checkpoint: str, at: datetime.datetime) -> None:
        self.name, self.elements = f"urn:sha256:{checkpoint}", []  # type: tuple[str, list[Any]]
        self.info = spdx.CreationInfo(specVersion="3.0.1", created=at.astimezone(datetime.UTC).replace(microsecond=0))
        tool = spdx.SoftwareAgent(spdxId=f"{self.name}#mucs", name=f"mucs {__version__}", creationInfo=self.info)
        self.info.createdBy = [tool]
        self.elements.append(tool)

    def add(self, element: Any) -> Any:
        """One element more, which takes a number as its name if it has none."""
        element.spdxId = element.spdxId or f"{self.name}#{len(self.elements)}"
        element.creationInfo = self.info
        self.elements.append(element)
        return element

    def package(self, kind: Any, name: str, row: dict[str, Any], purpose: str) -> Any:
        """A checkpoint or a training set, by what its last run says."""
        record = load_json(row["record"])
        given, sha256 = record["inputs"][name], row[name]
        where = {"software_downloadLocation": record["registry"]} if "://" in record["registry"] else {}
        return self.add(
            kind(
                name=given["path"],
                software_primaryPurpose=purpose,
                software_packageVersion=given["commit"],
                **where,
                verifiedUsing=[spdx.Hash(algorithm=HASH.sha256, hashValue=sha256)],
                description="SHA-256 over the digests of its files, as the ledger has it.",
            )
        )

    def licence(self, names: list[str]) -> Any:
        """All licences together: what is made of the whole is under each of them."""
        expression = " AND ".join(sorted({_expression(name) for name in names}))
        return self.add(spdx.simplelicensing_LicenseExpression(simplelicensing_licenseExpression=expression))

    def relate(self, start: Any, kind: str, ends: list[Any], completeness: str) -> None:
        """One element to others."""
        self.add(spdx.Relationship(from_=start, relationshipType=kind, to=ends, completeness=completeness))

    def document(self, root: Any) -> bytes:
        """All of it as JSON-LD."""
        bom = spdx.SpdxDocument(
            spdxId=f"{self.name}#document",
            name=f"Checkpoint {self.name[11:27]}",
            creationInfo=self.info,
            rootElement=[root],
            element=self.elements,
            profileConformance=PROFILES,
        )
        body = io.BytesIO()
        spdx.JSONLDSerializer().write(spdx.SHACLObjectSet([*self.elements, bom]), body, indent=2)
        return body.getvalue()


def _expression(name: str) -> str:
    """A licence as SPDX's list calls it, or as one that is not on it."""
    try:
        return str(canonicalize_license_expression(name))
    except InvalidLicenseExpression:
        return f"LicenseRef-{re.sub(r'[^A-Za-z0-9.-]+', '-', name).strip('-') or 'unnamed'}"
