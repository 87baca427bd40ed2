"""Roles: who somebody is to the explorer, and what he may ask of it."""

from __future__ import annotations

from dataclasses import dataclass

STAFF = ("viewer", "analyst", "officer")  # each may do what those before it may, and more
HOLDER = "holder"  # a rights holder, who sees what is his own, on pages of his own
ROLES = (*STAFF, HOLDER)
ASKING = ("/attribute", "/v1/attributions")  # what is sent there changes nothing that is on record


@dataclass(frozen=True)
class Person:
    """Who asks.

    Attributes:
        name: As entries of the log name him.
        role: One of ROLES.
        holder: Of the role holder, the rights holder that he is.
        form_token: What his forms carry, so that no other site can send one in his name; None where none is needed, as of a program
            that sends its token with each request.
        can_log_out: Whether he logged in here, and can log out.
    """

    name: str
    role: str
    holder: str | None = None
    form_token: str | None = None
    can_log_out: bool = False

    def may(self, role: str) -> bool:
        """Whether he may do what a role of STAFF may."""
        return self.role in STAFF and STAFF.index(self.role) >= STAFF.index(role)


def needed(method: str, path: str, form: str | None) -> str:
    """The least role of STAFF that may make a request.

    Args:
        method: Of HTTP.
        path: As the gate routes it.
        form: What the path ended in, such as `json`; None for nothing.
    """
    first, _, rest = path.lstrip("/").partition("/")
    if method not in ("GET", "HEAD"):
        return "analyst" if path in ASKING else "officer"
    takes_out = (
        form == "csv" or first == "sql" or (first == "v1" and (rest.endswith("/proof") or rest.startswith("exports/")))
    )
    return "analyst" if takes_out else "viewer"
