"""Prefect flows: one job of a person a file, and the `mucs` command."""

from flows import traces

traces.start()  # in each process that has a flow or a task in it, also on machines of a fleet
