"""`python -m flows.cli` is the `mucs` command."""

from flows.cli import main

main()
