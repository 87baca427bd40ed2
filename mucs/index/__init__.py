"""The index: what an item's training images would score, told at once from what others scored, with its error known.

It is fitted to MUCS scores that were measured, and says for a picture that was not attributed which training items are likely behind
it. What it says is provisional: it is never evidence, and never paid.
"""

from mucs.index.index import Index, Provisional
from mucs.index.vectors import Projection, vectors

__all__ = ["Index", "Projection", "Provisional", "vectors"]
