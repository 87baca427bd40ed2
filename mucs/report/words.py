"""Words: what each term means, and what is said of runs, items, lines and accounts; the same on every page and in every document.

A sentence says no more than what was measured: a verdict first, and the figures behind it in another sentence.
"""

from __future__ import annotations

import calendar
import datetime
import math
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

STANDS_OUT = 0.05  # the largest tie p of a tie that is pointed out
TERMS = {
    "generated item": "An image that the model produced.",
    "training item": "An image that the model was trained on, with what its manifest says of it.",
    "edge": "A measured tie between a generated item and a training item, with its score and rank.",
    "rank": "The place of a training item among all that were compared with a generated item; 1 is the best.",
    "score": "How much a copy of the model that was made to forget the generated item forgot the training item as well; from −1 to 1."
    " It is an estimate and no proof of cause: an image that caused the generated one and one that only resembles it can both score high.",
    "error": "The figure after ±: how far a score may be off because the noise under which it was measured is random (its standard error), and, where"
    " unlearning was repeated, because its draws are."
    " Other sources of error are not in it.",
    "p": "Of images that the model never saw, the share that scores at least as high for the generated item. A small one says that images"
    " that cannot be the cause seldom score so high.",
    "decoy p": "Of unseen images that were forgotten instead of the generated item, the share for which this very training item scores at"
    " least as high.",
    "decoy z": "How far a score lies above what the same training item scores for images that it has nothing to do with, in standard"
    " deviations.",
    "tie p": "Whether a generated item is tied to any training item more closely than an image that the model never made would be: of unseen"
    " images that were forgotten instead, the share whose largest decoy z is at least as high as its own (counted with itself). So with 32 of"
    " them it cannot fall below 1/33 = 0.030, and of 100 generated items that copy nothing, 5 will have a tie p of 0.05 or less.",
    "verdict": "What the attribution of a generated item comes to: above chance, within chance, not compared, or not converged.",
    "above chance": "At least one of the ten best training images has a p of 0.05 or less (its decoy p, where there is one). Each is taken"
    " alone, so this is a weak test: many images that the model never made would pass it too. It says much where it fails, and little where it"
    " passes.",
    "within chance": "None of the ten best training images has a p of 0.05 or less (its decoy p, where there is one).",
    "not compared": "There were no images to compare with, so nothing says what chance alone would give.",
    "not converged": "The copy of the model was not found to have forgotten the generated item, so its scores say nothing certain.",
    "converged": "The copy of the model passed the test by which it counts as having forgotten the generated item, so that the measurement"
    " came to its end. The test is its error under fixed noise; in runs made before there was a setting converged_at, it was that of one batch.",
    "screening": "A quick first look at all training images, or at those that an index names; only those that come out best in it are"
    " measured in full.",
    "missed": "What lies with the training images that were not measured, where an index named the candidates: a share, told from some that were"
    " drawn by chance and measured, and between what it lies with 95 %.",
    "excess": "By how much a training image scores higher for this generated image than for others on average, less what all training images"
    " do.",
    "share": "The part of what was attributed that falls to somebody. Each generated item weighs the same and is divided among its best"
    " edges in proportion to their positive scores.",
    "false payments": "What images that the model was never trained on would get if they were among the candidates. They cannot have caused"
    " anything, so it should be nothing, and far less than their share of the candidates.",
    "provisional": "Estimated by an index, before anything was measured. It is no evidence, and is never paid.",
    "predicted": "The score that a training item is likely to have, by an index that was fitted to measured scores. Of pictures that the index had"
    " not seen, nine of ten measured between low and high at this rank.",
    "among the best": "Of the pictures that an index had not seen, the share for which the training item that it put at this rank was among the"
    " best 25 that were measured (or the best tenth, where there are fewer than 250).",
    "exposure": "How much of what was generated rests on a rights holder's works.",
    "standing": "How the rights in an image stand on a day: granted, opted out, lapsed, or not yet.",
    "run": "One attribution of a batch of generated items: inputs, settings, code and results, named by the SHA-256 of its record.",
    "speaks": "Of several runs that know a generated item, the latest that was not withdrawn speaks for it.",
    "control": "An item whose cause is known, attributed with the others to see whether the method finds it.",
    "gate": "A check that data must pass before they are used.",
    "statement": "What each rights holder is owed for a month under a contract, and why.",
    "line": "One holder's share of one pot in a statement.",
    "pot": "A sum of money that a contract divides: for training, or for output.",
    "basis": "Why a line is there: equal division, attribution, the contract's fallback, or the reason for which it is held back.",
    "score mass": "The sum of the scores that a line rests on.",
    "carried out": "What is owed and not paid yet, because it is below the contract's least payment or is held back.",
    "as of": "Answer from what was known at that time: runs, rights and statements that were recorded later do not count.",
    "log": "The chain of entries that everything here was made from; each holds the SHA-256 of the one before it.",
    "SHA-256": "A digest: another file, or another text, has another one.",
}
VERDICTS = {
    "above chance": "Something stands out from chance, by a weak test: at least one of the ten best training images scores higher than chance"
    " alone often gives.",
    "within chance": "Nothing stands out from chance: none of the ten best training images passes even a weak test. They come first by this"
    " measure, and no more is known of them.",
    "not compared": "There is a ranking and no verdict: there were no images to compare with, so nobody can say what chance alone would give.",
    "not converged": "The measurement did not come to its end for this image: do not rely on its ranking.",
}
BRIEFLY = {
    "above chance": "something stands out (weak test)",
    "within chance": "nothing stands out from chance",
    "not compared": "nothing to compare with",
    "not converged": "not measured to the end",
}
PROVISIONAL = (
    "An index estimated this before anything was measured. It is no evidence, and is never paid. It was fitted to measured scores, and how far it was"
    " off for pictures that it had not seen stands beside each line."
)
UNJUDGED = {"not compared": "had nothing to be compared with", "not converged": "could not be measured to the end"}
WEAK = "Many images that the model never made would pass this test too, so by itself it proves nothing."
ESTIMATE = "Attribution is an estimate of what a training image contributed to a generated one, and no proof of it."
MARGIN = (
    "The figure after ± says how far a sum of scores may be off because the noise under which they were measured is random: its standard"
    " error is no larger. Other sources of error are not in it, so a share is no surer than that."
)
UNSEEN = (
    "Such images cannot have caused anything, so whatever they would get would be paid for nothing. What goes to training images is not thereby"
    " right: a score that only told what was trained on would give such images nothing, too."
)
UNSEEN_UNKNOWN = (
    "What share would go to images that the model was never trained on is not known: nothing was shared by scores, or the runs behind it kept no"
    " scores of such images."
)
HELD_BACK = {
    "holder unknown": "Held back, as nobody is on record as the holder of the works",
    "split incomplete": "Held back, as the contract does not say to whom all of the work belongs",
    "not granted for output": "Held back, as the works are not granted for output",
    "insufficient evidence": "Held back, as no edge counts as evidence for the generated images",
    "no licensed works": "Held back, as no work is licensed",
}
EVEN = 1.1  # times what chance alone gives: the difference that is not worth a word


def outcome(verdicts: Mapping[str, int]) -> str:
    """What a run comes to, as a sentence. Args: verdicts: how many generated items have each."""
    items = sum(verdicts.values())
    above, within = verdicts.get("above chance", 0), verdicts.get("within chance", 0)
    judged = above + within
    if judged:
        among = many(items, "generated image") + (f", {judged} could be judged, and of these" if judged < items else "")
        found = f"{above} {'has' if above == 1 else 'have'} a training image" if above else "none has a training image"
        rest = f", and {within} {'has' if within == 1 else 'have'} none" if above and within else ""
        said = f"Of {among}, {found} that stands out from chance, {'by' if above else 'even by'} a weak test{rest}"
    else:
        said = f"Nothing can be said of {many(items, 'generated image')}"
    return (
        "; ".join([said, *(f"{n} {words}" for verdict, words in UNJUDGED.items() if (n := verdicts.get(verdict)))])
        + "."
    )


def forgotten(item: Mapping[str, Any]) -> str:
    """Whether the measurement of a generated item came to its end, as a sentence. Args: item: its outcome."""
    steps = many(item["steps"], "step")
    if item["converged"]:
        return f"The copy passed the test of having forgotten this image after {steps}."
    return f"The copy did not pass the test of having forgotten this image when unlearning ended, after {steps}."


def forgotten_figures(item: Mapping[str, Any]) -> str:
    """How much the copy had forgotten, as a sentence. Args: item: the generated item's outcome."""
    before, after, null = item["probe_before"], item["probe_after"], item["null_loss"]
    figures = (
        f"Under fixed noise, its error in restoring this image was {before:.2f} before it forgot and {after:.2f} after; a"
        f" model that knows nothing would have {null:.2f}"
    )
    if null > before:
        return f"{figures}. So the copy had gone {_percent((after - before) / (null - before))} of the way to knowing nothing of it."
    return f"{figures}."


def tie(p: float | None) -> str:
    """Whether a generated item is tied to any training image more closely than chance ties others, as a sentence.

    Args:
        p: Its tie p; None where there is none, and then nothing is said.
    """
    if p is None:
        return ""
    if p > STANDS_OUT:
        return (
            f"No training image stands out by more than some do for images that the model never made (tie p = {p:.3f})."
        )
    return (
        "It is tied to a training image more closely than images that the model never made are to any"
        f" (tie p = {p:.3f}): it may be a copy, so look at the two side by side."
    )


def compared(item: Mapping[str, Any]) -> str:
    """How many training images were measured for a generated one, as a sentence. Args: item: its outcome."""
    kept, all_of_them = item["survivors"], item["candidates"]
    if kept >= all_of_them:
        return f"All {all_of_them:,} training images were measured in full."
    missed = item.get("missed")
    if missed:
        excess, score = missed["excess"], missed["score"]
        return (
            f"An index named the training images that are likeliest behind this one. Of {all_of_them:,}, {kept:,} were measured in full,"
            f" {missed['sampled']:,} of them drawn by chance from those that it did not name. By these, the {all_of_them - kept:,} that were"
            f" not measured have {_percent(excess['estimate'])} ({_percent(excess['low'])} to {_percent(excess['high'])}) of what"
            " training images score above their usual, and"
            f" {_percent(score['estimate'])} ({_percent(score['low'])} to {_percent(score['high'])}) of all positive score."
        )
    return f"All {all_of_them:,} training images had a quick first look (screening), and the {kept:,} that came out best were measured in full."


def screened(recall: Mapping[str, float], survivors: int, candidates: int) -> str:
    """What screening kept of the best, as a sentence.

    Args:
        recall: The share that was kept, by how many are the best: a number, or a percentage of the candidates.
        survivors: How many were kept in all.
        candidates: Of how many.
    """
    counts = {k: math.ceil(float(k[:-1]) / 100 * candidates) if k.endswith("%") else int(k) for k in recall}
    parts = []
    for k, count in sorted(counts.items(), key=lambda each: each[1]):
        most = f" (of {_percent(survivors / count)} at most, as it keeps {survivors})" if survivors < count else ""
        parts.append(f"{_percent(recall[k])} of the best {k.replace('%', ' %')}{most}")
    return f"Of the training images that come first when all are measured in full, screening kept {', '.join(parts)}."


def controls(found: Mapping[str, Any], held_out: int | None) -> list[dict[str, str]]:
    """What became of a run's controls: for each what was asked, the verdict, and the figures behind it.

    Args:
        found: As the run's record has them.
        held_out: How many held-out images there were.
    """
    near_top = max(1, math.ceil(found["training_items"] / 100))
    told = [
        _placed(
            found,
            "self_rank",
            1,
            f"A training image ({found['source']}) was offered as if it had been generated. It must come first itself.",
        ),
        _placed(
            found,
            "near_duplicate_rank",
            near_top,
            "A near-duplicate of it, shifted by one pixel and with noise, was offered too. The training image must be among the best 1 %.",
        ),
    ]
    distance = found.get("held_out_ks")
    if distance is not None and held_out:
        # the mean distance of two samples of half as many each from the same distribution (Kolmogorov 1933)
        chance = 0.87 * math.sqrt(4 / held_out)
        told.append(
            {
                "asked": "Images that the model never saw were compared with others that it never saw. They must not differ by more than chance.",
                "verdict": "passed" if distance <= EVEN * chance else "not passed: rely less on p",
                "figures": f"Distance of their p from an even spread (Kolmogorov–Smirnov), the mean over the generated images: {distance:.2f};"
                f" chance alone gives about {chance:.2f} on average.",
            }
        )
    return told


def _placed(found: Mapping[str, Any], name: str, most: int, asked: str) -> dict[str, str]:
    rank, total = found[name], found["training_items"]
    if not rank:
        return {
            "asked": asked,
            "verdict": "not passed",
            "figures": f"Screening dropped it, of {total:,} training images.",
        }
    figures = f"It has rank {rank} of {total} (the best {100 * rank / total:.1f} %)."
    return {"asked": asked, "verdict": "passed" if rank <= most else "not passed", "figures": figures}


def month(day: str) -> str:
    """A month in words. Args: day: a day of it, or the month, as 2026-10."""
    return f"{calendar.month_name[int(day[5:7])]} {day[:4]}"


def evidence(contract: Mapping[str, Any]) -> str:
    """What a contract counts as evidence, as a sentence."""
    rule = contract["evidence"]
    bounds = [
        f"{words} {rule[name]}"
        for name, words in (
            ("p_value", "whose p is at most"),
            ("decoy_p_value", "whose decoy p is at most"),
            ("decoy_z", "whose decoy z is at least"),
        )
        if rule[name] is not None
    ]
    if rule.get("tie_p_value") is not None:
        bounds.append(f"of which the image's tie p is at most {rule['tie_p_value']}")
    said = f"The contract counts the best {rule['top']} works of a generated image whose score is positive"
    said += "".join(f", and {bound}" for bound in bounds)
    said += ", if the measurement came to its end" if rule["converged"] else ""
    rest = (
        "is shared equally by all licensed works"
        if contract["fallback"] == "equal"
        else "is held back in the suspense account"
    )
    return f"{said}. What falls to generated images without any such work {rest}."


def false_payments(share: Any, candidates: Sequence[Mapping[str, int]], currency: str, how: str) -> str:
    """What images that were never trained on would get, as sentences.

    Args:
        share: Of the money, from 0 to 1.
        candidates: How many `held_out` and `training` images there are, for each set of candidates.
        currency: What is shared.
        how: By what, as the rest of the first words.
    """
    exactly = 100 * Decimal(str(share))
    of_hundred = exactly.quantize(Decimal("0.01"), ROUND_HALF_UP)
    part = f"{of_hundred} would" if of_hundred else "less than 0.01 would" if exactly else "nothing would"
    sizes = [(each["held_out"], each["held_out"] + each["training"]) for each in candidates]
    counts = {f"{unseen:,} of {together:,}" for unseen, together in sizes}
    (they_are,) = counts if len(counts) == 1 else (_from_to([unseen / together for unseen, together in sizes]),)
    return (
        f"Of each 100 {currency} shared {how}, {part} go to images that the model was never trained on, if these were among the candidates:"
        f" they are {they_are} candidates."
    )


def _from_to(shares: Sequence[float]) -> str:
    return f"{_percent(min(shares), 1)} to {_percent(max(shares), 1)} of the"


def paid_falsely(header: Mapping[str, Any]) -> str:
    """The same of a statement, by its header; nothing is said of one that shares nothing by scores, or is of before that was asked."""
    usage = header["usage"]
    if "false_payments" not in usage or "output" not in header["pots"]:
        return ""
    found = usage["false_payments"]
    if found is None:
        return UNSEEN_UNKNOWN
    asked, of = found["generated_items"], usage["with_evidence"]
    less = (
        f" That is of {asked} of the {of} used images with evidence: of the others it is not known."
        if asked < of
        else ""
    )
    said = false_payments(found["share"], found["candidates"], header["currency"], "by these scores")
    return f"{said}{less} {UNSEEN}"


def bounds_of_run(calibration: Any) -> dict[str, float]:
    """The bounds by which a run is asked for false payments: those of the sample contract, as far as it has the numbers.

    Args:
        calibration: Of the run; None for none.
    """
    return {"decoy_p_value": STANDS_OUT if calibration else 1}


def run_pays_falsely(found: Sequence[Mapping[str, Any]], bounds: Mapping[str, float]) -> str:
    """The same of a run.

    Args:
        found: What the question `false_payments` answers of it; where that is nothing, nothing is said.
        bounds: As it was asked.
    """
    if not found:
        return ""
    (row,) = found
    bound = bounds["decoy_p_value"]
    within = "" if bound == 1 else f" with a decoy p of at most {bound}"
    sizes = {"held_out": row["held_out_items"], "training": row["training_items"]}
    how = f"by score among the ten best candidates of each image{within}"
    return f"{false_payments(row['share'], [sizes], 'euros', how)} {UNSEEN}"


def exposed(items: int, of: int, share: float, since: datetime.datetime) -> str:
    """How exposed a rights holder is, as the rest of a sentence that begins with whom it is about.

    Args:
        items: Generated items that have works of the holder among their best.
        of: Generated items in all.
        share: Of all that was attributed, from 0 to 1.
        since: When the first of those items was recorded.
    """
    return (
        f"works among the ten best training images of {items:,} of {many(of, 'generated image')}, and {_percent(share, 1)} of all that was"
        f" attributed, since {month(f'{since:%Y-%m}')}"
    )


def sure(above: int, items: int) -> str:
    """How sure an exposure is, as sentences. Args: above: how many of the `items` that are exposed are above chance."""
    if not above:
        return f"In none of these {items:,}, any training image stands out from chance, even by a weak test. {ESTIMATE}"
    return (
        f"In {f'all {items:,}' if above == items else f'{above:,} of these {items:,}'}, a training image, of this holder or of another, stands out from chance, by a weak test. {WEAK}"
        f" {ESTIMATE}"
    )


def paid(content: Mapping[str, Any]) -> str:
    """What a statement comes to, as sentences. Args: content: all of it."""
    header, balances = content["header"], content["balances"]
    sums = {name: sum((Decimal(each[name]) for each in balances), Decimal(0)) for name in ("paid", "carried_out")}
    count, currency = sum(Decimal(each["paid"]) > 0 for each in balances), header["currency"]
    when = month(header["period"]["start"])
    begin = f"This later version for {when} pays" if header["supersedes"] else f"For {when}, the statement pays"
    said = f"{begin} {sums['paid']} {currency}, to {count} of {many(len(balances), 'account')}."
    return said + (f" {sums['carried_out']} {currency} is carried into the next month." if sums["carried_out"] else "")


def owed(account: Mapping[str, Any], header: Mapping[str, Any]) -> list[str]:
    """What a holder is owed, as sentences, the verdict first.

    Args:
        account: The holder's balance in the statement.
        header: The statement's.
    """
    contract, currency = header["contract"], header["currency"]
    amounts = {name: Decimal(account[name]) for name in account if name != "holder"}
    net, left = amounts["net"], amounts["carried_out"]
    if account["holder"] == contract["suspense"]:
        rest = f"this account is never paid out, and keeps {left} {currency} until it is known to whom they belong"
    elif amounts["paid"] > 0:
        rest = f"{amounts['paid']} {currency} is paid now"
    elif left > 0:
        rest = (
            f"nothing is paid yet, as the account has {left} {currency}, which is less than the least payment of"
            f" {contract['minimum_payout']} {currency}, and goes into the next month"
        )
    elif left < 0:
        rest = f"nothing is paid, as {-left} {currency} too much was paid before, which the next months make good"
    else:
        rest = "nothing is left to be paid"
    parts = []
    if header["supersedes"]:
        before = net - amounts["difference"]
        parts.append(
            f"The version before gave {before} {currency} for the month: a difference of {_signed(amounts['difference'])} {currency}."
        )
    if amounts["carried_in"]:
        parts.append(f"{_signed(amounts['carried_in'])} {currency} came from the statement before.")
    if amounts["adjustments"]:
        parts.append(f"{_signed(amounts['adjustments'])} {currency} is for disputes that were upheld.")
    return [f"{month(header['period']['start'])} brings {net} {currency} after deductions; {rest}.", *parts]


def why(line: Mapping[str, Any], pots: Mapping[str, str], currency: str) -> str:
    """Why a line is there, as sentences, what it brings first.

    Args:
        line: As the statement has it, with the number of its works in the place of these.
        pots: Of the statement.
        currency: Its code.
    """
    works, items, basis = many(line["works"], "work"), line["items"], line["basis"]
    error = "" if line["score_error"] is None else f" ± {float(line['score_error']):.2f}"
    reasons = {
        "equal": f"For {works}, as all licensed works have the same share",
        "attribution": f"For {works}, by their scores ({float(line['score_mass']):.2f}{error} in all) for {many(items, 'generated image')} that"
        f" {'was' if items == 1 else 'were'} used ({_plain(line['units'])} units)",
        "fallback": f"For {works}, as some of the generated images that were used have no evidence, and what falls to them is shared equally by all"
        " licensed works",
    }
    gross, deducted, net = (Decimal(str(line[name])) for name in ("gross", "deducted", "net"))
    less = f", less deductions of {deducted}" if deducted else ""
    part = f"{net} {currency}: {_percent(float(line['share']), 2)} of the pot for {line['right_type']} ({pots[line['right_type']]}) is {gross}{less}"
    return f"{part}. {reasons.get(basis) or HELD_BACK.get(basis, basis)}."


def many(count: int, what: str) -> str:
    """A number of things. Args: what: one of them, whose plural ends in s."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _percent(part: float, places: int = 0) -> str:
    return f"{100 * part:.{places}f} %"


def _signed(amount: Decimal) -> str:
    return f"{amount:+f}".replace("-", "−")


def _plain(amount: Any) -> str:
    """A decimal without needless noughts."""
    whole, _, rest = f"{Decimal(str(amount)):f}".partition(".")
    return f"{whole}.{rest.rstrip('0')}".rstrip(".")
