"""Render: a page as HTML, JSON or CSV."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mucs.explorer.address import address
from mucs.explorer.cells import cell, digest, headed, number, short, text
from mucs.explorer.page import Asked, Page
from mucs.explorer.roles import HOLDER
from mucs.explorer.view import as_csv, plain
from mucs.explorer.words import COLUMNS, HEADINGS
from mucs.report import words
from mucs.text import for_terminal

HERE = Path(__file__).parent


@functools.cache
def templates() -> jinja2.Environment:
    """The templates, compiled once."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        number=number,
        digest=digest,
        text=text,
        short=short,
        visible=for_terminal,
        percent=lambda value: f"{100 * value:.1f} %",
    )
    made.filters["combined"] = lambda one, other: {**one, **other}
    made.globals.update(headed=headed, headings=HEADINGS, column_terms=COLUMNS, say=words)
    return made


def html(page: Page, asked: Asked, path: str, here: dict[str, str]) -> str:
    """A page as HTML.

    Args:
        page: What is shown.
        asked: By what request.
        path: The address without its query.
        here: The query.
    """
    serial = itertools.count()

    def term(name: str, shown: str | None = None) -> Markup:
        said = Markup(
            '<span class="term"><a href="{}" aria-describedby="t{}">{}</a><span role="tooltip" id="t{}">{}</span></span>'
        )
        number = next(serial)
        return said.format(f"{asked.link('glossary')}#{anchor(name)}", number, shown or name, number, words.TERMS[name])

    def again(**changed: Any) -> str:
        """This page, asked otherwise."""
        query = {**here, **changed}
        return path + address(
            **{key: value for key, value in query.items() if key != "as_of"}, as_of=query.get("as_of") or "infinity"
        ).removeprefix("/")

    def twin(form: str) -> str:
        bare = path.removesuffix(".html") if path.rpartition(".")[2] == "html" else path
        return f"{bare if bare != '/' else '/index'}.{form}" + again().removeprefix(path)

    return (
        templates()
        .get_template(page.template)
        .render(
            page=page,
            title=page.title,
            views=page.views,
            facts=page.facts,
            asked=asked,
            person=asked.person,
            snapshot=asked.snapshot,
            here=here,
            path=path,
            link=asked.link,
            cell=lambda row, column, decimals: cell(row, column, asked.link, decimals),
            term=term,
            again=again,
            choose=lambda changed: again(**changed),
            twin=twin,
            anchor=anchor,
            **{"wrong": "", "typed": {}, **page.shown},
        )
    )


def anchor(name: str) -> str:
    """Where a term stands on the page of the glossary."""
    return name.lower().replace(" ", "-")


def record(page: Page, asked: Asked) -> dict[str, Any]:
    """A page as JSON has it."""
    log: dict[str, Any] = {"head": asked.snapshot.head}
    if asked.person.role != HOLDER:  # how much is in the log is others' business
        log = {"position": asked.snapshot.position, **log}
    return {
        "title": page.title,
        "log": log,
        "as_of": None if asked.as_of == "infinity" else asked.as_of,
        "facts": plain(page.facts),
        "views": {view.name: view.record() for view in page.views},
    }


def as_json(value: Any) -> bytes:
    """JSON, in which what comes from outside cannot end a script either."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, indent=1).encode()


def first_csv(page: Page) -> str:
    """The first table of a page as CSV; of a page without one, nothing but an empty text."""
    return as_csv(page.views[0]) if page.views else ""
