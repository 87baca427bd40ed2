"""Settings: all that a run chooses of the method, and the flat JSON that records, commands and deployments write them in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mucs import InputError
from mucs.attribution.encode import Encoding
from mucs.attribution.hyperparameters import Unlearning
from mucs.attribution.losses import Scoring
from mucs.attribution.screening import Screening

MOST_NOISES = 100_000
MOST = 2**53  # whole numbers from here on cannot be told apart in JSON
LEAST = {"num_noises": 1, "recall_sample": 0, "repeats": 1, "calibration_noises": 1, "decoys": 1}
# names in a record, by part and field, where they are not the field's own
RENAMED = {
    ("screening", "stages"): "screening",
    ("unlearning", "batch_size"): "unlearning_batch_size",
    ("unlearning", "shared_noise"): "unlearning_shared_noise",
    ("unlearning", "precision"): "unlearning_precision",
    ("scoring", "shared_noise"): "scoring_shared_noise",
    ("encoding", "batch_size"): "encoding_batch_size",
    ("encoding", "precision"): "latent_precision",
}
# left out of a record where they are as in all runs before there were such settings, whose digests so stay what they are
LATER = (
    *("micro_batch_size", "gradient_checkpointing", "unlearning_precision", "efficient_attention", "eps"),
    *("encoding_batch_size", "latent_precision", "converged_at", "antithetic", "candidates", "most_missed"),
)


@dataclass(frozen=True)
class Settings:
    """The settings of a run; the defaults are the paper's, and exact.

    Attributes:
        num_noises: Entries of the noise bank.
        fraction: Share of the sampler's schedule, from its noisiest level down, that the bank covers, in (0, 1].
        seed: Of the bank and of every random stream.
        repeats: How many times each item is unlearned, each with draws of its own.
        controls: Whether to attribute a training item, and a near-duplicate of it, with the generated ones.
        recall_sample: How many generated items are scored exactly as well, to say what screening lost.
        calibration_noises: Entries of the bank on which items are compared with their decoys.
        decoys: How many a calibration is made of.
        unlearning: How an item is unlearned.
        scoring: How losses are measured and compared.
        encoding: How images and prompts are encoded.
        screening: Who is scored on the full bank; None for every training item.

    Raises:
        InputError: If a setting is out of range.
    """

    num_noises: int = 100
    fraction: float = 0.7
    seed: int = 0
    repeats: int = 1
    controls: bool = False
    recall_sample: int = 0
    calibration_noises: int = 8
    decoys: int = 32
    unlearning: Unlearning = field(default_factory=Unlearning)
    scoring: Scoring = field(default_factory=Scoring)
    encoding: Encoding = field(default_factory=Encoding)
    screening: Screening | None = None

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise InputError(f"The setting {name} is {getattr(self, name)}; give at least {least}.")
        for name, value in _flat(self).items():
            if isinstance(value, int) and abs(value) >= MOST:
                raise InputError(f"The setting {name} is {value}; give less than 2^53.")
        if self.num_noises > MOST_NOISES or not 1e-6 <= self.fraction <= 1:
            raise InputError(f"A noise bank has at most {MOST_NOISES} entries and a fraction in (0, 1]; change them.")

    def record(self) -> dict[str, Any]:
        """The settings as flat JSON, under the names that run records hold."""
        return {name: value for name, value in _flat(self).items() if name not in LATER or value != DEFAULTS[name]}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Settings:
        """Settings from flat JSON; what is left out has its default.

        Args:
            record: Values by the names that `record` gives.

        Raises:
            InputError: If a name is not known, or a value is out of range or of another kind than its default.
        """
        if not isinstance(record, Mapping):
            raise InputError(f"The settings are {record!r}; give an object of their values by name.")
        parts: dict[str, dict[str, Any]] = {"": {}, "unlearning": {}, "scoring": {}, "encoding": {}, "screening": {}}
        for name, value in record.items():
            if name not in DEFAULTS:
                raise InputError(f"{name!r} is not a setting; use one of: {', '.join(DEFAULTS)}.")
            part, of_part = PLACES[name]
            parts[part][of_part] = _of_kind(name, value)
        screening = Screening(**parts["screening"])
        return cls(
            **parts[""],
            unlearning=Unlearning(**parts["unlearning"]),
            scoring=Scoring(**parts["scoring"]),
            encoding=Encoding(**parts["encoding"]),
            screening=None if screening == Screening() else screening,
        )


def _flat(settings: Settings) -> dict[str, Any]:
    """Every setting as JSON, by its name in a record."""
    parts = {part: getattr(settings, part) if part else settings for part, _ in PLACES.values()}
    parts["screening"] = settings.screening or Screening()
    values = {name: getattr(parts[part], of) for name, (part, of) in PLACES.items()}
    values["screening"] = [list(stage) for stage in values["screening"]]
    if not isinstance(values["trainable"], str):
        values["trainable"] = list(values["trainable"])
    return values


def _of_kind(name: str, value: Any) -> Any:
    """A value from JSON as its setting holds it; InputError if it is of another kind than the default."""
    default = DEFAULTS[name]
    is_number = type(value) in (int, float)
    if is_number and (isinstance(default, float) or name == "null_loss") and abs(value) < MOST:
        return float(value)
    if name == "screening" and isinstance(value, list | tuple) and all(map(_is_stage, value)):
        return tuple((entries, float(keep)) for entries, keep in value)
    if name == "trainable" and isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return tuple(value)
    if name == "micro_batch_size" and type(value) is int:
        return value
    if type(value) is not type(default) or name == "screening":
        raise InputError(f"The setting {name} cannot be {value!r}; give a value of the kind of its default.")
    return value


def _is_stage(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and type(value[0]) is int
        and type(value[1]) in (int, float)
        and abs(value[1]) < MOST
    )


# where each name of a record belongs: its part of the settings, "" for none, and the field there
PLACES = {
    RENAMED.get((part, each.name), each.name): (part, each.name)
    for part, kind in (
        ("", Settings),
        ("unlearning", Unlearning),
        ("scoring", Scoring),
        ("encoding", Encoding),
        ("screening", Screening),
    )
    for each in dataclasses.fields(kind)
    if each.name not in ("unlearning", "scoring", "encoding", "screening")
}
DEFAULTS = _flat(Settings())
