"""What is said of runs, items, lines and accounts: a verdict, and never more than is known."""

import pytest

from mucs.explorer.words import COLUMNS
from mucs.report import words

ITEM = {"converged": True, "steps": 119, "probe_before": 0.04, "probe_after": 0.72, "null_loss": 0.94}


def test_every_term_that_a_column_has_is_explained():
    assert set(COLUMNS.values()) <= set(words.TERMS)
    assert set(words.VERDICTS) == set(words.BRIEFLY) <= set(words.TERMS)


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (
            {"above chance": 15, "within chance": 1},
            "Of 16 generated images, 15 have a training image that stands out from chance, by a weak test, and 1 has none.",
        ),
        (
            {"within chance": 2},
            "Of 2 generated images, none has a training image that stands out from chance, even by a weak test.",
        ),
        (
            {"above chance": 1, "not converged": 2},
            "Of 3 generated images, 1 could be judged, and of these, 1 has a training image that stands out from chance, by a weak test;"
            " 2 could not be measured to the end.",
        ),
        (
            {"not compared": 1},
            "Nothing can be said of 1 generated image; 1 had nothing to be compared with.",
        ),
    ],
)
def test_a_run_comes_to_what_its_items_come_to(verdicts, said):
    assert words.outcome(verdicts) == said


def test_an_item_was_forgotten_or_not_and_how_far_stands_behind():
    assert words.forgotten(ITEM) == "The copy passed the test of having forgotten this image after 119 steps."
    assert (
        "did not pass the test of having forgotten this image when unlearning ended, after 119 steps"
        in words.forgotten(ITEM | {"converged": False})
    )
    assert "0.04 before it forgot and 0.72 after" in words.forgotten_figures(ITEM)
    assert words.forgotten_figures(ITEM).endswith("So the copy had gone 76 % of the way to knowing nothing of it.")
    assert "of the way" not in words.forgotten_figures(ITEM | {"null_loss": 0.04})  # there was no way to go


def test_a_tie_stands_out_or_does_not_or_nobody_looked():
    assert words.tie(0.0303).endswith("(tie p = 0.030): it may be a copy, so look at the two side by side.")
    assert words.tie(0.52).startswith("No training image stands out by more")
    assert words.tie(None) == ""


def test_screening_says_what_was_kept_and_the_most_that_could_be():
    assert words.compared({"survivors": 20, "candidates": 399}).endswith(
        "the 20 that came out best were measured in full."
    )
    assert words.compared({"survivors": 9, "candidates": 9}) == "All 9 training images were measured in full."
    said = words.screened({"10%": 0.3, "5": 1.0}, 20, 399)
    assert said.endswith("screening kept 100 % of the best 5, 30 % of the best 10 % (of 50 % at most, as it keeps 20).")


def test_controls_pass_or_do_not_with_their_figures():
    found = {"source": "t1", "self_rank": 1, "near_duplicate_rank": 5, "training_items": 400, "held_out_ks": 0.19}
    told = words.controls(found, 82)
    assert [each["verdict"] for each in told] == ["passed", "not passed", "passed"]
    assert "rank 5 of 400 (the best 1.2 %)" in told[1]["figures"]
    assert "0.19; chance alone gives about 0.19" in told[2]["figures"]
    worse = words.controls(found | {"self_rank": None, "held_out_ks": 0.4}, 82)
    assert [each["verdict"] for each in worse] == ["not passed", "not passed", "not passed: rely less on p"]
    assert len(words.controls(found, None)) == 2


HEADER = {
    "currency": "EUR",
    "period": {"start": "2026-10-01T00:00:00Z"},
    "supersedes": None,
    "contract": {"suspense": "Suspense account", "minimum_payout": "20.00"},
}
ACCOUNT = {"holder": "Ada", "carried_in": "0.00", "net": "30.00", "difference": "30.00", "adjustments": "0.00"}


@pytest.mark.parametrize(
    ("account", "said"),
    [
        ({"paid": "30.00", "carried_out": "0.00"}, "30.00 EUR is paid now."),
        (
            {"paid": "0.00", "carried_out": "12.00"},
            "nothing is paid yet, as the account has 12.00 EUR, which is less than the least payment of 20.00 EUR, and goes into the next month.",
        ),
        (
            {"paid": "0.00", "carried_out": "-3.00"},
            "nothing is paid, as 3.00 EUR too much was paid before, which the next months make good.",
        ),
        ({"paid": "0.00", "carried_out": "0.00"}, "nothing is left to be paid."),
        (
            {"holder": "Suspense account", "paid": "0.00", "carried_out": "7.00"},
            "this account is never paid out, and keeps 7.00 EUR until it is known to whom they belong.",
        ),
    ],
)
def test_an_account_says_first_what_the_month_brings_and_what_is_paid(account, said):
    assert words.owed(ACCOUNT | account, HEADER) == [f"October 2026 brings 30.00 EUR after deductions; {said}"]


def test_a_later_version_says_what_it_changes_and_where_an_account_comes_from():
    account = ACCOUNT | {
        "difference": "-5.00",
        "carried_in": "2.00",
        "adjustments": "1.50",
        "paid": "0.00",
        "carried_out": "-1.50",
    }
    assert words.owed(account, HEADER | {"supersedes": "f" * 64})[1:] == [
        "The version before gave 35.00 EUR for the month: a difference of −5.00 EUR.",
        "+2.00 EUR came from the statement before.",
        "+1.50 EUR is for disputes that were upheld.",
    ]


def test_a_statement_says_first_what_it_pays():
    balances = [ACCOUNT | {"paid": "30.00", "carried_out": "0.00"}, ACCOUNT | {"paid": "0.00", "carried_out": "2.00"}]
    said = words.paid({"header": HEADER, "balances": balances})
    assert (
        said
        == "For October 2026, the statement pays 30.00 EUR, to 1 of 2 accounts. 2.00 EUR is carried into the next month."
    )
    later = words.paid({"header": HEADER | {"supersedes": "f" * 64}, "balances": balances[:1]})
    assert later == "This later version for October 2026 pays 30.00 EUR, to 1 of 1 account."


def test_a_line_says_what_it_brings_and_why():
    line = {
        "right_type": "output",
        "basis": "attribution",
        "works": 1,
        "items": 2,
        "units": "4.00",
        "share": "0.666666666667",
    }
    line |= {"gross": "80.00", "deducted": "10.00", "net": "70.00", "score_mass": "0.8", "score_error": "0.02"}
    assert words.why(line, {"output": "120.00"}, "EUR") == (
        "70.00 EUR: 66.67 % of the pot for output (120.00) is 80.00, less deductions of 10.00. For 1 work, by their scores (0.80 ± 0.02 in all) for 2"
        " generated images that were used (4 units)."
    )
    held = words.why(line | {"basis": "holder unknown", "score_error": None}, {"output": "120.00"}, "EUR")
    assert held.endswith("Held back, as nobody is on record as the holder of the works.")
    assert "±" not in words.why(line | {"score_error": None}, {"output": "120.00"}, "EUR")


def test_what_unseen_images_would_get_is_said_of_a_hundred_beside_how_many_they_are():
    one, other = {"held_out": 64, "training": 399}, {"held_out": 10, "training": 90}
    said = words.false_payments("0.025", [one], "euros", "by these scores")
    assert said == (
        "Of each 100 euros shared by these scores, 2.50 would go to images that the model was never trained on, if these were among the"
        " candidates: they are 64 of 463 candidates."
    )
    for share, part in (("0", "nothing would"), ("0.00001", "less than 0.01 would"), ("0.333333333333", "33.33 would")):
        assert f"by these scores, {part} go to images" in words.false_payments(share, [one], "EUR", "by these scores")
    assert words.false_payments("0", [one, other], "EUR", "so").endswith("they are 10.0 % to 13.8 % of the candidates.")


def test_a_statement_says_what_it_would_pay_for_nothing_or_that_nobody_knows():
    found = {"share": "0.025000000000", "generated_items": 7, "candidates": [{"held_out": 64, "training": 399}]}
    header = {"currency": "EUR", "pots": {"output": "9.00"}, "usage": {"with_evidence": 8, "false_payments": found}}
    said = words.paid_falsely(header)
    assert said.startswith("Of each 100 EUR shared by these scores, 2.50 would go to images")
    assert "That is of 7 of the 8 used images with evidence" in said
    assert said.endswith(words.UNSEEN)
    assert words.paid_falsely(header | {"usage": {"false_payments": None}}) == words.UNSEEN_UNKNOWN
    assert words.paid_falsely(header | {"usage": {}}) == ""  # as older programs issued them
    assert words.paid_falsely(header | {"pots": {"training": "9.00"}}) == ""


def test_a_run_says_by_which_rule_it_would_pay_for_nothing():
    row = {"share": 0.1, "held_out_items": 3, "training_items": 4}
    for calibration, rule in (({"decoys": 32}, " with a decoy p of at most 0.05,"), (None, ",")):
        said = words.run_pays_falsely([row], words.bounds_of_run(calibration))
        assert f"shared by score among the ten best candidates of each image{rule} 10.00 would go" in said
    assert words.run_pays_falsely([], {}) == ""
