"""The entrance: who asks is told from who does not say, and each is led to what is there for his role."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from mucs import InputError
from mucs.explorer.access import COOKIE, HOURS, Access, Refused, Unknown, Wait, is_genuine
from mucs.explorer.fault import fault, for_programs
from mucs.explorer.gate import Receive, Send
from mucs.explorer.render import templates
from mucs.explorer.roles import ASKING, HOLDER, Person, needed
from mucs.explorer.state import OPEN

FORGED = "This was not sent by a page that this server made for you; open the page again, and send it from there."
App = Callable[[Any, Receive, Send], Awaitable[None]]
HERE = ("/login", "/logout")


class Entrance:
    """An ASGI application in front of two others.

    Args:
        pages: For the staff.
        own: For rights holders; what is not there is not there at all, to them.
        access: Who may come in, and how.
    """

    def __init__(self, pages: App, own: App, access: Access) -> None:
        self.pages, self.own, self.access = pages, own, access

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return await self.pages(scope, receive, send)
        request = Request(scope, receive)
        path = scope["path"]
        if path.startswith("/static/") or path in OPEN:
            return await self.pages(scope, receive, send)
        if path == "/login" and self.access.local is None:
            return await (await self._login(request))(scope, receive, send)
        try:
            if self.access.tokens is None:  # nothing is read
                person = self.access.person(request.headers, _peer(request))
            else:
                person = await run_in_threadpool(self.access.person, request.headers, _peer(request))
        except InputError as error:
            return await self._refusal(request, error)(scope, receive, send)
        if path == "/logout" and person.can_log_out:
            return await (await self._logout(request, person))(scope, receive, send)
        scope = {**scope, "person": person}
        if person.role == HOLDER:
            return await self.own(scope, receive, send)
        least = needed(scope["method"], path, scope.get("form"))
        if not person.may(least):
            words = f"That is for the role {least}, and yours is {person.role}; ask whoever runs this server."
            return await fault(request, 403, words)(scope, receive, send)
        if request.method == "POST" and path in ASKING and self.access.local is None:
            shown = request.headers.get("x-form-token") or request.query_params.get("form_token", "")
            if not is_genuine(person, shown):
                return await fault(request, 403, FORGED)(scope, receive, send)
        await self.pages(scope, receive, send)

    def _refusal(self, request: Request, error: InputError) -> Response:
        if isinstance(error, Unknown):
            told = {"www-authenticate": "Bearer"}
            if for_programs(request) or request.method not in ("GET", "HEAD"):
                return fault(request, 401, str(error), told, search=False)
            path = request.scope["raw_path"].decode("ascii", "replace").partition("?")[0]
            return self._form(path + (f"?{request.url.query}" if request.url.query else ""), 401, "", told)
        status = 429 if isinstance(error, Wait) else 403 if isinstance(error, Refused) else 503
        return fault(request, status, str(error), {"retry-after": "60"} if status == 429 else {}, search=False)

    async def _login(self, request: Request) -> Response:
        if request.method != "POST":
            return self._form("/", 200, "")
        given = await sent(request)
        to = given.get("to", "/")
        try:
            session = await run_in_threadpool(
                self.access.login, given.get("token", ""), request.headers, _peer(request)
            )
        except Unknown:
            return self._form(to, 401, "That token does not count. Look whether you have all of it.")
        except Wait as error:
            return self._form(to, 429, str(error), {"retry-after": "60"})
        except InputError as error:
            return self._refusal(request, error)
        answer = RedirectResponse(to if _is_here(to) else "/", 303, {"cache-control": "no-store"})
        secure = self.access.came_by_https(request.headers, _peer(request))
        answer.set_cookie(COOKIE, session, HOURS * 3600, path="/", secure=secure, httponly=True, samesite="strict")
        return answer

    async def _logout(self, request: Request, person: Person) -> Response:
        if request.method != "POST" or not is_genuine(person, (await sent(request)).get("form_token", "")):
            return fault(request, 403, FORGED, search=person.role != HOLDER)
        self.access.logout(request.headers)
        answer = RedirectResponse("/login", 303, {"cache-control": "no-store"})
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return answer

    def _form(self, to: str, status: int, wrong: str, headers: dict[str, str] | None = None) -> Response:
        """The page to log in at."""
        to = to if _is_here(to) and not to.startswith(HERE) else "/"
        text = templates().get_template("login.html").render(to=to, wrong=wrong, tokens=self.access.tokens is not None)
        return Response(text, status, {"cache-control": "no-store", **(headers or {})}, "text/html; charset=utf-8")


async def sent(request: Request) -> dict[str, str]:
    """The fields of a form that was sent, the last of each name; none where it is no form."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return {}
    body = await request.body()
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100))
    except ValueError:
        return {}


def _is_here(to: str) -> bool:
    """Whether an address is one of this server's, whatever a browser makes of it."""
    return to.startswith("/") and not to.startswith("//") and "\\" not in to and to.isascii() and to.isprintable()


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""
