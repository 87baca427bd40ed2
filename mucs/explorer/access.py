"""Access: who a request comes from, by his token, his login, a proxy's word, or because he sits at this machine."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TypeAlias

from starlette.datastructures import Headers

from mucs import InputError
from mucs.explorer.roles import HOLDER, ROLES, STAFF, Person
from mucs.explorer.tokens import Token, Tokens
from mucs.text import is_fit
from mucs.written import one_name

COOKIE = "mucs_session"
HOURS = 12  # that a login lasts
TRIES, SECONDS = 10, 60.0  # wrong tokens from one address, and in what time, after which it has to wait
MOST_ADDRESSES = 10_000  # whose tries are remembered
GROUP = re.compile(rf"(?P<name>.*?\S.*?)=(?P<role>{'|'.join(ROLES)})(:(?P<holder>.+))?")
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Unknown(InputError):
    """Nobody can tell who asks. All who are not known are told the same."""


class Wait(InputError):
    """Too many wrong tokens came from this address."""


class Refused(InputError):
    """Who asks is known, and may not."""


@dataclass(frozen=True)
class Group:
    """What a group of a proxy's users is here: a role, and for the role holder which rights holder."""

    role: str
    holder: str | None

    @classmethod
    def read(cls, text: str) -> tuple[str, Group]:
        """A group's name and what it is, from `NAME=ROLE` or `NAME=holder:RIGHTS HOLDER`.

        Raises:
            InputError: For anything else.
        """
        found = GROUP.fullmatch(text)
        role, holder = (found["role"], one_name(found["holder"] or "")) if found else ("", "")
        if found is None or (role == HOLDER) != bool(holder):
            raise InputError(
                f"The group {text[:200]!r} cannot be used; write NAME=viewer, =analyst, =officer, or =holder:RIGHTS HOLDER."
            )
        return found["name"].strip(), cls(role, holder or None)


def read_network(text: str) -> Network:
    """An address, or a network as 10.0.0.0/8. Raises InputError for anything else."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise InputError(
            f"The proxy {text[:100]!r} is no address; write one as 10.0.0.7, or a network as 10.0.0.0/8."
        ) from None


@dataclass
class Access:
    """Who may come in, and how.

    Attributes:
        tokens: That count; None for none.
        proxies: Addresses whose word on who asks is believed.
        groups: What a proxy's groups are here, by name.
        local: Who everybody is where nobody has to log in; None where all have to.
    """

    tokens: Tokens | None = None
    proxies: tuple[Network, ...] = ()
    groups: Mapping[str, Group] = field(default_factory=dict)
    local: str | None = None
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _wrong: dict[str, deque[float]] = field(default_factory=dict, repr=False)  # when wrong tokens came, by address
    _left: dict[str, float] = field(
        default_factory=dict, repr=False
    )  # logins that were ended, and until when they would last

    def person(self, headers: Headers, peer: str) -> Person:
        """Who asks.

        Args:
            headers: Of the request.
            peer: The address at the other end of the socket; empty for none.

        Raises:
            Unknown: If nobody can tell.
            Wait: If too many wrong tokens came from there.
            Refused: If the proxy names somebody who has no role here.
            InputError: If the tokens cannot be read.
        """
        if self.local is not None:
            return Person(self.local, "officer", form_token=self._form_token("local"))
        if self._is_proxy(peer) and headers.get("x-forwarded-email"):
            return self._told(headers)
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return _of(self._checked(secret.strip(), headers, peer))
        session = _session(headers)
        token = self._of_session(session) if session else None
        if token is None:
            raise Unknown("Whoever asks has to say who he is: send a token as `Authorization: Bearer`, or log in.")
        return _of(token, self._form_token(session), True)

    def login(self, secret: str, headers: Headers, peer: str) -> str:
        """The session of whoever shows a token.

        Raises:
            As `person` does.
        """
        token = self._checked(secret.strip(), headers, peer)
        said = f"{token.id}.{int(time.time()) + HOURS * 3600}.{secrets.token_urlsafe(16)}"
        return f"{said}.{self._seal('session', said)}"

    def logout(self, headers: Headers) -> None:
        """End the session of a request."""
        now = time.time()
        self._left = {session: until for session, until in self._left.items() if until > now}
        self._left[_session(headers)] = now + HOURS * 3600

    def came_by_https(self, headers: Headers, peer: str) -> bool:
        """Whether the browser reached the proxy by HTTPS, as that says."""
        return self._is_proxy(peer) and headers.get("x-forwarded-proto", "").lower() == "https"

    def _is_proxy(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self.proxies)

    def _told(self, headers: Headers) -> Person:
        """Whom the proxy names."""
        emails = headers.getlist("x-forwarded-email")
        if len(emails) != 1 or not is_fit(emails[0], 320):
            raise Refused("The proxy does not name one person; have it set X-Forwarded-Email once.")
        names = [name.strip() for line in headers.getlist("x-forwarded-groups") for name in line.split(",")]
        found = {self.groups[name] for name in names if name in self.groups}
        staff = sorted((group for group in found if group.role in STAFF), key=lambda group: STAFF.index(group.role))
        if not staff and len(found) != 1:
            said = "none of your groups has a role here" if not found else "your groups are of several rights holders"
            raise Refused(f"You are known as {emails[0]}, but {said}; ask whoever runs this server.")
        group = staff[-1] if staff else found.pop()
        return Person(emails[0], group.role, group.holder, self._form_token(f"proxy {emails[0]}"))

    def _checked(self, secret: str, headers: Headers, peer: str) -> Token:
        """The token that somebody shows, unless too many wrong ones came from his address."""
        if self._is_proxy(peer):  # the last address is the one that the proxy itself saw
            peer = headers.get("x-forwarded-for", peer).rpartition(",")[2].strip()[:100]
        now, tries = time.monotonic(), self._wrong.get(peer, deque())
        while tries and tries[0] < now - SECONDS:
            tries.popleft()
        if len(tries) >= TRIES:
            raise Wait("Too many wrong tokens came from this address; wait a minute.")
        token = self.tokens.find(secret) if self.tokens else None
        if token is None:
            tries.append(now)
            self._wrong.pop(peer, None)
            while len(self._wrong) >= MOST_ADDRESSES:
                self._wrong.pop(next(iter(self._wrong)))
            self._wrong[peer] = tries
            raise Unknown("Whoever asks has to say who he is: send a token as `Authorization: Bearer`, or log in.")
        return token

    def _of_session(self, session: str) -> Token | None:
        said, _, seal = session.rpartition(".")
        if not session.isascii() or not hmac.compare_digest(seal, self._seal("session", said)):
            return None
        id, until, _ = said.split(".")
        if time.time() >= int(until) or session in self._left or self.tokens is None:
            return None
        return self.tokens.called(id)

    def _form_token(self, session: str) -> str:
        return self._seal("form", session)

    def _seal(self, what: str, said: str) -> str:
        """What only this process can have made."""
        return hmac.new(self._secret, f"{what} {said}".encode(), hashlib.sha256).hexdigest()


def is_genuine(person: Person, form_token: str) -> bool:
    """Whether a form that was sent in somebody's name was made for him."""
    return person.form_token is None or hmac.compare_digest(person.form_token.encode(), form_token.encode())


def _of(token: Token, form_token: str | None = None, can_log_out: bool = False) -> Person:
    return Person(token.name, token.role, token.holder, form_token, can_log_out)


def _session(headers: Headers) -> str:
    """The session of a request's cookie; empty for none."""
    cookie: SimpleCookie = SimpleCookie()
    try:
        cookie.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookie[COOKIE].value if COOKIE in cookie else ""


def read_groups(texts: Iterable[str]) -> dict[str, Group]:
    """Groups by name, from texts as `Group.read` takes them. Raises InputError if one is there twice."""
    found: dict[str, Group] = {}
    for text in texts:
        name, group = Group.read(text)
        if found.setdefault(name, group) != group:
            raise InputError(f"The group {name!r} is given twice; give it one role.")
    return found
