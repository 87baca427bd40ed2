"""Validate: gates over manifests, images and checkpoint; the first failure stops the run."""

from tasks.validate.checkpoint import try_out, validate_checkpoint
from tasks.validate.images import validate_generated, validate_training
from tasks.validate.suite import GateFailed, Validation, to_json
from tasks.validate.takes import Takes

__all__ = [
    "GateFailed",
    "Takes",
    "Validation",
    "to_json",
    "try_out",
    "validate_checkpoint",
    "validate_generated",
    "validate_training",
]
