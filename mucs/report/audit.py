"""The audit report: what stands behind each generated image, and on what evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mucs.ledger import Run


def audit_page(run: Run, items: Sequence[Mapping[str, Any]], shares: Sequence[Mapping[str, Any]], counted: int) -> str:
    """The page of a run as one HTML text that needs no other file.

    items: each generated row with its `picture`, outcome and best `edges`. shares: the answer of the question `shares`
    over the first `counted` edges of each generated item.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("mucs.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    held_out = next((a["files"] for a in run.artifacts if a["kind"] == "held_out"), 0)
    return pages.get_template("audit.html").render(
        run=run,
        items=items,
        shares=shares,
        counted=counted,
        held_out=held_out - 1 if held_out else 0,
        sizes={a["kind"]: a for a in run.artifacts},
        converged=sum(item["converged"] for item in items),
        holders=len({row["rights_holder"] for row in run.training}),
        licences=sorted({row["licence"] for row in run.training}),
    )
