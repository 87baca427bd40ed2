"""A set of images with its manifest: rows, digests and pixels, opened once and handed on."""

from mucs.images.imageset import ImageSet

__all__ = ["ImageSet"]
