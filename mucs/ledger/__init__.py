"""The ledger: a DuckDB file that keeps runs, edges, rights and statements, and a chain that commits to them."""

from mucs.ledger.chain import Entry, link
from mucs.ledger.ledger import Altered, Ledger
from mucs.ledger.load import Run, load
from mucs.ledger.prove import prove
from mucs.ledger.verify import first_fault

__all__ = [
    "Altered",
    "Entry",
    "Ledger",
    "Run",
    "first_fault",
    "link",
    "load",
    "prove",
]
