"""The gate: what every request must hold to before a page sees it, and what every answer carries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

from mucs import InputError
from mucs.explorer.address import inner
from mucs.images.request import MOST_BYTES

MOST_URL, MOST_BODY = 8192, 65_536  # bytes
POSTS = {  # paths that something can be sent to, and the largest body that each takes, in bytes
    "/v1/attributions": MOST_BYTES + MOST_BODY,
    "/attribute": MOST_BYTES + MOST_BODY,
    **dict.fromkeys(
        ("/login", "/logout", "/disputes", "/disputes/steps", "/withdrawals", "/rights", "/takedowns"), MOST_BODY
    ),
}
HOSTS = ("127.0.0.1", "localhost", "[::1]")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with no-referrer, browsers say of their own forms that these come from `null`
    "cross-origin-resource-policy": "same-origin",
}
FREE = ("pictures", "static", "v1")  # where a name's ending is part of it
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]


class TooLarge(InputError):
    """More was sent than is taken."""


class Gate:
    """An ASGI application in front of another.

    It refuses hosts that are not this machine's own, so that no page from elsewhere reaches it by a name that it pointed here; what is
    longer than what is taken; and whatever would change something, unless it comes to one of `POSTS` and not from another site's page.
    It routes names that have slashes in them.

    Args:
        app: The other.
        hosts: Names that this server goes by.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], hosts: Iterable[str] = HOSTS) -> None:
        self.app, self.hosts = app, frozenset(hosts)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                named = {key.lower() for key, _ in message["headers"]}
                new = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in named]
                message = {**message, "headers": [*message["headers"], *new]}
            await send(message)

        raw = scope.get("raw_path") or scope["path"].encode()
        path, form = inner(raw.partition(b"?")[0])
        if form and path.split("/", 2)[1:2] and path.split("/", 2)[1] in FREE:
            path, form = f"{path}.{form}", None
        methods, most = allowed(path), POSTS.get(path, 0) if scope["method"] == "POST" else MOST_BODY
        refused = self._refused(scope, methods, most)
        if refused:
            status, sentence = refused
            head = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            head += [(b"allow", ", ".join(methods).encode())] if status == 405 else []
            await sending({"type": "http.response.start", "status": status, "headers": head})
            return await sending({"type": "http.response.body", "body": f"{sentence}\n".encode()})
        return await self.app({**scope, "path": path, "form": form}, bounded(receive, most), sending)

    def _refused(self, scope: dict[str, Any], methods: tuple[str, ...], most: int) -> tuple[int, str] | None:
        """Why a request is refused, if it is, where these methods are taken, with a body of at most so many bytes."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
        if name not in self.hosts:
            return (
                421,
                "This server does not go by that name; open it under the address that it printed when it started.",
            )
        method = scope["method"]
        if method == "POST" and is_from_elsewhere(headers, host):
            return 403, "This was sent by a page of another site; open this server's own page, and send it from there."
        if method not in methods:
            return 405, f"This address takes {' and '.join(methods)} alone."
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MOST_URL:
            return 414, f"The address is longer than {MOST_URL} bytes; ask for less."
        length = headers.get(b"content-length", b"0")
        chunked = b"transfer-encoding" in headers and method != "POST"  # its length is counted as it comes
        if chunked or not length.isdigit() or int(length) > most:
            return 413, too_large(most)
        return None


def allowed(path: str) -> tuple[str, ...]:
    """The methods of a path; what programs send to has no page of its own."""
    if path not in POSTS:
        return "GET", "HEAD"
    return ("POST",) if path.startswith("/v1/") else ("GET", "HEAD", "POST")


def is_from_elsewhere(headers: dict[bytes, bytes], host: str) -> bool:
    """Whether a browser says that another site's page sent this; what is no browser says nothing."""
    origin = headers.get(b"origin")
    if headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site"):
        return True
    return origin is not None and origin.decode("latin-1").lower().partition("://")[2] != host.lower()


def bounded(receive: Receive, most: int) -> Receive:
    """The same messages, until the body is longer than so many bytes: then TooLarge is raised, and no more is read."""
    length = 0

    async def receiving() -> Any:
        nonlocal length
        message = await receive()
        length += len(message.get("body", b""))
        if length > most:
            raise TooLarge(too_large(most))
        return message

    return receiving


def too_large(most: int) -> str:
    """What is said of a body that is longer than so many bytes."""
    return f"The request has a body that is too large; at most {most:,} bytes are taken here."
