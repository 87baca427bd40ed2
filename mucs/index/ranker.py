"""The ranker: what a training item would score for a picture, from the vectors of both; fitted to scores that were measured.

A score is an item's mean over all pictures, and a product of both vectors besides:

    s(q, i) ≈ m_i + vᵀ_q A z_i,    A = αI + W

m_i is the mean of the scores that item i was measured to have, α the plain likeness's weight by least squares, and W a ridge
regression on the products of all pairs of coordinates, solved in closed form, as what it solves is a Kronecker product.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mucs.ranks import spearman

RIDGES = (0.3, 1.0, 3.0, 10.0, 30.0)  # against the mean square of a product of coordinates, summed over all pairs
FOLDS = 5
LEAST = 8  # pictures that were scored, from which a ranker is fitted
BLOCK = 1 << 16  # items that are gone through at once


@dataclass(frozen=True, eq=False)
class Ranker:
    """What was fitted.

    Attributes:
        means: (N,) float32, each training item's mean score.
        towards: (r, r) float32, what takes a picture's vector to the direction in which items score high for it.
    """

    means: Tensor
    towards: Tensor

    def predict(self, queries: Tensor, items: Tensor) -> Tensor:
        """Predicted scores: pictures (Q, r), training items (N, r) less their mean, to (Q, N) float32."""
        return self.means + (queries @ self.towards) @ items.T


def fit(items: Tensor, queries: Tensor, scores: Tensor, ridge: float) -> Ranker:
    """Fit a ranker.

    Args:
        items: Vectors of the training items, (N, r) float32, less their mean.
        queries: Of the pictures that were scored, (Q, r) float32 of unit length.
        scores: What was measured, (Q, N) float32.
        ridge: How strongly W is held towards 0: against the mean over its eigenvalues of what the pairs weigh.

    Returns:
        The ranker.
    """
    means = scores.double().mean(dim=0)
    general = scores.double().mean(dim=1, keepdim=True) - means.mean()
    q = queries.double()
    # what is summed over the training items goes block by block, so that nothing of Q × N or N × r is held in double precision
    square = torch.zeros(items.shape[1], items.shape[1], dtype=torch.float64)
    across = torch.zeros(len(q), items.shape[1], dtype=torch.float64)
    likeness, alike = 0.0, 0.0
    for k in range(0, len(items), BLOCK):
        block = items[k : k + BLOCK].double()
        rest = scores[:, k : k + BLOCK].double() - means[k : k + BLOCK] - general
        near = q @ block.T
        square += block.T @ block
        across += rest @ block
        likeness += float((rest * near).sum())
        alike += float(near.square().sum())
    weight = likeness / alike if alike else 0.0
    of_queries, u = torch.linalg.eigh(q.T @ q)
    of_items, v = torch.linalg.eigh(square)
    weighs = of_queries.clamp(min=0)[:, None] * of_items.clamp(min=0)
    # the rest of what plain likeness leaves: Qᵀ(E − αQZᵀ)Z
    left = u.T @ (q.T @ across - weight * (q.T @ q) @ square) @ v
    bilinear = u @ (left / (weighs + ridge * weighs.mean().clamp(min=1e-12))) @ v.T
    towards = weight * torch.eye(items.shape[1], dtype=torch.float64) + bilinear
    return Ranker(means.float(), towards.float())


def held_out(items: Tensor, queries: Tensor, scores: Tensor, ridge: float) -> Tensor:
    """What each picture is predicted to score by a ranker that was fitted without it: (Q, N) float32, arguments as `fit` takes them."""
    predicted = torch.empty(scores.shape)
    for fold in range(min(FOLDS, len(queries))):
        without = torch.arange(len(queries)) % FOLDS != fold
        ranker = fit(items, queries[without], scores[without], ridge)
        predicted[~without] = ranker.predict(queries[~without], items)
    return predicted


def choose(items: Tensor, queries: Tensor, scores: Tensor) -> tuple[float, Tensor]:
    """The ridge by which pictures that were left out are ranked best, and what it predicts for these: (Q, N)."""
    best, chosen, kept = -2.0, RIDGES[0], torch.empty(0)
    some = slice(None, None, -(-len(items) // BLOCK))  # of very many items, which agree as all do
    for ridge in RIDGES:
        predicted = held_out(items, queries, scores, ridge)
        agreed = float(spearman(predicted[:, some], scores[:, some]).mean())
        if agreed > best:
            best, chosen, kept = agreed, ridge, predicted
    return chosen, kept
