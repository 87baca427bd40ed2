"""Words: what each term on a page means, and each verdict in a sentence."""

from __future__ import annotations

TERMS = {
    "generated item": "An image that the model produced.",
    "training item": "An image that the model was trained on, with what its manifest says of it.",
    "edge": "A measured tie between a generated item and a training item, with its score and rank.",
    "rank": "The place of a training item among all that were compared with a generated item; 1 is the best.",
    "score": "How much a copy of the model that was made to forget the generated item forgot the training item as well; from −1 to 1."
    " A high score is no proof of cause: an image that caused the generated one and one that only resembles it can both score high.",
    "error": "The standard error of a score: how much it would change if it were measured under other random noise.",
    "p": "Of images that the model never saw, the share that scores at least as high. A small one says that chance alone rarely gives such"
    " a score.",
    "decoy p": "Of unseen images that were forgotten instead, the share for which this very training item scores at least as high.",
    "decoy z": "How far a score lies above what the same training item scores for images that it has nothing to do with, in standard"
    " deviations.",
    "verdict": "What the attribution of a generated item comes to: above chance, within chance, not compared, or not converged.",
    "above chance": "At least one of the ten best edges has a p of 0.05 or less. Each is taken alone, so this is a weak test: many images"
    " that the model never made would pass it too.",
    "within chance": "None of the ten best edges has a p of 0.05 or less.",
    "not compared": "There were no images to compare with, so nothing says what chance alone would give.",
    "not converged": "The copy of the model did not forget the generated item, so its scores say nothing certain.",
    "share": "The part of what was attributed that falls to somebody. Each generated item weighs the same and is divided among its best"
    " edges in proportion to their positive scores.",
    "exposure": "How much of what was generated rests on a rights holder's works.",
    "standing": "How the rights in an image stand on a day: granted, opted out, lapsed, or not yet.",
    "run": "One attribution of a batch of generated items: inputs, settings, code and results, named by the SHA-256 of its record.",
    "speaks": "Of several runs that know a generated item, the latest that was not withdrawn speaks for it.",
    "control": "An item whose cause is known, attributed with the others to see whether the method finds it.",
    "gate": "A check that data must pass before they are used.",
    "statement": "What each rights holder is owed for a month under a contract, and why.",
    "line": "One holder's share of one pot in a statement.",
    "pot": "A sum of money that a contract divides: for training, or for output.",
    "basis": "Why a line is there: equal division, attribution, the contract's fallback, or the reason for which it is held back.",
    "score mass": "The sum of the scores that a line rests on.",
    "carried out": "What is owed and not paid yet, because it is below the contract's least payment or is held back.",
    "as of": "Answer from what was known at that time: runs, rights and statements that were recorded later do not count.",
    "log": "The chain of entries that everything here was made from; each holds the SHA-256 of the one before it.",
    "SHA-256": "A digest: another file, or another text, has another one.",
}
COLUMNS = {  # terms by the columns that they explain
    **{
        "score": "score",
        "standard_error": "error",
        "p_value": "p",
        "decoy_p_value": "decoy p",
        "decoy_z": "decoy z",
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
    },
}
HEADINGS = {
    **{
        "generated": "generated item",
        "training": "training item",
        "standard_error": "error",
        "p_value": "p",
        "decoy_p_value": "decoy p",
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
    **{"opened_at": "opened", "changed_at": "last step", "position": "entry"},
}
VERDICTS = {
    "above chance": "Something stands out: at least one training image scores higher for this image than chance would often give.",
    "within chance": "Nothing stands out from chance. The images below are the most alike by this measure, and no more is known of them.",
    "not compared": "Scores were measured, but nothing to compare them with, so nobody can say what chance alone would give.",
    "not converged": "The measurement did not come to its end for this image. Do not rely on what is listed below.",
}
STANDINGS = {
    "granted": "a licence is in force today",
    "opted out": "the rights holder has opted out",
    "lapsed": "a licence was granted, and is over",
    "not yet": "a licence is granted for later days only",
}
