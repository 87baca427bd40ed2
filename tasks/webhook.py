"""Webhook: tell a receiver of an event, signed so that it knows who says it (Standard Webhooks 1.0)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mucs import InputError, __version__
from mucs.outbox import Event
from mucs.text import first_line

if TYPE_CHECKING:
    import httpx

SECONDS = 15.0  # that a receiver may take
VARIABLE = "MUCS_WEBHOOK_SECRET"
PREFIX = "whsec_"
LEAST, MOST = 24, 64  # bytes of a secret
GONE = 410  # the status by which a receiver says that it wants no more


@dataclass(frozen=True)
class Outcome:
    """What became of a try: fault is None where the receiver has it; over says that it wants no more."""

    fault: str | None = None
    over: bool = False


def read_secret(text: str | None) -> bytes:
    """The secret that messages are signed with.

    Args:
        text: `whsec_` and 24 to 64 bytes in base64.

    Raises:
        InputError: If it is not that; it is not shown.
    """
    try:
        found = base64.b64decode((text or "").removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not text or not text.startswith(PREFIX) or not LEAST <= len(found) <= MOST:
        raise InputError(
            f"{VARIABLE} must be {PREFIX} and {LEAST} to {MOST} random bytes in base64; make one with"
            f" `echo {PREFIX}$(openssl rand -base64 32)`, and tell it to the receiver."
        )
    return found


def read_url(text: str) -> str:
    """A receiver's address.

    Raises:
        InputError: Unless it is one of https, or of http on this machine.
    """
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not text.isascii() or not text.isprintable() or " " in text:
        raise InputError(f"{text!r} is no address of a receiver; give one such as https://example.org/mucs.")
    if parts.username or parts.password:
        raise InputError("A receiver's address must hold no name or password; the signature says who sends.")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise InputError(f"What goes to {host} must be encrypted; give an address of https.")
    return text


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def signature(secret: bytes, id: str, at: int, body: bytes) -> str:
    """What shows that a message comes from whoever has the secret. at: seconds of Unix time."""
    signed = hmac.digest(secret, f"{id}.{at}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"


def send(client: httpx.Client, url: str, event: Event, *, secret: bytes) -> Outcome:
    """Tell a receiver of an event; whatever it answers, nothing is raised for it."""
    import httpx

    body = json.dumps({"type": event.type, "timestamp": event.at, "data": event.data}).encode()
    at = int(time.time())
    headers = {
        "content-type": "application/json",
        "user-agent": f"mucs/{__version__}",
        "webhook-id": event.id,
        "webhook-timestamp": str(at),
        "webhook-signature": signature(secret, event.id, at, body),
    }
    try:
        with client.stream(
            "POST", url, content=body, headers=headers, timeout=SECONDS, follow_redirects=False
        ) as answer:
            status = answer.status_code  # what else it says is not read
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Outcome(f"it does not answer ({first_line(error)})")
    if 200 <= status < 300:
        return Outcome()
    return Outcome(f"it answers {status}", over=status == GONE)
