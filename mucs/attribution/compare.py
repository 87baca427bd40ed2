"""Compare: what each entry of a noise bank says of items before and after unlearning; its mean over the bank is the score."""

from __future__ import annotations

from torch import Tensor

from mucs.attribution.losses import Done, LossTable, measure
from mucs.attribution.unlearning import Unlearned


def compared(table: LossTable, unlearned: Unlearned, which: Tensor, entries: range, done: Done | None = None) -> Tensor:
    """Hold an unlearned model's losses against the original's, or against those of the copy that learned.

    Of two antithetic copies it is half of what their losses say of each other. Where the copies' losses are those of the
    original times exp(d + s) and exp(d − s), d being what both have drifted and s the effect of the generated item, the skew
    between them is tanh s, whatever d is. Half of that is s / 2 for a small s, as is the skew of a single copy that does not drift.

    Args:
        table: The original model's losses of the items.
        unlearned: What came of unlearning.
        which: (K,) of the items.
        entries: Of the bank.
        done: Told how many more pairs are measured.

    Returns:
        (K, len(entries)) float32.
    """
    items, bank, scoring = table.items, table.bank, table.scoring
    after = measure(unlearned.model, items, scoring.second_bank(bank), which, entries, scoring, done)
    if unlearned.antithetic is None:
        return scoring.compare(table.rows(which, entries), after)
    return scoring.compare(measure(unlearned.antithetic, items, bank, which, entries, scoring, done), after) / 2
