"""The ledger: what a log says, as tables for questions."""

from mucs.ledger.ledger import Ledger, Said
from mucs.ledger.opening import Altered
from mucs.ledger.prove import prove
from mucs.ledger.run import Run, say_run

__all__ = [
    "Altered",
    "Ledger",
    "Run",
    "Said",
    "prove",
    "say_run",
]
