"""What chance would do, by hand and by simulation."""

import torch

from mucs.attribution import chance


def test_p_values_by_hand():
    p = chance.p_values(torch.tensor([0.9, 0.5, -1.0]), torch.tensor([0.5, 0.1, 0.6]))
    torch.testing.assert_close(p, torch.tensor([1 / 4, 3 / 4, 1.0], dtype=torch.float64))


def test_z_scores_by_hand():
    scores, null = torch.tensor([3.0, 0.0]), torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, -1.0]])
    torch.testing.assert_close(chance.own_p_values(scores, null), torch.tensor([1 / 4, 3 / 4], dtype=torch.float64))
    torch.testing.assert_close(chance.z_scores(scores, null), torch.tensor([2.0, 0.0], dtype=torch.float64))


def test_the_largest_z_scores_of_decoys_by_hand():
    null = torch.tensor([[0.0, 1.0, 2.0, 9.0], [1.0, 0.0, -1.0, 0.0]])
    third = (1 / 3) ** 0.5
    z = [
        [-4 / 19**0.5, -8 / 3 / (67 / 3) ** 0.5, -4 / 3 / (73 / 3) ** 0.5, 8.0],
        [4 / 3 / third, 0.0, -4 / 3 / third, 0.0],
    ]
    expected = torch.tensor(z, dtype=torch.float64).max(dim=0).values
    torch.testing.assert_close(chance.largest_z_scores(null), expected)
    assert chance.largest_z_scores(null[:, :2]).isnan().all()


def test_an_image_like_the_decoys_seldom_stands_out_and_a_copy_does():
    """Among scores that depend on item and image, with heavy tails as look-alikes make them."""
    random = torch.Generator().manual_seed(0)
    stands_out, trials, decoys = 0, 300, 39
    for _ in range(trials):
        scores = 0.2 + torch.randn(50, 1, generator=random) + torch.randn(1, decoys + 1, generator=random)
        tails = torch.randn(50, decoys + 1, generator=random).abs() ** 3
        image, null = scores[:, 0] + tails[:, 0], scores[:, 1:] + tails[:, 1:]
        p = chance.p_values(chance.z_scores(image, null).max()[None], chance.largest_z_scores(null))
        stands_out += float(p) <= 0.05
        image[7] += 1e4
        copied = chance.p_values(chance.z_scores(image, null).max()[None], chance.largest_z_scores(null))
        assert float(copied) == 1 / (decoys + 1)
    assert 0.01 < stands_out / trials < 0.1


def test_uniformity_tells_alike_halves_from_others():
    random = torch.Generator().manual_seed(0)
    distances = [chance.uniformity(torch.randn(80, generator=random), random) for _ in range(50)]
    assert max(distances) < 0.5
    assert sum(distances) / 50 < 0.25
    assert chance.uniformity(torch.ones(80), random) > 0.9  # all p-values are 1
