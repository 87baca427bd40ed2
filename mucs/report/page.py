"""How pages are made: HTML that needs no other file, from the templates beside this module."""

from __future__ import annotations

from typing import Any


def page(template: str, **given: Any) -> str:
    """A page as one text, from a template that extends `page.html`; a name that is not given is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("mucs.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template(template).render(given)
