"""Attributions: pictures that are sent to be attributed, and what has become of them, as the ledger that is shown knows it."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any, Protocol

from mucs.explorer.address import address
from mucs.explorer.snapshot import Snapshots
from mucs.explorer.view import plain
from mucs.images.request import Request
from mucs.ledger.asked import Asked, Intake, Unavailable, answered, provisional
from mucs.ledger.names import Unknown
from mucs.report import words

NOBODY = (
    "No picture can be sent here, as nobody is there to attribute it; start a Prefect server and `mucs worker`, set"
    " PREFECT_API_URL to the server's address, and start `mucs explore` again."
)
STEPS = {  # what is being done, by the word that a run says of it
    "pull": "The model and its training images are looked up.",
    "validate": "The model, its training images and the picture are checked.",
    "measure": "The model is measured as it is, before it forgets anything.",
    "unlearning": "A copy of the model is made to forget the picture.",
    "scoring": "Each training image is looked at: has the copy forgotten it as well?",
    "attribute": "The results are collected.",
    "publish": "The results are written to the log.",
    "load": "The results are loaded into the ledger.",
    "report": "The page of the run is written.",
    "show": "The results are there, and will be shown in a second.",
}
ADDRESS = re.compile("[0-9a-f]{64}")


class OnDemand(Protocol):
    """Whoever attributes pictures as they are sent; methods raise Unavailable where it cannot be reached."""

    def intake(self) -> Intake:
        """Which pictures are taken now."""

    def submit(self, request: Request) -> Asked:
        """Have a picture attributed. Raises Busy if too many wait, and InputError if it cannot be attributed."""

    def state(self, address: str) -> Asked | None:
        """What has become of a request; None if nobody asked for it."""

    def provisional(self, address: str) -> list[dict[str, Any]]:
        """What the index said of a request's picture, which a snapshot may not know yet; none where it said nothing."""


class Attributions:
    """Pictures that are sent, and what has become of them.

    Nothing is done before it is shown: an answer that the ledger has, and the snapshot not yet, is still on its way.

    Args:
        snapshots: Of the ledger.
        on_demand: Attributes pictures; None if nobody does.
    """

    def __init__(self, snapshots: Snapshots, on_demand: OnDemand | None = None) -> None:
        self._snapshots, self._on_demand = snapshots, on_demand

    @property
    def are_taken(self) -> bool:
        """Whether pictures can be sent at all."""
        return self._on_demand is not None

    @property
    def are_closed(self) -> bool:
        """Whether the server ends."""
        return self._snapshots.is_closed

    def intake(self) -> Intake:
        """Which pictures are taken now. Raises Unavailable if that cannot be told."""
        return self._there().intake()

    def submit(self, request: Request) -> Asked:
        """Have a picture attributed, unless it was; raises what `OnDemand.submit` does."""
        return self._shown(request.address) or not_shown(self._there().submit(request))

    def state(self, request: str) -> Asked:
        """What has become of the request with an address.

        Raises:
            Unknown: If nobody asked for it.
            Unavailable: If that cannot be told.
        """
        if not ADDRESS.fullmatch(request):
            raise Unknown(f"{request[:80]!r} is no address of a picture that was sent; it has 64 hexadecimal digits.")
        if found := self._shown(request):
            return found
        if found := self._there().state(request):
            return not_shown(found)
        raise Unknown(f"No picture was sent that has the address {request[:12]}…; send it at /attribute.")

    def provisional(self, request: str) -> list[dict[str, Any]]:
        """What the index said of a request's picture before it was measured; none where it said nothing."""
        with self._snapshots.current().ledger() as ledger:
            found = provisional(ledger, request)
        return found or (self._on_demand.provisional(request) if self._on_demand else [])

    def _shown(self, request: str) -> Asked | None:
        with self._snapshots.current().ledger() as ledger:
            return answered(ledger, request)

    def _there(self) -> OnDemand:
        if self._on_demand is None:
            raise Unavailable(NOBODY)
        return self._on_demand


def not_shown(found: Asked) -> Asked:
    """What has become of a request whose answer the snapshot does not have."""
    return Asked(found.address, "running", step="show") if found.state == "done" else found


def record(found: Asked) -> dict[str, Any]:
    """What has become of a request as JSON: in figures and in a sentence, and where there is more of it."""
    own, name = address("v1", "attributions", found.address), found.generated
    return asdict(found) | {
        "said": said(found),
        "self": own,
        "events": f"{own}/events",
        "page": address("attributions", found.address),
        "answer": address("v1", "generated", name) if name else None,
        "answer_page": address("generated", name) if name else None,
    }


def told(found: Asked, provisional: list[dict[str, Any]]) -> dict[str, Any]:
    """What has become of a request, as `record` has it, and what the index said of its picture: `provisional`, null where it said nothing."""
    return record(found) | {"provisional": as_provisional(provisional)}


ESTIMATED = (
    *("rank", "training", "training_sha256", "predicted", "low", "high", "among_best", "likeness"),
    *("measured_rank", "measured_score"),
)


def as_provisional(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What an index said, as JSON."""
    if not rows:
        return None
    return {
        "status": "provisional",
        "about": words.PROVISIONAL,
        "index": rows[0]["index_sha256"],
        "fitted_to": rows[0]["pictures"],
        "spearman": rows[0]["spearman"],
        "edges": [{name: plain(row[name]) for name in ESTIMATED} for row in rows],
    }


def said(found: Asked) -> str:
    """What has become of a request, in a sentence."""
    match found.state:
        case "waiting" if found.before:
            return f"It waits. Pictures that come first: {found.before}."
        case "waiting":
            return "It is the next, and waits for a worker to begin it."
        case "running":
            return STEPS.get(found.step or "", "It is being attributed.")
        case "failed":
            return f"It could not be attributed. {found.reason or ''}".rstrip()
    return "It is attributed."
