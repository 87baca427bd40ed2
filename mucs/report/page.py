"""How pages are made: HTML that needs no other file, from the templates beside this module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

PIECES = 200  # of a template that are put together before they are given on


def page(template: str, **given: Any) -> Iterator[str]:
    """A page, piece by piece, from a template that extends `page.html`; a name that is not given is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("mucs.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    stream = pages.get_template(template).stream(given)
    stream.enable_buffering(PIECES)
    return iter(stream)
