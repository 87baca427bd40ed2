"""Asked: what has become of a picture that somebody sent to be attributed, and which pictures are taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mucs import InputError
from mucs.ledger.ledger import Ledger


class Busy(InputError):
    """As much is asked at once as may; `seconds` says after how long there may be room."""

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds


class Unavailable(InputError):
    """What is asked for cannot be told or done just now."""


@dataclass(frozen=True)
class Intake:
    """Which pictures are taken now, and how long an answer takes.

    Attributes:
        height: Of a picture, in pixels.
        width: Likewise.
        classes: How many classes the model has; a picture comes with one of them, counted from 0. None if it has none.
        prompts: Whether a picture comes with the words that it was made from.
        waiting: How many wait or are worked on.
        seconds: For how long one is worked on.
    """

    height: int
    width: int
    classes: int | None
    prompts: bool
    waiting: int
    seconds: int


@dataclass(frozen=True)
class Asked:
    """What has become of a request.

    Attributes:
        address: The request's.
        state: How far it is.
        before: How many requests come first, while it waits.
        step: What is being done while it is running, in a few words.
        done: How much of the step, where that is known.
        of: Of how much.
        run: The SHA-256 of the run that speaks for it, once it is done.
        generated: The id of its generated item then.
        reason: Why it failed.
    """

    address: str
    state: Literal["waiting", "running", "done", "failed"]
    before: int | None = None
    step: str | None = None
    done: int | None = None
    of: int | None = None
    run: str | None = None
    generated: str | None = None
    reason: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.state in ("done", "failed")


MOST = 50  # training items that are told provisionally


def provisional(ledger: Ledger, address: str) -> list[dict[str, Any]]:
    """What the index said of a request's picture before it was measured, as the question `provisional` has it; none where it said nothing."""
    return ledger.ask("provisional", generated=address, top=MOST)


def answered(ledger: Ledger, address: str) -> Asked | None:
    """The answer that a ledger has to a request; None where no run speaks for it."""
    found = ledger.ask("attributed", row=address)
    return Asked(address, "done", run=found[0]["run"], generated=found[0]["generated"]) if found else None
