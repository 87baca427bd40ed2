"""What was not measured is estimated from what was drawn of it, with an interval that holds."""

import pytest
import torch

from mucs.attribution.missed import SAMPLED, bands, missed, sample_size, student


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("count", "first"), [(0, 5), (3, 5), (375, 24), (1000, 1), (999_000, 1000)])
def test_bands_hold_each_item_once_the_likeliest_first_and_few_of_each_are_drawn(count, first):
    left_out = torch.randperm(count, generator=seeded(0))
    made = bands(left_out, first, seeded(1))
    assert [len(band) for band in made[:-1]] == [first * 2**k for k in range(len(made[:-1]))]
    start = 0
    for band in made:
        assert len(band.sampled) == min(SAMPLED, len(band))
        both = torch.cat([band.sampled, band.others])
        assert torch.equal(both.sort().values, left_out[start : start + len(band)].sort().values)
        start += len(band)
    assert start == count
    assert sample_size(count, first) == sum(len(band.sampled) for band in made)


def test_the_cost_of_the_sample_grows_with_the_logarithm_of_the_training_set():
    assert sample_size(999_000, 1000) == 160
    assert sample_size(4_000, 1000) == 48


def test_where_all_were_measured_nothing_is_missed():
    scores, means = torch.rand(6, generator=seeded(0)), torch.zeros(6)
    found = missed(scores[:2], means[:2], [(scores[2:], means[2:], 4)])
    assert found.sampled == 4
    for share in (found.score, found.excess):
        assert (share.estimate, share.low, share.high) == (0, 0, 0)


def test_where_nothing_scores_nothing_is_missed():
    found = missed(-torch.ones(3), torch.zeros(3), [(-torch.ones(4), torch.zeros(4), 9)])
    assert found.score.estimate == found.excess.estimate == 0


def test_by_hand():
    """Two were measured, two of a band of six were drawn."""
    known, some = torch.tensor([0.9, 0.5]), torch.tensor([0.3, 0.1])
    found = missed(known, torch.zeros(2), [(some, torch.zeros(2), 6)])
    assert found.score.estimate == pytest.approx(4 * 0.2 / (0.9 + 0.5 + 0.3 + 0.1 + 4 * 0.2))
    general = (0.9 + 0.5 + 6 * 0.2) / 8  # 0.325: what all items score for this image
    assert found.excess.estimate == pytest.approx(0.0, abs=1e-6)  # of those that were drawn none has more
    assert general == pytest.approx(0.325)
    usual = missed(known, torch.tensor([0.9, 0.5]), [(some, torch.zeros(2), 6)])
    assert usual.excess.estimate > 0.5  # the measured ones do what they do for any image


@pytest.mark.parametrize("heavy", [0.5, 1.5])
def test_the_interval_holds_nineteen_times_of_twenty(heavy):
    """Over skewed populations that an index ranks with an error; the truth is what was not measured, exactly."""
    random = seeded(int(heavy * 10))
    held = {"score": 0, "excess": 0}
    times = 400
    for _ in range(times):
        means = 0.2 + 0.05 * torch.randn(600, generator=random)
        scores = means + 0.1 * (heavy * torch.randn(600, generator=random)).exp() - 0.15
        order = (scores + 0.2 * torch.randn(600, generator=random)).argsort(descending=True)
        first, rest = order[:30], bands(order[30:], 30, random)
        found = missed(scores[first], means[first], [(scores[b.sampled], means[b.sampled], len(b)) for b in rest])
        left = torch.cat([band.others for band in rest])
        excess = (scores - means) - (scores - means).mean()
        for name, values in (("score", scores), ("excess", excess)):
            positive = values.clamp(min=0)
            share = getattr(found, name)
            held[name] += share.low <= float(positive[left].sum() / positive.sum()) <= share.high
    for name, count in held.items():
        assert 0.9 * times <= count, (name, count)


@pytest.mark.parametrize(("freedom", "known"), [(10, 2.2281), (15, 2.1314), (40, 2.0211), (1e9, 1.9600)])
def test_quantiles_of_students_t_are_those_of_the_tables(freedom, known):
    assert student(0.975, freedom) == pytest.approx(known, abs=1e-3)
