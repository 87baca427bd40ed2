"""Image spec: which images a checkpoint takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageSpec:
    """The images that a checkpoint takes: their height and width in pixels, how many classes there are, None if it takes none, and whether each has a prompt."""

    height: int
    width: int
    classes: int | None
    prompts: bool

    @property
    def columns(self) -> list[str]:
        """What a manifest must have for it."""
        return ["class"] * (self.classes is not None) + ["prompt"] * self.prompts
