"""Plots of what a study found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mucs.evaluation.metrics import Estimate
from mucs.files import replacing


def _figure(width: float, height: float) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot as plt

    with replacing(path) as partial:
        figure.savefig(partial, dpi=120, metadata={"Software": None})
    plt.close(figure)


def draw_estimates(found: Mapping[str, Estimate], nothing: float, what: str, path: Path) -> None:
    """Each method's estimate with its interval, best on top.

    Args:
        found: Estimates by method.
        nothing: The value that says nothing, as a line.
        what: What the axis shows.
        path: The picture's file.
    """
    names = sorted(found, key=lambda name: found[name].value)
    figure, axes = _figure(6, 0.6 + 0.28 * len(names))
    for k, name in enumerate(names):
        value, low, high = found[name]
        axes.plot([low, high], [k, k], color="0.6", linewidth=2)
        axes.plot([value], [k], "o", color="C3" if name.startswith("MUCS") else "C0")
    axes.axvline(nothing, color="0.3", linewidth=0.8, linestyle="--")
    axes.set(xlabel=what, yticks=range(len(names)), yticklabels=names)
    _save(figure, path)


def draw_matrix(values: Tensor, names: list[str], what: str, path: Path) -> None:
    """A square table as colours, with its numbers where they are few."""
    size = 1.5 + 0.42 * len(names)
    figure, axes = _figure(size + 1, size)
    image = axes.imshow(values.numpy(), vmin=0, vmax=1, cmap="viridis")
    axes.set(xticks=range(len(names)), yticks=range(len(names)), yticklabels=names)
    axes.set_xticklabels(names, rotation=90)
    if len(names) <= 16:
        for i, row in enumerate(values.tolist()):
            for j, value in enumerate(row):
                axes.text(j, i, f"{value:.1f}", ha="center", va="center", fontsize=6, color="w" if value < 0.6 else "k")
    figure.colorbar(image, label=what)
    _save(figure, path)


def draw_examples(generated: Tensor, images: Tensor, best: Tensor, path: Path) -> None:
    """A row for each generated image, and right of it the training images that stand highest: (G, 3, H, W), (N, 3, H, W), (G, k)."""
    figure, axes = _figure(0.55 * (best.shape[1] + 1.4), 0.55 * len(generated))
    axes.axis("off")
    side = generated.shape[-1]
    for k, (made, row) in enumerate(zip(generated, best, strict=True)):
        for column, image in enumerate([made, *images[row]]):
            left = column * (side + 1) + (side // 2 if column else 0)
            top = -k * (side + 1)
            shown = (image.permute(1, 2, 0) + 1) / 2
            axes.imshow(shown.clamp(0, 1).numpy(), extent=(left, left + side, top - side, top), interpolation="nearest")
    width = (best.shape[1] + 1) * (side + 1) + side // 2
    axes.set(xlim=(0, width), ylim=(-len(generated) * (side + 1), 0))
    _save(figure, path)
