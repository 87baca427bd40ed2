"""Validate: gates over manifests, images and checkpoint; the first failure stops the run."""

from tasks.validate.checkpoint import try_out, validate_checkpoint
from tasks.validate.image_spec import ImageSpec
from tasks.validate.images import validate_generated, validate_training
from tasks.validate.suite import GateFailed, Validation, to_json

__all__ = [
    "GateFailed",
    "ImageSpec",
    "Validation",
    "to_json",
    "try_out",
    "validate_checkpoint",
    "validate_generated",
    "validate_training",
]
