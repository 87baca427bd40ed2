"""Registry: make one, and add a checkpoint or a set of images to it, past the gates that an audit has for them."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mucs import InputError
from mucs.images import ImageSet
from mucs.images.compose import COLUMNS, compose, write_set
from mucs.images.shards import find_shards
from mucs.text import for_terminal, is_fit
from tasks.prepare import opened
from tasks.pull import Pulled, as_pulled, bearing_on, pull
from tasks.register import changing, check_tag, init_registry, keep
from tasks.registry import open_registry
from tasks.validate import ImageSpec, validate_checkpoint, validate_generated, validate_training

log_of_registry = logging.getLogger("mucs.registry")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
OF_TRAINING = ("rights_holder", "licence", "date")
FILLED = tuple(name for name in COLUMNS if name not in ("id", "file_name"))
# what can be added: what sentences call it, and what its manifest must say besides the model's own columns
KINDS = {
    "checkpoint": ("checkpoint", ()),
    "train": ("training set", OF_TRAINING),
    "held_out": ("held-out set", OF_TRAINING),
    "generated": ("generated batch", ("seed",)),
}


@dataclass(frozen=True)
class Addition:
    """What is to be added to a registry.

    Attributes:
        name: Its folder there.
        source: The folder that it is added from.
        kind: Of `KINDS`; None where the name is one.
        table: Names the images, as `compose` takes it; so do the next two.
        columns: What the table calls columns of a manifest.
        fill: Values for images of which the table says none.

    Raises:
        InputError: If one of them cannot be used.
    """

    name: str
    source: Path
    kind: str | None = None
    table: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    fill: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise InputError(
                f"{for_terminal(self.name, 100)!r} is no name for a folder in a registry; use letters, digits, . _ and -."
            )
        if self.of_kind not in KINDS:
            raise InputError(
                f"What {self.name} is cannot be told from its name; say it with --as {' or '.join(KINDS)}."
            )
        if not self.source.is_dir():
            raise InputError(f"There is no folder {self.source}; give the one that is to be {self.name}.")
        for name, value in self.fill.items():
            if name not in FILLED or not value or not is_fit(value):
                raise InputError(
                    f"--fill {name}={for_terminal(value, 60)} says nothing; give a value for {', '.join(FILLED)}."
                )
        if self.is_as_it_is and (self.table or self.columns or self.fill):
            what = "A checkpoint has" if self.of_kind == "checkpoint" else f"The Parquet files in {self.source} have"
            raise InputError(f"{what} no use for a table or its columns; leave out --csv, --fill and --…-column.")

    @property
    def of_kind(self) -> str:
        """What it is."""
        return self.kind or self.name

    @property
    def is_as_it_is(self) -> bool:
        """Whether its files are taken as they are, for they have no manifest, or have it in them."""
        return self.of_kind == "checkpoint" or bool(find_shards(self.source))


@dataclass(frozen=True)
class Added:
    """What came of an addition.

    Attributes:
        name, kind: As they were given.
        commit: The registry's commit that has it.
        is_new: Whether it was not in the registry, or not so.
        images: How many, None for a checkpoint.
        rights_holders: How many different ones.
        licences: All that they have.
    """

    name: str
    kind: str
    commit: str
    is_new: bool
    images: int | None = None
    rights_holders: int = 0
    licences: tuple[str, ...] = ()


def init(registry: Path, remote: str, checkpoint: Path | None, cache: Path) -> bool:
    """Make a registry, and add a checkpoint to it.

    Args:
        registry: A folder that is empty, or not there.
        remote: `s3://bucket/prefix`, where DVC is to keep the bytes.
        checkpoint: The checkpoint's folder; None for none yet.
        cache: Where results of gates are kept.

    Returns:
        Whether anything was made or added.

    Raises:
        InputError: As `init_registry` and `add` do.
    """
    addition = None if checkpoint is None else Addition("checkpoint", checkpoint)
    made = init_registry(registry, remote)
    return (addition is not None and add(registry, addition, cache).is_new) or made


def add(
    registry: Path, addition: Addition, cache: Path, checkpoint: str = "checkpoint", tag: str | None = None
) -> Added:
    """Validate a folder as an audit will, push it to the registry's remote, and commit it.

    It can be killed at any moment: the registry has all of it or nothing, and the same call goes on.

    Args:
        registry: The registry's folder.
        addition: What is to be added; what has its name in the registry stays in the commits before.
        cache: Where results of gates are kept, and what is pulled for them.
        checkpoint: The checkpoint whose images they are, in the registry.
        tag: What Git is to call the commit.

    Raises:
        GateFailed: If it does not pass its gate.
        InputError: If anything cannot be used. In either case the registry is as it was.
    """
    with changing(registry) as copy:
        if tag:
            check_tag(registry, tag)
        spec = None if addition.of_kind == "checkpoint" else spec_of(registry, checkpoint, cache)
        place = copy / addition.name
        log_of_registry.info("copy      %s", addition.source)
        stage(addition, spec, place)
        pulled = as_pulled(place)
        log_of_registry.info("validate  %s: %d files, %.1f MB", addition.name, pulled.files, pulled.bytes / 1e6)
        validate(addition, spec, pulled, cache)
        found = {} if spec is None else told_by(addition, pulled)
        before = open_registry(str(registry), "HEAD", "").commit
        log_of_registry.info("push      %s to the registry's remote", addition.name)
        commit = keep(registry, copy, [addition.name], f"Add {addition.name}", tag)
        return Added(addition.name, addition.of_kind, commit, commit != before, **found)


def spec_of(registry: Path, checkpoint: str, cache: Path) -> ImageSpec:
    """Which images the registry's checkpoint takes. Raises InputError if there is none that can be used."""
    if not bearing_on(open_registry(str(registry), "HEAD", checkpoint), checkpoint):
        raise InputError(
            f"{registry} has no checkpoint {for_terminal(checkpoint, 100)!r} yet, which says what images it takes; add it"
            " first, with `mucs registry add checkpoint FOLDER`."
        )
    return validate_checkpoint.fn(pull.fn(str(registry), "HEAD", checkpoint, cache), cache)[1]


def stage(addition: Addition, spec: ImageSpec | None, to: Path) -> None:
    """Copy what is to be added to where it is put under DVC, with the manifest that it needs."""
    if spec is None or addition.is_as_it_is:
        shutil.copytree(addition.source, to, ignore=shutil.ignore_patterns(".*"))
        return
    needed = (*KINDS[addition.of_kind][1], *spec.columns)
    rows = compose(addition.source, addition.table, addition.columns, addition.fill, needed)
    write_set(addition.source, rows, to)


def validate(addition: Addition, spec: ImageSpec | None, pulled: Pulled, cache: Path) -> None:
    """Gate what is to be added; any licence will do, as an audit says which may be. Raises GateFailed."""
    if spec is None:
        validate_checkpoint.fn(pulled, cache)
    elif addition.of_kind == "generated":
        validate_generated.fn(pulled, spec, cache)
    else:
        what = KINDS[addition.of_kind][0]
        validate_training.fn(pulled, what, spec, distinct(opened(pulled, what), "licence"), cache)


def told_by(addition: Addition, pulled: Pulled) -> dict[str, Any]:
    """What a set of images is, in figures."""
    images = opened(pulled, KINDS[addition.of_kind][0])
    holders, licences = (distinct(images, name) for name in ("rights_holder", "licence"))
    return {"images": len(images), "rights_holders": len(holders), "licences": tuple(licences)}


def distinct(images: ImageSet, column: str) -> list[str]:
    """A column's different values, sorted."""
    return sorted({value for value in images.column(column) if value is not None})
