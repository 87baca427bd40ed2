"""A fault: a sentence instead of an answer, as a page or as JSON."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from mucs.explorer.render import as_json, templates

TITLES = {
    403: "That is not for you",
    404: "There is no such page",
    429: "Too much is asked at once",
    503: "Just now there is no answer",
}


def fault(
    request: Request,
    status: int,
    words: str,
    headers: Mapping[str, str] | None = None,
    search: bool = True,
    back: str = "",
) -> Response:
    """The answer.

    Args:
        request: What it answers.
        status: Of HTTP.
        words: What is wrong, and what to do, in a sentence.
        headers: More of them.
        search: Whether a page offers to search instead.
        back: The address of the form that was sent, if it was one.
    """
    told = {"cache-control": "no-store", **(headers or {})}
    told |= {"retry-after": "2"} if status in (429, 503) and "retry-after" not in told else {}
    if for_programs(request):
        return Response(as_json({"error": words}), status, told, "application/json")
    title = TITLES.get(status, "That cannot be answered")
    text = (
        templates().get_template("fault.html").render(title=title, words=words, status=status, search=search, back=back)
    )
    return Response(text, status, told, "text/html; charset=utf-8")


def for_programs(request: Request) -> bool:
    """Whether a program asks, which wants JSON."""
    return bool(request.scope.get("form")) or request.scope["path"].startswith("/v1/")
