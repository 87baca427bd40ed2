"""Image spec: which images a checkpoint takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageSpec:
    """The images that a checkpoint takes.

    Attributes:
        height, width: In pixels.
        classes: How many there are, None if it takes none.
        prompts: Whether each image has one.
        sizes: Whether it is told an image's original size and crop, where they are known.
    """

    height: int
    width: int
    classes: int | None
    prompts: bool
    sizes: bool = False

    @property
    def columns(self) -> list[str]:
        """What a manifest must have for it."""
        return ["class"] * (self.classes is not None) + ["prompt"] * self.prompts
