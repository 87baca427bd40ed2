"""Rank metrics and scores against other implementations, and against cases whose answer is known."""

import itertools
import math
from dataclasses import replace

import dattri.metric
import pytest
import scipy.stats
import torch

from mucs import InputError
from mucs.attribution import Items, Screening, attribute, mirrored_unlearning
from mucs.attribution.draws import random_draws
from mucs.attribution.seeds import stream
from mucs.evaluation.ablations import look_alikes_dropped, redrawn_losses
from mucs.evaluation.agreement import between, correlations, overlap
from mucs.evaluation.baselines import feature_cosine, same_class, standard_ensemble
from mucs.evaluation.case import Case, joined
from mucs.evaluation.cause import equally_known, matched, suspicion
from mucs.evaluation.counterfactual import Design, movement
from mucs.evaluation.datamodel import datamodeling_score, estimated, halves
from mucs.evaluation.holders import at_random, best_summed, ceiling, largest, named, of_items, of_sizes
from mucs.evaluation.methods import Mucs
from mucs.evaluation.metrics import bootstrap, exceeds, first, ndcg, shared
from mucs.evaluation.study import variants
from mucs.evaluation.tables import tables
from mucs.ranks import ranks, spearman

pytestmark = pytest.mark.heavy


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_ranks_and_spearman_are_scipys():
    a, b = random(5, 30).mul(3).round(), random(5, 30, seed=1).mul(3).round()  # with ties
    assert ranks(a).tolist() == [scipy.stats.rankdata(row).tolist() for row in a]
    expected = [scipy.stats.spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    assert spearman(a, b).tolist() == pytest.approx(expected)
    assert spearman(torch.ones(4), torch.arange(4.0)) == 0


def test_the_area_under_the_curve_counts_pairs():
    found = exceeds(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 2.0]).expand(2, -1))
    assert found.mean() == (1 + 0.5 + 1 + 1) / 4


def test_ndcg_is_its_mean_over_all_orders_of_equal_scores():
    """Held against the definition, place by place, for each order that the scores allow."""
    scores, gains = random(6, 5).mul(1.5).round(), random(6, 5, seed=1).sub(0.3).clamp(min=0)
    gains[:, 4] += 0.1  # something to gain in each
    for row, gain, found in zip(scores, gains, ndcg(scores, gains, 3), strict=True):
        orders = [p for p in itertools.permutations(range(5)) if (row[list(p)].diff() <= 0).all()]
        gained = [sum(float(gain[i]) / math.log2(k + 2) for k, i in enumerate(p[:3])) for p in orders]
        best = sum(g / math.log2(k + 2) for k, g in enumerate(sorted(gain.tolist(), reverse=True)[:3]))
        assert float(found) == pytest.approx(sum(gained) / len(gained) / best)
    assert ndcg(gains, gains, 3).tolist() == pytest.approx([1.0] * 6)
    assert ndcg(scores[0], torch.zeros(5), 3) == 0


def test_first_counts_equal_scores_by_their_share():
    truth = torch.tensor([[0.0, 3, 1]]).expand(3, -1)
    assert first(torch.tensor([[0.0, 1, 0], [1, 0, 0], [2, 2, 2]]), truth).tolist() == pytest.approx([1, 0, 1 / 3])


def test_holders_are_the_largest_and_random_groups_are_of_their_sizes():
    column = ["Ben", "Ada", "", "Ada", "Cleo", "Ben", "", "Ada", ""]
    assert largest(column, 2) == {"Ada": (1, 3, 7), "Ben": (0, 5)}
    with pytest.raises(InputError, match="have 3 rights holders, the study asks for 4"):
        largest(column, 4)
    groups = at_random([3, 2, 2], 9)
    assert [len(set(members)) for members in groups.values()] == [3, 2, 2]
    assert groups == at_random([3, 2, 2], 9)
    assert len(set(groups.values())) == 3


def test_items_scores_are_added_up_for_groups_as_contracts_do():
    scores = torch.tensor([[5.0, 1, 4, 3, 2]])
    groups = {"a": (0, 1), "b": (2, 3), "c": (4,)}
    assert best_summed(scores, groups, 3).tolist() == [[5, 7, 0]]
    found = of_items({"MUCS": scores, "random": scores}, groups) | of_sizes(groups, 1)
    assert {name: of.tolist() for name, of in found.items()} == {
        "MUCS, sum": [[6, 7, 2]],
        "MUCS, best ten": [[6, 7, 2]],
        "size": [[2, 2, 1]],
    }


def test_who_names_the_groups_rightly_is_told_from_who_does_not():
    change = random(2, 16, 12).double()
    truth = change.mean(dim=0)
    ones = torch.ones(16, 12)
    found = named({"group forgotten": truth, "chance": random(16, 12, seed=3), "size": ones}, truth)
    right, chance, size = found.values()
    for metric in (right.spearman, right.ndcg, right.top):
        assert metric == pytest.approx((1, 1, 1))
    assert right.beyond == right.ndcg_beyond == (0, 0, 0)
    assert right.beyond_size == pytest.approx((1, 1, 1))
    assert chance.spearman.low < 0 < chance.spearman.high
    assert chance.beyond.high < -0.5
    assert chance.ndcg_beyond.high < 0
    assert size.spearman.value == 0
    assert size.beyond == pytest.approx((-1, -1, -1))
    assert size.top.value == pytest.approx(1 / 12)
    assert ceiling(change) == pytest.approx(float(spearman(*change).mean()))
    assert ceiling(change[:1]) is None


def test_a_bootstrap_interval_is_as_wide_as_the_standard_error_says():
    values = random(200)
    mean, low, high = bootstrap([200], lambda which: float(values[which].mean()), "test")
    assert mean == pytest.approx(float(values.mean()))
    assert high - low == pytest.approx(2 * 1.96 * float(values.std()) / 200**0.5, rel=0.1)


def test_halves_are_halves_and_repeat():
    kept = halves(11, 40)
    assert set(kept.sum(dim=1).tolist()) == {5}
    assert torch.equal(kept, halves(11, 40))
    assert 0.3 < kept.double().mean(dim=0).min() < kept.double().mean(dim=0).max() < 0.65


def test_the_datamodeling_score_is_dattris():
    scores, kept, losses = random(6, 20), halves(20, 16), random(16, 6, seed=2)
    subsets = torch.stack([row.nonzero()[:, 0] for row in kept])
    expected, _ = dattri.metric.lds(scores.T, (-losses, subsets))
    torch.testing.assert_close(datamodeling_score(scores, kept, losses), expected.double(), atol=1e-6, rtol=0)


def test_the_truth_has_a_datamodeling_score_of_one_and_chance_of_none():
    truth, kept = random(8, 40), halves(40, 60)
    losses = -(truth @ kept.float().T).T
    assert datamodeling_score(truth, kept, losses).min() > 0.999
    found = estimated({"truth": truth, "chance": random(8, 40, seed=3)}, kept, losses, "truth")
    value, low, high = found["chance"].score
    assert low < 0 < high
    assert low < value < high
    assert found["truth"].beyond == (0, 0, 0)
    assert found["chance"].beyond.high < -0.5


def test_lists_are_of_equal_size_however_much_rankings_overlap():
    design = Design.of(4, 2, 6)
    alike = torch.arange(20.0).expand(4, 20)
    apart = torch.stack([torch.arange(20.0).roll(5 * k) for k in range(4)])
    for scores in (alike, apart):
        assert [len(removed) for removed in design.named(scores)] == [6, 6]
    assert design.named(alike)[0] == (14, 15, 16, 17, 18, 19)
    assert design.named(apart)[0] == (2, 3, 4, 17, 18, 19)
    assert [len(removed) for removed in design.at_random(20, 0)] == [6, 6]
    assert design.at_random(20, 0) != design.at_random(20, 1)
    with pytest.raises(InputError, match="do not make groups"):
        Design.of(5, 2, 6)


def test_movement_is_told_from_random_removal_and_controls_are_not():
    """Own items always move further than by chance, the others as by chance."""
    design = Design.of(8, 2, 3, seeds=(0, 1), draws=4)
    chance = random(4, 8, 8)
    mine = random(8, 8, seed=1)
    for group in range(4):
        mine[2 * group : 2 * group + 2, 2 * group : 2 * group + 2] = -9.0
    moved = movement(design, mine, chance, "test")
    assert moved.auc == (1.0, 1.0, 1.0)
    assert moved.controls.low < 0.55
    assert moved.controls.high > 0.45


def test_a_removal_is_compared_with_all_random_ones_of_its_seed():
    design = Design.of(2, 1, 3, seeds=(0, 1), draws=1)
    mine = torch.full((4, 2), -1.0)
    chance = torch.tensor([[-2.0], [-3.0], [0.0], [-3.0]]).expand(1, 4, 2)  # group by group, seed by seed
    moved = movement(design, mine, chance, "test")
    assert moved.auc.value == moved.controls.value == 0.25  # further than the second group's, with the first seed
    assert moved.ratio.value == pytest.approx(-50.0)


def test_membership_and_likeness_are_seen_for_what_they_are():
    count, others = 60, 30
    items = Items(torch.zeros(count, 3, 8, 8))
    case = Case(None, items, items[:10], items[:others])
    alike = random(10, count + others)
    member = (torch.arange(count + others) < count).float().expand(10, -1)
    losses = random(1, count + others, seed=2)[0].abs()
    found = suspicion(case, member + 0 * alike, alike, alike, losses)
    assert found.unrelated.value == found.look_alikes.value == found.equally_known.value == 1
    found = suspicion(case, alike, alike, random(10, count + others, seed=1), losses)
    assert found.pixels.value == pytest.approx(1)
    assert abs(found.features.value) < 0.2
    assert abs(found.look_alikes.value - 0.5) < 0.1


def test_a_score_that_follows_the_base_loss_says_nothing_of_items_that_are_known_equally_well():
    count, others = 400, 100
    items = Items(torch.zeros(count, 3, 8, 8))
    case = Case(None, items, items[:10], items[:others])
    alike, noise = random(10, count + others), random(1, count + others, seed=3)[0]
    losses = (0.5 * noise - (torch.arange(count + others) < count).float()).exp()
    found = suspicion(case, -losses.expand(10, -1), alike, alike, losses)
    assert found.look_alikes.value > 0.85
    assert abs(found.equally_known.value - 0.5) < 0.1
    losses[count:] += 100  # nobody that the model was trained on is known as badly
    assert suspicion(case, -losses.expand(10, -1), alike, alike, losses).equally_known is None


def test_look_alikes_are_matched_by_likeness_and_where_asked_for_by_base_loss():
    seen, unseen = torch.tensor([0.95, 0.70, 0.30, 0.68]), torch.tensor([0.1, 0.69, 0.71])
    training, held_out = matched(seen, unseen, 2)
    assert held_out.tolist() == [2, 1]
    assert training.tolist() == [1, 3]
    equal = equally_known(torch.tensor([1.0, 2.0, 9.0, 1.01, 9.0, 1.0, 50.0]), 4)
    assert equal.tolist() == [[False, False, True, False], [True, False, False, True], [False] * 4]
    training, held_out = matched(seen, unseen, 3, equal)
    assert held_out.tolist() == [1, 0]
    assert training.tolist() == [3, 2]


def test_an_ensemble_weighs_its_members_alike():
    a, b = random(3, 9), random(3, 9, seed=1)
    both = standard_ensemble([a, b])
    torch.testing.assert_close(standard_ensemble([100 * a + 7, b]), both)
    torch.testing.assert_close(standard_ensemble([a, a]), (a - a.mean(1, keepdim=True)) / a.std(1, keepdim=True))


def test_agreement_counts_what_rankings_share():
    scores = torch.stack([torch.arange(10.0), torch.arange(10.0), -torch.arange(10.0)])
    assert overlap(scores, 3).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert shared(scores[0], scores[2], 6) == pytest.approx(2 / 6)
    assert between(scores[:2], scores[1:], 3) == pytest.approx((0.5, 0.0))
    found = correlations({"a": scores, "b": -scores})
    assert found.tolist() == [[pytest.approx(1), pytest.approx(-1)], [pytest.approx(-1), pytest.approx(1)]]


def test_tables_name_every_method_with_its_interval():
    found = {
        "random": {"score": (0.0, -0.1, 0.1), "beyond": (-0.25, -0.3, -0.2)},
        "MUCS": {"score": (0.25, 0.2, 0.31), "beyond": (0, 0, 0)},
    }
    text = tables({"datamodeling": found})
    assert "| MUCS | 25.0 [20.0, 31.0] | 0.0 [0.0, 0.0] |\n| random | 0.0 [-10.0, 10.0] | -25.0" in text


def test_joined_items_keep_their_conditioning():
    a = Items(torch.zeros(2, 1, 1, 1), {"class_labels": torch.tensor([1, 2])})
    both = joined(a, Items(torch.ones(1, 1, 1, 1), {"class_labels": torch.tensor([3])}))
    assert both.images.flatten().tolist() == [0, 0, 1]
    assert both.conditioning["class_labels"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("antithetic", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_mucs_scores_are_those_of_the_library(evaluated, tmp_path, antithetic):
    """Exact and screened, with losses kept in between."""
    case, bank, settings = evaluated
    settings = replace(settings, antithetic=antithetic)
    mucs = Mucs(case, bank, settings, folder=tmp_path)
    scores = mucs.scores()
    exact = attribute(case.model, case.images, case.generated, bank, settings)
    for row, found in zip(scores, exact, strict=True):
        torch.testing.assert_close(row[: len(case.images)][found.items], found.scores, atol=1e-6, rtol=0)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "unlearned").rglob("*.f32")}
    assert len(kept) == len(case.generated)
    assert torch.equal(mucs.scores(), scores)
    screening = Screening([(2, 0.5), (4, 0.25)])
    left = attribute(case.model, case.images, case.generated, bank, settings, screening=screening)
    for row, found in zip(mucs.screened(screening), left, strict=True):
        order = row.argsort(descending=True, stable=True)
        assert order[: len(found.items)].tolist() == found.items.tolist()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "unlearned").rglob("*.f32")} == kept


def test_redrawn_noise_is_averaged_away_before_the_ratio(evaluated, tmp_path):
    case, bank, settings = evaluated
    mucs = Mucs(case, bank, settings, folder=tmp_path, redrawn_noise=True)
    scores = mucs.scores()
    item = case.generated[:1]
    done = mirrored_unlearning(case.model, item, case.images, settings, seed=case.seed)
    before = redrawn_losses(case.model, case.candidates, bank, case.seed, "before")
    after = redrawn_losses(done.model, case.candidates, bank, case.seed, f"after {item.digest}")
    means = after.mean(dim=1), before.mean(dim=1)
    torch.testing.assert_close(scores[0], (means[0] - means[1]) / (means[0] + means[1] + 1e-3))
    assert torch.equal(mucs.scores(), scores)
    assert not torch.equal(Mucs(case, bank, settings, folder=tmp_path).scores(), scores)
    twins = case.candidates[torch.tensor([1, 0, 1])]
    other = redrawn_losses(case.model, twins, bank, case.seed, "before")
    torch.testing.assert_close(other, before[[1, 0, 1]])  # the noise is the item's own
    assert not torch.equal(other, redrawn_losses(case.model, twins, bank, case.seed, "after"))


def test_look_alikes_are_not_retained(evaluated, tmp_path):
    case, bank, settings = evaluated
    item, few = case.generated[:1], replace(settings, batch_size=10, max_steps=3)
    alike = feature_cosine(replace(case, held_out=None))[0] + (
        case.images[:].conditioning["class_labels"] == item.conditioning["class_labels"]
    )
    plain = random_draws(case.model, len(case.images), 10, stream(case.seed, "unlearning", item.digest))
    for _, left, whole in zip(range(5), look_alikes_dropped(case, item, few, case.seed, 0.15), plain, strict=False):
        dropped = [i for i in whole[0].tolist() if i not in left[0].tolist()]
        assert (len(left[0]), len(dropped)) == (8, 2)
        assert alike[dropped].min() >= alike[left[0]].max()
        kept = [whole[0].tolist().index(i) for i in left[0].tolist()]
        assert all(torch.equal(a, b[kept]) for a, b in zip(left[:3], whole[:3], strict=True))
        assert all(torch.equal(a, b) for a, b in zip(left[3:], whole[3:], strict=True))
    first = replace(case, generated=item)
    scores, again, as_it_is = (
        Mucs(first, bank, few, folder=tmp_path, drop_alike=share).scores() for share in (0.1, 0.1, 0.0)
    )
    assert torch.equal(scores, again)
    assert not torch.equal(scores, as_it_is)


@pytest.mark.slow
def test_every_design_choice_says_something_else(evaluated, tmp_path):
    case, bank, settings = evaluated
    found = variants(Mucs(case, bank, replace(settings, stop="batch", max_steps=12), folder=tmp_path), 1)
    scores = {name: of.scores()[:, : len(case.images)] for name, of in found.items()}
    as_it_is = scores.pop("as it is")
    assert {"antithetic unlearning", "weighed by the null loss", "look-alikes not retained"} < scores.keys()
    for name, of in scores.items():
        assert of.shape == as_it_is.shape == (1, 24), name
        assert of.isfinite().all(), name
    same = {name for name, of in scores.items() if torch.equal(of, as_it_is)}
    assert same <= {"stopped by a fixed probe", "one null loss, that of a zero output"}  # which need not change a step


def test_the_class_alone_is_a_method(evaluated):
    case, *_ = evaluated
    scores = same_class(case)
    assert scores[0].tolist() == [i % 2 for i in range(24)] + [i % 2 for i in range(4)]


@pytest.mark.slow
def test_z_scores_are_in_deviations_of_the_items_own_scores(evaluated, tmp_path):
    case, bank, settings = evaluated
    mucs = Mucs(case, bank, settings, folder=tmp_path)
    null = mucs.entries(case.decoys).mean(dim=2)
    expected = (mucs.scores() - null.mean(dim=0)) / null.std(dim=0)
    torch.testing.assert_close(mucs.z_scores(), expected)
    with pytest.raises(InputError, match="no decoys"):
        Mucs(Case(case.model, case.images, case.generated), bank, settings).z_scores()


def test_identical_items_are_unlearned_once(evaluated, said):
    case, bank, settings = evaluated
    twins = replace(case, generated=case.generated[torch.tensor([0, 1, 0, 0])])
    scores = Mucs(twins, bank.prefix(2), replace(settings, max_steps=2), workers=4).scores()
    assert len([line for line in said() if line.startswith("unlearn")]) == 2
    assert torch.equal(scores[0], scores[2])
    assert torch.equal(scores[0], scores[3])
    assert not torch.equal(scores[0], scores[1])
