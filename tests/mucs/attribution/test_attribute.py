"""Attribution finds what was planted, and depends on its inputs alone."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from mucs import InputError
from mucs.attribution import (
    DiffusionModel,
    Items,
    LossStore,
    NoiseBank,
    Scoring,
    Screening,
    Unlearning,
    attribute,
    calibrate,
    controls,
    denoising_losses,
    mirrored_unlearning,
    noise_consistent_skew,
    recall,
    replay_verdict,
)
from mucs.attribution.bank import stratified_order
from mucs.attribution.calibration import Calibration
from mucs.attribution.missed import Expected
from mucs.attribution.skew import skews, standard_error
from mucs.attribution.trainable import trainable_names
from tests.conftest import read_items

pytestmark = pytest.mark.heavy

SETTINGS = Unlearning(learning_rate=3e-4, batch_size=8, max_steps=24)
SCORING = Scoring(batch_size=16)


@pytest.fixture(scope="module")
def model(world):
    return DiffusionModel.from_pretrained(world.checkpoint)


@pytest.fixture(scope="module")
def data(world):
    """Training, held-out and generated items."""
    return [read_items(folder) for folder in (world.train, world.held_out, world.generated)]


@pytest.fixture(scope="module")
def bank(model):
    return NoiseBank.draw(model, num_noises=8)


def run(model, data, bank, which=(0, 1, 2), settings=SETTINGS, **named):
    images, held_out, generated = data
    named = {"scoring": SCORING, "held_out": held_out, **named}
    return attribute(model, images, generated[torch.tensor(which)], bank, settings, **named)


@pytest.fixture(scope="module")
def exact(model, data, bank):
    return run(model, data, bank)


def same(a, b):
    return all(
        torch.equal(getattr(a, n), getattr(b, n))
        for n in ("items", "scores", "standard_errors", "p_values", "held_out_scores")
    )


def test_a_near_copy_ranks_its_original_first(exact):
    assert exact[0].items[0] == 3
    assert exact[1].items[0] == 10


def test_exact_attribution_is_complete_and_ordered(exact):
    for found in exact:
        assert sorted(found.items.tolist()) == list(range(24))
        assert (found.scores.diff() <= 0).all()
        assert (found.scores.abs() < 1).all()
        assert found.converged == (found.probe_after >= 0.9 * found.null_loss)


def test_order_and_company_of_generated_items_do_not_matter(model, data, bank, exact):
    backwards = run(model, data, bank, which=(2, 1, 0))
    alone = run(model, data, bank, which=(1,))
    assert all(same(a, b) for a, b in zip(exact, reversed(backwards), strict=True))
    assert same(exact[1], alone[0])


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_shards_and_workers_do_not_matter(model, data, bank, exact, tmp_path):
    store = LossStore(tmp_path)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda k: run(model, data, bank, which=(k,), store=store)[0], (2, 0, 1)))
        again = [run(model, data, bank, which=(k,), store=LossStore(tmp_path))[0] for k in (2, 0, 1)]
    assert all(same(a, b) for a, b in zip(found, again, strict=True))
    for one, k in zip(found, (2, 0, 1), strict=True):
        torch.testing.assert_close(one.scores, exact[k].scores, rtol=0, atol=1e-4)


OTHER_MACHINE = """
import sys, torch
from mucs.attribution import *
torch.set_num_threads(1)
model = DiffusionModel.from_pretrained(sys.argv[1])
case = torch.load(sys.argv[2], weights_only=True)
images, generated = (Items(case[name], {"class_labels": case[name + " labels"]}) for name in ("images", "generated"))
(found,) = attribute(model, images, generated, NoiseBank.draw(model, 8), Unlearning(learning_rate=3e-4, batch_size=8, max_steps=24), scoring=Scoring(batch_size=16))
torch.save((torch.backends.cpu.get_cpu_capability(), found.items, found.scores), sys.argv[3])
"""


@pytest.mark.slow
def test_another_kind_of_machine_gives_the_same_within_the_tolerance(world, data, exact, tmp_path):
    images, _, generated = data
    case = {"images": images.images, "images labels": images.conditioning["class_labels"]}
    case |= {"generated": generated.images[:1], "generated labels": generated.conditioning["class_labels"][:1]}
    torch.save(case, tmp_path / "case")
    other = {**os.environ, "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    words = [sys.executable, "-c", OTHER_MACHINE, world.checkpoint, tmp_path / "case", tmp_path / "found"]
    subprocess.run(words, env=other, check=True)
    kind, items, scores = torch.load(tmp_path / "found", weights_only=True)
    assert kind != torch.backends.cpu.get_cpu_capability()
    again = replace(exact[0], items=items, scores=scores)
    verdict, gap = replay_verdict(exact[0], again)
    assert verdict == "equal"
    assert gap < 1e-3
    assert replay_verdict(exact[0], exact[0]) == ("identical", 0.0)
    assert replay_verdict(exact[0], exact[1])[0] == "different"


@pytest.fixture
def knowing(exact, model, data, bank):
    """An index that expects what is measured, of the first generated item."""
    scores = torch.empty(24)
    scores[exact[0].items] = exact[0].scores
    return lambda generated: Expected(scores, torch.full((24,), 0.1))


def test_what_an_index_names_is_measured_and_some_of_the_rest(model, data, bank, exact, knowing, monkeypatch):
    monkeypatch.setattr("mucs.attribution.missed.SAMPLED", 2)
    (found,) = run(model, data, bank, which=(0,), screening=Screening(candidates=4), index=knowing)
    assert len(found.items) == 4 + 2 + 2 + 2  # of bands of 4, 8 and the last 8
    assert torch.equal(found.items[:4], exact[0].items[:4])
    place = {int(item): k for k, item in enumerate(exact[0].items)}
    where = torch.tensor([place[int(item)] for item in found.items])
    torch.testing.assert_close(found.scores, exact[0].scores[where], rtol=0, atol=1e-5)
    torch.testing.assert_close(found.p_values, exact[0].p_values[where])
    assert found.missed.sampled == 6
    assert found.survivors == ()
    positive = exact[0].scores.clamp(min=0)
    missing = 1 - float(positive[where].sum() / positive.sum())
    assert found.missed.score.estimate == pytest.approx(missing, abs=0.1)
    (again,) = run(model, data, bank, which=(0,), screening=Screening(candidates=4), index=knowing)
    assert same(found, again)
    assert again.missed == found.missed


def test_halving_goes_on_among_the_candidates_and_what_it_drops_is_sampled_first(
    model, data, bank, exact, knowing, monkeypatch
):
    monkeypatch.setattr("mucs.attribution.missed.SAMPLED", 2)
    (found,) = run(model, data, bank, which=(0,), screening=Screening([(2, 0.5)], candidates=8), index=knowing)
    assert (found.survivors, len(found.items), found.missed.sampled) == ((4,), 10, 6)
    best_eight = set(exact[0].items[:8].tolist())
    assert len(best_eight & set(found.items.tolist())) == 6  # four that survived, two of the four that did not


def test_more_are_measured_until_little_is_missed(model, data, bank, exact, knowing, monkeypatch):
    monkeypatch.setattr("mucs.attribution.missed.SAMPLED", 2)
    shares = []
    for most in (0.5, 0.1, 1e-9):
        screening = Screening(candidates=4, most_missed=most)
        (found,) = run(model, data, bank, which=(0,), screening=screening, index=knowing)
        shares.append(len(found.items))
    assert shares == sorted(shares)
    (alone,) = run(
        model, data, bank, which=(0,), screening=Screening(candidates=24), index=knowing
    )  # nobody is left to draw
    assert same(alone, exact[0])
    assert (alone.missed.sampled, alone.missed.score.high) == (0, 0)


@pytest.mark.parametrize(
    ("screening", "indexed", "message"),
    [
        (Screening(candidates=25), True, "25 candidates are asked of 24 training items"),
        (Screening(candidates=4), False, "go together"),
        (Screening([(2, 0.5)]), True, "go together"),
        (None, True, "go together"),
    ],
)
def test_an_index_and_its_candidates_go_together(model, data, bank, knowing, screening, indexed, message):
    with pytest.raises(InputError, match=message):
        run(model, data, bank, which=(0,), screening=screening, index=knowing if indexed else None)


def test_survivors_of_screening_have_their_exact_scores(model, data, bank, exact):
    screened = run(model, data, bank, screening=Screening([(2, 0.5), (4, 0.25)]))
    for found, full in zip(screened, exact, strict=True):
        assert found.survivors == (12, 6)
        assert len(found.items) == 6
        scores = dict(zip(full.items.tolist(), full.scores.tolist(), strict=True))
        assert [scores[i] for i in found.items.tolist()] == found.scores.tolist()
        assert torch.equal(found.held_out_scores, full.held_out_scores)


def test_a_loss_does_not_depend_on_what_else_is_asked_for(model, data, bank):
    images = data[0]
    whole = denoising_losses(model, images, bank, batch_size=16)
    for rows in ([5], [7, 2, 19], list(range(23, -1, -1))):
        part = denoising_losses(model, images[torch.tensor(rows)], bank, batch_size=16)
        assert torch.equal(part, whole[rows])
    assert torch.equal(denoising_losses(model, images, bank.prefix(3), batch_size=16), whole[:, :3])


def test_unlearning_leaves_the_original_and_stops_at_the_cap(model, data):
    images, _, generated = data
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    capped = Unlearning(learning_rate=1e-6, batch_size=4, max_steps=3)
    done = mirrored_unlearning(model, generated[:1], images, capped)
    assert (done.steps, done.stopped, done.converged) == (3, False, False)
    assert done.forget_loss.shape == (4, 4)
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())


def test_the_probe_tells_how_far_an_item_is_forgotten(model, data):
    images, _, generated = data
    done = mirrored_unlearning(
        model, generated[:1], images, replace(SETTINGS, stop="probe", tolerance=0.3, converged_at=0.7, max_steps=100)
    )
    again = mirrored_unlearning(model, generated[:1], images, replace(SETTINGS, max_steps=4), seed=1)
    assert done.converged
    assert done.steps % 4 == 0
    assert done.probe_before < 0.3 * done.null_loss
    assert done.probe_after >= 0.7 * done.null_loss
    assert again.probe_before == done.probe_before  # of the item alone, whatever the seed
    assert again.probe_after < done.probe_after


def test_an_item_has_converged_where_the_probe_says_so_whatever_ended_the_ascent(model, data):
    images, _, generated = data
    early = replace(SETTINGS, tolerance=0.7, max_steps=100)  # a batch reaches 30 % at once
    done, lower = (
        mirrored_unlearning(model, generated[:1], images, each) for each in (early, replace(early, converged_at=0.1))
    )
    assert 0.1 * done.null_loss < done.probe_after < 0.9 * done.null_loss
    assert (done.stopped, done.converged) == (True, False)
    assert (lower.steps, lower.probe_after, lower.converged) == (done.steps, done.probe_after, True)
    capped = replace(SETTINGS, learning_rate=1e-3, tolerance=0.0, max_steps=40)  # no batch ever reaches all of it
    forced = mirrored_unlearning(model, generated[:1], images, replace(capped, converged_at=0.5))
    assert (forced.steps, forced.stopped, forced.converged) == (40, False, True)


def weights(unlearned):
    return torch.cat([unlearned.model.network.get_parameter(name).flatten() for name in unlearned.trained])


@pytest.mark.parametrize(
    "option", [{"shared_noise": True}, {"augment": True}, {"down_weight": 1.0}, {"forget_weight": 0.4}]
)
def test_every_choice_of_unlearning_does_something_and_repeats(model, data, option):
    images, _, generated = data
    few = replace(SETTINGS, max_steps=2, null_loss=0.9)
    plain = mirrored_unlearning(model, generated[:1], images, few)
    one, two = (mirrored_unlearning(model, generated[:1], images, replace(few, **option)) for _ in range(2))
    assert torch.equal(weights(one), weights(two))
    assert not torch.equal(weights(one), weights(plain))


@pytest.mark.slow
def test_antithetic_copies_are_held_against_each_other(model, data, bank):
    images, held_out, generated = data
    both = replace(SETTINGS, antithetic=True, max_steps=12)
    done = mirrored_unlearning(model, generated[:1], images, both)
    plain = mirrored_unlearning(model, generated[:1], images, replace(both, antithetic=False))
    assert plain.antithetic is None
    assert torch.equal(weights(done), weights(plain))  # the copy that forgets is what it is without the other
    losses = [denoising_losses(m, images, bank, batch_size=16) for m in (done.antithetic, done.model)]
    expected = noise_consistent_skew(*losses) / 2
    (found,) = run(model, data, bank, which=(0,), settings=both)
    torch.testing.assert_close(found.scores, expected[found.items], atol=1e-6, rtol=0)
    assert found.items[0] == 3
    original, forgot, learned = (
        float(denoising_losses(m, generated[:1], bank, batch_size=16).mean())
        for m in (model, done.model, done.antithetic)
    )
    assert learned < original < forgot
    (again,) = run(model, data, bank, which=(0,), settings=both, screening=Screening([(2, 0.5)]))
    assert torch.equal(again.scores, found.scores[torch.isin(found.items, again.items)])
    made = calibrate(model, images, held_out, bank.prefix(4), both, 3, scoring=SCORING)
    decoy = held_out[made.decoys[:1]]
    (null,) = attribute(model, images, decoy, bank.prefix(4), both, scoring=SCORING)
    torch.testing.assert_close(made.null_scores[null.items, 0], null.scores)


def test_what_both_copies_drift_is_no_part_of_an_antithetic_score():
    """By losses that are known: each item's own, times what both copies drift, times or over the effect."""
    generator = torch.Generator().manual_seed(0)
    own, drift = (torch.rand(5, 6, generator=generator) for _ in range(2))
    effect = 0.2 * torch.rand(5, 1, generator=generator)
    forgot, learned = own * (drift + effect).exp(), own * (drift - effect).exp()
    found = noise_consistent_skew(learned, forgot, eps=1e-9) / 2
    torch.testing.assert_close(found, effect.tanh()[:, 0] / 2)
    alone = noise_consistent_skew(own, own * effect.exp(), eps=1e-9)  # a single copy that does not drift
    torch.testing.assert_close(found, alone, rtol=0.04, atol=0)
    assert (noise_consistent_skew(own, forgot, eps=1e-9) - alone).min() > 0.02


@pytest.mark.parametrize("scoring", [Scoring(score="difference"), Scoring(shared_noise=False)])
def test_every_choice_of_scoring_still_finds_the_original(model, data, bank, exact, scoring):
    (found,) = run(model, data, bank, which=(0,), scoring=replace(scoring, batch_size=16))
    assert found.items[0] == 3
    assert not torch.equal(found.scores, exact[0].scores)


def test_half_precision_hardly_moves_the_ranking(model, data, bank, exact):
    (found,) = run(model, data, bank, which=(0,), scoring=replace(SCORING, precision="bfloat16"))
    assert found.items[0] == 3
    assert len(set(found.items[:6].tolist()) & set(exact[0].items[:6].tolist())) >= 4


@pytest.mark.slow
# which torch's compiler does itself
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_a_compiled_model_measures_the_same(model, data, bank):
    plain = denoising_losses(model, data[0], bank, batch_size=16)
    table = LossStore().table(model, data[0], bank, Scoring(batch_size=16, compile=True))
    torch.testing.assert_close(table.rows(torch.arange(24), range(8)), plain, rtol=1e-3, atol=1e-4)


def test_policies_and_patterns_choose_parameters(model):
    network = model.network
    forward, attention = trainable_names(network, "feedforward"), trainable_names(network, "attention")
    assert forward
    assert attention
    assert not set(forward) & set(attention)
    assert all("conv" in name for name in forward)
    assert len(trainable_names(network, "all")) == len(list(network.parameters()))
    assert trainable_names(network, ["down_blocks.0.resnets.*.conv1.weight", "conv_out.bias"]) == [
        "down_blocks.0.resnets.0.conv1.weight",
        "conv_out.bias",
    ]
    for wrong, says in {"*": '"all"', "down_blocks.9.*": "no parameter"}.items():
        with pytest.raises(InputError, match=says):
            trainable_names(network, [wrong])
    with pytest.raises(InputError, match="feedforward, attention, all, adapter"):
        trainable_names(network, "mlp")
    with pytest.raises(InputError, match="No parameter is chosen"):
        trainable_names(network, "adapter")


def test_recall_of_screening_is_measured(model, data, bank, exact):
    (found,) = run(model, data, bank, which=(0,), screening=Screening([(2, 0.5)]), measure_recall=True)
    kept = set(found.items.tolist())
    assert found.recall == {"2%": float(exact[0].items[0].item() in kept)}
    assert recall(torch.arange(200.0), torch.arange(180, 200)) == {"25": 0.8, "100": 0.2, "2%": 1.0}


def test_repeats_give_the_spread_over_seeds(model, data, bank, exact):
    (found,) = run(model, data, bank, which=(0,), repeats=2)
    assert (found.standard_errors >= found.seed_spread / 2**0.5).all()  # of the mean of two
    assert found.items[0] == 3
    assert (found.seed_spread > 0).all()
    assert exact[0].seed_spread.isnan().all()
    one = dict(zip(exact[0].items.tolist(), exact[0].scores.tolist(), strict=True))
    # two values whose mean and deviation are known: the first lies one deviation / sqrt 2 from the mean
    for item, score, spread in zip(
        found.items.tolist(), found.scores.tolist(), found.seed_spread.tolist(), strict=True
    ):
        assert abs(one[item] - score) == pytest.approx(spread / 2**0.5, abs=1e-5)


def test_held_out_items_are_ranked_as_candidates_would_be_whatever_screening_does_to_the_others(
    model, data, bank, exact
):
    for found in exact:
        unseen, scores = found.unseen, found.held_out_scores
        assert sorted(unseen.items.tolist()) == list(range(8))
        assert torch.equal(unseen.scores, scores[unseen.items])
        assert (unseen.scores.diff() <= 0).all()
        for h, p in zip(unseen.items.tolist(), unseen.p_values.tolist(), strict=True):
            others = [float(score) for k, score in enumerate(scores) if k != h]
            assert p == pytest.approx((1 + sum(other >= scores[h] for other in others)) / 8)
    losses = [
        denoising_losses(m, data[1], bank, batch_size=16)
        for m in (model, mirrored_unlearning(model, data[2][:1], data[0], SETTINGS).model)
    ]
    torch.testing.assert_close(exact[0].held_out_scores, noise_consistent_skew(*losses))
    (screened,) = run(model, data, bank, which=(0,), screening=Screening([(2, 0.5)]))
    assert torch.equal(screened.unseen.scores, exact[0].unseen.scores)
    (twice,) = run(model, data, bank, which=(0,), repeats=2)
    once = dict(zip(exact[0].unseen.items.tolist(), exact[0].unseen.scores.tolist(), strict=True))
    for h, score, spread in zip(
        *(getattr(twice.unseen, n).tolist() for n in ("items", "scores", "seed_spread")), strict=True
    ):
        assert abs(once[h] - score) == pytest.approx(spread / 2**0.5, abs=1e-5)
    (alone,) = run(model, data, bank, which=(0,), held_out=None)
    assert alone.unseen is None


def test_held_out_items_have_decoys_of_their_own_but_never_themselves(model, data, bank, tmp_path):
    images, held_out, _ = data
    prefix = bank.prefix(4)
    made = calibrate(model, images, held_out, prefix, SETTINGS, 3, scoring=SCORING)
    for d, h in enumerate(made.decoys.tolist()):
        decoy = held_out[torch.tensor([h])]
        (null,) = attribute(model, images, decoy, prefix, SETTINGS, scoring=SCORING, held_out=held_out)
        torch.testing.assert_close(made.unseen_null_scores[:, d], null.held_out_scores)
    (tmp_path / "made").write_bytes(made.to_bytes())
    kept = Calibration.read(tmp_path / "made")
    assert torch.equal(kept.unseen_null_scores, made.unseen_null_scores)
    (found,) = run(model, data, bank, which=(0,), calibration=kept)
    unseen = found.unseen
    for place, h in enumerate(unseen.items.tolist()):
        others = [made.unseen_null_scores[h, d] for d, decoy in enumerate(made.decoys.tolist()) if decoy != h]
        score = unseen.prefix_scores[place]
        assert unseen.decoy_p_values[place] == pytest.approx(
            (1 + sum(bool(other >= score) for other in others)) / (1 + len(others))
        )
        z = (score - torch.stack(others).mean()) / torch.stack(others).std()
        assert unseen.decoy_z[place] == pytest.approx(float(z), abs=1e-3)
    before = replace(made, unseen_null_scores=None)  # as calibrations were made before
    (tmp_path / "before").write_bytes(before.to_bytes())
    assert Calibration.read(tmp_path / "before").unseen_null_scores is None
    (found,) = run(model, data, bank, which=(0,), calibration=before)
    assert found.unseen.decoy_z.isnan().all()


def test_decoys_calibrate_the_scores(model, data, bank, tmp_path):
    images, held_out, _ = data
    store = LossStore(tmp_path)
    prefix = bank.prefix(4)
    made = calibrate(model, images, held_out, prefix, SETTINGS, 5, scoring=SCORING, store=store)
    assert made.null_scores.shape == (24, 5)
    assert len(list((tmp_path / "decoys").rglob("*.f32"))) == 5
    (tmp_path / "made").write_bytes(made.to_bytes())
    kept = Calibration.read(tmp_path / "made")
    (found,) = run(model, data, bank, which=(0,), calibration=kept, store=store)
    null = made.null_scores[3]
    losses = denoising_losses(model, images[torch.tensor([3])], prefix, batch_size=16)
    unlearned = mirrored_unlearning(model, data[2][:1], images, SETTINGS).model
    score = noise_consistent_skew(losses, denoising_losses(unlearned, images[torch.tensor([3])], prefix, batch_size=16))
    assert found.items[0] == 3
    assert found.decoy_p_values[0] == pytest.approx((1 + int((null >= score).sum())) / 6)
    assert found.decoy_z[0] == pytest.approx(float((score - null.mean()) / null.std()), abs=1e-3)
    own = denoising_losses(model, images, prefix, batch_size=16)
    scores = noise_consistent_skew(own, denoising_losses(unlearned, images, prefix, batch_size=16))

    def largest(column, others):
        return float(((column - others.mean(dim=1)) / others.std(dim=1)).max())

    of_decoys = [
        largest(made.null_scores[:, d], made.null_scores[:, [k for k in range(5) if k != d]]) for d in range(5)
    ]
    at_least = sum(each >= largest(scores, made.null_scores) for each in of_decoys)
    assert found.tie_p_value == pytest.approx((1 + at_least) / 6)
    for other in ({"settings": replace(SETTINGS, tolerance=0.1)}, {"held_out": held_out[torch.arange(7)]}):
        with pytest.raises(InputError, match="calibration"):
            run(model, data, bank, which=(0,), calibration=kept, **other)
    assert calibrate(model, images, held_out, prefix, SETTINGS, 1, scoring=SCORING, store=store).address != made.address
    with pytest.raises(InputError, match="9 decoys are asked of 8"):
        calibrate(model, images, held_out, prefix, SETTINGS, 9)


def test_a_calibration_can_come_after_the_attribution(model, data, bank):
    images, held_out, _ = data
    made = calibrate(model, images, held_out, bank.prefix(4), SETTINGS, 3, scoring=SCORING)
    screening = Screening([(2, 0.5)])
    (before,) = run(model, data, bank, which=(0,), screening=screening, prefix=4)
    (after,) = run(model, data, bank, which=(0,), screening=screening, calibration=made)
    assert before.decoy_p_values.isnan().all()
    assert before.tie_p_value is None
    later = before.against(made)
    for one, other in ((later, after), (later.unseen, after.unseen)):
        for name, value in vars(one).items():
            if torch.is_tensor(value):
                assert torch.equal(value, getattr(other, name)) or value.isnan().all(), name
            elif name != "unseen":
                assert value == getattr(other, name), name
    for other in (run(model, data, bank, which=(0,))[0], run(model, data, bank, which=(0,), prefix=3)[0]):
        with pytest.raises(InputError, match="The calibration is of 4 bank entries"):
            other.against(made)


def test_identical_decoys_are_unlearned_once(model, data, bank, said, tmp_path):
    images, held_out, _ = data
    twins = held_out[torch.tensor([0, 1, 0, 0])]
    with ThreadPoolExecutor(4) as pool:
        made = calibrate(
            model, images, twins, bank.prefix(2), SETTINGS, 4, scoring=SCORING, store=LossStore(tmp_path), executor=pool
        )
    assert said() == ["decoy 1 of 2", "decoy 2 of 2"]
    columns = made.null_scores.T
    assert torch.equal(columns[0], columns[2])
    assert torch.equal(columns[0], columns[3])
    assert not torch.equal(columns[0], columns[1])


def test_controls_find_their_source(model, data, bank):
    planted = controls(data[0], seed=2)
    found = attribute(model, data[0], planted.generated, bank, SETTINGS, scoring=SCORING)
    itself, near = planted.ranks(found)
    assert itself == 1
    assert near <= 3
    assert torch.equal(planted.generated.images[0], data[0][planted.source : planted.source + 1].images[0])


def test_the_bank_is_its_content(model, tmp_path):
    bank = NoiseBank.draw(model, num_noises=8, seed=3)
    assert bank.digest == NoiseBank.draw(model, num_noises=8, seed=3).digest
    assert bank.digest != NoiseBank.draw(model, num_noises=8, seed=4).digest
    (tmp_path / "bank.safetensors").write_bytes(bank.to_bytes())
    assert NoiseBank.read(tmp_path / "bank.safetensors").digest == bank.digest


@pytest.mark.parametrize("count", [1, 2, 7, 48, 100])
def test_every_prefix_of_the_bank_covers_the_levels(count):
    order = stratified_order(count)
    assert sorted(order.tolist()) == list(range(count))
    for size in range(2, count + 1):
        gaps = order[:size].sort().values.diff()
        assert gaps.max() <= 2 * count / size + 1


def test_skew_by_hand():
    before, after = torch.tensor([[1.0, 2.0], [3.0, 1.0]]), torch.tensor([[3.0, 2.0], [1.0, 1.0]])
    expected = torch.tensor([(2 / 4.001 + 0) / 2, (-2 / 4.001 + 0) / 2])
    torch.testing.assert_close(noise_consistent_skew(before, after), expected)
    errors = standard_error(skews(before, after), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(errors, torch.tensor([1 / 4.001, 1 / 4.001]))
    assert standard_error(torch.ones(3, 1), torch.ones(1)).isnan().all()


def test_a_standard_error_by_hand_leaves_out_what_levels_do():
    steps = torch.tensor([[0.0, 1.0, 1.0, 3.0]])  # of levels 1 to 4: squares of steps 1, 0, 4
    order = torch.tensor([2, 0, 3, 1])
    found = standard_error(steps[:, order], order + 1.0)
    torch.testing.assert_close(found, torch.tensor([(5 / (2 * 3 * 4)) ** 0.5]))


@pytest.mark.slow
def test_a_standard_error_is_how_far_scores_of_other_noises_lie(model, data):
    images, _, generated = data
    done = mirrored_unlearning(model, generated[2:3], images, SETTINGS)
    banks = [NoiseBank.draw(model, num_noises=16, seed=seed) for seed in range(16)]
    values = torch.stack([skews(*(denoising_losses(m, images, b) for m in (model, done.model))) for b in banks])
    true = values.mean(dim=2).std(dim=0)  # of each item's score, over banks
    told = standard_error(values.flatten(0, 1), banks[0].levels).view(16, -1).square().mean(dim=0).sqrt()
    over_all = (values.std(dim=2) / 4).square().mean(dim=0).sqrt()
    assert 0.75 < float((told / true).mean()) < 1.35
    assert told.mean() < over_all.mean()


class Greedy(torch.nn.Module):
    """A network that needs more memory than there is."""

    def forward(self, *given, **named):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_too_little_memory_names_the_setting_to_lower(model, data, bank):
    greedy = model.copy()
    greedy.network.conv_in = Greedy()
    with pytest.raises(InputError, match=r"batch_size = 64; lower batch_size"):
        denoising_losses(greedy, data[0], bank)
    small = Unlearning(null_loss=1.0, batch_size=7)
    with pytest.raises(InputError, match=r"micro_batch_size = 14; lower micro_batch_size"):
        mirrored_unlearning(greedy, data[2][:1], data[0], replace(small, trainable=["conv_out.bias"]))


def test_bad_input_is_refused(model, data, bank, tmp_path):
    images, _, generated = data
    pixels, labels = images[:].images, images.conditioning
    refused = [
        lambda: denoising_losses(model, Items(pixels[:, :, :4], labels), bank),
        lambda: denoising_losses(model, images[:0], bank),
        lambda: denoising_losses(model, pixels, bank),
        lambda: denoising_losses(model, Items(pixels, {"class_labels": labels["class_labels"] + 2}), bank),
        lambda: denoising_losses(model, Items(pixels, {"class_labels": labels["class_labels"][:3]}), bank),
        lambda: denoising_losses(model, images, NoiseBank(torch.zeros(1, 3, 4, 4), torch.ones(1))),
        lambda: attribute(model, images, generated.images[:, :, :4], bank),
        lambda: attribute(model, images, generated, bank, repeats=0),
        lambda: Unlearning(learning_rate=0),
        lambda: Unlearning(null_loss=-1.0),
        lambda: Unlearning(stop="never"),
        lambda: Unlearning(down_weight=2.0),
        lambda: Scoring(score="ratio"),
        lambda: Scoring(precision="float16"),
        lambda: Screening([(4, 0.5), (2, 0.2)]),
        lambda: NoiseBank.draw(model, num_noises=900),
        lambda: NoiseBank.read(tmp_path / "none"),
        lambda: Calibration.read(tmp_path / "none"),
        lambda: DiffusionModel.from_pretrained(tmp_path),
        lambda: mirrored_unlearning(model, generated[:1], images, Unlearning(trainable="nothing")),
    ]
    for attempt in refused:
        with pytest.raises(InputError):
            attempt()
