"""Collect: what the units of an audit came to, from the work store, as the run's record and edges need it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
from prefect import task
from prefect.cache_policies import NO_CACHE

from mucs import InputError
from mucs.files import file_sha256, replacing
from tasks.attribute import Measured, Unit, read_measured
from tasks.plan import Plan
from tasks.prepare import content_sha256
from tasks.prepared import cache_of, described
from tasks.stores import open_store

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("mucs.collect")


@dataclass(frozen=True)
class Outcome:
    """What the record of a run says of how its items were attributed, and where their results are.

    Attributes:
        plan: What they were attributed to, and how.
        units: The items that have a result.
        bank: The noise bank's file, and its SHA-256.
        trained: Names of the parameters that unlearning trained, and how many numbers they hold.
        controls: What became of them, where they were asked for.
        calibration: Which one the p-values of decoys come from, and its file; None without one.
    """

    plan: Plan
    units: tuple[Unit, ...]
    bank: Path
    bank_sha256: str
    trained: dict[str, Any]
    controls: dict[str, Any] | None
    calibration: dict[str, Any] | None
    calibration_file: Path | None

    @property
    def rows(self) -> list[dict[str, str]]:
        """Manifest rows of the items, in the order of the units."""
        batch = self.plan.images("batch")
        return [batch.row(unit.row) for unit in self.units]

    def measured(self) -> Iterator[Measured]:
        """Each item's result, one after the other, with its standing among the decoys where there is a calibration.

        A held-out image that is among the training images as well, byte for byte, was trained on, and is none of the unseen.
        """
        from mucs.attribution import Calibration

        decoys = Calibration.read(self.calibration_file) if self.calibration_file else None
        store, unseen = open_store(self.plan.work), never_trained_on(self.plan) if self.plan.held_out else None
        for unit in self.units:
            measured = read_measured(store, unit)
            assert measured is not None
            found = measured.attribution.against(decoys) if decoys else measured.attribution
            if unseen is not None and found.unseen is not None:
                found = replace(found, unseen=found.unseen.only(unseen[found.unseen.items]))
            yield replace(measured, attribution=found)


def never_trained_on(plan: Plan) -> Tensor:
    """Of each held-out image, whether it is none of the training images: (H,) bool."""
    import torch

    trained = pc.is_in(plan.images("held_out").rows["sha256"], plan.images("training").rows["sha256"])
    return ~torch.tensor(trained.to_pylist(), dtype=torch.bool)


@task(task_run_name="collect", cache_policy=NO_CACHE)
def collect(plan: Plan, units: Sequence[Unit], calibration: Path | None) -> Outcome:
    """Collect what the run record says of an audit's items.

    Args:
        plan: The audit's.
        units: Those that have a result, controls among them.
        calibration: The file of the calibration that the items are held against, if there is one.

    Raises:
        InputError: If the calibration is of other inputs or settings, or the work store does not answer.
    """
    from mucs.attribution.trainable import trainable_names

    given = described(plan)
    names = trainable_names(given.model.network, plan.settings.unlearning.trainable)
    bank = cache_of(plan) / "banks" / f"{given.bank.digest}.safetensors"
    with replacing(bank) as partial:
        partial.write_bytes(given.bank.to_bytes())
    return Outcome(
        plan=plan,
        units=tuple(unit for unit in units if not unit.is_control),
        bank=bank,
        bank_sha256=given.bank.digest,
        trained={"names": names, "count": sum(given.model.network.get_parameter(name).numel() for name in names)},
        controls=controls_record(plan, [unit for unit in units if unit.is_control]),
        calibration=calibration_record(plan, calibration) if calibration else None,
        calibration_file=calibration,
    )


def controls_record(plan: Plan, controls: Sequence[Unit]) -> dict[str, Any] | None:
    """What became of the controls: the rank of the training item that both come from; None unless both were attributed.

    A rank is None where screening dropped the item.
    """
    from mucs.attribution.controls import control_source, rank_of

    store = open_store(plan.work)
    results = [read_measured(store, unit) for unit in controls]
    if len(results) != 2 or None in results:
        return None
    training = plan.images("training")
    source = control_source(len(training), plan.settings.seed)
    itself, near_duplicate = (rank_of(source, measured.attribution) for measured in results if measured)
    said = (f"is at rank {rank}" if rank else "was dropped by screening" for rank in (itself, near_duplicate))
    log.info(
        "control   of %d training items, %s %s behind itself, and %s behind a near-duplicate of it",
        *(len(training), training.row(source)["id"], *said),
    )
    return {
        "source": training.row(source)["id"],
        "self_rank": itself,
        "near_duplicate_rank": near_duplicate,
        "training_items": len(training),
    }


def calibration_record(plan: Plan, path: Path) -> dict[str, Any]:
    """What the run record says of a calibration, by whichever version of the code it was made.

    A run is replayed with the calibration that it had.

    Raises:
        InputError: Unless it was made for the plan's inputs and settings.
    """
    from mucs.attribution import Calibration

    found = Calibration.read(path)
    if found.address != calibration_address(plan, found.code):
        raise InputError(
            f"The calibration {path} was made for other inputs or settings than the job's; make it anew with `mucs calibrate`."
        )
    return {
        "address": found.address,
        "sha256": file_sha256(path),
        "decoys": len(found.decoys),
        "noises": found.entries,
        "method_sha256": found.code,
    }


def calibration_address(plan: Plan, code: str) -> str:
    """Where the calibration of a plan's inputs and settings is kept, made by the code of that digest."""
    from mucs.attribution.calibration import calibration_address as address_of

    settings = plan.settings
    return address_of(
        described(plan).model.digest,
        content_sha256(plan.images("training")),
        content_sha256(plan.images("held_out")),
        described(plan).bank.prefix(settings.calibration_noises).digest,
        *(settings.unlearning, settings.scoring, settings.decoys, settings.seed, code),
    )
