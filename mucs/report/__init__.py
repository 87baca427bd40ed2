"""Pages for people: one self-contained HTML file a run."""

from mucs.report.audit import audit_page

__all__ = ["audit_page"]
