"""Pages for people: each one HTML file that needs no other."""

from mucs.report.audit import audit_page

__all__ = ["audit_page"]
