"""Exports: what the ledger knows, in the formats of others."""
