"""What would be paid to images that the model was never trained on: by hand, and by scores whose making is known."""

import pytest
import torch

from mucs.evaluation.payments import centred, false_payments, payments, unseen_alike, within

TRAINING, UNSEEN, GENERATED = 300, 60, 24


def test_money_goes_to_the_best_that_count_in_proportion_to_positive_scores():
    scores = torch.tensor([[0.4, 0.1, -0.2, 0.3], [-1.0, -2.0, -3.0, -4.0]])
    counts = torch.tensor([[True, True, True, False], [True, True, True, True]])
    torch.testing.assert_close(
        payments(scores, top=3), torch.tensor([[4, 1, 0, 3], [0, 0, 0, 0]]).double() / 8, atol=1e-7, rtol=0
    )
    found = payments(scores, counts, top=2)  # the second best does not count, and nobody takes its place
    torch.testing.assert_close(found, torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]]).double())


def test_look_alikes_by_hand():
    money = torch.tensor([[0.5, 0.0, 0.0, 0.5]]).double()
    likeness = torch.tensor([[0.9, 0.8, 0.2, 0.7]])  # the last two were never trained on
    torch.testing.assert_close(unseen_alike(money, likeness, 2, count=2), torch.tensor([0.25]).double())
    torch.testing.assert_close(unseen_alike(money, likeness, 2, count=4), torch.tensor([0.5]).double())


@pytest.fixture
def likeness():
    return torch.randn(GENERATED, TRAINING + UNSEEN, generator=torch.Generator().manual_seed(0))


def test_likeness_pays_the_unseen_as_it_pays_others(likeness):
    found = false_payments(likeness, TRAINING, likeness)
    assert found.unseen.value == pytest.approx(UNSEEN / (TRAINING + UNSEEN), abs=0.05)
    assert found.ratio.low < 1 < found.ratio.high
    assert found.unpaid == 0


def test_membership_pays_the_unseen_nothing_and_its_contrary_pays_them_alone(likeness):
    is_unseen = torch.arange(TRAINING + UNSEEN) >= TRAINING
    for sign, paid in ((-10, 0.0), (10, 1.0)):
        found = false_payments(likeness.abs() + 10 + sign * is_unseen, TRAINING, likeness)
        assert tuple(found.unseen) == pytest.approx((paid,) * 3)
    nothing = false_payments(likeness, TRAINING, likeness, torch.zeros_like(likeness, dtype=torch.bool))
    assert (nothing.unseen.value, nothing.unpaid) == (0, 1)


def test_centred_both_ways_knows_nothing_of_items_and_images():
    random = torch.Generator().manual_seed(0)
    plain, null = torch.randn(6, 50, generator=random), torch.randn(32, 50, generator=random)
    item, image = torch.randn(50, generator=random), torch.randn(6, 1, generator=random)
    decoy = torch.randn(32, 1, generator=random)
    torch.testing.assert_close(
        centred(plain + item + image, null + item + decoy), centred(plain, null), atol=1e-4, rtol=1e-4
    )
    assert centred(plain, null).std() == pytest.approx(1, abs=0.1)


def test_a_bound_is_kept_by_what_scores_higher_than_for_nearly_all_decoys():
    null = torch.arange(39.0).view(39, 1).expand(39, 2)
    assert within(torch.tensor([[38.5, 37.5], [37.0, 0.0]]), null).tolist() == [[True, True], [False, False]]
