"""Inputs: what an audit and a calibration are of, pulled and validated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.pull import Pulled, pull
from tasks.validate import Takes, Validation, validate_checkpoint, validate_training


@dataclass(frozen=True)
class Inputs:
    """A checkpoint, its training set, and a held-out set if there is one, past their gates. takes: what images the model does."""

    checkpoint: Pulled
    training: Pulled
    held_out: Pulled | None
    takes: Takes
    validations: list[Validation]


def pull_inputs(
    registry: str,
    revision: str,
    checkpoint: str,
    training_set: str,
    held_out: str | None,
    licences: list[str],
    cache: Path,
) -> Inputs:
    """Inputs from their folders in a registry; all are as `audit` takes them. Raises InputError for what cannot be used."""
    model = pull(registry, revision, checkpoint, cache)
    training = pull(registry, revision, training_set, cache)
    reserve = pull(registry, revision, held_out, cache) if held_out else None
    validations, takes = validate_checkpoint(model, cache)
    validations += validate_training(training, "training set", takes, licences, cache)
    if reserve:
        validations += validate_training(reserve, "held-out set", takes, licences, cache)
    return Inputs(model, training, reserve, takes, validations)
