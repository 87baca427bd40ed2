"""Attributions: the form by which a picture is sent, and the page that tells what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from mucs import InputError
from mucs.explorer.attributions import NOBODY, Attributions, record
from mucs.explorer.page import Asked, Page
from mucs.explorer.upload import TYPES
from mucs.images.request import MOST_BYTES


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
        told = record(attributions.state(address))
        if told["answer_page"]:
            return Page("", "", to=told["answer_page"])
        return Page("attribution.html", "A picture that was sent", [], told)

    return page
