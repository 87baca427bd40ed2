"""What MUCS is compared with: methods of attribution from similarity, from gradients and from unlearning.

Each takes a `Case` and its own settings, and gives scores (G, N + H) float32 on the CPU, of training and then of
held-out items; higher is more influential. What is fitted is fitted to the training items alone. The row of a generated
item depends on the case's model, training items and seed, and not on the other generated items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from mucs import InputError
from mucs.attribution import DiffusionModel, Items, NoiseBank, denoising_losses
from mucs.attribution.likeness import likeness
from mucs.attribution.seeds import stream
from mucs.attribution.trainable import trainable_names
from mucs.evaluation.case import Case
from mucs.evaluation.gradients import Output, differentiable, gradient, projected_gradients, squared_norms

Features = Callable[[Items], Tensor]  # N items, images float in [-1, 1], to (N, F)

DAMPING = 0.1  # of D-TRAK's kernel, in units of the mean squared length of the training features
OUTPUTS: dict[str, Output] = {"squared norm": squared_norms, "loss": DiffusionModel.losses}


def each(items: Items) -> list[Items]:
    """The items one by one."""
    return [items[i : i + 1] for i in range(len(items))]


def random_scores(case: Case) -> Tensor:
    """Uniform in [0, 1), drawn anew for each generated item."""
    return torch.stack(
        [
            torch.rand(len(case.candidates), generator=stream(case.seed, "random scores", one.digest))
            for one in each(case.generated)
        ]
    )


def pixel_cosine(case: Case) -> Tensor:
    """Cosine similarity of pixels, each image less its own mean: in [-1, 1]."""
    return torch.stack([likeness(case.candidates, one.images[0]) for one in each(case.generated)])


def mid_block_features(
    model: DiffusionModel, items: Items, *, levels: int = 3, seed: int = 0, batch_size: int = 64
) -> Tensor:
    """Activations of the network's middle block, averaged over places and noise levels: N items to (N, F) float32 on the CPU.

    Args:
        model: With a UNet.
        items: N of them.
        levels: How many, from the last but one of ten of the sampler's schedule upwards: quiet enough to see the item.
        seed: Of the noise.
        batch_size: Items at once.

    Raises:
        InputError: If the network is not a UNet.
    """
    block = getattr(model.network, "mid_block", None)
    if block is None:
        raise InputError("The network has no middle block; give features of your own.")
    chosen = model.parameterisation.schedule(10, model.shape)[-1 - levels : -1]
    noise = torch.randn((levels, *model.shape), generator=stream(seed, "features"))
    model = model.copy()
    seen: list[Tensor] = []

    def keep(module: Any, given: Any, output: Tensor) -> None:
        seen.append(output.mean(dim=(2, 3)))

    model.network.mid_block.register_forward_hook(keep)
    found = []
    with torch.inference_mode():
        for start in range(0, len(items), batch_size):
            batch = items[start : start + batch_size]
            seen.clear()
            for one, level in zip(noise, chosen, strict=True):
                noises = one.expand(batch.images.shape)
                model.losses(batch.images, noises, level.expand(len(batch)), batch.conditioning)
            found.append(torch.stack(seen).mean(dim=0).cpu())
    return torch.cat(found)


def same_class(case: Case) -> Tensor:
    """1 for items of the generated item's class, 0 for others: what a class-conditional model alone would tell.

    Raises:
        InputError: If the model takes no classes.
    """
    if "class_labels" not in case.model.conditioning:
        raise InputError("The model takes no classes to compare; leave this method out.")
    of_generated, of_candidates = (items[:].conditioning["class_labels"] for items in (case.generated, case.candidates))
    return (of_generated[:, None] == of_candidates).float()


def feature_cosine(case: Case, *, features: Features | None = None) -> Tensor:
    """Cosine similarity of features, less their mean over the training items: in [-1, 1].

    Args:
        case: What is explained, and by what.
        features: N items to (N, F); by default `mid_block_features` of the case's model.
    """
    if features is None:

        def features(items: Items) -> Tensor:
            return mid_block_features(case.model, items, seed=case.seed)

    of_candidates, of_generated = (features(items[:]).float().cpu() for items in (case.candidates, case.generated))
    mean = of_candidates[: len(case.images)].mean(dim=0)
    a, b = (torch.nn.functional.normalize(of - mean, dim=1) for of in (of_generated, of_candidates))
    return a @ b.T


def gradient_dot(case: Case, *, timesteps: int = 10, projection: int = 32768, cosine: bool = False) -> Tensor:
    """Dot product of loss gradients: TracIn (Pruthi et al. 2020, arXiv 2002.08484) with one checkpoint.

    Gradients are those of TRAK in `dtrak`, as in the comparison of D-TRAK's authors: averaged over evenly spaced
    timesteps and projected.

    Args:
        case: What is explained, and by what.
        timesteps: How many, evenly spaced over the schedule.
        projection: Dimensions of the projected gradients.
        cosine: Divide by the gradients' lengths.
    """
    a, b = (
        projected_gradients(
            case.model, items, output=OUTPUTS["loss"], timesteps=timesteps, size=projection, seed=case.seed
        )
        for items in (case.generated, case.candidates)
    )
    if cosine:
        a, b = (torch.nn.functional.normalize(of, dim=1) for of in (a, b))
    return a @ b.T


def kernel_scores(of_generated: Tensor, of_candidates: Tensor, count: int, damping: float) -> Tensor:
    """φ(x_g)ᵀ (ΦᵀΦ + λI)⁻¹ φ(x_n): features (G, k) and (N + H, k) to (G, N + H) float32, λ = damping · mean ‖φ(x_n)‖².

    Φ (N, k) are the first `count` rows. As Φ(ΦᵀΦ + λI)⁻¹ = (ΦΦᵀ + λI)⁻¹Φ, the matrix to solve is N × N, in double
    precision; for the rows that are not in Φ, the inverse is (I − Φᵀ(ΦΦᵀ + λI)⁻¹Φ) / λ.
    """
    of_images, of_others = of_candidates[:count], of_candidates[count:]
    gram = (of_images @ of_images.T).double()
    weight = damping * gram.diagonal().mean()
    gram.diagonal().add_(weight)
    scores: Tensor = torch.linalg.solve(gram, (of_images @ of_generated.T).double())
    explained = (of_others @ of_images.T).double() @ scores
    others = ((of_others @ of_generated.T).double() - explained) / weight
    return torch.cat([scores, others]).T.float().contiguous()


def dtrak(
    case: Case,
    *,
    output: Literal["squared norm", "loss"] = "squared norm",
    timesteps: int = 10,
    projection: int = 32768,
    damping: float = DAMPING,
) -> Tensor:
    """D-TRAK (Zheng et al. 2024, arXiv 2311.00500): φ(x_g)ᵀ (ΦᵀΦ + λI)⁻¹ φ(x_n), without TRAK's weighting by the loss.

    φ is the projected gradient by all weights of an output that is, on purpose, not the training loss: the mean square
    of the network's raw prediction. From the authors' experiment on CIFAR-2 (their code, CIFAR2/grad_unconditional.py):
    the average over 10 or 100 evenly spaced timesteps, 100 being better and ten times as slow; one noise for each
    timestep; 32,768 dimensions. Their projection is Gaussian, ours a count sketch.

    Args:
        case: What is explained, and by what.
        output: "loss" makes it TRAK for diffusion models.
        timesteps: How many, evenly spaced over the schedule.
        projection: Dimensions of the projected gradients.
        damping: In units of the mean squared length of the training features. The authors search it with the score at
            hand: best are 2,000 for 10 timesteps and 1,000 for 100 (CIFAR2/methods/04_if). What their notebook prints
            of the inverse's diagonal gives mean squared lengths of about 18,000 and 12,000, so both are about a tenth.
            We fix that instead of searching.

    Raises:
        InputError: If the output is not known.
    """
    if output not in OUTPUTS:
        raise InputError(f"The output {output!r} is not known; use one of: {', '.join(OUTPUTS)}.")
    (scores,) = damped(case, [damping], output=output, timesteps=timesteps, projection=projection)
    return scores


def damped(
    case: Case,
    dampings: Sequence[float],
    *,
    output: Literal["squared norm", "loss"] = "squared norm",
    timesteps: int = 10,
    projection: int = 32768,
) -> list[Tensor]:
    """What `dtrak` gives with each of the dampings; gradients are taken once."""
    of_generated, of_candidates = (
        projected_gradients(
            case.model, items, output=OUTPUTS[output], timesteps=timesteps, size=projection, seed=case.seed
        )
        for items in (case.generated, case.candidates)
    )
    return [kernel_scores(of_generated, of_candidates, len(case.images), damping) for damping in dampings]


CROSS_ATTENTION = ("*.attn2.to_k.weight", "*.attn2.to_v.weight")


def fisher_diagonal(
    model: DiffusionModel, parameters: Sequence[Tensor], images: Items, draws: int, seed: int
) -> Tensor:
    """Mean squared gradient of a single sample's loss: items, noise and levels as training draws them, to (P,) float64."""
    random = stream(seed, "fisher")
    which = torch.randint(len(images), (draws,), generator=random)
    levels = model.parameterisation.draw_levels(draws, random)
    total = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64, device=model.device)
    for i, level in zip(which.tolist(), torch.split(levels, 1), strict=True):
        noise = torch.randn((1, *model.shape), generator=random)
        total += gradient(model, parameters, images[i : i + 1], noise, level).double().square()
    return total / draws


def unlearning_scores(
    case: Case,
    *,
    rise: float = 0.1,
    trainable: str | Sequence[str] | None = None,
    draws: int = 500,
    fisher_draws: int = 1000,
    damping: float = 1e-3,
    levels: int = 20,
    batch_size: int = 64,
) -> Tensor:
    """Attribution by unlearning (Wang et al. 2024, arXiv 2406.09408): how much each training item's loss rises when the generated one is unlearned.

    One step of Newton's, with the diagonal of the training set's Fisher information F for the Hessian: θ ← θ + s F⁻¹ ∇
    mean ℓ(x_g). As in the authors' experiment on MSCOCO (their code, mscoco/compute_influence.py), losses are averaged
    over 20 evenly spaced levels, with the same noise before and after. They also score mirrored copies, since their model
    was trained on them; ours are scored as they are.

    Args:
        case: What is explained, and by what.
        rise: How long the step is: the loss of x_g would rise by this share of itself, to first order. The authors take
            s = 0.01/N, a short step with their N of 118,000. With tens or hundreds of items it leaves nothing of the
            model, while steps short enough to be linear rank the items alike; so we fix what the step does instead.
        trainable: Weights to change, as in `Unlearning`. By default the keys and values of cross-attention, which the
            authors choose; in a network without, the attention's matrices, the next of the choices that they offer.
        draws: (noise, level) pairs for the gradient of x_g, drawn as in training; the authors take 50,000.
        fisher_draws: Samples for F; the authors take five for each training item.
        damping: Added to F, in units of its mean. The authors add nothing, but from few draws some of F is close to 0.
        levels: How many noise levels losses are averaged over.
        batch_size: Items at once.
    """
    model, images = case.model, case.images
    if trainable is None:
        crossed = any(".attn2.to_k." in name for name, _ in model.network.named_parameters())
        trainable = CROSS_ATTENTION if crossed else "attention"
    names = trainable_names(model.network, trainable)
    fisher = fisher_diagonal(*differentiable(model, names), images, fisher_draws, case.seed)
    fisher += damping * fisher.mean()
    noise = torch.randn((levels, *model.shape), generator=stream(case.seed, "unlearning bank"))
    bank = NoiseBank(noise, model.parameterisation.schedule(levels, model.shape))
    before = denoising_losses(model, case.candidates, bank, batch_size=batch_size).mean(dim=1)
    found = []
    for one in each(case.generated):
        random = stream(case.seed, "gradient of unlearning", one.digest)
        drawn = NoiseBank(
            torch.randn((draws, *model.shape), generator=random), model.parameterisation.draw_levels(draws, random)
        )
        unlearned, parameters = differentiable(model, names)
        slope = gradient(unlearned, parameters, one, drawn.noise, drawn.levels).double()
        towards = slope / fisher
        loss = float(denoising_losses(model, one, drawn, batch_size=batch_size).mean())
        change = towards * (rise * loss / (slope @ towards))
        with torch.no_grad():
            for p, part in zip(parameters, torch.split(change, [p.numel() for p in parameters]), strict=True):
                p += part.view_as(p)
        found.append(denoising_losses(unlearned, case.candidates, bank, batch_size=batch_size).mean(dim=1) - before)
    return torch.stack(found)


def standard_ensemble(scores: Sequence[Tensor]) -> Tensor:
    """Mean over methods of each item's standing in its row, in standard deviations: tensors (G, N) to (G, N) float32."""
    return torch.stack([(of - of.mean(dim=1, keepdim=True)) / of.std(dim=1, keepdim=True) for of in scores]).mean(dim=0)


def rank_ensemble(scores: Sequence[Tensor]) -> Tensor:
    """Mean over methods of each item's rank in its row, from 0 (least influential) to 1: tensors (G, N) to (G, N) float32.

    Equal scores share their mean rank.

    Raises:
        InputError: If there are no scores, their shapes differ, or one is NaN.
    """
    if not scores or any(of.ndim != 2 or of.shape != scores[0].shape for of in scores):
        raise InputError("An ensemble needs scores of at least one method, all of the same shape (G, N); mend them.")
    if any(of.isnan().any() for of in scores):
        raise InputError("Scores that are not numbers cannot be ranked; leave that method out.")

    def ranks(of: Tensor) -> Tensor:
        ordered, of = of.sort(dim=1).values, of.contiguous()
        below, up_to = torch.searchsorted(ordered, of), torch.searchsorted(ordered, of, right=True)
        return (below + up_to) / (2 * of.shape[1])

    return torch.stack([ranks(of) for of in scores]).mean(dim=0)
