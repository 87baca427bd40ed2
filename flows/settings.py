"""Settings as a flow's parameter: in Prefect and its deployments they have the flat form that a run's record has, None for the defaults."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from mucs.attribution.settings import DEFAULTS, Settings


def read(given: Any) -> Settings:
    """The settings themselves, or as flat JSON; InputError if they are neither, or cannot be used."""
    return given if isinstance(given, Settings) else Settings.from_record(given)


SCHEMA = {
    "type": "object",
    "title": "Settings",
    "properties": {name: {"title": name, "default": value} for name, value in DEFAULTS.items()},
    "additionalProperties": False,
}
GivenSettings = Annotated[Settings, PlainValidator(read), WithJsonSchema(SCHEMA)]
