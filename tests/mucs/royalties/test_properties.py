"""What holds of every statement, whatever was measured, used and agreed."""

import dataclasses
import datetime
import hashlib
import random
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mucs.evidence.chain import GENESIS
from mucs.evidence.log import Log
from mucs.evidence.store import Folder
from mucs.ledger import Ledger, catalogue
from mucs.ledger.questions import names, question
from mucs.ledger.verify import INVARIANTS
from mucs.royalties import Period, Usage, issue
from mucs.royalties.contract import Contract, Evidence, Party, Pot
from mucs.royalties.dispute import move_dispute, open_dispute
from mucs.royalties.issue import OF_THE_ISSUE
from mucs.royalties.usage import Use

pytestmark = pytest.mark.heavy

HOLDERS = ("Ada", "Ben", "Cleo", "unknown")
SUSPENSE = "Held back"
LAST_DIGIT = Decimal(
    "1e-11"
)  # shares that are shown have 12 decimals, and their rounding moves them by one of the last
OCTOBER = Period.month("2026-10")
FEW = settings(max_examples=7, deadline=None)


@dataclasses.dataclass(frozen=True)
class Item:
    """A training item: its image, its holder, what it is granted for, and its score for each generated item in millionths."""

    id: str
    image: str
    holder: str
    uses: tuple[str, ...]
    scores: tuple[int, ...]


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """Makes logs that have nothing in them."""
    return lambda: Log(Folder(tmp_path_factory.mktemp("log")))


def ledger_of(log, items, generated: int, shuffle=random.Random(0), unseen=()) -> Ledger:
    """A ledger in memory with one run over these items, in any order; what is said of it goes to the log.

    unseen: of each held-out item, its scores for the generated items in millionths.
    """
    ledger = Ledger(duckdb.connect(), "memory", log)
    c, then = ledger.connection, datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    c.execute(f"ATTACH ':memory:' AS file; USE file; {catalogue.TABLES}; USE memory")
    c.execute("INSERT INTO file.ledger VALUES (?, ?, 0, ?)", [catalogue.SCHEMA, log.place, GENESIS])
    catalogue.define(c)
    for number, kind in enumerate(("checkpoint", "training_set", "batch"), start=1):
        c.execute("INSERT INTO file.artifacts VALUES (?, ?, ?, 1, 1)", [number, kind, sha(kind)])
    items = shuffle.sample(items, len(items))
    row = "INSERT INTO file.training_items VALUES (?, ?, ?, ?, ?, 'L', '2024-01-01', '{}', ?)"
    c.executemany(row, [[n, sha(i.id), i.id, i.image, i.holder, then] for n, i in enumerate(items, start=1)])
    c.executemany("INSERT INTO file.members VALUES (2, ?)", [[n] for n in range(1, len(items) + 1)])
    right = "INSERT INTO file.rights VALUES (0, ?, ?, ?, 'L', 'granted', ?, '2024-01-01', NULL, NULL, NULL, ?)"
    c.executemany(right, [[n, i.image, i.holder, list(i.uses), then] for n, i in enumerate(items, start=1)])
    c.execute(
        "INSERT INTO file.runs VALUES (1, '"
        + sha("run")
        + "', 'MUCS (arXiv 2605.17938)', 1, 2, NULL, NULL, 3, 's', NULL, 'x', ?, '{}')",
        [then],
    )
    edges = []
    for g in range(generated):
        c.execute(
            "INSERT INTO file.generated_items VALUES (?, ?, ?, ?, '{}', ?)",
            [g, sha(f"row{g}"), f"g{g}", sha(f"g{g}"), then],
        )
        c.execute(
            "INSERT INTO file.attributions BY NAME SELECT 1 AS run_id, ? AS generated_id, true AS converged, 1 AS steps, 1 AS null_loss,"
            " 1 AS forget_loss, 1 AS retain_loss, 1 AS probe_before, 1 AS probe_after, ? AS candidates, ? AS survivors, ? AS held_out",
            [g, len(items), len(items), len(unseen) or None],
        )
        for rank, (score, name) in enumerate(sorted((-each[g], f"h{n}") for n, each in enumerate(unseen)), start=1):
            c.execute(
                "INSERT INTO file.unseen_edges BY NAME SELECT 1 AS run_id, ? AS generated_id, ? AS held_out, ? AS sha256, ? AS rank, ? AS score",
                [g, name, sha(name), rank, -score / 1e6],
            )
        order = sorted(range(len(items)), key=lambda n: (-items[n].scores[g], items[n].id))
        edges += [[1, g, n + 1, rank, items[n].scores[g] / 1e6] for rank, n in enumerate(order, start=1)]
    edge = "INSERT INTO file.edges VALUES (?, ?, ?, ?, ?, 0.01, NULL, NULL, NULL, NULL)"
    c.executemany(edge, shuffle.sample(edges, len(edges)))
    return ledger


def used(*units: int, month="2026-10") -> Usage:
    """Usage of the first generated items, and of one that the ledger does not know."""
    names = [*(f"g{n}" for n in range(len(units) - 1)), "stranger"]
    day = datetime.date.fromisoformat(f"{month}-03")
    rows = (
        Use(n, name, day, Decimal(each), Decimal(each) * 7, "")
        for n, (name, each) in enumerate(zip(names, units, strict=True))
    )
    return Usage(tuple(rows), 0)


def percentages(most: int) -> st.SearchStrategy[Decimal]:
    return st.integers(0, most * 100).map(lambda hundredths: Decimal(hundredths) / 100)


MONEY = st.integers(0, 10**7).map(lambda cents: Decimal(cents) / 100)
POTS = st.builds(Pot, MONEY, st.none(), st.just(Decimal(0))) | st.builds(Pot, st.none(), percentages(100), MONEY)
PARTY = Party("Someone", None, None)
CONTRACTS = st.builds(
    Contract,
    id=st.just("any"),
    version=st.just(1),
    licensor=st.just(PARTY),
    licensee=st.just(PARTY),
    currency=st.just("EUR"),
    decimals=st.just(2),
    valid_from=st.just(datetime.date(2026, 1, 1)),
    valid_to=st.just(datetime.date(2028, 1, 1)),
    training_sets=st.just(()),
    pots=st.fixed_dictionaries({"training": POTS, "output": POTS}),
    fallback=st.sampled_from(["equal", "suspense"]),
    evidence=st.builds(Evidence, st.integers(1, 5), *[st.none()] * 4, st.just(True)),
    deductions=st.fixed_dictionaries({}, optional={"administration": percentages(50), "tax": percentages(50)}),
    minimum_payout=MONEY.map(lambda amount: amount / 1000).map(lambda amount: round(amount, 2)),
    splits=st.fixed_dictionaries({}, optional={"t0": st.dictionaries(st.sampled_from(HOLDERS[:3]), percentages(33))}),
    suspense=st.just(SUSPENSE),
    territories=st.just(()),
    lines=st.just({"t0": "contract.yaml, line 1"}),
)


@st.composite
def worlds(draw):
    """Training items, how many generated ones, and the usage of these and of a stranger."""
    generated, size = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    scores = st.tuples(*[st.integers(-(10**6), 10**6)] * generated)
    uses = st.sampled_from([("training", "output"), ("training",), ("output",), ()])
    items = [Item(f"t{n}", sha(f"t{n}"), draw(st.sampled_from(HOLDERS)), draw(uses), draw(scores)) for n in range(size)]
    return items, generated, draw(st.lists(st.integers(0, 1000), min_size=generated + 1, max_size=generated + 1))


def shares(statement, right_type, holder) -> Decimal:
    lines = statement.content["lines"]
    return sum(
        (Decimal(one["share"]) for one in lines if (one["right_type"], one["holder"]) == (right_type, holder)),
        Decimal(0),
    )


def computed(statement):
    """What does not tell when it was issued."""
    header = {name: value for name, value in statement.content["header"].items() if name not in OF_THE_ISSUE}
    return header, statement.content["lines"]


def money_holds(ledger) -> None:
    for path in INVARIANTS.glob("*.sql"):
        if path.stem.startswith(("balances", "disputes", "lines", "statements", "usage", "versions")):
            assert ledger.rows(path.read_text()) == [], path.stem


@FEW
@given(worlds(), CONTRACTS)
def test_lines_sum_to_their_pots_and_nothing_is_negative_or_dropped(empty, world, contract):
    items, generated, units = world
    ledger = ledger_of(empty(), items, generated)
    statement = issue(ledger, contract, OCTOBER, used(*units))
    money_holds(ledger)
    lines = statement.content["lines"]
    for right_type, pot in statement.content["header"]["pots"].items():
        mine = [one for one in lines if one["right_type"] == right_type]
        assert sum(Decimal(one["gross"]) for one in mine) == Decimal(pot)
        assert sum(Decimal(one["share"]) for one in mine) == 1
        for one in mine:
            parts = sum(Decimal(work["share"]) for work in one["works"])
            assert parts == (Decimal(one["share"]) if one["works"] else 0)
    for one in lines:
        assert Decimal(one["gross"]) >= Decimal(one["net"]) >= 0
        assert one["holder"] in (*HOLDERS[:3], SUSPENSE)
    for account in statement.content["balances"]:
        assert Decimal(account["paid"]) >= 0
        assert account["holder"] != SUSPENSE or Decimal(account["paid"]) == 0


@FEW
@given(worlds(), CONTRACTS, st.randoms(use_true_random=False))
def test_no_order_of_anything_matters(empty, world, contract, shuffle):
    items, generated, units = world
    first = issue(ledger_of(empty(), items, generated), contract, OCTOBER, used(*units))
    rows = used(*units).rows
    other = dataclasses.replace(
        contract,
        pots=dict(reversed(contract.pots.items())),
        deductions=dict(reversed(contract.deductions.items())),
        splits={work: dict(reversed(split.items())) for work, split in contract.splits.items()},
    )
    shuffled = Usage(tuple(shuffle.sample(rows, len(rows))), 0)
    assert computed(issue(ledger_of(empty(), items, generated, shuffle), other, OCTOBER, shuffled)) == computed(first)


@FEW
@given(worlds(), CONTRACTS)
def test_issuing_again_issues_nothing(empty, world, contract):
    items, generated, units = world
    ledger = ledger_of(empty(), items, generated)
    first = issue(ledger, contract, OCTOBER, used(*units))
    entries = ledger.entries()
    second = issue(ledger, contract, OCTOBER, used(*units))
    assert (first.new, second.new) == (True, False)
    assert (second.sha256, second.content) == (first.sha256, first.content)
    assert ledger.entries() == entries


@FEW
@given(worlds(), CONTRACTS, st.data())
def test_what_unseen_images_would_get_is_said_and_moves_no_money(empty, world, contract, data):
    items, generated, units = world
    scores = st.tuples(*[st.integers(-(10**6), 10**6)] * generated)
    unseen = data.draw(st.lists(scores, min_size=1, max_size=4))
    alone, beside = (
        issue(ledger_of(empty(), items, generated, unseen=each), contract, OCTOBER, used(*units))
        for each in ((), unseen)
    )
    assert alone.content["header"]["usage"]["false_payments"] is None
    for part in ("lines", "balances", "adjustments"):
        assert beside.content[part] == alone.content[part]
    theirs, all_of_it = Fraction(0), 0
    for g, of_item in enumerate(units[:generated]):
        candidates = [(item.scores[g], 1) for item in items] + [(each[g], 0) for each in unseen]
        best = [(score, seen) for score, seen in sorted(candidates, reverse=True)[: contract.evidence.top] if score > 0]
        if best:
            all_of_it += of_item
            theirs += of_item * Fraction(
                sum(score for score, seen in best if not seen), sum(score for score, _ in best)
            )
    found = beside.content["header"]["usage"]["false_payments"]
    assert (found is None) == (all_of_it == 0)
    if found:
        assert abs(Fraction(found["share"]) - theirs / all_of_it) < Fraction(1, 10**11)
        assert found["candidates"] == [{"held_out": len(unseen), "training": len(items)}]


@FEW
@given(worlds(), CONTRACTS, st.data())
def test_a_copy_of_an_image_brings_its_holder_nothing(empty, world, contract, data):
    items, generated, units = world
    taken = data.draw(st.sampled_from(items))
    scores = tuple(data.draw(st.integers(-(10**6), score)) for score in taken.scores)
    copy = dataclasses.replace(taken, id="zz-copy", scores=scores)
    alone, doubled = (
        issue(ledger_of(empty(), given, generated), contract, OCTOBER, used(*units))
        for given in (items, [*items, copy])
    )
    assert alone.content["lines"] == doubled.content["lines"]


@FEW
@given(worlds(), CONTRACTS, st.data())
def test_a_near_duplicate_brings_its_holder_no_more_than_the_work_itself(empty, world, contract, data):
    items, generated, units = world
    contract = dataclasses.replace(contract, fallback="suspense", splits={})
    taken = data.draw(st.sampled_from(items))
    scores = tuple(data.draw(st.integers(-(10**6) - 1, score - 1)) for score in taken.scores)
    copy = dataclasses.replace(taken, id="copy", image=sha("copy"), scores=scores)
    alone, doubled = (
        issue(ledger_of(empty(), given, generated), contract, OCTOBER, used(*units))
        for given in (items, [*items, copy])
    )
    itself = defaultdict(Decimal)
    for one in alone.content["lines"]:
        for work in one["works"]:
            itself[one["right_type"]] += Decimal(work["share"]) if work["sha256"] == taken.image else 0
    for holder in HOLDERS[:3]:
        for right_type in ("training", "output"):
            gain = shares(doubled, right_type, holder) - shares(alone, right_type, holder)
            assert gain <= itself[right_type] + LAST_DIGIT


MONTHS = st.tuples(
    st.sampled_from(["2026-10", "2026-11", "2026-12"]), st.lists(st.integers(0, 9), min_size=4, max_size=4)
)


@FEW
@given(worlds(), CONTRACTS, st.lists(MONTHS, min_size=1, max_size=6), st.integers(0, 10**6))
def test_nothing_is_lost_from_month_to_month_whatever_is_corrected_and_disputed(empty, world, contract, months, owed):
    items, generated, _ = world
    ledger = ledger_of(empty(), items, generated)
    holder = next((item.holder for item in items if item.holder != "unknown"), None)
    for number, (month, units) in enumerate(months):
        statement = issue(ledger, contract, Period.month(month), used(*units[: generated + 1], month=month))
        if number == 0 and owed and holder:
            dispute, _ = open_dispute(ledger, statement.sha256, holder, "too little")
            move_dispute(ledger, dispute, "under review", "looked at")
            move_dispute(ledger, dispute, "upheld", "indeed", f"{Decimal(owed) / 100:.2f}")
    money_holds(ledger)
    for account in ledger.rows(
        "SELECT rights_holder, sum(difference) AS due, sum(adjustments) AS adjusted, sum(paid) AS paid, arg_max(carried_out, position) AS left"
        " FROM balances GROUP BY ALL"
    ):
        assert account["due"] + account["adjusted"] == account["paid"] + account["left"]
        stated = ledger.one(
            "SELECT coalesce(sum(net), 0) FROM statement_lines WHERE current AND rights_holder = ?",
            account["rights_holder"],
        )
        assert stated == account["due"]


FINE_MONEY = st.integers(1, 10**16 - 1).map(lambda units: Decimal(units).scaleb(-4)) | st.sampled_from(
    [Decimal("0.0001"), Decimal("99.9999"), Decimal(100), Decimal(10**12 - 1), Decimal("999999999999.9999")]
)
FINE_USAGE = st.integers(0, 10**21 - 1).map(lambda units: Decimal(units).scaleb(-9)) | st.just(
    Decimal("999999999999.999999999")
)


@FEW
@given(worlds(), CONTRACTS, st.tuples(FINE_MONEY, FINE_MONEY), FINE_USAGE, st.integers(1, 20))
def test_every_question_answers_whatever_the_amounts_are(empty, world, contract, amounts, each, rows):
    items, generated, _ = world
    training, output = amounts
    pots = {"training": Pot(training, None, Decimal(0)), "output": Pot(None, Decimal(100), output)}
    contract = dataclasses.replace(contract, pots=pots, decimals=4, deductions={"tax": Decimal("2.5")})
    ledger = ledger_of(empty(), items, generated)
    day = datetime.date(2026, 10, 3)
    uses = [Use(n, name, day, each, each, "") for n in range(rows) for name in ("g0", "stranger")]
    statement = issue(ledger, contract, OCTOBER, Usage(tuple(uses), 0))
    money_holds(ledger)
    holder = items[0].holder
    values = {"generated": "g0", "training": "t0", "item": "t0", "target": holder, "rights_holder": holder}
    values |= dict.fromkeys(("run", "first", "second", "checkpoint", "training_set", "settings", "row"), sha("run"))
    values |= {"statement": statement.sha256, "line": 1}
    answers = {}
    for name in names():
        given_ = {p.name: values[p.name] for p in question(name).parameters if p.default is None}
        answers[name] = ledger.ask(name, **given_)
    ledger.ask("trail", item="g0")
    pots = statement.content["header"]["pots"]
    brought = ledger.rows("SELECT right_type, sum(gross) AS gross, sum(share) AS share FROM statement_works GROUP BY 1")
    for row in brought:
        assert row["gross"] == row["share"] * Decimal(pots[row["right_type"]])
    mine = [row for row in answers["takedown"] if row["gross"] is not None]
    for row in mine:
        whole = Decimal(pots["training" if row["what"].endswith("training") else "output"])
        assert 0 <= row["gross"] <= whole
        assert float(row["gross"]) == pytest.approx(row["share_of_all"] * float(whole), abs=1e-4, rel=1e-12)
    assert ledger.one("SELECT sum(units) FROM usage") == each * rows * 2


@FEW
@given(worlds(), st.integers(1, 5))
def test_a_takedown_takes_the_share_that_shares_gives_the_holder(empty, world, top):
    items, generated, _ = world
    ledger = ledger_of(empty(), items, generated)
    shares = {row["rights_holder"]: row["share"] for row in ledger.ask("shares", top=top)}
    for holder in sorted({item.holder for item in items}):
        rows = {row["what"]: row for row in ledger.ask("takedown", target=holder, top=top)}
        assert ("generated items" in rows) == (holder in shares)
        for what in ("checkpoint", "run", "generated items") if holder in shares else ():
            row = rows[what]
            assert row["share_of_all"] == pytest.approx(shares[holder])
            assert row["share_of_touched"] * row["items"] == pytest.approx(row["share_of_all"] * row["of_items"])
        held = sum(item.holder == holder for item in items)
        assert rows["training set"]["share_of_all"] == pytest.approx(held / len(items))
