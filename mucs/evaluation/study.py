"""A study: one model, its images, the methods that explain them, and the retrainings that judge the methods."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mucs import InputError
from mucs.attribution import (
    DiffusionModel,
    Items,
    LossStore,
    NoiseBank,
    Screening,
    Unlearning,
    controls,
    weighed_by_null_loss,
)
from mucs.attribution.version import METHOD_SHA256
from mucs.digests import source_sha256
from mucs.evaluation import baselines, gradients, patches
from mucs.evaluation.agreement import between
from mucs.evaluation.answers import STEPS, Answers, Similarity, feature_similarity, squared_error, structural
from mucs.evaluation.case import Case, Method
from mucs.evaluation.cause import Suspicion, suspicion
from mucs.evaluation.counterfactual import Design, Moved, counterfactual
from mucs.evaluation.datamodel import Predicted, estimated, half_losses, halves
from mucs.evaluation.holders import (
    at_random,
    ceiling,
    changes,
    largest,
    leaving_out,
    named,
    of_forgotten,
    of_items,
    of_sizes,
)
from mucs.evaluation.kept import Kept
from mucs.evaluation.methods import Mucs
from mucs.evaluation.patches import SIGMA, nonparametric
from mucs.evaluation.payments import FalsePayments, centred, false_payments, within
from mucs.evaluation.retraining import Job, Retraining
from mucs.evaluation.training import Recipe
from mucs.files import replacing

ENSEMBLES = {
    "MUCS + D-TRAK": ("MUCS", "D-TRAK"),
    "MUCS + feature cosine": ("MUCS", "feature cosine"),
    "MUCS + D-TRAK + feature cosine": ("MUCS", "D-TRAK", "feature cosine"),
}
SWEPT: dict[str, Sequence[float]] = {  # what of a method is tried besides, in multiples of what it is
    "D-TRAK": (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0),  # its damping
    "nonparametric": (0.25, 0.5, 1.0, 2.0, 4.0),  # its noise
}
COMBINED = {"ranks": baselines.rank_ensemble, "standardised": baselines.standard_ensemble}
PROBE_SEED = 1  # of the bank under which retrained models are asked for their losses: not the one that MUCS scores with


@dataclass(frozen=True)
class Plan:
    """The sizes of a study.

    Attributes:
        generated: How many items, from the seeds 0, 1, …, of the classes in turn.
        noises: Of the bank.
        halves: Random halves for the datamodeling score.
        group, remove, seeds, draws: Of the counterfactual, as in `Design`.
        timesteps, levels: Noise levels of the gradients, and of the losses of attribution by unlearning.
        methods: Which are compared; all where none are named.
        holders: Rights holders, those with the most items, who are taken away one at a time, and as many random groups of
            the same sizes; 0 for none.
        pseudo_groups: That each of these groups is held against.
    """

    generated: int
    noises: int
    recipe: Recipe
    unlearning: Unlearning
    screening: Screening
    halves: int
    group: int
    remove: int
    seeds: tuple[int, ...] = (0, 1)
    draws: int = 2
    timesteps: int = 10
    levels: int = 10
    methods: tuple[str, ...] = ()
    holders: int = 0
    pseudo_groups: int = 19

    def __post_init__(self) -> None:
        at_least = {"generated": 1, "noises": 1, "halves": 0, "group": 1, "remove": 1, "draws": 0, "holders": 0}
        for name, least in (at_least | {"timesteps": 1, "levels": 1, "pseudo_groups": 2}).items():
            if getattr(self, name) < least:
                raise InputError(f"The study's {name} is {getattr(self, name)}; give at least {least}.")
        if not self.seeds or self.generated % self.group:
            raise InputError("A study needs a seed of training, and a whole number of groups of generated items.")


@dataclass(frozen=True, eq=False)
class Study:
    """Everything that is measured of a model that was trained by a recipe, or of a checkpoint.

    Attributes:
        like: The checkpoint to explain; or, `from_scratch`, what gives the architecture of the model that is trained
            first.
        images, held_out: What it was trained on, and others of the same kind, of which every second is a decoy.
        rights_holders: Of each image, where the plan asks for holders.
        kept: The file of answers that retrained models gave before, which are then not trained again.
    """

    like: DiffusionModel
    images: Items
    held_out: Items
    plan: Plan
    folder: Path
    workers: int = 1
    from_scratch: bool = True
    rights_holders: tuple[str, ...] = ()
    kept: Path | None = None

    @cached_property
    def retraining(self) -> Retraining:
        """The queue of trainings that judge the methods."""
        place = self.folder / "retrained"
        return Retraining(self.like, self.images, self.plan.recipe, place, self.workers, self.from_scratch)

    @cached_property
    def model(self) -> DiffusionModel:
        """The model that is explained."""
        if not self.from_scratch:
            return self.like
        self.retraining.run([Job()])
        return self.retraining.model(Job())

    @cached_property
    def probe(self) -> NoiseBank:
        """Under which retrained models are asked for their losses."""
        return NoiseBank.draw(self.like, 64, fraction=1.0, seed=PROBE_SEED)

    @cached_property
    def answers(self) -> Answers:
        """What retrained models make of the generated items."""
        return Answers(
            self.retraining, self.case.generated, range(self.plan.generated), self.probe, known=self.known_answers
        )

    def kept_answers(self, path: Path) -> Kept:
        """The file of this study's answers at a place."""
        asked = {"generated": self.plan.generated, "bank": self.probe.digest, "steps": STEPS}
        return Kept(path, self.retraining.about | asked)

    @cached_property
    def known_answers(self) -> Mapping[Job, Mapping[str, Tensor]]:
        """What is kept of earlier retrainings."""
        return self.kept_answers(self.kept).read() if self.kept else {}

    @cached_property
    def case(self) -> Case:
        """The generated items, and the items that may have caused them."""
        count = self.plan.generated
        labels = {"class_labels": torch.arange(count) % (self.model.classes or 1)} if self.model.classes else {}
        if Job() in self.known_answers:  # those that the kept answers are about, to the bit
            generated = Items(self.known_answers[Job()]["images"], labels)
        else:
            blank = Items(torch.zeros(count, *self.model.shape), labels)
            asked = Answers(self.retraining, blank, range(count), NoiseBank.draw(self.like, 1))
            generated = Items(asked.made(self.model), labels)
        order = torch.arange(len(self.held_out))
        return Case(self.model, self.images, generated, self.held_out[order[::2]], self.held_out[order[1::2]])

    @cached_property
    def mucs(self) -> Mucs:
        """MUCS and its variants, over losses that are measured once."""
        bank = NoiseBank.draw(self.model, self.plan.noises)
        return Mucs(self.case, bank, self.plan.unlearning, folder=self.folder, workers=self.workers)

    @property
    def by_difference(self) -> Mucs:
        """The same, scored by the plain difference."""
        return replace(self.mucs, scoring=replace(self.mucs.scoring, score="difference"))

    @property
    def methods(self) -> dict[str, Method]:
        """How each method scores a case."""
        plan = self.plan
        return {
            "random": baselines.random_scores,
            "pixel cosine": baselines.pixel_cosine,
            **({"same class": baselines.same_class} if self.like.classes else {}),
            "feature cosine": baselines.feature_cosine,
            "gradient dot": lambda case: baselines.gradient_dot(case, timesteps=plan.timesteps),
            "gradient cosine": lambda case: baselines.gradient_dot(case, timesteps=plan.timesteps, cosine=True),
            "TRAK": lambda case: baselines.dtrak(case, output="loss", timesteps=plan.timesteps),
            "D-TRAK": lambda case: baselines.dtrak(case, timesteps=plan.timesteps),
            "nonparametric": nonparametric,
            "unlearning": lambda case: baselines.unlearning_scores(case, levels=plan.levels),
            "MUCS": lambda case: self.mucs.scores(),
            "MUCS, screened": lambda case: self.mucs.screened(plan.screening),
            "MUCS, difference": lambda case: self.by_difference.scores(),
            "MUCS, against decoys": lambda case: self.mucs.z_scores(),
        }

    def check(self, judged: Sequence[str] = ()) -> None:
        """InputError for methods that there are not, if MUCS, with which the others are compared, is not among them, or for too few holders."""
        compared = self.plan.methods or tuple(self.methods)
        ensembles = [f"{e}, {how}" for e, of in ENSEMBLES.items() if set(of) <= set(compared) for how in COMBINED]
        for asked, known in ((compared, [*self.methods]), (judged, [*compared, *ensembles])):
            for name in asked:
                if name not in known:
                    raise InputError(f"The study has no method {name!r}; name some of: {', '.join(known)}.")
            if asked and "MUCS" not in asked:
                raise InputError(f'The study has the methods {", ".join(asked)}; name "MUCS" beside them.')
        if self.plan.holders:
            largest(self.rights_holders, self.plan.holders)

    @cached_property
    def scores(self) -> dict[str, Tensor]:
        """(G, N + H) by method; N alone where screening leaves no more."""
        self.check()
        found = {}
        for name in self.plan.methods or self.methods:
            path = None if name.startswith("MUCS") else self._place(name)  # which keeps what its scores are made of
            found[name] = kept_scores(path, partial(self.methods[name], self.case))
        for name, members in ENSEMBLES.items():
            if set(members) <= set(found):
                for how, combine in COMBINED.items():
                    found[f"{name}, {how}"] = combine([found[member] for member in members])
        return found

    def _place(self, name: str) -> Path:
        """Where a baseline's scores are kept; another version of the baselines has another place."""
        case = self.case
        about: list[Any] = [name, self.plan.timesteps, self.plan.levels, self.model.digest]
        about += [items.digest for items in (case.images, case.candidates, case.generated)]
        about += [
            source_sha256(METHOD_SHA256, Path(baselines.__file__), Path(gradients.__file__), Path(patches.__file__))
        ]
        return self.folder / "scores" / f"{hashlib.sha256(repr(about).encode()).hexdigest()}.safetensors"

    @property
    def of_training(self) -> dict[str, Tensor]:
        """Scores of the training items alone: (G, N) by method."""
        return {name: of[:, : len(self.images)] for name, of in self.scores.items()}

    def similarities(self) -> dict[str, Similarity]:
        """By which the counterfactual looks at images."""

        def features(items: Items) -> Tensor:
            return baselines.mid_block_features(self.model, items)

        conditioning = self.case.generated[:].conditioning
        return {"MSE": squared_error, "SSIM": structural, "features": feature_similarity(features, conditioning)}

    def keep(self, path: Path) -> None:
        """Write all answers that there are to a file: those that were kept, and those that this study has come to.

        Nothing is written where none came to be, or of a model with a VAE, whose images are no pixels.
        """
        there = self.answers.there() if "answers" in vars(self) else {}  # else nothing was asked
        if there and self.model.pixels_per_latent == 1:
            self.kept_answers(path).write({**self.known_answers, **there, Job(): self.answers.by_job([Job()])[Job()]})

    def datamodeling(self) -> dict[str, Predicted]:
        """The linear datamodeling score by method, and its difference to that of MUCS.

        Of methods that are `swept`, that of the best setting as well, which the score itself has chosen: no figure of theirs can be better.
        """
        kept = halves(len(self.images), self.plan.halves)
        losses = half_losses(self.answers, kept)
        swept = {name: self.swept(name) for name in SWEPT if name in self.scores}
        every = {setting: scores for of in swept.values() for setting, scores in of.items()}
        found = estimated(self.of_training | every, kept, losses, "MUCS")
        for of in swept.values():
            best = max(of, key=lambda setting: found[setting].score.value)
            of_best = found[best]
            for setting in of:
                del found[setting]
            found[f"{best} (the best of {len(of)}, by this score)"] = of_best
        return found

    def swept(self, name: str) -> dict[str, Tensor]:
        """What a method scores with other settings: (G, N) by method and setting."""
        case, plan, factors = self.case, self.plan, SWEPT[name]

        def compute() -> Tensor:
            if name == "D-TRAK":
                return torch.stack(
                    baselines.damped(case, [baselines.DAMPING * factor for factor in factors], timesteps=plan.timesteps)
                )
            return torch.stack([nonparametric(case, sigma=SIGMA * factor) for factor in factors])

        found = kept_scores(self._place(f"{name}, swept over {factors}"), compute)[:, :, : len(self.images)]
        what, unit = ("damping", baselines.DAMPING) if name == "D-TRAK" else ("σ", SIGMA)
        return {f"{name}, {what} {unit * factor:.3g}": of for factor, of in zip(factors, found, strict=True)}

    def counterfactual(self, methods: Sequence[str] = ()) -> dict[str, dict[str, Moved]]:
        """What removal moves, by method and measure; of all methods where none are named.

        Raises:
            InputError: For a method that the plan does not have.
        """
        self.check(methods)
        plan, scores = self.plan, self.of_training
        design = Design.of(plan.generated, plan.group, plan.remove, seeds=plan.seeds, draws=plan.draws)
        judged = {name: scores[name] for name in methods or scores if name != "random"}
        return counterfactual(self.answers, judged, design, self.similarities())

    def holders(self) -> dict[str, dict[str, Any]]:
        """How well groups are named that images owe to: the rights holders, and random groups of the same sizes."""
        plan, mucs = self.plan, self.mucs
        holders = largest(self.rights_holders, plan.holders)
        random = at_random([*map(len, holders.values())], len(self.images))
        self.answers.by_job(leaving_out({**holders, **random}, plan.seeds))  # one queue, one estimate
        store, found = LossStore(self.folder / "losses"), {}
        for kind, groups in {"holders": holders, "random groups": random}.items():
            forgotten, told = of_forgotten(
                *(self.case, groups, self.held_out, mucs.bank, plan.unlearning),
                *(plan.pseudo_groups, store, self.workers),
            )
            predicted = forgotten | of_items(self.of_training, groups) | of_sizes(groups, plan.generated)
            change = changes(self.answers, groups, plan.seeds)
            found[kind] = {
                "sizes": {name: len(members) for name, members in groups.items()},
                **told,
                "ceiling": {measure: ceiling(of) for measure, of in change.items()},
                **{measure: named(predicted, of.mean(dim=0)) for measure, of in change.items()},
            }
        return found

    def suspicions(self) -> dict[str, Suspicion]:
        """What else than cause the scores could be made of, by method."""
        pixels, features = baselines.pixel_cosine(self.case), baselines.feature_cosine(self.case)
        whole, losses = len(self.case.candidates), self.mucs.losses()
        return {
            name: suspicion(self.case, of, pixels, features, losses, name)
            for name, of in self.scores.items()
            if of.shape[1] == whole
        }

    def payments(self) -> dict[str, FalsePayments]:
        """What the studied scores, and others that need decoys, would pay to held-out items, by score and bound."""
        likeness, whole = baselines.feature_cosine(self.case), len(self.case.candidates)
        null = self.mucs.entries(self.case.decoy_items).mean(dim=2)
        asked: dict[str, tuple[Tensor, Tensor | None]]
        asked = {name: (of, None) for name, of in self.scores.items() if of.shape[1] == whole and "," not in name}
        mine = asked["MUCS"][0]
        of_difference = (
            self.by_difference.scores(),
            self.by_difference.entries(self.case.decoy_items).mean(dim=2),
        )
        asked |= {
            "MUCS, decoy p ≤ 0.05": (mine, within(mine, null)),
            "MUCS, against decoys": (self.mucs.z_scores(), None),
            "MUCS, centred both ways": (centred(mine, null), None),
            "MUCS, difference": (of_difference[0], None),
            "MUCS, difference, decoy p ≤ 0.05": (of_difference[0], within(*of_difference)),
            "MUCS, difference, centred both ways": (centred(*of_difference), None),
        }
        return {
            name: false_payments(of, len(self.images), likeness, counts, name) for name, (of, counts) in asked.items()
        }

    def sanity(self) -> dict[str, Any]:
        """The controls, and how well two seeds of unlearning agree."""
        made = controls(self.images, self.case.seed)
        entries = self.mucs.entries(made.generated).mean(dim=2)[:, : len(self.images)]
        itself, near = (int((of > of[made.source]).sum()) + 1 for of in entries)
        first, second = (self.mucs.scores(seed)[:, : len(self.images)] for seed in (self.case.seed, self.case.seed + 1))
        common, correlation = between(first, second, 10)
        return {
            "rank of a training item behind itself": itself,
            "rank behind a near-duplicate": near,
            "training items": len(self.images),
            "best 10 that two seeds share": common,
            "rank correlation of two seeds": correlation,
        }

    def ablations(self, items: int) -> dict[str, Predicted]:
        """The datamodeling score of each design choice of the paper, on the first generated items."""
        kept = halves(len(self.images), self.plan.halves)
        losses = half_losses(self.answers, kept)[:, :items]
        scores = {name: of.scores()[:, : len(self.images)] for name, of in variants(self.mucs, items).items()}
        return estimated(scores, kept, losses, "as it is")


def kept_scores(path: Path | None, compute: Callable[[], Tensor]) -> Tensor:
    """Scores from their file, computed and put there if it is missing."""
    if path is None:
        return compute()
    if not path.exists():
        with replacing(path) as partial:
            save_file({"scores": compute().contiguous()}, partial)
    return load_file(path)["scores"]


def variants(mucs: Mucs, items: int) -> dict[str, Mucs]:
    """MUCS as it is, and with one design choice changed at a time (paper, section 4.3), on the first generated items."""
    mucs = replace(mucs, case=replace(mucs.case, generated=mucs.case.generated[:items]))
    settings, scoring = mucs.settings, mucs.scoring
    whole = NoiseBank.draw(mucs.case.model, len(mucs.bank), fraction=1.0)
    weighed = weighed_by_null_loss(mucs.case.model, mucs.case.images)
    by_null_loss = replace(mucs, case=replace(mucs.case, model=weighed), bank=NoiseBank.draw(weighed, len(mucs.bank)))
    return {
        "as it is": mucs,
        "difference instead of ratio": replace(mucs, scoring=replace(scoring, score="difference")),
        "noise redrawn for each item": replace(mucs, redrawn_noise=True),
        "shared noise in unlearning": replace(mucs, settings=replace(settings, shared_noise=True)),
        "all levels, f = 1": replace(mucs, bank=whole),
        "stopped by a fixed probe": replace(mucs, settings=replace(settings, stop="probe")),
        "antithetic unlearning": replace(mucs, settings=replace(settings, antithetic=True)),
        "augmentation": replace(mucs, settings=replace(settings, augment=True)),
        "look-alikes not retained": replace(mucs, drop_alike=0.1),
        "λ = 1": replace(mucs, settings=replace(settings, forget_weight=1.0)),
        "attention unlearned": replace(mucs, settings=replace(settings, trainable="attention")),
        "all weights unlearned": replace(mucs, settings=replace(settings, trainable="all")),
        "weighed by the null loss": by_null_loss,
        "one null loss, that of a zero output": replace(mucs, settings=replace(settings, null_loss="zero output")),
    }
