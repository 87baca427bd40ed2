"""Prefect flows: one job of a person a file, and the `mucs` command."""
