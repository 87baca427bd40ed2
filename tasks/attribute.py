"""Attribute: run MUCS over the pulled folders, one generated item at a time; killed, it goes on where it was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

import mucs
from mucs.canonical import digest
from mucs.files import replacing
from tasks.device import choose_device, deterministic, one_thread_each
from tasks.prepare import Manifest, Prepared, manifest, prepare, read_items
from tasks.pull import Pulled

if TYPE_CHECKING:
    from mucs.attribution import Attribution, Calibration, Controls, Items, Settings

log = logging.getLogger("mucs.attribute")

OF_A_RUN = ("controls", "recall_sample", "decoys")  # settings that change nothing of what is kept for an item


@dataclass(frozen=True)
class Outcome:
    """Where an attribution's files lie, and what the run record says of it.

    bank: the noise bank's file. items: one result file a generated item, in the order asked for, which no calibration
    had a part in.
    nondeterministic: operations that torch has no deterministic form of here. trained: names of the parameters that
    unlearning trained, and how many numbers they hold. controls: what became of them, where they were asked for.
    calibration: which one the decoys' p-values come from, and its file.
    """

    bank: Path
    bank_sha256: str
    items: tuple[Path, ...]
    device: dict[str, Any]
    code: dict[str, str]
    nondeterministic: list[str]
    trained: dict[str, Any]
    controls: dict[str, Any] | None
    calibration: dict[str, Any] | None
    calibration_file: Path | None

    def attributions(self) -> Iterator[Attribution]:
        """Each item's, in the order asked for, with its standing among the decoys where there is a calibration."""
        calibration = read_calibration(self.calibration_file)[0] if self.calibration_file else None
        for path in self.items:
            found, _ = read_item(path)
            yield found.against(calibration) if calibration else found


def code_version() -> dict[str, str]:
    """The package's version, and a digest over the source of the method."""
    from mucs.attribution.version import METHOD_SHA256

    return {"version": mucs.__version__, "method_sha256": METHOD_SHA256}


def save_item(attribution: Attribution, nondeterministic: list[str], path: Path) -> None:
    """Keep one item's result, whole or not at all, with the operations on its way that were not deterministic."""
    from safetensors.torch import save_file

    values = dataclasses.asdict(attribution)
    tensors = {name: value.contiguous() for name, value in values.items() if hasattr(value, "shape")}
    numbers = {name: value for name, value in values.items() if name not in tensors}
    about = json.dumps({"numbers": numbers, "nondeterministic": nondeterministic})
    with replacing(path) as partial:
        save_file(tensors, partial, {"about": about})  # a single entry: several come in any order


def read_item(path: Path) -> tuple[Attribution, list[str]]:
    """One item's result, as it was saved."""
    from safetensors import safe_open

    from mucs.attribution import Attribution

    with safe_open(path, "pt") as f:
        values: dict[str, Any] = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
        about = json.loads(f.metadata()["about"])
    for name, value in about["numbers"].items():
        values[name] = tuple(value) if isinstance(value, list) else value
    return Attribution(**values), about["nondeterministic"]


def read_calibration(path: Path) -> tuple[Calibration, dict[str, Any]]:
    """A calibration, and what the run record says of it."""
    from mucs.attribution import Calibration

    found = Calibration.read(path)
    return found, {
        "address": found.address,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "decoys": len(found.decoys),
        "noises": found.entries,
        "method_sha256": found.code,
    }


def calibration_record(path: Path, prepared: Prepared, settings: Settings) -> dict[str, Any]:
    """What the run record says of a calibration; InputError unless it was made for these inputs and settings.

    Whichever version of the code made it: a run is replayed with the calibration that it had.
    """
    found, about = read_calibration(path)
    subject = (prepared.model, prepared.training, prepared.held_out, prepared.bank)
    found.check(*subject, settings.unlearning, settings.scoring, settings.seed, code=found.code)
    return about


@dataclass(frozen=True, eq=False)
class Subject:
    """One item to attribute: what to call it, item `at` of `among`, where its result is kept, and whether to measure recall."""

    name: str
    among: Items
    at: int
    path: Path
    measure_recall: bool

    @property
    def item(self) -> Items:
        return self.among[self.at : self.at + 1]


def subjects(
    generated: Items, batch: Manifest, rows: Manifest, made: Controls | None, settings: Settings, folder: Path
) -> list[Subject]:
    """The generated items of `rows`, and then the controls. Nothing of one depends on the others, but for who is in the recall sample."""
    place = {row["id"]: k for k, row in enumerate(batch)}
    chosen = [(row["id"], generated, place[row["id"]]) for row in rows]
    digests = [items[k : k + 1].digest for _, items, k in chosen]
    sample = sorted(set(digests))[: settings.recall_sample] if settings.screening else []
    if made:
        chosen += [
            ("control, a training item itself", made.generated, 0),
            ("control, a near-duplicate", made.generated, 1),
        ]
        digests += [made.generated[k : k + 1].digest for k in (0, 1)]
    return [
        Subject(*which, folder / f"{content}{'-recall' if content in sample else ''}.safetensors", content in sample)
        for which, content in zip(chosen, digests, strict=True)
    ]


def controls_record(made: Controls, found: list[Attribution], training: Manifest) -> dict[str, Any]:
    """What became of the controls: the rank of the training item that both come from, None where screening dropped it."""
    itself, near_duplicate = made.ranks(found)
    return {
        "source": training[made.source]["id"],
        "self_rank": itself,
        "near_duplicate_rank": near_duplicate,
        "training_items": len(training),
    }


def in_words(controlled: dict[str, Any]) -> str:
    """What became of the controls, for the log."""
    ranks = (controlled["self_rank"], controlled["near_duplicate_rank"])
    itself, near_duplicate = (f"is at rank {rank}" if rank else "was dropped by screening" for rank in ranks)
    return (
        f"of {controlled['training_items']} training items, {controlled['source']} {itself} behind itself,"
        f" and {near_duplicate} behind a near-duplicate of it"
    )


@task(cache_policy=NO_CACHE)
def attribute(
    checkpoint: Pulled,
    training: Pulled,
    held_out: Pulled | None,
    batch: Pulled,
    rows: Manifest,
    settings: Settings,
    device: str,
    cache: Path,
    calibration: Path | None = None,
) -> Outcome:
    """Attribute the generated items of `rows` (manifest rows of `batch`); each result is kept in the cache as soon as it is there.

    calibration: the file of one for these inputs and settings; what is kept does not depend on it. Raises InputError if settings do not fit the model.
    """
    from mucs.attribution import LossStore, controls
    from mucs.attribution import attribute as attribute_items
    from mucs.attribution.losses import machine
    from mucs.attribution.unlearning import trainable_names

    device = choose_device(device)
    with one_thread_each(device) as workers, deterministic(device) as alerts:
        prepared = prepare(checkpoint, training, held_out, settings, device, cache)
        model, bank = prepared.model, prepared.bank
        trained = trainable_names(model.network, settings.unlearning.trainable)
        about_decoys = calibration_record(calibration, prepared, settings) if calibration else None
        code, computer = code_version(), machine(model.device)
        inputs = {
            "checkpoint": checkpoint.digest,
            "training_set": training.digest,
            "held_out": held_out.digest if held_out else None,
        }
        asked = {name: value for name, value in settings.record().items() if name not in OF_A_RUN}
        work = cache / "work" / digest({"inputs": inputs, "settings": asked, "code": code, "device": computer})
        with replacing(work / "noise_bank.safetensors") as partial:
            partial.write_bytes(bank.to_bytes())

        generated = read_items(model, batch, "generated batch", settings.encoding, cache)
        made = controls(prepared.training, settings.seed) if settings.controls else None
        everyone = subjects(generated, manifest(batch, "generated batch"), rows, made, settings, work / "items")
        store = LossStore(cache / "losses")

        def attribute_one(subject: Subject) -> str:
            if subject.path.exists():
                return "kept from before"
            (found,) = attribute_items(
                model,
                prepared.training,
                subject.item,
                bank,
                settings.unlearning,
                screening=settings.screening,
                scoring=settings.scoring,
                held_out=prepared.held_out,
                prefix=settings.calibration_noises,
                repeats=settings.repeats,
                measure_recall=subject.measure_recall,
                seed=settings.seed,
                store=store,
            )
            save_item(found, alerts.take(), subject.path)
            return f"{'converged' if found.converged else 'not converged'} after {found.steps} steps"

        different = list({subject.path: subject for subject in everyone}.values())
        with ThreadPoolExecutor(workers) as pool:
            outcomes = pool.map(attribute_one, different)
            for k, (subject, outcome) in enumerate(zip(different, outcomes, strict=True), start=1):
                log.info("attribute %d of %d: %s, %s", k, len(different), subject.name, outcome)
    paths = [subject.path for subject in everyone]
    results = [read_item(path) for path in paths]
    controlled = None
    if made:
        controlled = controls_record(
            made, [found for found, _ in results[len(rows) :]], manifest(training, "training set")
        )
        log.info("control   %s", in_words(controlled))
    return Outcome(
        bank=work / "noise_bank.safetensors",
        bank_sha256=bank.digest,
        items=tuple(paths[: len(rows)]),
        device=computer,
        code=code,
        nondeterministic=sorted({operation for _, operations in results for operation in operations}),
        trained={"names": trained, "count": sum(model.network.get_parameter(name).numel() for name in trained)},
        controls=controlled,
        calibration=about_decoys,
        calibration_file=calibration,
    )
