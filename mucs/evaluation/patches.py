"""Attribution from pixels alone: whose patches would the best possible denoiser make the generated image of?"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from mucs.attribution.seeds import stream
from mucs.evaluation.case import Case

SIGMA = 0.342  # √((1 − ᾱ)/ᾱ) at step 100 of 1000 of the linear DDPM schedule
OUTSIDE = 10.0  # of pixels beyond an image's edge, far from all that are in [-1, 1]: a patch at an edge is like others at that edge
KERNELS = 16  # patches of the generated image that are compared at once


def nonparametric(
    case: Case,
    *,
    sigma: float = SIGMA,
    size: int | None = None,
    coarse: int | None = None,
    top: float = 0.1,
    fine_share: float = 0.5,
) -> Tensor:
    """Nonparametric data attribution (Zhao et al. 2025, arXiv 2510.14269), which asks nothing of the model.

    The denoiser that is best for a finite training set is a mean of the training images, weighed by how near each is to the noisy image. With
    patches for images, the weights say what each training image has given to each place. A score is an image's weights, its nearest places
    alone, added up over all places of the generated image; and the mean of that for patches as they are, and for larger ones at half the resolution.
    Settings are the authors' for CIFAR-2 at 32 × 32 (their code, CIFAR2/nda_twoscale.py and its README), sizes in proportion to the image's.

    Args:
        case: What is explained, and by what. Its model is not asked.
        sigma: Standard deviation of the noise; of pixels in [-1, 1].
        size: Width of a fine patch, odd; by default the largest within 14/32 of the image's.
        coarse: Width of a coarse patch, in pixels twice as wide; by default 5/32 of the image's, rounded up.
        top: Share of a training image's places, those that are nearest, whose weights count.
        fine_share: Weight of fine patches, from 0 to 1; coarse ones have the rest.

    Returns:
        (G, N + H) float32, at least 0. A held-out item's is what it would be if it alone were among the training items.
    """
    candidates, width = case.candidates[:].images.float(), case.images.images.shape[-1]
    size = size or max(3, (14 * width // 32 - 1) // 2 * 2 + 1)
    coarse = coarse or max(2, -(-5 * width // 32))
    places = max(1, round(top * candidates.shape[-2] * candidates.shape[-1]))
    found = []
    for k in range(len(case.generated)):
        one = case.generated[k : k + 1]
        noise = torch.randn(one.images.shape, generator=stream(case.seed, "patches", one.digest))
        noisy = one.images.float() + sigma * noise
        count = len(case.images)
        fine = weights(around(noisy, size), around(candidates, size), count, size, 1, sigma, places)
        blurred = weights(halved(noisy, coarse), halved(candidates, coarse), count, coarse, 2, sigma, places)
        found.append(fine_share * fine + (1 - fine_share) * blurred)
    return torch.stack(found)


def around(images: Tensor, size: int) -> Tensor:
    """Images with as much beyond their edges as makes a patch of that width, odd, for each of their pixels."""
    return functional.pad(images, [size // 2] * 4, value=OUTSIDE)


def halved(images: Tensor, size: int) -> Tensor:
    """Sums of 2 × 2 pixels, halved, so that white noise keeps its deviation; with a patch of `size` every second of them for each pixel."""
    before = size - 1
    return 2 * functional.avg_pool2d(functional.pad(images, [before, size] * 2, value=OUTSIDE), 2, stride=1)


def weights(
    noisy: Tensor, candidates: Tensor, training: int, size: int, dilation: int, sigma: float, places: int
) -> Tensor:
    """What each candidate gives to all patches of a noisy image: (1, C, h, w), (N + H, C, h, w) to (N + H,) float32.

    Args:
        noisy: With its edges, as `around` or `halved` makes it.
        candidates: Likewise.
        training: How many of the candidates, the first, are training items.
        size: Width of a patch.
        dilation: Pixels from one of a patch to the next.
        sigma: Of the noise.
        places: How many of a candidate's weights for a patch count, the largest.
    """
    total = torch.zeros(len(candidates))
    for nearness in log_likelihoods(noisy, candidates, size, dilation, sigma):
        each = nearness.logsumexp(dim=2)
        whole = each[:, :training].logsumexp(dim=1, keepdim=True).repeat(1, len(candidates))
        whole[:, training:] = whole[:, training:].logaddexp(each[:, training:])
        total += (nearness.topk(places, dim=2).values - whole[:, :, None]).exp().sum(dim=(0, 2))
    return total


def log_likelihoods(noisy: Tensor, candidates: Tensor, size: int, dilation: int, sigma: float) -> Iterator[Tensor]:
    """Of patches of the noisy image, some at once, given each patch of the candidates: (P, N + H, L), but for a constant."""
    channels = candidates.shape[1]
    patches = functional.unfold(noisy, size, dilation=dilation)[0].T.reshape(-1, channels, size, size)
    lengths = functional.conv2d(candidates.square(), torch.ones(1, channels, size, size), dilation=dilation)
    for some in torch.split(patches, KERNELS):
        products = functional.conv2d(candidates, some, dilation=dilation)
        distances = some.square().sum(dim=(1, 2, 3))[None, :, None, None] + lengths - 2 * products
        yield (distances.clamp(min=0) / (-2 * sigma**2)).flatten(2).transpose(0, 1)
