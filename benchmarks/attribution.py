"""Seconds, forward passes, memory and recall of an attribution, against the method as its reference runs it.

    python benchmarks/attribution.py             # the demo's checkpoint
    python benchmarks/attribution.py --size 32   # a 32×32 UNet, after `python benchmarks/checkpoint32.py`

Every row runs in a process of its own, on all cores, over the same generated items. The exact scores that recall is
measured against lie in benchmarks/work, so that `--only NAME` can measure one row again.
"""

from __future__ import annotations

import argparse
import copy
import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

HERE = Path(__file__).parent
DATA = HERE.parent / "data"
WORK = HERE / "work"
sys.path[:0] = [str(DATA), str(HERE.parent)]

from generate import sample  # noqa: E402
from train import load  # noqa: E402

from mucs.attribution import (  # noqa: E402
    DiffusionModel,
    Items,
    LossStore,
    NoiseBank,
    Scoring,
    Screening,
    Unlearning,
    attribute,
    recall,
    zero_output_null_loss,
)
from mucs.attribution.losses import measure  # noqa: E402
from mucs.attribution.skew import skews  # noqa: E402
from mucs.attribution.trainable import trainable_names  # noqa: E402
from mucs.attribution.unlearning import mirrored_unlearning  # noqa: E402

REFERENCE = Unlearning(learning_rate=1e-4)  # the paper's: a tenth of the training rate, batches of 100
FAST = Unlearning(learning_rate=2e-4, batch_size=8, max_steps=150)  # a fifth of the training rate, small batches
SCREENING = Screening([(1, 0.3), (4, 0.12), (12, 0.06)])  # for the best 2 %; benchmarks/screening.py has others
ROWS = ("reference", "exact", "cold", "warm", "scoring", "unlearning")


@dataclass(frozen=True)
class Case:
    """A checkpoint, what it was trained on, what it generated, and a bank."""

    model: DiffusionModel
    images: Items
    generated: Items
    bank: NoiseBank
    null_loss: float


def case(size: int, count: int, noises: int) -> Case:
    """The case of that image size, with `count` generated items and a bank of `noises`."""
    home, images = (DATA, DATA / "openmoji" / "train")
    if size == 32:
        home, images = HERE / "checkpoint32", HERE / "checkpoint32" / "openmoji" / "train"
        if not (home / "checkpoint").is_dir():
            sys.exit("There is no 32×32 checkpoint; run `python benchmarks/checkpoint32.py` first.")
    model = DiffusionModel.from_pretrained(home / "checkpoint")
    pixels, labels = load(images)
    items = Items(pixels, {"class_labels": labels})
    classes = torch.arange(count) % (model.classes or 1)
    noise = torch.stack([torch.randn(model.shape, generator=torch.Generator().manual_seed(k)) for k in range(count)])
    kept = WORK / f"generated-{size}-{count}.pt"
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        torch.save(sample(model.network, model.scheduler, noise, classes, 50), kept)
    made = torch.load(kept, weights_only=True)
    made = ((made.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1  # as they would be read from a PNG
    bank = NoiseBank.draw(model, noises)
    return Case(model, items, Items(made, {"class_labels": classes}), bank, zero_output_null_loss(model, items).value)


class Forwards:
    """Counts the samples that pass through any model's losses."""

    def __init__(self) -> None:
        self.count, self.lock, original = 0, threading.Lock(), DiffusionModel.losses

        def counted(model: DiffusionModel, x: Tensor, *others: Any, **named: Any) -> Tensor:
            with self.lock:
                self.count += len(x)
            return original(model, x, *others, **named)

        DiffusionModel.losses = counted  # type: ignore[method-assign]


def side_by_side(work: Callable[[int], Any], count: int) -> list[Any]:
    """As the audit does: one item a core, one thread each."""
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    with ThreadPoolExecutor(cores) as pool:
        return list(pool.map(work, range(count)))


def reference_unlearning(
    it: Case, k: int, settings: Unlearning, steps: int | None = None, seed: int = 0
) -> DiffusionModel:
    """The plain loop: two forward passes a step, torch's default layout and optimiser, all cores on one item."""
    model = DiffusionModel(copy.deepcopy(it.model.network), it.model.scheduler)
    network = model.network.to(memory_format=torch.contiguous_format)
    chosen = set(trainable_names(network, settings.trainable))
    parameters = [p.requires_grad_() for name, p in network.named_parameters() if name in chosen]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    random = torch.Generator().manual_seed(1000 * seed + k)
    scheduler, size = model.scheduler, min(settings.batch_size, len(it.images))

    def losses(x: Tensor, y: Tensor) -> Tensor:
        noise, t = torch.randn(x.shape, generator=random), torch.randint(1000, (len(x),), generator=random)
        predicted = network(scheduler.add_noise(x, noise, t), t, class_labels=y).sample
        return (predicted - scheduler.get_velocity(x, noise, t)).square().mean(dim=(1, 2, 3))

    for step in range(settings.max_steps if steps is None else steps):
        retained = it.images[torch.randperm(len(it.images), generator=random)[:size]]
        copies = it.generated[torch.full((size,), k % len(it.generated))]
        retain = losses(retained.images, retained.conditioning["class_labels"]).mean()
        forget = losses(copies.images, copies.conditioning["class_labels"]).clamp(max=it.null_loss).mean()
        if steps is None and forget.item() >= (1 - settings.tolerance) * it.null_loss:
            print(f"  item {k}: stopped after {step} steps", file=sys.stderr, flush=True)
            break
        optimizer.zero_grad()
        (retain - settings.forget_weight * forget).backward()
        optimizer.step()
    network.requires_grad_(False)
    return model


def reference(it: Case, which: list[int]) -> dict[str, Any]:
    """Unlearn, then score everything with both models, for each item anew."""
    images, entries = torch.arange(len(it.images)), range(len(it.bank))
    unlearning = 0.0
    for k in which:
        began = time.monotonic()
        unlearned = reference_unlearning(it, k, REFERENCE)
        unlearning += time.monotonic() - began
        for model in (it.model, unlearned):
            measure(model, it.images, it.bank, images, entries, Scoring())
    return {"items": len(which), "unlearning": unlearning / len(which)}


def attributions(it: Case, screening: Screening | None, store: LossStore) -> dict[str, Any]:
    def one(k: int) -> dict[str, Any]:
        (found,) = attribute(
            it.model,
            it.images,
            it.generated[k : k + 1],
            it.bank,
            replace(FAST, null_loss=it.null_loss),
            screening=screening,
            store=store,
        )
        print(f"  item {k}: {found.steps} steps", file=sys.stderr, flush=True)
        return {"items": found.items.tolist(), "scores": found.scores.tolist(), "steps": found.steps}

    return {"items": len(it.generated), "found": side_by_side(one, len(it.generated))}


def filled(it: Case) -> LossStore:
    """A store that holds every original loss."""
    store = LossStore(WORK / "losses")
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    store.table(it.model, it.images, it.bank, Scoring()).rows(torch.arange(len(it.images)), range(len(it.bank)))
    torch.set_num_threads(cores)
    return store


def entry_skews(it: Case, unlearned: DiffusionModel) -> Tensor:
    """What each bank entry says of each training item: (N, M)."""
    images, entries = torch.arange(len(it.images)), range(len(it.bank))
    before = LossStore(WORK / "losses").table(it.model, it.images, it.bank, Scoring()).rows(images, entries)
    return skews(before, measure(unlearned, it.images, it.bank, images, entries, Scoring()))


def interleaved(first: Callable[[], Any], second: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Best seconds of each of two, run in turns."""
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for which, work in enumerate((first, second)):
            began = time.monotonic()
            work()
            best[which] = min(best[which], time.monotonic() - began)
    return best[0], best[1]


def scoring(it: Case) -> dict[str, Any]:
    """Throughput of `measure` against nothing but the same forward passes on inputs that lie ready."""
    pairs, size = 1024, 64
    which, noises = torch.arange(pairs // 4) % len(it.images), range(4)
    random = torch.Generator().manual_seed(0)
    ready = [
        (
            torch.randn((size, *it.model.shape), generator=random).contiguous(memory_format=torch.channels_last),
            torch.randint(1000, (size,), generator=random),
            torch.randint(it.model.classes or 1, (size,), generator=random),
        )
        for _ in range(pairs // size)
    ]

    def bare() -> None:
        with torch.inference_mode():
            for x, t, y in ready:
                it.model.network(x, t, class_labels=y)

    ours, limit = interleaved(
        lambda: measure(it.model, it.images, it.bank, which, noises, Scoring(batch_size=size)), bare, 5
    )
    return {"items": 1, "ours": pairs / ours, "limit": pairs / limit, "ratio": limit / ours}


def unlearning(it: Case) -> dict[str, Any]:
    """Seconds an item of unlearning, against the plain loop, at the same batch and number of steps."""
    steps, count = 32, 2
    cores = torch.get_num_threads()
    results = {}
    for batch in (8, 32):
        settings = replace(
            FAST, batch_size=batch, max_steps=steps, null_loss=100.0
        )  # out of reach: all steps are taken

        def ours(settings: Unlearning = settings) -> None:
            side_by_side(
                lambda k: mirrored_unlearning(it.model, it.generated[k % len(it.generated) :][:1], it.images, settings),
                count,
            )

        def plain(settings: Unlearning = settings) -> None:
            torch.set_num_threads(cores)
            for k in range(count):
                reference_unlearning(it, k, settings, steps)

        new, old = interleaved(ours, plain, 3)
        results[f"batch {batch}"] = {"ours": new / count, "plain": old / count, "ratio": new / old}
    return {"items": count, **results}


def measure_row(name: str, it: Case, which: list[int]) -> dict[str, Any]:
    warm = filled(it) if name in ("exact", "warm") else LossStore()
    forwards = Forwards()
    began = time.monotonic()
    row: dict[str, Any] = {
        "reference": lambda: reference(it, which),
        "exact": lambda: attributions(it, None, warm),
        "cold": lambda: attributions(it, SCREENING, warm),
        "warm": lambda: attributions(it, SCREENING, warm),
        "scoring": lambda: scoring(it),
        "unlearning": lambda: unlearning(it),
    }[name]()
    row["seconds"] = (time.monotonic() - began) / row["items"]
    row["forwards"] = forwards.count / row["items"]
    row["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return row


def lines(rows: dict[str, dict[str, Any]], total: int) -> Iterator[str]:
    """The table, in Markdown."""
    yield "| way | seconds per item | against the reference | forwards per item | peak MB | recall@25 | recall@100 | recall@2 % |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in ("reference", "exact", "cold", "warm"):
        if name not in rows:
            continue
        row = rows[name]
        against = f"1/{rows['reference']['seconds'] / row['seconds']:.1f}" if "reference" in rows else ""
        recalls = ["", "", ""]
        if "found" in row and "exact" in rows:
            measured = []
            for full, found in zip(rows["exact"]["found"], row["found"], strict=True):
                scores = torch.empty(total)
                scores[torch.tensor(full["items"])] = torch.tensor(full["scores"])
                measured.append(recall(scores, torch.tensor(found["items"])))
            recalls = [f"{sum(m[k] for m in measured) / len(measured):.3f}" for k in ("25", "100", "2%")]
        yield f"| {name} | {row['seconds']:.1f} | {against} | {row['forwards']:.0f} | {row['peak_mb']:.0f} | {' | '.join(recalls)} |"
    if "scoring" in rows:
        row = rows["scoring"]
        yield f"\nscoring: {row['ours']:.0f} pairs/s against {row['limit']:.0f} of the bare forward loop: {row['ratio']:.3f}"
    for batch in ("batch 8", "batch 32") if "unlearning" in rows else ():
        row = rows["unlearning"][batch]
        yield f"unlearning, {batch}: {row['ours']:.2f} s an item against {row['plain']:.2f}: 1/{1 / row['ratio']:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, choices=(16, 32), default=16)
    parser.add_argument("--items", type=int, default=16, help="generated items")
    parser.add_argument("--noises", type=int, default=100, help="entries of the bank")
    parser.add_argument("--reference", type=int, nargs="+", default=[4], help="which of them the reference does")
    parser.add_argument("--only", choices=ROWS, help="measure this row again")
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    kept = WORK / f"rows-{given.size}-{given.items}-{given.noises}"
    kept.mkdir(parents=True, exist_ok=True)
    if given.row:
        row = measure_row(given.row, case(given.size, given.items, given.noises), given.reference)
        (kept / f"{given.row}.json").write_text(json.dumps(row))
        return
    case(given.size, given.items, given.noises)  # made before anything is timed
    for name in ROWS if given.only is None else (given.only,):
        print(f"{name} ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--row", name], check=True)
    rows = {path.stem: json.loads(path.read_text()) for path in kept.glob("*.json")}
    for line in lines(rows, len(load((HERE / "checkpoint32" if given.size == 32 else DATA) / "openmoji" / "train")[0])):
        print(line)


if __name__ == "__main__":
    main()
