"""The gate: what every request must hold to before a page sees it, and what every answer carries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

from mucs.explorer.address import inner

MOST_URL, MOST_BODY = 8192, 65_536  # bytes
HOSTS = ("127.0.0.1", "localhost", "[::1]")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
FREE = ("pictures", "static", "v1")  # where a name's ending is part of it
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]


class Gate:
    """An ASGI application in front of another.

    It refuses hosts that are not this machine's own, so that no page from elsewhere reaches it by a name that it pointed here; what is
    longer than a question ever is; and whatever would change something. It routes names that have slashes in them.

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

        refused = self._refused(scope)
        if refused:
            status, sentence = refused
            head = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            await sending({"type": "http.response.start", "status": status, "headers": head})
            return await sending({"type": "http.response.body", "body": f"{sentence}\n".encode()})
        raw = scope.get("raw_path") or scope["path"].encode()
        path, form = inner(raw.partition(b"?")[0])
        if form and path.split("/", 2)[1:2] and path.split("/", 2)[1] in FREE:
            path, form = f"{path}.{form}", None
        return await self.app({**scope, "path": path, "form": form}, receive, sending)

    def _refused(self, scope: dict[str, Any]) -> tuple[int, str] | None:
        """Why a request is refused, if it is."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
        if name not in self.hosts:
            return (
                421,
                "This server does not go by that name; open it under the address that it printed when it started.",
            )
        if scope["method"] not in ("GET", "HEAD"):
            return 405, "These pages can only be read."
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MOST_URL:
            return 414, f"The address is longer than {MOST_URL} bytes; ask for less."
        length = headers.get(b"content-length", b"0")
        if b"transfer-encoding" in headers or not length.isdigit() or int(length) > MOST_BODY:
            return 413, "The request has a body that is too large."
        return None
