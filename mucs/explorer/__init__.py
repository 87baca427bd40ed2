"""The explorer: everything that a ledger knows, as pages, JSON and CSV. It only reads."""
