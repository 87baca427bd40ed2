"""Settings, and the flat JSON that records, commands and deployments write them in."""

import json
from dataclasses import replace

import pytest

from mucs import InputError
from mucs.attribution import Scoring, Screening, Settings, Unlearning
from mucs.canonical import digest

# what ledgers hold of runs with the default settings, and with some of everything
DEFAULT = "7da33583623cbf6c17fd597e73c6379d66bfbd5a28d8b4b063e208c23be81945"
MANY = "75c1432d1f37fa25bb28b5ed61596181cb7b1bf5a7032b747dcb6b9dd8477d5a"
CHOSEN = Settings(
    num_noises=8,
    controls=True,
    unlearning=Unlearning(learning_rate=1e-4, batch_size=7, shared_noise=True, null_loss=1.0, trainable=("a*", "b")),
    scoring=Scoring(score="difference", shared_noise=False, batch_size=9, precision="bfloat16"),
    screening=Screening([(1, 0.5), (4, 0.25)]),
)


def test_the_digests_of_what_earlier_runs_recorded_stay():
    assert digest(Settings().record()) == DEFAULT
    assert digest(CHOSEN.record()) == MANY


def test_a_record_is_read_back_and_a_later_setting_is_recorded_where_it_is_changed():
    record = json.loads(json.dumps(CHOSEN.record()))
    assert Settings.from_record(record) == CHOSEN
    assert (record["screening"], record["trainable"]) == ([[1, 0.5], [4, 0.25]], ["a*", "b"])
    assert (record["batch_size"], record["unlearning_batch_size"]) == (9, 7)
    changed = replace(CHOSEN, scoring=Scoring(eps=0.01))
    assert changed.record()["eps"] == 0.01
    assert Settings.from_record(changed.record()) == changed
    assert Settings.from_record({}) == Settings()
    stricter = replace(CHOSEN, unlearning=replace(CHOSEN.unlearning, converged_at=0.95, antithetic=True))
    assert stricter.record() == {**CHOSEN.record(), "converged_at": 0.95, "antithetic": True}
    assert Settings.from_record(stricter.record()) == stricter
    named = replace(CHOSEN, screening=Screening([(1, 0.5), (4, 0.25)], candidates=90, most_missed=0.2))
    assert named.record() == {**CHOSEN.record(), "candidates": 90, "most_missed": 0.2}
    assert Settings.from_record(json.loads(json.dumps(named.record()))) == named
    assert Settings.from_record({"candidates": 5}) == Settings(screening=Screening(candidates=5))


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"learning_rat": 1}, "'learning_rat' is not a setting; use one of: num_noises, fraction"),
        ({"unlearning": {}}, "'unlearning' is not a setting"),
        ({"controls": 1}, "controls cannot be 1; give a value of the kind of its default"),
        ([1], "give an object of their values by name"),
    ],
)
def test_what_is_no_record_is_refused(record, says):
    with pytest.raises(InputError, match=says):
        Settings.from_record(record)
