"""Prefect tasks: one verb a file, thin over `mucs` and the tools."""
