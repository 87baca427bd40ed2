"""Data provenance for generative image models: attribution, ledger and reports."""

__version__ = "0.1.0"


class InputError(ValueError):
    """What was given cannot be used. The message is one sentence that says what is wrong and what to do."""
