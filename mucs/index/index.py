"""An index: vectors of a training set, the ranker over them, and how far off that was."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mucs import InputError
from mucs.attribution.missed import Expected
from mucs.index.errors import Band, Measured, band_of, bands, measured
from mucs.index.ranker import LEAST, Ranker, choose, fit
from mucs.index.vectors import Projection
from mucs.parse import load_json
from mucs.ranks import spearman

DIMENSIONS = 64


@dataclass(frozen=True)
class Provisional:
    """What is said of one training item, before anything was measured.

    Attributes:
        item: Its row in the training set.
        rank: From 1.
        likeness: Of its vector and the picture's, in [-1, 1].
        predicted: The score that it is likely to have; None where the index knows likeness alone.
        low, high: Between which nine of ten measured scores lay at this rank.
        among_best: The share that was among the measured best at this rank.
    """

    item: int
    rank: int
    likeness: float
    predicted: float | None
    low: float | None
    high: float | None
    among_best: float | None


@dataclass(frozen=True, eq=False)
class Index:
    """An index.

    Attributes:
        projection: Takes a vector of the checkpoint to the index's.
        middle: (r,) float32, the mean of the training items' projected vectors.
        items: (N, r) float32, these less their mean; may be mapped from a file.
        ranker: None where too few pictures were scored, so that items are ranked by likeness.
        bands: The errors by rank; none without a ranker.
        measured: How well left-out pictures were told; None without a ranker.
        queries: SHA-256 of the manifest rows of the pictures that it was fitted to, in order.
        about: SHA-256 of the checkpoint, the training set and so on, by name; an index speaks for these alone.
    """

    projection: Projection
    middle: Tensor
    items: Tensor
    ranker: Ranker | None
    bands: tuple[Band, ...]
    measured: Measured | None
    queries: tuple[str, ...]
    about: Mapping[str, str]

    def ask(self, vector: Tensor, count: int) -> list[Provisional]:
        """What is behind a picture, provisionally.

        Args:
            vector: The picture's, (F,) float32, as `vectors` gives it.
            count: How many training items, the best first; all where there are fewer.

        Raises:
            InputError: If the vector is of another length, or not finite.
        """
        if vector.shape != self.projection.center.shape or not vector.isfinite().all():
            raise InputError(
                f"The picture's vector is of shape {tuple(vector.shape)} and the index takes {tuple(self.projection.center.shape)},"
                " finite; make the index anew with `mucs index`."
            )
        query = self.projection(vector[None])
        predicted = self.predict(query)[0]
        found = predicted.topk(min(count, len(predicted)))
        order = sorted(zip((-found.values).tolist(), found.indices.tolist(), strict=True))  # ties by place
        chosen = torch.tensor([item for _, item in order])
        alike = (self.items[chosen] + self.middle) @ query[0]
        return [
            self._provisional(item, rank, near, -negative)
            for rank, (near, (negative, item)) in enumerate(zip(alike.tolist(), order, strict=True), start=1)
        ]

    def expected(self, vector: Tensor) -> Expected:
        """What to expect of all training items for a picture, from its vector (F,)."""
        scores = self.predict(self.projection(vector[None]))[0]
        return Expected(scores, self.ranker.means if self.ranker else torch.zeros_like(scores))

    def predict(self, queries: Tensor) -> Tensor:
        """Predicted scores, or likeness where there is no ranker: projected vectors (Q, r) to (Q, N) float32."""
        return self.ranker.predict(queries, self.items) if self.ranker else queries @ self.items.T

    def _provisional(self, item: int, rank: int, likeness: float, predicted: float) -> Provisional:
        if self.ranker is None:
            return Provisional(item, rank, likeness, None, None, None, None)
        band = band_of(rank, self.bands)
        return Provisional(
            item, rank, likeness, predicted, predicted + band.low, predicted + band.high, band.among_best
        )

    def check(self, about: Mapping[str, str]) -> None:
        """See whether it speaks for what is asked.

        Raises:
            InputError: If it is of another checkpoint, training set, settings or code.
        """
        for name, sha256 in about.items():
            if self.about.get(name) != sha256:
                raise InputError(f"The index is of another {name.replace('_', ' ')}; make one with `mucs index`.")

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        tensors = {
            "center": self.projection.center,
            "basis": self.projection.basis,
            "middle": self.middle,
            "items": self.items,
        }
        if self.ranker:
            tensors |= {"means": self.ranker.means, "towards": self.ranker.towards}
        said = {
            "about": dict(self.about),
            "queries": self.queries,
            "bands": [asdict(band) for band in self.bands],
            "measured": self.measured and asdict(self.measured),
        }
        return save({name: each.contiguous() for name, each in tensors.items()}, {"index": json.dumps(said)})

    @classmethod
    def read(cls, path: str | Path) -> Index:
        """Read an index as `to_bytes` gives it; its vectors are mapped.

        Raises:
            InputError: If it is not one.
        """
        try:
            with safe_open(path, "pt") as f:
                said = load_json(f.metadata()["index"])
                there = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 (it has no iterator)
            ranker = Ranker(there["means"], there["towards"]) if "means" in there else None
            made = cls(
                Projection(there["center"], there["basis"]),
                there["middle"],
                there["items"],
                ranker,
                tuple(Band(**band) for band in said["bands"]),
                Measured(**(said["measured"] | {"recall": tuple(said["measured"]["recall"])})) if ranker else None,
                tuple(said["queries"]),
                said["about"],
            )
            if not made._fits() or not all(bool(each.isfinite().all()) for each in there.values()):
                raise ValueError
        except (OSError, SafetensorError, LookupError, TypeError, ValueError, AttributeError):
            raise InputError(f"{path} is not an index; make it anew with `mucs index`.") from None
        return made

    def _fits(self) -> bool:
        """Whether its parts are of one size."""
        count, size = self.items.shape
        fits = self.projection.basis.shape == (len(self.projection.center), size) and self.middle.shape == (size,)
        if self.ranker is None:
            return fits
        covers = bool(self.bands) and self.bands[-1].last >= count
        return fits and covers and self.ranker.means.shape == (count,) and self.ranker.towards.shape == (size, size)


def build(
    projection: Projection,
    items: Tensor,
    queries: Tensor,
    scores: Tensor,
    names: Sequence[str],
    about: Mapping[str, str],
) -> tuple[Index, Tensor]:
    """Fit an index.

    Args:
        projection: What vectors are projected by.
        items: Projected vectors of the training items, (N, r) float32.
        queries: Of pictures that were scored, (Q, r) float32.
        scores: What all training items scored for them, (Q, N) float32.
        names: SHA-256 of the pictures' manifest rows, Q of them.
        about: What the index is of.

    Returns:
        The index, and what each picture is predicted to score where it is left out, (Q, N); fewer than 8 pictures are not fitted to, and
        likeness stands there.

    Raises:
        InputError: If vectors or scores are not finite.
    """
    if not all(bool(each.isfinite().all()) for each in (items, queries, scores)):
        raise InputError("Vectors or scores are not finite; see whether the checkpoint's weights are.")
    middle = items.double().mean(dim=0).float()
    centred = items - middle
    alike = queries @ centred.T
    if len(scores) < LEAST:
        return Index(projection, middle, centred, None, (), None, (), dict(about)), alike
    ridge, predicted = choose(centred, queries, scores)
    others = (scores.sum(dim=0) - scores) / (len(scores) - 1)
    told = measured(predicted, scores, alike, others)
    ranker = fit(centred, queries, scores, ridge)
    made = Index(projection, middle, centred, ranker, bands(predicted, scores), told, tuple(names), dict(about))
    return made, predicted


def is_better(old: Index, predicted: Tensor, queries: Tensor, scores: Tensor, names: Sequence[str]) -> bool:
    """Whether a new index ranks pictures better that the old one was not fitted to; each is left out where it is predicted.

    Args:
        old: The one that is used now.
        predicted: What the new one predicts for pictures that it leaves out, (Q, N), as `build` gives it.
        queries: Their vectors as the old one projects them, (Q, r).
        scores: What was measured, (Q, N).
        names: SHA-256 of the pictures' manifest rows.
    """
    known = set(old.queries)
    new = torch.tensor([k for k, name in enumerate(names) if name not in known], dtype=torch.int64)
    if not len(new):
        return False
    by_old, by_new = (float(spearman(each, scores[new]).mean()) for each in (old.predict(queries[new]), predicted[new]))
    return by_new > by_old
