"""Attribute: measure which training items caused one generated item, and keep the answer in the work store."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect import task

from mucs import InputError
from mucs.canonical import digest
from mucs.evidence.store import Store
from tasks.device import choose_device, deterministic
from tasks.indexes import expecting
from tasks.measure import fetch_losses
from tasks.plan import OF_A_RUN, Plan
from tasks.prepare import CONTENT, content_sha256
from tasks.prepared import Prepared, prepared
from tasks.progress import begun, progress_of
from tasks.unit import UNIT, begin

if TYPE_CHECKING:
    from mucs.attribution import Attribution, Items

CONTROLS = ("control, a training item itself", "control, a near-duplicate")


@dataclass(frozen=True)
class Unit:
    """One item to attribute.

    Attributes:
        name: What to call it: a generated item's id, or which control it is.
        row: Its row in the batch's manifest, or its number among the controls.
        is_control: Whether it is a control.
        measures_recall: Whether it is scored exactly as well, to say what screening lost.
        address: Where its result is in the work store.
    """

    name: str
    row: int
    is_control: bool
    measures_recall: bool
    address: str

    def item(self, given: Prepared, seed: int) -> Items:
        """The item as the model takes it."""
        among = given.controls(seed).generated if self.is_control else given.generated
        assert among is not None
        return among[self.row : self.row + 1]


@dataclass(frozen=True)
class Measured:
    """One item's result.

    Attributes:
        attribution: Its scores and what unlearning came to; no calibration had a part in it.
        device: What it was computed on.
        nondeterministic: Operations on its way that torch has no deterministic form of there.
    """

    attribution: Attribution
    device: dict[str, Any]
    nondeterministic: tuple[str, ...]

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        import torch
        from safetensors.torch import save

        values = dataclasses.asdict(self.attribution)
        values |= {UNSEEN + name: each for name, each in (values.pop("unseen") or {}).items()}
        tensors = {name: value.contiguous() for name, value in values.items() if hasattr(value, "shape")}
        numbers = {name: value for name, value in values.items() if name not in tensors}
        about = {"numbers": numbers, "device": self.device, "nondeterministic": self.nondeterministic}
        return save(tensors | {ABOUT: torch.tensor(list(json.dumps(about).encode()), dtype=torch.uint8)})

    @classmethod
    def from_bytes(cls, body: bytes) -> Measured:
        """A result as `to_bytes` gives it.

        Raises:
            ValueError: If it is none.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        from mucs.attribution import Attribution
        from mucs.attribution.missed import Missed
        from mucs.attribution.ranking import Ranking

        try:
            values: dict[str, Any] = load(body)
            about = json.loads(bytes(values.pop(ABOUT).tolist()))
            values |= {n: tuple(v) if isinstance(v, list) else v for n, v in about["numbers"].items()}
            unseen = {name.removeprefix(UNSEEN): values.pop(name) for name in [*values] if name.startswith(UNSEEN)}
            of_rest = values.pop("missed")
            found = Attribution(
                **values,
                unseen=Ranking(**unseen) if unseen else None,
                missed=None if of_rest is None else Missed.from_record(of_rest),
            )
            return cls(found, about["device"], tuple(about["nondeterministic"]))
        except (SafetensorError, KeyError, TypeError) as error:
            raise ValueError(str(error)) from None


ABOUT = "about"
UNSEEN = "unseen."  # what the names of the ranking of held-out items begin with


def units(plan: Plan, rows: Sequence[int]) -> list[Unit]:
    """The generated items that are to be attributed, and then the controls where they are asked for.

    Nothing of one depends on the others, but for who is in the recall sample: identical images with identical
    conditions are one unit of work.

    Args:
        plan: The audit's.
        rows: Rows of the manifest of its generated batch.
    """
    images, asked = plan.images("batch"), asked_of_items(plan)
    items = [images.row(k) for k in rows]
    addresses = [address(plan, asked, content(item)) for item in items]
    size = plan.settings.recall_sample if plan.settings.screening else 0
    sample = set(sorted(set(addresses))[:size])
    found = []
    for k, item, alone in zip(rows, items, addresses, strict=True):
        measures = alone in sample
        place = address(plan, asked, content(item), "recall") if measures else alone
        found.append(Unit(item["id"], k, False, measures, place))
    if plan.settings.controls:
        places = [address(plan, asked, {"control": k}) for k in range(len(CONTROLS))]
        found += [Unit(name, k, True, False, places[k]) for k, name in enumerate(CONTROLS)]
    return found


def content(row: Mapping[str, str]) -> dict[str, str | None]:
    """What a model takes of a manifest row's image: its bytes, by SHA-256, and its class or prompt."""
    return {name: row.get(name) for name in CONTENT}


def asked_of_items(plan: Plan) -> dict[str, Any]:
    """What the results of all items of a plan depend on."""
    inputs = [plan.checkpoint.digest, content_sha256(plan.images("training"))]
    inputs += [content_sha256(plan.images("held_out"))] if plan.held_out else []
    inputs += [plan.index] if plan.index else []
    settings = {name: value for name, value in plan.settings.record().items() if name not in OF_A_RUN}
    return {"inputs": inputs, "settings": settings, "method": plan.method_sha256}


def address(plan: Plan, asked: Mapping[str, Any], item: Any, more: str = "") -> str:
    """Where the result of an item is kept: by all that it depends on but the device, which the result names itself.

    Args:
        plan: The audit's.
        asked: What `asked_of_items` gives for it.
        item: The item's content.
        more: What is measured of it besides.
    """
    return f"{plan.fresh}/items/{digest({**asked, 'item': item, 'more': more})}.safetensors".lstrip("/")


@task(task_run_name="attribute {unit.name}", **UNIT)
def attribute(plan: Plan, unit: Unit) -> str:
    """Attribute one item, unless its result is in the work store.

    Args:
        plan: What it is attributed to, and how.
        unit: Which item.

    Returns:
        What came of it, in words.

    Raises:
        InputError: If inputs, settings or the work store cannot be used.
    """
    store = begin(plan)
    if store.has(unit.address):
        return "computed before"
    begun(unit.name)
    with deterministic(choose_device(plan.device)) as alerts:
        from mucs.attribution import attribute as attribute_items
        from mucs.attribution.losses import machine

        given, settings = prepared(plan), plan.settings
        fetch_losses(plan, given)
        (found,) = attribute_items(
            given.model,
            given.training,
            unit.item(given, settings.seed),
            given.bank,
            settings.unlearning,
            screening=settings.screening,
            scoring=settings.scoring,
            held_out=given.held_out,
            prefix=settings.calibration_noises,
            repeats=settings.repeats,
            index=expecting(plan, given.model),
            measure_recall=unit.measures_recall,
            seed=settings.seed,
            store=given.losses,
            progress=progress_of(unit.name),
        )
        measured = Measured(found, machine(given.model.device), tuple(alerts.take()))
    store.put(unit.address, measured.to_bytes())
    return f"{'converged' if found.converged else 'not converged'} after {found.steps} steps"


def read_measured(store: Store, unit: Unit) -> Measured | None:
    """An item's result from a work store; None if it is not there.

    Raises:
        InputError: If what is there is none, or the store does not answer.
    """
    body = store.get(unit.address)
    try:
        return None if body is None else Measured.from_bytes(body)
    except ValueError:
        raise InputError(
            f"{unit.address} in the work store {store.place} is no result; remove it, and {unit.name} is attributed again."
        ) from None
