"""Words: how columns are headed on a page, which term explains each, and how rights stand, in words."""

from __future__ import annotations

COLUMNS = {  # terms by the columns that they explain
    **{
        "score": "score",
        "standard_error": "error",
        "p_value": "p",
        "decoy_p_value": "decoy p",
        "decoy_z": "decoy z",
        "tie_p_value": "tie p",
        "rank": "rank",
    },
    **{
        "best_rank": "rank",
        "verdict": "verdict",
        "share": "share",
        "standing": "standing",
        "standing_today": "standing",
        "run": "run",
    },
    **{
        "above_chance": "above chance",
        "basis": "basis",
        "score_mass": "score mass",
        "carried_out": "carried out",
        "line": "line",
    },
    **{
        "statement": "statement",
        "edges": "edge",
        "right_type": "pot",
        "generated": "generated item",
        "training": "training item",
        "predicted": "predicted",
        "low": "predicted",
        "high": "predicted",
        "among_best": "among the best",
    },
}
HEADINGS = {
    **{
        "generated": "generated item",
        "training": "training item",
        "standard_error": "error",
        "p_value": "p",
        "decoy_p_value": "decoy p",
        "tie_p_value": "tie p",
    },
    **{
        "generated_items": "generated items",
        "right_type": "pot",
        "sha256": "SHA-256",
        "recorded_at": "recorded",
        "loaded_at": "loaded",
    },
    **{
        "issued_at": "issued",
        "standing_today": "rights today",
        "holder_today": "holder today",
        "training_sha256": "image",
    },
    **{"among_best": "among the best", "measured_rank": "measured rank", "measured_score": "measured score"},
    **{"opened_at": "opened", "changed_at": "last step", "position": "entry"},
}
STANDINGS = {
    "granted": "a licence is in force today",
    "opted out": "the rights holder has opted out",
    "lapsed": "a licence was granted, and is over",
    "not yet": "a licence is granted for later days only",
}
