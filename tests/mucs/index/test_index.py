"""The index: fitted to measured scores, it ranks pictures that it has not seen, and knows how far off it is."""

import dataclasses

import pytest
import torch

from mucs import InputError
from mucs.index import Index, Projection
from mucs.index import ranker as fitting
from mucs.index.errors import bands, best_of
from mucs.index.index import build, is_better
from mucs.index.ranker import fit, held_out
from mucs.ranks import spearman

ABOUT = {"checkpoint": "1" * 64, "training_set": "2" * 64}


@dataclasses.dataclass
class World:
    """Scores that items have by their means, and by what they and a picture are made of."""

    items: torch.Tensor
    means: torch.Tensor
    towards: torch.Tensor
    noise: float

    @classmethod
    def of(cls, count: int = 300, size: int = 12, noise: float = 0.05) -> "World":
        random = torch.Generator().manual_seed(3)
        items = torch.nn.functional.normalize(torch.randn(count, size, generator=random), dim=1)
        towards = torch.randn(size, size, generator=random) * 0.3
        return cls(items, 0.1 * torch.randn(count, generator=random), towards, noise)

    def pictures(self, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
        random = torch.Generator().manual_seed(seed)
        queries = torch.nn.functional.normalize(torch.randn(count, self.items.shape[1], generator=random), dim=1)
        noise = self.noise * torch.randn(count, len(self.items), generator=random)
        return (
            queries,
            self.means + queries @ self.towards @ self.items.T + noise,
            [f"{seed}-{k}" for k in range(count)],
        )


def projection(size: int = 12) -> Projection:
    return Projection(torch.zeros(size), torch.eye(size))


def fitted(world, pictures):
    queries, scores, names = pictures
    return build(projection(), world.items, queries, scores, names, ABOUT)


@pytest.fixture(scope="module")
def world():
    return World.of()


@pytest.fixture(scope="module")
def index(world):
    return fitted(world, world.pictures(40, 1))[0]


def test_it_ranks_what_it_has_not_seen_better_than_likeness_and_means_do(world, index):
    queries, scores, _ = world.pictures(200, 2)
    agreed = float(spearman(index.predict(queries), scores).mean())
    likeness = float(spearman(queries @ world.items.T, scores).mean())
    means = float(spearman(world.means.expand_as(scores), scores).mean())
    assert agreed > max(likeness, means) + 0.1
    assert index.measured.spearman == pytest.approx(agreed, abs=0.05)  # which it was told without having seen these
    assert index.measured.likeness == pytest.approx(likeness, abs=0.12)
    assert index.measured.means == pytest.approx(means, abs=0.06)


def test_nine_of_ten_measured_scores_lie_within_what_it_says(world, index):
    queries, scores, _ = world.pictures(200, 5)
    inside, first, told = [], [], []
    for query, measured in zip(queries, scores, strict=True):
        found = index.ask(query, 25)
        assert [each.rank for each in found] == list(range(1, 26))
        inside += [each.low <= measured[each.item] <= each.high for each in found]
        first.append(found[0].item in measured.topk(best_of(len(measured))).indices.tolist())
        told.append(found[0].among_best)
    assert 0.85 < sum(inside) / len(inside) < 0.96
    assert sum(first) / len(first) == pytest.approx(sum(told) / len(told), abs=0.1)


def test_the_closed_form_is_the_least_squares_of_all_pairs(world, monkeypatch):
    queries, scores, _ = world.pictures(9, 7)
    items, scores = world.items[:40] - world.items[:40].mean(dim=0), scores[:, :40]
    found = fit(items, queries, scores, 1.0)
    pairs = (queries.double()[:, None, :, None] * items.double()[None, :, None, :]).flatten(2).flatten(0, 1)
    rest = (
        scores.double()
        - scores.double().mean(dim=0)
        - scores.double().mean(dim=1, keepdim=True)
        + scores.double().mean()
    )
    near = (queries.double() @ items.double().T).flatten()
    weight = float(near @ rest.flatten() / near.square().sum())
    penalty = float(pairs.square().sum() / pairs.shape[1]) * torch.eye(pairs.shape[1], dtype=torch.float64)
    solved = torch.linalg.solve(pairs.T @ pairs + penalty, pairs.T @ (rest.flatten() - weight * near))
    expected = solved.reshape(12, 12) + weight * torch.eye(12, dtype=torch.float64)
    torch.testing.assert_close(found.towards.double(), expected, atol=1e-5, rtol=1e-4)
    monkeypatch.setattr(fitting, "BLOCK", 7)
    torch.testing.assert_close(fit(items, queries, scores, 1.0).towards, found.towards, atol=1e-6, rtol=1e-5)


def test_a_picture_is_predicted_without_its_own_scores(world):
    queries, scores, _ = world.pictures(10, 8)
    predicted = held_out(world.items, queries, scores, 1.0)
    changed = scores.clone()
    changed[3] += torch.randn(len(world.items), generator=torch.Generator().manual_seed(0))
    again = held_out(world.items, queries, changed, 1.0)
    assert torch.equal(predicted[3], again[3])
    assert not torch.equal(predicted[4], again[4])


def test_bands_cover_every_rank_and_grow():
    random = torch.Generator().manual_seed(0)
    scores = torch.rand(30, 500, generator=random)
    found = bands(scores + 0.1 * torch.randn(30, 500, generator=random), scores)
    assert [band.last for band in found] == [2, 8, 26, 80, 242, 500]
    assert all(band.low < band.high for band in found)
    assert [band.among_best for band in found] == sorted((band.among_best for band in found), reverse=True)


@pytest.mark.parametrize("pictures", [0, 7])
def test_of_few_pictures_it_goes_by_likeness_and_says_so(world, pictures):
    queries, scores, names = world.pictures(pictures, 1)
    index = build(projection(), world.items, queries, scores, names, ABOUT)[0]
    assert (index.ranker, index.measured, index.bands, index.queries) == (None, None, (), ())
    asked = world.pictures(1, 2)[0][0]
    found = index.ask(asked, 3)
    alike = (world.items - world.items.mean(dim=0)) @ asked
    assert [each.item for each in found] == alike.topk(3).indices.tolist()
    assert {(each.predicted, each.low, each.high, each.among_best) for each in found} == {(None,) * 4}


def test_a_new_one_must_tell_better_what_the_old_one_had_not_seen(world):
    few, more = world.pictures(10, 1), world.pictures(60, 4)
    together = tuple(
        torch.cat([a, b]) if isinstance(a, torch.Tensor) else a + b for a, b in zip(few, more, strict=True)
    )
    old = fitted(world, few)[0]
    new, predicted = fitted(world, together)
    assert is_better(old, predicted, *together)
    assert not is_better(new, predicted, *together)  # which has seen them all
    random = torch.randn(predicted.shape, generator=torch.Generator().manual_seed(0))
    assert not is_better(old, random, *together)


def test_a_file_of_it_is_the_same_and_others_are_refused(index, world, tmp_path):
    path = tmp_path / "index"
    path.write_bytes(index.to_bytes())
    found = Index.read(path)
    asked = world.pictures(1, 9)[0][0]
    assert found.ask(asked, 300) == index.ask(asked, 300)
    assert (found.bands, found.measured, found.queries) == (index.bands, index.measured, index.queries)
    assert found.to_bytes() == index.to_bytes()
    found.check(ABOUT)
    with pytest.raises(InputError, match="of another training set; make one"):
        found.check(ABOUT | {"training_set": "3" * 64})
    for body in (b"", path.read_bytes()[:-9], index.to_bytes().replace(b"bands", b"bonds", 1)):
        path.write_bytes(body)
        with pytest.raises(InputError, match="is not an index"):
            Index.read(path)


def test_what_is_not_finite_or_of_another_length_is_refused(index, world):
    queries, scores, names = world.pictures(9, 1)
    scores[2, 3] = torch.nan
    with pytest.raises(InputError, match="not finite"):
        build(projection(), world.items, queries, scores, names, ABOUT)
    for vector in (torch.zeros(3), torch.full((12,), torch.nan)):
        with pytest.raises(InputError, match="make the index anew"):
            index.ask(vector, 3)
