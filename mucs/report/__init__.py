"""Pages for people: each one HTML file that needs no other."""

from mucs.report.audit import COUNTED, audit_page

__all__ = ["COUNTED", "audit_page"]
