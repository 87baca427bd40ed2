"""Answers: what a retrained model makes of the generated items, and how far that is from what the original made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mucs.attribution import DiffusionModel, Items, NoiseBank, denoising_losses
from mucs.attribution.version import METHOD_SHA256
from mucs.digests import source_sha256
from mucs.evaluation import sampling
from mucs.evaluation.retraining import Job, Retraining
from mucs.evaluation.sampling import initial_noise, sample
from mucs.files import replacing

STEPS = 50  # of the sampler
Similarity = Callable[[Tensor, Tensor], Tensor]  # images (G, C, H, W), the same, to (G,): how alike each pair is


@dataclass(frozen=True, eq=False)
class Answers:
    """What models say of the generated items, kept beside their weights.

    Attributes:
        seeds: Of the generated items, from which the model is asked for them again.
        bank: Under which it is asked for its loss on them.
        known: Answers that are there already, by training.
        used: The trainings that were asked about, done or not.
    """

    retraining: Retraining
    generated: Items
    seeds: Sequence[int]
    bank: NoiseBank
    steps: int = STEPS
    known: Mapping[Job, Mapping[str, Tensor]] = field(default_factory=dict)
    used: dict[Job, None] = field(default_factory=dict)

    def made(self, model: DiffusionModel) -> Tensor:
        """The model's images from the same seeds, as 8-bit pictures have them: (G, C, H, W) in [-1, 1]."""
        made = sample(model, initial_noise(model, self.seeds), self.generated[:].conditioning, self.steps)
        return ((made + 1) * 127.5).round() / 127.5 - 1 if model.pixels_per_latent == 1 else made

    def of(self, jobs: Sequence[Job]) -> dict[str, Tensor]:
        """`images` (J, G, C, H, W) and `losses` (J, G) of trained models, which are trained first where nothing is known of them."""
        found = self.by_job(jobs)
        return {name: torch.stack([found[job][name] for job in jobs]) for name in ("images", "losses")}

    def by_job(self, jobs: Iterable[Job]) -> dict[Job, Mapping[str, Tensor]]:
        """`images` (G, C, H, W) and `losses` (G,) by training, likewise."""
        different = list(dict.fromkeys(jobs))
        self.used.update(dict.fromkeys(different))
        missing = [job for job in different if job not in self.known]
        self.retraining.run(missing, then=self._one)
        with ThreadPoolExecutor(self.retraining.workers) as pool:
            asked = dict(zip(missing, pool.map(self._one, missing), strict=True))
        return {job: self.known.get(job) or asked[job] for job in different}

    def there(self) -> dict[Job, Mapping[str, Tensor]]:
        """The same of those of the trainings asked about that are done."""
        return {
            job: self.known.get(job) or self._one(job)
            for job in self.used
            if job in self.known or self._path(job).exists()
        }

    def _path(self, job: Job) -> Path:
        code = source_sha256(METHOD_SHA256, Path(__file__), Path(sampling.__file__))
        name = f"{self.generated.digest[:16]}-{self.bank.digest[:16]}-{self.steps}-{code[:16]}"
        return self.retraining.path(job).with_suffix(f".{name}.answer")

    def _one(self, job: Job) -> dict[str, Tensor]:
        path = self._path(job)
        if not path.exists():
            model = self.retraining.model(job)
            losses = denoising_losses(model, self.generated, self.bank).mean(dim=1)
            with replacing(path) as partial:
                save_file({"images": self.made(model).contiguous(), "losses": losses}, partial)
        return load_file(path)


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Minus the mean squared error of pixels in [-1, 1]."""
    return -(a - b).square().mean(dim=(1, 2, 3))


def structural(a: Tensor, b: Tensor) -> Tensor:
    """SSIM (Wang et al. 2004) of images in [-1, 1], in (−1, 1]."""
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim

    found = ssim(a, b, data_range=2.0, reduction="none")
    assert isinstance(found, Tensor)
    return found


def feature_similarity(features: Callable[[Items], Tensor], conditioning: Mapping[str, Tensor]) -> Similarity:
    """Cosine of features (N items to (N, F)), both images under the generated item's conditioning."""

    def similarity(a: Tensor, b: Tensor) -> Tensor:
        of = [features(Items(images, conditioning)).float() for images in (a, b)]
        return torch.cosine_similarity(of[0], of[1], dim=1)

    return similarity
