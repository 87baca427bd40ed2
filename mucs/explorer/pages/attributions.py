"""Attributions: the form by which a picture is sent, and the page that tells what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from mucs import InputError
from mucs.explorer.attributions import NOBODY, Attributions, told
from mucs.explorer.page import Asked, Page
from mucs.explorer.pages.items import PROVISIONAL, SHOWN
from mucs.explorer.upload import TYPES
from mucs.explorer.view import View
from mucs.images.request import MOST_BYTES
from mucs.ledger.questions import question

COLUMNS = ["rank", "training", "predicted", "low", "high", "among_best"]


def form(attributions: Attributions) -> Callable[[Asked], Page]:
    """The page with the form. Args: attributions: what takes pictures."""

    def page(asked: Asked) -> Page:
        title, shown = "Attribute a picture", {"types": ",".join(TYPES), "megabytes": MOST_BYTES // 1_000_000}
        if not attributions.are_taken:
            return Page("attribute.html", title, [], {"intake": None, "fault": NOBODY}, shown)
        try:
            intake = attributions.intake()
        except InputError as error:
            return Page("attribute.html", title, [], {"intake": None, "fault": str(error)}, shown, 503)
        return Page("attribute.html", title, [], {"intake": asdict(intake), "fault": None}, shown)

    return page


def one(attributions: Attributions) -> Callable[[Asked, str], Page]:
    """The page of a picture that was sent. Args: attributions: knows what has become of it."""

    def page(asked: Asked, address: str) -> Page:
        rows = attributions.provisional(address)
        facts = told(attributions.state(address), rows)
        if facts["answer_page"]:
            return Page("", "", to=facts["answer_page"])
        views = [View("provisional", PROVISIONAL, COLUMNS, rows[:SHOWN], question("provisional").sql)] if rows else []
        return Page("attribution.html", "A picture that was sent", views, facts)

    return page
