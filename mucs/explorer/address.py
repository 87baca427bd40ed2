"""Addresses of pages: one for each thing, whatever its name has in it, in the form and as of the time that the reader chose.

A name is one segment of a path. In a segment `%2F` is a slash of the name, so that names may have slashes; a page's last segment
may end in `.json`, `.csv` or, of a document, `.pdf`, and in `.html` where the name itself ends in one of the four.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlencode

FORMS = ("html", "json", "csv", "pdf")
MOST = 8000  # characters of anything in an address, which a server would refuse if it were longer
LONGEST = 200  # characters of a name in an address; a longer one goes by its SHA-256


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def inner(path: bytes) -> tuple[str, str | None]:
    """What a request's raw path is routed by: decoded but for slashes and per cent signs within names, and without the form's ending.

    Returns:
        The path, and the form that it ends in, if any.
    """
    decoded = [unquote(part, errors="replace") for part in path.decode("ascii", "replace").split("/")]
    stem, dot, form = decoded[-1].rpartition(".")
    if dot and stem and form in FORMS:
        decoded[-1] = stem
    else:
        form = ""
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in decoded), form or None


def name_of(part: str) -> str:
    """The name in a segment that was routed by `inner`."""
    return part.replace("%2F", "/").replace("%25", "%")


def address(*parts: str, as_of: str = "infinity", form: str | None = None, **query: Any) -> str:
    """The address of a page.

    Args:
        parts: The path's, each a name.
        as_of: The time whose knowledge it answers from.
        form: `json`, `csv` or `pdf` instead of HTML.
        query: What else it is asked; nothing is said of None and of empty words.
    """
    path = "/" + "/".join(segment(part[:MOST]) for part in parts)
    if parts and (form or parts[-1].rpartition(".")[2] in FORMS):
        path += f".{form or 'html'}"
    asked: Mapping[str, Any] = {
        name: value[:MOST] if isinstance(value, str) else value
        for name, value in query.items()
        if value not in (None, "")
    }
    if as_of != "infinity":
        asked = {**asked, "as_of": as_of}
    return path + (f"?{urlencode(asked, doseq=True)}" if asked else "")


def called(name: str, sha256: str | None) -> str:
    """What an item goes by in an address: its name, or its SHA-256 where that would be no good one."""
    unfit = not name or name in (".", "..") or len(name) > LONGEST or not name.isprintable()
    return sha256 if sha256 and unfit else name
