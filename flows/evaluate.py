"""Evaluate: is the attribution true? A study of a model and of the methods that explain it, as one Prefect flow."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow

from mucs import InputError
from mucs.files import check_writable, replacing
from tasks.device import choose_device, cores, deterministic
from tasks.narrate import narrate
from tasks.read import Source, read_column, read_images

if TYPE_CHECKING:
    from mucs.evaluation.study import Plan, Study

log = logging.getLogger("mucs.evaluate")

STUDIES = Path(__file__).with_name("studies.yaml")
DATA = Path(__file__).parents[1] / "data"  # which a clone of the project has, and a package does not


@dataclass(frozen=True)
class Spec:
    """A study, as studies.yaml has it.

    Attributes:
        checkpoint: The model that is explained; without one a small UNet of `network` is trained first.
        conditional: Whether that is told the class.
        judged: Methods whose lists are removed in the counterfactual; all where none are named.
        ablations: On how many generated items each design choice is tried.
        payments: Whether it is asked what would be paid to images that were never trained on.
        answers: The file of what retrained models gave before, which are then not trained again; it need not be there.
    """

    train: Source
    held_out: Source
    plan: Any
    checkpoint: Path | None = None
    network: dict[str, Any] = field(default_factory=dict)
    conditional: bool = True
    judged: tuple[str, ...] = ()
    ablations: int = 0
    payments: bool = False
    answers: Path | None = None


def read_spec(name: str, **changed: Any) -> Spec:
    """A study by its name in studies.yaml, with some of its fields changed.

    Raises:
        InputError: If there is none, or if it is wrong.
    """
    import yaml
    from pydantic import TypeAdapter, ValidationError

    from mucs.evaluation.study import Plan

    known = yaml.safe_load(STUDIES.read_text())
    if name not in known:
        raise InputError(f"There is no study {name!r}; use one of: {', '.join(known)}.")
    given = merged(known[name], changed)
    try:
        plan = TypeAdapter(Plan).validate_python({**given["plan"], "screening": {"stages": given["plan"]["screening"]}})
        spec = TypeAdapter(Spec).validate_python({**given, "plan": plan})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "one of its parts"
        reason = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise InputError(f"The study {name} cannot be read at {where} ({reason}); mend {STUDIES.name}.") from None
    train, held_out = (dataclasses.replace(source, path=DATA / source.path) for source in (spec.train, spec.held_out))
    checkpoint, answers = (path and DATA / path for path in (spec.checkpoint, spec.answers))
    return dataclasses.replace(spec, train=train, held_out=held_out, checkpoint=checkpoint, answers=answers)


def merged(base: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """A nested mapping with some of its leaves replaced."""
    found = dict(base)
    for name, value in changed.items():
        found[name] = merged(base.get(name, {}), value) if isinstance(value, Mapping) else value
    return found


def prepare(spec: Spec, folder: Path, workers: int, device: str) -> Study:
    """The study of a spec, with its images read.

    Raises:
        InputError: For what does not fit.
    """
    from mucs.attribution import DiffusionModel, Items
    from mucs.evaluation.study import Study
    from mucs.evaluation.training import small_unet

    pixels, labels = read_images(spec.train)
    unseen, their_labels = read_images(spec.held_out)
    if spec.checkpoint is not None:
        like = DiffusionModel.from_pretrained(spec.checkpoint, device)
    else:
        classes = int(labels.max()) + 1 if spec.conditional else None
        like = DiffusionModel(*small_unet(pixels.shape[-1], classes, **spec.network), device)
    takes = "class_labels" in like.conditioning
    images, held_out = (
        Items(x, {"class_labels": y} if takes else {}) for x, y in ((pixels, labels), (unseen, their_labels))
    )
    like.check(images, "training images")
    like.check(held_out, "held-out images")
    holders = read_column(spec.train, "rights_holder") if spec.plan.holders else ()
    study = Study(like, images, held_out, spec.plan, folder, workers, spec.checkpoint is None, holders, spec.answers)
    study.check(spec.judged)
    return study


def check_evaluate(name: str, folder: Path, device: str = "auto", **changed: Any) -> None:
    """InputError for what can be seen to be wrong with a study before it begins; all are as `evaluate` takes them."""
    check_writable(folder, "the results")
    spec = read_spec(name, **changed)
    for path in (spec.checkpoint, spec.train.path, spec.held_out.path):
        if path is not None and not path.exists():
            ours = "run the study from a clone of the project, or give it other images and a checkpoint"
            raise InputError(f"{path} is missing; {ours if path.is_relative_to(DATA) else 'give another'}.")
    choose_device(device)


@flow(name="evaluate")
def evaluate(name: str, folder: Path, device: str = "auto", **changed: Any) -> dict[str, Any]:
    """Run a study, or go on with one that was stopped; gives what it found, which is also in `folder`/`name` with its plots.

    Raises:
        InputError: For anything that cannot be used.
    """
    from mucs.evaluation.tables import tables

    narrate()
    check_evaluate(name, folder, device, **changed)
    spec, device = read_spec(name, **changed), choose_device(device)
    workers = cores() if device == "cpu" else 1
    with deterministic(device):
        study = prepare(spec, folder, workers, device)
        found: dict[str, Any] = {"plan": plain(spec.plan), "training_items": len(study.images)}
        try:
            for part in measured(study, spec, folder / name):
                found |= part  # written as soon as it is there
                results = {"json": json.dumps(found, indent=1, ensure_ascii=False), "md": tables(found)}
                for suffix, text in results.items():
                    with replacing(folder / name / f"results.{suffix}") as partial:
                        partial.write_text(text + "\n")
        finally:
            study.keep(folder / name / "answers.parquet")
    return found


def measured(study: Study, spec: Spec, out: Path) -> Iterator[dict[str, Any]]:
    """What a spec asks for, part by part, with plots of it in `out`."""
    from mucs.evaluation import plots
    from mucs.evaluation.agreement import correlations, overlap

    plan: Plan = spec.plan
    log.info("scores    %d generated items, %d training items", plan.generated, len(study.images))
    scores = study.of_training
    main = scores["MUCS"]
    plots.draw_examples(
        study.case.generated.images,
        study.images[:].images,
        main.argsort(dim=1, descending=True)[:, :8],
        out / "examples.png",
    )
    names = [f"{k:02d}" for k in range(plan.generated)]
    plots.draw_matrix(overlap(main, 10), names, "shared of the best 10", out / "overlap.png")
    pairs = plan.generated * max(1, plan.generated - 1)
    shared = float(overlap(main, 10).fill_diagonal_(0).sum() / pairs)
    yield {"overlap": shared, "converged": study.mucs.converged()}
    if len(scores) > 1:
        plots.draw_matrix(correlations(scores), list(scores), "rank correlation", out / "correlations.png")
        yield {"suspicions": plain(study.suspicions())}
    if spec.payments:
        log.info(
            "payments  to %d images that the model was never trained on", len(study.case.candidates) - len(main[0])
        )
        yield {"payments": plain(study.payments())}
    if plan.halves:
        log.info("halves    %d random halves of the training set", plan.halves)
        predicted = study.datamodeling()
        plots.draw_estimates(
            {name: of.score for name, of in predicted.items()},
            0.0,
            "linear datamodeling score",
            out / "datamodeling.png",
        )
        yield {"datamodeling": plain(predicted), "sanity": study.sanity()}
    if plan.draws:
        log.info("removal   of %d items, for groups of %d", plan.remove, plan.group)
        moved = study.counterfactual(spec.judged)
        for measure in next(iter(moved.values())):
            by_method = {name: of[measure].auc for name, of in moved.items()}
            plots.draw_estimates(
                by_method, 0.5, f"AUC against random removal, {measure}", out / f"removal-{measure}.png"
            )
        yield {"counterfactual": plain(moved)}
    if plan.holders:
        log.info("holders   without each of %d, and of as many random groups", plan.holders)
        of_kinds = study.holders()
        for kind, of in of_kinds.items():
            by_name = {name: each.spearman for name, each in of["loss"].items()}
            plots.draw_estimates(by_name, 0.0, f"rank correlation over {kind}", out / f"{kind.replace(' ', '-')}.png")
        yield {"holders": plain(of_kinds)}
    if spec.ablations:
        log.info("ablations on %d generated items", spec.ablations)
        yield {"ablations": plain(study.ablations(spec.ablations))}


def plain(value: Any) -> Any:
    """As JSON has it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value
