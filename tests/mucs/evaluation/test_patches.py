"""Patches: the posterior of the best denoiser, place by place, against its definition."""

import itertools
import math

import pytest
import torch

from mucs.attribution import Items
from mucs.attribution.seeds import stream
from mucs.evaluation.case import Case
from mucs.evaluation.patches import OUTSIDE, nonparametric


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def by_definition(case, sigma, size, places, coarse):
    """The same with one number at a time, from images as nested lists."""

    def pixel(image, channel, i, j):
        inside = 0 <= i < len(image[0]) and 0 <= j < len(image[0][0])
        return image[channel][i][j] if inside else OUTSIDE

    def patch(image, i, j):
        if not coarse:
            reach = range(-(size // 2), size // 2 + 1)
            return [pixel(image, c, i + a, j + b) for c, a, b in itertools.product(range(3), reach, reach)]
        corners = range(-(size - 1), size + 1, 2)
        return [
            sum(pixel(image, c, i + a + p, j + b + q) for p, q in itertools.product((0, 1), (0, 1))) / 2
            for c, a, b in itertools.product(range(3), corners, corners)
        ]

    (one,) = case.generated.images
    noise = torch.randn(1, *one.shape, generator=stream(case.seed, "patches", case.generated.digest))[0]
    noisy = (one + sigma * noise).tolist()
    everywhere = list(itertools.product(range(one.shape[1]), range(one.shape[2])))
    candidates = [[patch(image, i, j) for i, j in everywhere] for image in case.candidates.images.tolist()]
    scores = [0.0] * len(candidates)
    for i, j in everywhere:
        wanted = patch(noisy, i, j)
        found = [
            [math.exp(-(math.dist(wanted, other) ** 2) / (2 * sigma**2)) for other in patches] for patches in candidates
        ]
        whole = sum(map(sum, found[: len(case.images)]))
        for k, of in enumerate(found):
            scores[k] += sum(sorted(of)[-places:]) / (whole + (sum(of) if k >= len(case.images) else 0))
    return torch.tensor(scores)


@pytest.mark.parametrize(("coarse", "size"), [(False, 3), (True, 2)])
def test_scores_are_those_of_the_definition(coarse, size):
    images, held_out = random(3, 3, 4, 4), random(2, 3, 4, 4, seed=1)
    one = (images[1:2] * 0.8).clone()
    case = Case(None, Items(images), Items(one), Items(held_out))
    width = {"coarse": size} if coarse else {"size": size}
    found = nonparametric(case, sigma=1.0, top=0.25, fine_share=0.0 if coarse else 1.0, **width)
    expected = by_definition(case, 1.0, size, 4, coarse)
    assert found[0].tolist() == pytest.approx(expected.tolist(), rel=1e-3)


def test_a_copy_comes_first_wherever_its_parts_are_and_shares_sum_to_the_places():
    images, held_out = random(40, 3, 16, 16), random(10, 3, 16, 16, seed=1)
    moved = images[[7]].roll(3, dims=3)
    case = Case(None, Items(images), Items(torch.cat([images[[3]], moved])), Items(held_out))
    scores = nonparametric(case, top=1.0)
    assert scores.shape == (2, 50)
    assert scores.argmax(dim=1).tolist() == [3, 7]
    assert (scores >= 0).all()
    assert scores[:, :40].sum(dim=1).tolist() == pytest.approx([256.0, 256.0], rel=1e-3)
    assert torch.equal(nonparametric(case, top=1.0), scores)
    alone = Case(None, Items(images), Items(moved), Items(held_out))
    assert torch.equal(nonparametric(alone, top=1.0)[0], scores[1])
