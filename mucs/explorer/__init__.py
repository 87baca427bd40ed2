"""The explorer: everything that a ledger knows, as pages, JSON and CSV; and pictures that are sent to be attributed."""
