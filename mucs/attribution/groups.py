"""Attribution of generated items to groups of training items, such as a rights holder's: forget each group once, and score by that."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution import chance
from mucs.attribution.addresses import address
from mucs.attribution.bank import NoiseBank
from mucs.attribution.draws import different
from mucs.attribution.forgotten import Forgotten, forget
from mucs.attribution.hyperparameters import Unlearning
from mucs.attribution.items import Items, as_items
from mucs.attribution.losses import LossStore, Scoring, machine, measure
from mucs.attribution.mapped import cached
from mucs.attribution.model import DiffusionModel
from mucs.attribution.objective import Objective
from mucs.attribution.screening import best
from mucs.attribution.seeds import stream
from mucs.attribution.skew import standard_error
from mucs.attribution.version import METHOD_SHA256

log = logging.getLogger("mucs.attribution")


@dataclass(frozen=True, eq=False)
class GroupAttribution:
    """One generated item's answer: K groups, best first; D pseudo-groups of random items for each.

    What is said of how a group was forgotten is the same for all generated items.

    Attributes:
        groups: (K,) their names.
        sizes: (K,) int64, how many training items each has.
        scores: (K,) float32, the skew of the generated item's own loss, in (−1, 1): how much worse the model knows it
            without the group.
        standard_errors: (K,) over the bank.
        null_scores: (K, D) float32, the same of pseudo-groups of the same size.
        p_values: (K,) float64, against those, in [1/(D+1), 1].
        z_scores: (K,) float64, distance from their mean in their standard deviations; NaN with fewer than two, and not finite
            where all are alike.
        steps: (K,) int64, of unlearning.
        converged: (K,) bool, whether the group's loss reached `probe_unseen` before the step cap. The score of one that did not
            understates.
        null_converged: (K,) int64, how many of the D pseudo-groups did.
        probe_before, probe_after: (K,) float64, mean bounded loss of the group's items under a fixed probe, of the
            original model and of the one that forgot them.
        probe_unseen: (K,) float64, what it is expected to be had the group not been trained on, where forgetting ends.
    """

    groups: tuple[str, ...]
    sizes: Tensor
    scores: Tensor
    standard_errors: Tensor
    null_scores: Tensor
    p_values: Tensor
    z_scores: Tensor
    steps: Tensor
    converged: Tensor
    null_converged: Tensor
    probe_before: Tensor
    probe_after: Tensor
    probe_unseen: Tensor


def attribute_groups(
    model: DiffusionModel,
    images: Tensor | Items,
    generated_images: Tensor | Items,
    groups: Mapping[str, Sequence[int] | Tensor],
    held_out: Tensor | Items,
    bank: NoiseBank,
    settings: Unlearning = Unlearning(),
    *,
    pseudo_groups: int = 19,
    scoring: Scoring = Scoring(),
    seed: int = 0,
    store: LossStore | None = None,
    executor: Executor | None = None,
) -> list[GroupAttribution]:
    """Score groups of training images, such as those of each rights holder, for each generated image.

    Each group is forgotten once: mirrored unlearning (paper, section 3.1) of all its items, while the others are
    retained, until its loss is as if it had not been trained on, which is told from held-out images. Then a generated image costs one forward pass
    for each entry of the bank and each group, and its score is the noise-consistent skew (section 3.2) of its own
    loss. What the paper does for one generated item and all training items is so turned around.

    Args:
        model: The original.
        images: The training images, (N, C, H, W) in [-1, 1], or Items.
        generated_images: (G, C, H, W) in [-1, 1], or Items.
        groups: Indices of its training images by the name of each group, in any order: of a rights holder, a licence, a
            style. Groups may overlap: each is forgotten by itself. Images of no group are retained.
        held_out: Images of the same kind that the model was not trained on, (H, C, H, W) in [-1, 1], or Items.
        bank: The noise bank.
        settings: How a group is unlearned; `stop`, `tolerance` and `converged_at` are of single items, and say
            nothing here.
        pseudo_groups: D, groups of random training images of the same size that each group is held against. They are
            forgotten likewise, once for all groups of a size. A p-value is no smaller than 1/(D+1).
        scoring: How losses are measured and compared.
        seed: Of all random streams.
        store: Where the weights of each forgotten group are kept, and losses: other generated images need no unlearning
            then, and a call that was killed goes on. In memory nothing is kept.
        executor: Works on several groups at once.

    Returns:
        One attribution for each generated image.

    Raises:
        InputError: If images, conditioning or bank do not fit the model; if there are no held-out images; or if a group is
            empty, holds all training images, or names an image twice or one that there is not.
    """
    items, generated, unseen = as_items(images), as_items(generated_images), as_items(held_out)
    for given, what in ((items, "training images"), (generated, "generated images"), (unseen, "held-out images")):
        model.check(given, what)
    if not isinstance(pseudo_groups, int) or pseudo_groups < 0:
        raise InputError(f"{pseudo_groups!r} pseudo-groups are asked for; ask for a whole number from 0 on.")
    if not groups:
        raise InputError("There are no groups; give the indices of at least one.")
    members = {name: _members(name, groups[name], len(items)) for name in sorted(groups)}
    sizes = {name: len(which) for name, which in members.items()}
    random = {size: [_at_random(items, size, seed, draw) for draw in range(pseudo_groups)] for size in sizes.values()}

    store = store or LossStore()
    everything, entries = torch.arange(len(generated)), range(len(bank))
    before = store.table(model, generated, bank, scoring).rows(everything, entries)
    objective = Objective.of(model, items, settings)
    method = _Method(model, items, unseen, generated, bank, before, objective, scoring, seed, store.folder)
    found = method.without([*members.values(), *(each for of_size in random.values() for each in of_size)], executor)
    of_groups = {name: found[_key(which)] for name, which in members.items()}
    null = {size: [found[_key(each)] for each in of_size] for size, of_size in random.items()}
    return [_attribution(k, of_groups, null, sizes) for k in range(len(generated))]


def _members(name: str, members: Sequence[int] | Tensor, count: int) -> Tensor:
    """A group's indices, (n,) int64, rising; InputError if they name no group of the `count` training items."""
    try:
        which = torch.as_tensor(members)
    except (TypeError, ValueError, RuntimeError):
        which = torch.empty(0, 0)
    if which.numel() == 0 and which.ndim == 1:
        raise InputError(f"The group {name!r} has no training images; give at least one, or leave it out.")
    if which.ndim != 1 or which.dtype not in (torch.int64, torch.int32):
        raise InputError(f"The group {name!r} is no list of indices; give whole numbers.")
    which = which.to("cpu", torch.int64).sort().values
    if which[0] < 0 or which[-1] >= count:
        wrong = int(which[0] if which[0] < 0 else which[-1])
        raise InputError(f"The group {name!r} names the training image {wrong}; give indices from 0 to {count - 1}.")
    if (which.diff() == 0).any():
        raise InputError(f"The group {name!r} names a training image twice; name each once.")
    if len(which) == count:
        raise InputError(f"The group {name!r} holds all training images, and none is left to retain; leave it out.")
    return which


def _at_random(items: Items, size: int, seed: int, draw: int) -> Tensor:
    """A pseudo-group: random training items, (size,) int64, rising."""
    random = stream(seed, f"pseudo-group {draw} of {size}", items.digest)
    return different(len(items), size, random).sort().values


def _key(group: Tensor) -> bytes:
    return group.numpy().tobytes()


@dataclass(frozen=True, eq=False)
class _Outcome:
    """What all generated items lose without a group: scores and standard errors (G,), and how it was forgotten."""

    scores: Tensor
    standard_errors: Tensor
    forgotten: Forgotten


@dataclass(frozen=True, eq=False)
class _Method:
    """What all groups share; before: the original's losses of the generated items, (G, M)."""

    model: DiffusionModel
    items: Items
    held_out: Items
    generated: Items
    bank: NoiseBank
    before: Tensor
    objective: Objective
    scoring: Scoring
    seed: int
    folder: Path | None

    def without(self, groups: Iterable[Tensor], executor: Executor | None) -> dict[bytes, _Outcome]:
        """What comes of each group, by its key; the same items are one group, whatever their names."""
        distinct = {_key(group): group for group in groups}
        done = executor.map(self.one, distinct.values()) if executor else map(self.one, distinct.values())
        found: dict[bytes, _Outcome] = {}
        for key, outcome in zip(distinct, done, strict=True):
            found[key] = outcome
            log.info("group %d of %d", len(found), len(distinct))
        return found

    def one(self, group: Tensor) -> _Outcome:
        """Forget a group, or find it forgotten, and see what the generated items lose."""
        folder = self.folder and self.folder / "groups" / self.address(group)
        forgotten = self.forget(group, folder and folder / "weights.safetensors")

        def fill(losses: Tensor) -> None:
            which, entries = torch.arange(len(self.generated)), range(len(self.bank))
            banks = self.scoring.second_bank(self.bank), self.bank
            for of_copy, model, bank in zip(losses, forgotten.models(self.model), banks, strict=False):
                of_copy.copy_(measure(model, self.generated, bank, which, entries, self.scoring))

        shape = (self.objective.settings.copies, *self.before.shape)
        after, *learned = cached(folder and folder / self.losses, shape, fill)
        # as `compare.compared` does it
        values = self.scoring.compare(learned[0], after) / 2 if learned else self.scoring.compare(self.before, after)
        errors = standard_error(values, self.bank.levels)
        return _Outcome(values.mean(dim=1), errors, dataclasses.replace(forgotten, copies=()))

    def forget(self, group: Tensor, path: Path | None) -> Forgotten:
        """What is left without the group, from its file if there is one."""
        if path and path.exists():
            return Forgotten.read(path, self.model)
        forgotten = forget(self.model, self.items, group, self.held_out, self.objective, self.seed)
        if path:
            forgotten.save(path)
        return forgotten

    def address(self, group: Tensor) -> str:
        """Of all that forgetting a group depends on."""
        return address(
            model=self.model.digest,
            images=self.items.digest,
            held_out=self.held_out.digest,
            group=group.tolist(),
            settings=dataclasses.asdict(self.objective.settings),
            seed=self.seed,
            machine=machine(self.model.device),
            code=METHOD_SHA256,
        )

    @property
    def losses(self) -> str:
        """Name of the file of the generated items' losses."""
        how = dataclasses.asdict(dataclasses.replace(self.scoring, score="skew"))  # losses are the same for all scores
        return f"{address(generated=self.generated.digest, bank=self.bank.digest, scoring=how)}.f32"


def _attribution(
    item: int, of_groups: Mapping[str, _Outcome], null: Mapping[int, Sequence[_Outcome]], sizes: Mapping[str, int]
) -> GroupAttribution:
    """The answer of one generated item.

    Args:
        item: Which.
        of_groups: Outcomes by the group's name.
        null: Outcomes of pseudo-groups by their size.
        sizes: Of the groups.
    """
    order = best(torch.stack([one.scores[item] for one in of_groups.values()]), len(of_groups))
    names = [list(of_groups)[place] for place in order.tolist()]
    found, by_chance = [of_groups[name] for name in names], [null[sizes[name]] for name in names]
    scores = torch.stack([one.scores[item] for one in found])
    null_scores = torch.tensor([[float(one.scores[item]) for one in each] for each in by_chance])
    enough = null_scores.shape[1] > 1
    forgotten = [one.forgotten for one in found]
    return GroupAttribution(
        groups=tuple(names),
        sizes=torch.tensor([sizes[name] for name in names]),
        scores=scores,
        standard_errors=torch.stack([one.standard_errors[item] for one in found]),
        null_scores=null_scores,
        p_values=chance.own_p_values(scores, null_scores),
        z_scores=chance.z_scores(scores, null_scores) if enough else torch.full(scores.shape, torch.nan).double(),
        steps=torch.tensor([one.steps for one in forgotten]),
        converged=torch.tensor([one.converged for one in forgotten]),
        null_converged=torch.tensor([sum(one.forgotten.converged for one in each) for each in by_chance]),
        probe_before=torch.tensor([one.probe_before for one in forgotten], dtype=torch.float64),
        probe_after=torch.tensor([one.probe_after for one in forgotten], dtype=torch.float64),
        probe_unseen=torch.tensor([one.probe_unseen for one in forgotten], dtype=torch.float64),
    )
