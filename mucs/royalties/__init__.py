"""Royalties: a contract's pots divided over works by licence and by attribution, stated to the cent."""

from mucs.royalties.contract import Contract, read_contract
from mucs.royalties.issue import issue, preview
from mucs.royalties.statement import Statement, find
from mucs.royalties.usage import Period, Usage, read_usage

__all__ = ["Contract", "Period", "Statement", "Usage", "find", "issue", "preview", "read_contract", "read_usage"]
