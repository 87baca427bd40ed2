"""The audit report: what stands behind each generated image, and on what evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def audit_page(
    run: Mapping[str, Any],
    training: Sequence[Mapping[str, str]],
    items: Sequence[Mapping[str, Any]],
    shares: Sequence[Mapping[str, Any]],
    counted: int,
) -> str:
    """The page of a run as one HTML text that needs no other file.

    run: as `Ledger.run` gives it. training: the training set's manifest rows. items: each generated row with its
    `picture`, outcome and best `edges`. shares: the answer of the question `shares` over the first `counted` edges
    of each generated item.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("mucs.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    held_out = run["artifacts"].get("held_out")
    return pages.get_template("audit.html").render(
        run=run,
        training=training,
        items=items,
        shares=shares,
        counted=counted,
        held_out=held_out["files"] - 1 if held_out else 0,  # one file is the manifest
        converged=sum(item["converged"] for item in items),
        holders=len({row["rights_holder"] for row in training}),
        licences=sorted({row["licence"] for row in training}),
    )
