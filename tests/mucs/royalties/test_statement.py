"""Statements over a real ledger: to the cent, once, corrected by versions, and balanced from month to month."""

import csv
import dataclasses
import datetime
import hashlib
import io
import json
import shutil
import threading
import unicodedata
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction

import pytest

from mucs import InputError
from mucs.canonical import canonical
from mucs.evidence.log import Log
from mucs.evidence.store import Folder
from mucs.ledger import Ledger, Said, say_run
from mucs.ledger.lake import Lake
from mucs.ledger.rights import Right, say_rights, withdraw
from mucs.ledger.tables import table_digests
from mucs.ledger.verify import verify_log
from mucs.royalties import Period, Usage, find, issue, preview, read_contract, read_usage
from mucs.royalties.dispute import move_dispute, open_dispute
from mucs.royalties.export import balances_file, flat_file, html_file, lines_file
from mucs.royalties.usage import Use, say_usage
from tests.factories import fault, log_of, writing
from tests.mucs.ledger.test_ledger import GENERATED, TRAINING, make_run
from tests.mucs.royalties.test_properties import money_holds

pytestmark = pytest.mark.heavy

CONTRACT = """\
id: art-2026
version: 1
licensor: {name: Collecting Society, ipi: 00000000199}
licensee: {name: Picture Maker}
currency: {code: EUR, decimals: 2}
valid_from: 2026-01-01
valid_to: 2027-01-01
pots:
  training: {amount: 100.00}
  output: {percentage: 30, minimum: 50}
fallback: equal
evidence: {top: 3}
deductions: {administration: 10, tax: 2.5}
minimum_payout: 20.00
"""
USAGE = "generated,date,units,revenue\ng0,2026-10-02,3,300\ng1,2026-10-09,1,100.01\n"


class World:
    """A ledger, open to be written, with a contract and a usage file beside it."""

    def __init__(self, folder, log=None) -> None:
        self.folder, self.path = folder, folder / "ledger"
        self.log = log or log_of(self.path)
        self.ledger = Ledger.write(self.path, self.log)
        self.ledger.sync()

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.ledger.connection.close()

    def load(self, name="a", **changes) -> None:
        assert say_run(self.ledger, make_run(self.folder, name, **changes))

    def issue(self, period="2026-10", contract=CONTRACT, usage=USAGE, how=issue, **given):
        (self.folder / "contract.yaml").write_text(contract)
        (self.folder / "usage.csv").write_text(usage.replace("2026-10", period))
        month = Period.month(period)
        agreed = read_contract(self.folder / "contract.yaml")
        return how(self.ledger, agreed, month, read_usage(self.folder / "usage.csv", month), **given)

    def rows(self, sql):
        return self.ledger.rows(sql)

    def kept(self) -> dict:
        """All that lies in the ledger and its log."""
        return kept(self.folder)


def kept(folder) -> dict:
    """The bytes of a ledger and its log, file by file."""
    files = [path for name in ("ledger", "log") for path in (folder / name).rglob("*") if path.is_file()]
    assert files
    return {path.relative_to(folder): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder of a ledger with a run, to be copied."""
    folder = tmp_path_factory.mktemp("first")
    with World(folder) as world:
        world.load()
    return folder


@pytest.fixture
def world(first, tmp_path):
    shutil.copytree(first, tmp_path, dirs_exist_ok=True)
    with World(tmp_path) as world:
        yield world


@pytest.fixture(scope="module")
def shared(first, tmp_path_factory):
    """A world for tests that change nothing in it."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copytree(first, folder, dirs_exist_ok=True)
    with World(folder) as world:
        before = world.kept()
        yield world
        assert world.kept() == before


def lines(statement):
    return {(one["right_type"], one["holder"], one["basis"]): one for one in statement.content["lines"]}


def accounts(statement):
    return {one["holder"]: one for one in statement.content["balances"]}


def test_a_statement_divides_its_pots_by_licence_and_by_attribution(world):
    statement = world.issue()
    found = lines(statement)
    assert {key: one["gross"] for key, one in found.items()} == {
        ("training", "Ada", "equal"): "50.00",
        ("training", "Ben", "equal"): "50.00",
        # 30 % of 400.01 is 120.003; scores of 0.4 and 0.2 for both generated items; negative ones never count
        ("output", "Ada", "attribution"): "80.00",
        ("output", "Ben", "attribution"): "40.00",
    }
    ada = found["output", "Ada", "attribution"]
    assert (ada["share"], ada["items"], ada["units"], ada["score_mass"]) == ("0.666666666667", 2, "4", "0.8")
    assert (ada["score_error"], found["training", "Ada", "equal"]["score_error"]) == ("0.02", "0")
    assert ada["works"] == [{"sha256": TRAINING[0]["sha256"], "id": "t0", "share": "0.666666666667"}]
    assert (ada["deductions"], ada["net"]) == ({"administration": "8.00", "tax": "2.00"}, "70.00")
    assert accounts(statement)["Ada"] | {"holder": ""} == {
        **{"holder": "", "carried_in": "0.00", "net": "113.75", "difference": "113.75"},
        **{"adjustments": "0.00", "paid": "113.75", "carried_out": "0.00"},
    }
    header = statement.content["header"]
    assert header["pots"] == {"training": "100.00", "output": "120.00"}
    assert header["period"] == {"start": "2026-10-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"}
    assert header["runs"] == [make_run(world.folder).sha256]
    money_holds(world.ledger)


def test_the_same_inputs_issue_nothing_new(world):
    first = world.issue()
    before = world.kept()
    shuffled = USAGE.splitlines(keepends=True)
    again = world.issue(usage="".join([shuffled[0], *reversed(shuffled[1:])]).replace("300", "300.0"))
    assert (first.new, again.new) == (True, False)
    assert (again.sha256, again.content) == (first.sha256, first.content)
    assert world.kept() == before


def test_other_evidence_makes_a_version_with_the_difference_for_each_holder(world):
    first = world.issue()
    world.load("b", scores=(0.2, 0.2, 0.2, -0.1))
    second = world.issue()
    assert (second.content["header"]["version"], second.content["header"]["supersedes"]) == (2, first.sha256)
    assert second.content["header"]["runs"] == [make_run(world.folder, "b", scores=(0.2, 0.2, 0.2, -0.1)).sha256]
    assert lines(second)["output", "Ada", "attribution"]["gross"] == "80.00"
    third = world.issue(usage=USAGE.replace("300", "100"))
    told = accounts(third)
    assert told["Ada"]["difference"] == "-35.00"
    # what was paid stays paid: the next statements make it good
    assert (told["Ada"]["paid"], told["Ada"]["carried_out"]) == ("0.00", "-35.00")
    november = world.issue("2026-11")
    assert (accounts(november)["Ada"]["carried_in"], accounts(november)["Ada"]["paid"]) == ("-35.00", "78.75")
    money_holds(world.ledger)
    total = world.rows(
        "SELECT rights_holder, sum(difference) = sum(paid) + arg_max(carried_out, position) AS whole FROM balances GROUP BY ALL"
    )
    assert all(row["whole"] for row in total)


def test_what_is_not_in_evidence_goes_to_the_fallback(world):
    usage = USAGE + "stranger,2026-10-03,4,0\n"
    equal = world.issue(usage=usage)
    assert {k: v["share"] for k, v in lines(equal).items() if k[0] == "output"} == {
        ("output", "Ada", "attribution"): "0.333333333333",
        ("output", "Ada", "fallback"): "0.250000000000",
        ("output", "Ben", "attribution"): "0.166666666667",
        ("output", "Ben", "fallback"): "0.250000000000",
    }
    suspense = world.issue("2026-11", CONTRACT.replace("fallback: equal", "fallback: suspense"), usage)
    assert lines(suspense)["output", "Suspense account", "insufficient evidence"]["share"] == "0.500000000000"
    assert accounts(suspense)["Suspense account"]["paid"] == "0.00"
    nothing = world.issue("2026-12", usage="generated,date,units,revenue\ng0,2026-12-01,0,0\n")
    assert lines(nothing)["output", "Ada", "fallback"]["gross"] == "25.00"


@pytest.mark.parametrize(
    ("rule", "counted"),
    [
        ("top: 1", {"t0"}),
        ("top: 9", {"t0", "t1"}),
        ("top: 9, p_value: 0.5", {"t0", "t1"}),
        ("top: 9, p_value: 0.499999", set()),
        ("top: 9, decoy_p_value: 0.25, decoy_z: 1.5", {"t0", "t1"}),
        ("top: 9, decoy_p_value: 0.2", set()),
        ("top: 9, decoy_z: 1.501", set()),
    ],
)
def test_every_part_of_the_rule_bounds_what_counts(shared, rule, counted):
    statement = shared.issue(how=preview, contract=CONTRACT.replace("top: 3", rule))
    works = [w["id"] for one in statement.content["lines"] if one["basis"] == "attribution" for w in one["works"]]
    assert set(works) == counted
    assert sum(Decimal(one["share"]) for key, one in lines(statement).items() if key[0] == "output") == 1


def test_unlearning_that_did_not_converge_is_no_evidence_unless_the_contract_takes_it(world, tmp_path):
    run = make_run(tmp_path, "c")
    outcomes = [a | {"converged": False} for a in run.record["results"]["attributions"]]
    run.record["results"]["attributions"] = outcomes
    world.load("c", record=run.record)
    assert ("output", "Ada", "attribution") not in lines(world.issue())
    taken = world.issue(contract=CONTRACT.replace("top: 3", "top: 3, converged: false"))
    assert ("output", "Ada", "attribution") in lines(taken)


def test_a_contract_can_ask_that_a_tie_of_the_image_stands_out(world, tmp_path):
    run = make_run(tmp_path, "c")
    outcomes = [a | {"tie_p_value": 0.03125} for a in run.record["results"]["attributions"]]
    run.record["results"]["attributions"] = outcomes
    bound = CONTRACT.replace("top: 3", "top: 3, tie_p_value: 0.03125")
    assert ("output", "Ada", "attribution") not in lines(world.issue(contract=bound))  # nobody measured it
    world.load("c", record=run.record)
    found = world.issue(contract=bound)
    assert ("output", "Ada", "attribution") in lines(found)
    named = {"statement": found.sha256, "line": 1 + [*lines(found)].index(("output", "Ada", "attribution"))}
    assert world.ledger.ask("line_edges", **named)
    closer = CONTRACT.replace("top: 3", "top: 3, tie_p_value: 0.03124")
    assert ("output", "Ada", "attribution") not in lines(world.issue(contract=closer))


def test_a_contract_of_before_there_was_a_bound_on_ties_is_the_same_contract(tmp_path):
    (tmp_path / "contract.yaml").write_text(CONTRACT)
    contract = read_contract(tmp_path / "contract.yaml")
    assert contract.record()["evidence"].keys() == {"top", "p_value", "decoy_p_value", "decoy_z", "converged"}


def test_an_exact_duplicate_of_a_work_adds_nothing_to_its_holder(world, tmp_path, monkeypatch):
    alone = lines(world.issue(contract=CONTRACT.replace("top: 3", "top: 2")))
    copies = [TRAINING[0], TRAINING[0] | {"id": "copy"}, TRAINING[1], TRAINING[2]]
    monkeypatch.setattr("tests.mucs.ledger.test_ledger.TRAINING", copies)
    run = make_run(tmp_path, "d", scores=(0.4, 0.39, 0.2, -0.1))
    run.record["inputs"]["training_set"]["sha256"] = "d" * 64
    artifacts = [a | ({"sha256": "d" * 64} if a["kind"] == "training_set" else {}) for a in run.artifacts]
    (tmp_path / "other").mkdir()
    with World(tmp_path / "other") as other:
        say_run(other.ledger, dataclasses.replace(run, artifacts=artifacts))
        doubled = lines(other.issue(contract=CONTRACT.replace("top: 3", "top: 2")))
    for holder in ("Ada", "Ben"):
        key = ("output", holder, "attribution")
        assert doubled[key]["share"] == alone[key]["share"]
    # two of three distinct works are Ada's: the copy is not a third one
    assert doubled["training", "Ada", "equal"]["share"] == "0.666666666667"


def test_rights_of_the_last_day_decide_who_is_paid_and_what_is_in_suspense(world):
    rights = [
        Right(2, TRAINING[0]["sha256"], "Cleo", "L", "granted", ["training"], "2026-10-31", None),
        Right(3, TRAINING[1]["sha256"], "Ben", "L", "opted out", None, "2026-10-31", None),
        Right(4, TRAINING[2]["sha256"], "unknown", "L", "granted", None, "2024-01-01", None),
    ]
    before = world.issue("2026-10")
    say_rights(world.ledger, rights)
    then = before.content["header"]["issued_at"]
    assert not world.issue("2026-10", as_of=then).new
    after = lines(world.issue("2026-10"))
    assert {key: one["share"] for key, one in after.items()} == {
        ("training", "Ben", "equal"): "0.333333333333",
        ("training", "Cleo", "equal"): "0.333333333334",
        ("training", "Suspense account", "holder unknown"): "0.333333333333",
        ("output", "Suspense account", "not granted for output"): "1.000000000000",
    }
    with pytest.raises(InputError, match="holder 'unknown'"):
        open_dispute(world.ledger, before.sha256, "unknown", "an unknown person is owed something")
    money_holds(world.ledger)


def test_splits_go_to_their_holders_and_what_is_missing_to_suspense(world):
    splits = "suspense: Held back\nsplits:\n  t0: {Dora: 60.5, Ada: 30}\n"
    found = lines(world.issue(contract=CONTRACT + splits))
    assert {k[1:]: v["share"] for k, v in found.items() if k[0] == "output"} == {
        ("Ada", "attribution"): "0.200000000000",
        ("Dora", "attribution"): "0.403333333334",
        ("Held back", "split incomplete"): "0.063333333333",
        ("Ben", "attribution"): "0.333333333333",
    }
    by_digest = CONTRACT + splits.replace("t0", f"'{TRAINING[0]['sha256']}'")
    assert lines(world.issue(contract=by_digest)) == found
    for work, said in (("t9", "no work called 't9'"), (TRAINING[0]["sha256"], "is the same work")):
        with pytest.raises(InputError, match=f"contract.yaml, line 1[78]: .*{said}"):
            world.issue(contract=CONTRACT + splits + f"  '{work}': {{Dora: 100}}\n")


def test_only_usage_of_the_period_and_the_territories_counts(world):
    usage = "generated,date,units,revenue,territory\ng0,2026-09-30,7,700,DE\ng0,2026-10-31,1,100,DE\ng1,2026-10-01,5,500,FR\n"
    statement = world.issue(contract=CONTRACT + "territories: [DE, AT]\n", usage=usage)
    used = statement.content["header"]["usage"]
    assert (used["rows"], used["rows_counted"], used["units"], used["revenue"]) == (2, 1, "1", "100")
    assert statement.content["header"]["pots"]["output"] == "50.00"  # the minimum


def test_little_is_carried_until_it_reaches_the_minimum_payout(world):
    contract = CONTRACT.replace("amount: 100.00", "amount: 20").replace(", minimum: 50", "")
    usage = "generated,date,units,revenue\ng0,2026-10-02,3,0\n"
    months = [accounts(world.issue(f"2026-{m:02d}", contract, usage))["Ada"] for m in (1, 2, 3)]
    assert [(m["carried_in"], m["net"], m["paid"], m["carried_out"]) for m in months] == [
        ("0.00", "8.75", "0.00", "8.75"),
        ("8.75", "8.75", "0.00", "17.50"),
        ("17.50", "8.75", "26.25", "0.00"),
    ]
    money_holds(world.ledger)


def test_a_dispute_goes_step_by_step_to_an_adjustment_of_the_next_statement(world):
    october = world.issue()
    number, new = open_dispute(world.ledger, october.title, "Ada", "t2 is mine, too")
    assert new
    assert open_dispute(world.ledger, october.sha256[:12], "Ada", "t2 is mine, too") == (number, False)
    for state, amount, said in (
        ("upheld", "5", "is open, so it cannot become upheld"),
        ("lost", None, "cannot become lost"),
        ("under review", "5", "no other step does"),
    ):
        with pytest.raises(InputError, match=said):
            move_dispute(world.ledger, number, state, "because", amount)
    move_dispute(world.ledger, number, "under review", "asked the registry")
    for amount in (None, "-5", "0", "5.001", "much"):
        with pytest.raises(InputError, match="amount"):
            move_dispute(world.ledger, number, "upheld", "she is right", amount)
    move_dispute(world.ledger, number, "upheld", "she is right", "5.01")
    with pytest.raises(InputError, match="is upheld, so it cannot become rejected"):
        move_dispute(world.ledger, number, "rejected", "changed our mind")
    with pytest.raises(InputError, match="no dispute 99"):
        move_dispute(world.ledger, 99, "under review", "x")
    with pytest.raises(InputError, match="no rights holder 'Eve'"):
        open_dispute(world.ledger, october.sha256, "Eve", "all of it is mine")
    assert not world.issue().new  # a dispute alone is no new version
    november = world.issue("2026-11")
    assert november.content["adjustments"] == [
        {"dispute": number, "statement": october.sha256, "holder": "Ada", "amount": "5.01", "reason": "she is right"}
    ]
    ada = accounts(november)["Ada"]
    assert (ada["adjustments"], ada["paid"]) == ("5.01", "118.76")
    assert world.issue("2026-12").content["adjustments"] == []
    assert fault(world.path) is None


def test_a_withdrawn_run_and_an_ambiguous_id_are_seen(world, tmp_path, monkeypatch):
    withdraw(world.ledger, make_run(tmp_path, "a").sha256, "wrong")
    assert lines(world.issue())["output", "Ada", "fallback"]["gross"] == "60.00"
    again = [GENERATED[0] | {"sha256": "7" * 64}, GENERATED[1]]
    monkeypatch.setattr("tests.mucs.ledger.test_ledger.GENERATED", again)
    world.load("e")
    with pytest.raises(InputError, match=r"Line 2 of the usage report: .* 2 generated images called 'g0'"):
        world.issue()
    assert world.issue(usage=USAGE.replace("g0", "7" * 64)).new


def test_what_the_contract_does_not_cover_is_refused_and_nothing_changes(world):
    before = world.kept()
    for change, period, said in (
        (("", ""), "2027-01", "not all of 2027-01"),
        (("id: art-2026", f"training_sets: ['{'9' * 64}']\nid: art-2026"), "2026-10", "no run in the ledger used"),
    ):
        with pytest.raises(InputError, match=said):
            world.issue(period, CONTRACT.replace(*change))
    with pytest.raises(InputError, match="Line 2 of the usage report has no revenue"):
        world.issue(usage="generated,date,units\ng0,2026-10-02,3\n")
    assert world.kept() == before
    world.issue()
    with pytest.raises(InputError, match="are in EUR with 2 decimals"):
        world.issue("2026-11", CONTRACT.replace("EUR", "USD"))
    with pytest.raises(InputError, match="hold back in 'Suspense account', not in 'Other'"):
        world.issue("2026-11", CONTRACT + "suspense: Other\n")


def test_a_statement_is_found_by_name_and_by_title(world):
    statement = world.issue()
    for name in (statement.sha256, statement.sha256[:8], "art-2026/2026-10/1"):
        assert find(world.ledger, name).content == statement.content
    for name in ("art-2026/2026-10/2", statement.sha256[:7]):
        with pytest.raises(InputError, match="has 0 statements"):
            find(world.ledger, name)


def test_views_say_what_the_statement_says(world):
    statement = world.issue()
    shown = world.rows("SELECT right_type, rights_holder, basis, net FROM statement_lines WHERE current ORDER BY ALL")
    assert [tuple(row.values())[:3] for row in shown] == sorted(lines(statement))
    assert sum(row["net"] for row in shown) == sum(Decimal(one["net"]) for one in statement.content["lines"])
    (t0,) = world.rows("SELECT sum(gross) AS gross FROM statement_works WHERE id = 't0'")
    assert round(t0["gross"], 2) == Decimal("105.00")
    (used,) = world.rows("SELECT sum(units) AS units, sum(revenue) AS revenue FROM usage")
    assert (used["units"], used["revenue"]) == (4, Decimal("400.01"))
    lake = Lake.at(world.path)
    with lake.connect() as connection:  # as any other program has it
        lake.attach(connection, read_only=True)
        ((content,),) = connection.execute("SELECT content FROM file.statements").fetchall()
    assert json.loads(content) == statement.content


def test_no_cell_of_a_statement_is_a_formula_and_none_acts_on_a_terminal(shared):
    statement = shared.issue(how=preview)
    bad = "=cmd|' /C calc'!A0\x1b[2J"
    text = json.dumps(statement.content).replace('"Ada"', json.dumps(bad)).replace('"Ben"', '"@SUM(1)"')
    spoiled = dataclasses.replace(statement, content=json.loads(text))
    for write, separator in ((lines_file, ","), (balances_file, ","), (flat_file, "\t")):
        written = write(spoiled).decode()
        cells = [cell for row in csv.reader(io.StringIO(written), delimiter=separator) for cell in row]
        assert {"'=cmd|' /C calc'!A0\\x1b[2J", "'@SUM(1)"} <= set(cells)
        assert not [cell for cell in cells if cell[:1] in "=@" and cell]
        assert "\x1b" not in written


@pytest.mark.parametrize(
    ("usage", "contract", "said"),
    [
        ("", CONTRACT, "has no rows;"),
        ("g0,2026-09-30,3,300,DE\ng1,2026-11-01,1,1,DE\n", CONTRACT, "counts: 2 are of other months than 2026-10;"),
        (
            "g0,2026-10-02,3,300,FR\ng1,2026-10-02,1,1,\n",
            CONTRACT + "territories: [DE]\n",
            "2 are of other territories (FR, none)",
        ),
    ],
)
def test_a_usage_report_of_which_no_row_counts_is_refused_with_the_reason(shared, usage, contract, said):
    before = shared.kept()
    with pytest.raises(InputError) as refused:
        shared.issue(contract=contract, usage="generated,date,units,revenue,territory\n" + usage)
    assert said in str(refused.value)
    assert shared.kept() == before


def test_what_cannot_be_stated_in_the_tables_is_refused_and_what_can_is_exact(world):
    agreed = CONTRACT.replace("percentage: 30, minimum: 50", "percentage: 100")
    row = Use(2, "g0", datetime.date(2026, 10, 2), Decimal("999999999999.999999999"), Decimal("999999999999.99"), "")
    (world.folder / "contract.yaml").write_text(agreed)
    contract, october = read_contract(world.folder / "contract.yaml"), Period.month("2026-10")
    huge = dataclasses.replace(row, units=Decimal(10**19) - 1, revenue=Decimal(1))
    for rows, said in (
        ((row,) * 101, "The pot for output comes to 100999999999998.99, and a statement can say less than"),
        ((huge, row), "adds up to 10\\^19 units or more"),
    ):
        with pytest.raises(InputError, match=said):
            issue(world.ledger, contract, october, Usage(rows, 0))
    assert world.ledger.one("SELECT count(*) FROM statements") == 0
    stated = issue(world.ledger, contract, october, Usage((row,) * 99, 0))
    assert stated.content["header"]["pots"]["output"] == "98999999999999.01"
    assert stated.content["header"]["usage"]["units"] == "98999999999999.999999901"
    (brought,) = world.rows("SELECT sum(gross) AS gross FROM statement_works WHERE right_type = 'output'")
    assert brought["gross"] == Decimal("98999999999999.01")
    details = [row["detail"] for row in world.ledger.ask("trail", item="t0") if row["event"] == "statement"]
    money = [row["gross"] for row in world.ledger.ask("takedown", target="t0") if row["gross"] is not None]
    assert details[1].startswith(
        "Ada: 66000000000032.3400 EUR of the output pot"
    )  # 12 decimals of a share, as they are shown
    assert money == [Decimal("66000000000032.34"), Decimal("25")]
    assert fault(world.path) is None


def test_a_month_that_is_not_over_is_stated_and_said_to_be_so(world):
    today = datetime.datetime.now(datetime.UTC)
    contract = CONTRACT.replace("2027-01-01", "2099-01-01")
    early = world.issue(f"{today:%Y-%m}", contract, "generated,date,units,revenue\ng0,2026-10-01,3,300\n")
    assert early.early
    assert not world.issue().early
    assert "Issued before the month was over" in html_file(early).decode()
    assert "Issued before the month was over" not in html_file(world.issue()).decode()


def test_a_preview_is_what_would_be_issued_and_writes_nothing(world):
    before = world.kept()
    shown = world.issue(how=preview)
    assert (world.kept(), shown.sha256, shown.new) == (before, "", True)
    issued = world.issue()
    of_the_moment = {"issued_at", "as_of", "ledger"}
    for name, value in issued.content["header"].items():
        assert name in of_the_moment or shown.content["header"][name] == value
    assert {**issued.content, "header": 0} == {**shown.content, "header": 0}
    again = world.issue(how=preview)
    assert (again.sha256, again.new) == (issued.sha256, False)


def test_a_later_version_says_what_moved_the_money(world):
    first = world.issue()
    assert first.changes == []
    rights = [Right(2, TRAINING[0]["sha256"], "Ada", "L", "opted out", None, "2026-03-01", None)]
    rights += [Right(3, TRAINING[1]["sha256"], "Ben", "L", "granted", None, "2024-01-01", None)]  # as it stood
    say_rights(world.ledger, rights)
    second = world.issue()
    (said,) = second.changes
    entry = world.rows("SELECT max(position) AS position FROM entries WHERE kind = 'rights'")[0]["position"]
    assert said.startswith("Rights of 1 work (t0): opted out (Ada) from 2026-03-01, entry ")
    assert f"entry {entry} of " in said
    assert said.endswith("; before granted (Ada).")
    assert second.content["header"]["changes"] == [said]
    assert said in html_file(second).decode()
    world.load("b", scores=(0.2, 0.2, 0.2, -0.1))
    b = make_run(world.folder, "b", scores=(0.2, 0.2, 0.2, -0.1)).sha256
    third = world.issue(
        contract=CONTRACT.replace("version: 1", "version: 2").replace("top: 3", "top: 2"),
        usage=USAGE.replace("300", "200"),
    )
    contract, usage, run, gone = third.changes
    assert contract == "The contract is another (version 2, before 1). What changed in it: evidence."
    assert (
        usage
        == "The usage report is another: 4 units of 2 items, revenue 300.01; before 4 units of 2 items, revenue 400.01."
    )
    assert run.startswith(f"Run {b[:16]}, loaded at ")
    assert gone.endswith("speaks for no used item any more.")
    withdraw(world.ledger, b, "wrong settings")
    fourth = world.issue(contract=(world.folder / "contract.yaml").read_text(), usage=USAGE.replace("300", "200"))
    assert any(
        said.startswith(f"Run {b[:16]} was withdrawn at ") and said.endswith(": wrong settings.")
        for said in fourth.changes
    )
    back = world.issue(as_of=first.content["header"]["issued_at"])
    assert "which is earlier than" in back.changes[0]
    assert any("t0): granted (Ada)" in said and "before opted out (Ada)" in said for said in back.changes)
    assert fault(world.path) is None


def test_no_name_of_a_holder_is_in_what_the_log_cannot_forget(world):
    odd = "Zelda :)"  # as a name may be
    right = Right(2, TRAINING[0]["sha256"], odd, "L", "opted out", None, "2026-03-01", None)
    world.issue()
    say_rights(world.ledger, [right])
    second = world.issue()
    assert odd in second.changes[0]
    third = world.issue(contract=CONTRACT + f"splits:\n  t0: {{'{odd}': 40, Ben: 60}}\n")
    number, _ = open_dispute(world.ledger, third.sha256, odd, "mine")
    move_dispute(world.ledger, number, "under review", "looked at")
    store = world.log.store
    kept_for_good = [name for name in store.names("") if name.startswith(("log/", "objects/"))]
    assert not [name for name in kept_for_good if b"Zelda" in store.get(name)]
    assert [find(world.ledger, one.sha256).content for one in (second, third)] == [second.content, third.content]


def test_a_statement_of_an_older_program_is_found_read_and_superseded(world):
    def issue_without(ledger, contract, month, usage):
        """As a program did that knew none of these fields."""
        say_usage(ledger, usage)
        shown = preview(ledger, contract, month, usage)

        def decide(_):
            header = shown.content["header"]
            del header["changes"], header["usage"]["verdicts"], header["usage"]["false_payments"]
            text = canonical(shown.content)
            body = {name: header[name] for name in ("statement", "version", "supersedes")}
            return Said("statement", body | {"sha256": hashlib.sha256(text).hexdigest()}, [text])

        return ledger.say(decide).body["sha256"]

    first = world.issue(how=preview)
    sha256 = world.issue(how=issue_without)
    again = world.issue()
    assert (again.sha256, again.new, again.changes) == (sha256, False, [])
    assert "Above or within chance" in html_file(first).decode()
    assert "Above or within chance" not in html_file(again).decode()
    assert world.issue(usage=USAGE.replace("300", "200")).content["header"]["supersedes"] == sha256
    assert fault(world.path) is None


# of the first generated image 0.3 lies between the two works' 0.4 and 0.2; of the other nothing counts
UNSEEN = ((0.3, 0.1, -0.2), (0.0, -0.1, -0.2))


@pytest.mark.parametrize(
    ("rule", "share"),
    [
        ("top: 3", "0.25"),  # 3 of 4 units are of the first image, and 0.3 of 0.4 + 0.3 + 0.2
        ("top: 4", "0.3"),  # and 0.3 + 0.1 of 1.0
        ("top: 2", Fraction(9, 28)),  # and 0.3 of 0.7
        ("top: 1", "0"),
        ("top: 3, decoy_p_value: 0.25", "0.25"),
        ("top: 3, decoy_p_value: 0.2", None),  # nothing counts at all
        ("top: 3, p_value: 0.5", "0"),  # the unseen have a p of 0.6, and take a place all the same
        ("top: 3, decoy_z: 1.5", "0.25"),
        ("top: 3, tie_p_value: 0.5", None),
    ],
)
def test_a_statement_says_what_unseen_images_would_get_by_its_own_rule(tmp_path, rule, share):
    with World(tmp_path) as world:
        world.load(unseen=UNSEEN, unseen_chance=(0.6, 0.25, 1.5))
        statement = world.issue(contract=CONTRACT.replace("{top: 3}", f"{{{rule}}}"))
    found = statement.content["header"]["usage"]["false_payments"]
    if share is None:
        assert found is None
        return
    assert abs(Fraction(found["share"]) - Fraction(share)) < Fraction(1, 10**12)
    assert (found["generated_items"], found["candidates"]) == (2, [{"held_out": 3, "training": 4}])


def test_what_unseen_images_would_get_stands_on_the_page_and_nobody_is_paid_otherwise(tmp_path, world):
    (tmp_path / "other").mkdir()
    with World(tmp_path / "other") as other:
        other.load(unseen=UNSEEN)
        beside, alone = other.issue(), world.issue()
        assert (beside.content["lines"], beside.content["balances"]) == (
            alone.content["lines"],
            alone.content["balances"],
        )
        assert "Of each 100 EUR shared by these scores, 25.00 would go to images" in html_file(beside).decode()
        assert "they are 3 of 7 candidates." in html_file(beside).decode()
        assert "is not known: nothing was shared by scores" in html_file(alone).decode()
        assert not other.issue().new
        assert fault(other.path) is None


def test_used_items_are_counted_by_verdict(world, tmp_path):
    def counted(**given):
        return {name: n for name, n in world.issue(**given).content["header"]["usage"]["verdicts"].items() if n}

    assert counted() == {"within chance": 2}  # the decoy p-value of 0.25 counts, not the other
    world.load("b", chance=(0.5, 0.05, 1.5), decoys=19)
    assert counted(usage=USAGE + "stranger,2026-10-03,1,0\ng1,2026-10-03,0,0\n") == {
        "above chance": 2,
        "not attributed": 1,
    }
    run = make_run(tmp_path, "c")
    outcomes = [
        run.record["results"]["attributions"][0],
        run.record["results"]["attributions"][1] | {"converged": False},
    ]
    run.record["results"]["attributions"] = outcomes
    world.load("c", record=run.record)
    assert counted() == {"within chance": 1, "not converged": 1}


def test_one_holder_in_several_spellings_has_one_account_and_the_suspense_account_is_no_holder(
    world, tmp_path, monkeypatch
):
    other = unicodedata.normalize("NFD", "Jäger")
    named = [[other, "Ben", "Suspense account ", "Ben"], [other, "Jäger", "Suspense account", "Jäger "]]
    for name, holders in zip("uv", named, strict=True):
        rows = [
            row | {"rights_holder": holder, "id": f"{name}{n}"}
            for n, (row, holder) in enumerate(zip(TRAINING, holders, strict=True))
        ]
        with monkeypatch.context() as patch:
            patch.setattr("tests.mucs.ledger.test_ledger.TRAINING", rows)
            run = make_run(world.folder, name)
        run.record["inputs"]["training_set"]["sha256"] = name * 64
        artifacts = [a for a in run.artifacts if a["kind"] != "training_set"]
        artifacts.append({"kind": "training_set", "sha256": name * 64, "files": 1, "bytes": 2})
        assert say_run(world.ledger, dataclasses.replace(run, artifacts=artifacts))
        statement = world.issue("2026-10" if name == "u" else "2026-11")
        expected = {(other, "equal"), (other, "attribution"), ("Suspense account", "holder unknown")}
        expected |= {("Ben", "equal"), ("Ben", "attribution")} if name == "u" else set()
        assert {key[1:] for key in lines(statement)} == expected
    # a new version pays nobody again under another spelling
    again = world.issue()
    assert sum(Decimal(account["paid"]) for account in again.content["balances"] if account["holder"] != other) == 0
    number, new = open_dispute(world.ledger, statement.sha256, "Jäger", "mine")
    assert new
    assert world.ledger.one("SELECT rights_holder FROM disputes WHERE dispute = ?", number) == other
    with pytest.raises(InputError, match="no rights holder 'Suspense account'"):
        open_dispute(world.ledger, statement.sha256, "Suspense account", "mine")
    money_holds(world.ledger)


def test_a_time_that_lies_ahead_states_nothing(shared):
    with pytest.raises(InputError, match="'2099-01-01', which lies ahead"):
        shared.issue(as_of="2099-01-01")


OPTED_OUT = Right(2, TRAINING[0]["sha256"], "Ada", "L", "opted out", None, "2026-01-01", None)


class Interrupted(Folder):
    """A log's folder in which something happens once, just before the entry of a statement is put there."""

    between = None

    def put(self, name, body, until=None):
        if self.between and name.startswith("log/") and b'"kind":"statement"' in body:
            happens, self.between = self.between, None
            happens()
        return super().put(name, body, until)


@pytest.fixture
def two(first, tmp_path):
    """Two ledgers of one log, in which the first can be interrupted."""
    shutil.copytree(first, tmp_path / "one")
    (tmp_path / "two").mkdir()
    folder = tmp_path / "one" / "log"
    with World(tmp_path / "one", Log(Interrupted(folder))) as one, World(tmp_path / "two", Log(Folder(folder))) as two:
        yield one, two


def agree(*worlds) -> None:
    """See that ledgers of one log have the same tables, and that each statement follows on the entry that it names."""
    for world in worlds:
        world.ledger.sync()
    digests = [table_digests(world.ledger.connection) for world in worlds]
    assert all(each == digests[0] for each in digests)
    assert verify_log(worlds[0].log).fault is None
    money_holds(worlds[0].ledger)


def test_a_statement_that_lost_the_race_is_computed_again_on_what_came_between(two):
    one, other = two
    one.log.store.between = lambda: say_rights(other.ledger, [OPTED_OUT])
    october = one.issue()
    assert ("output", "Suspense account", "not granted for output") in lines(october)
    assert [entry.kind for entry in one.ledger.entries()] == ["run", "usage", "rights", "statement"]
    assert october.content["header"]["ledger"]["position"] == 3

    came = []
    one.log.store.between = lambda: came.append(other.issue("2026-11"))
    december = one.issue("2026-12")
    assert december.content["header"]["ledger"]["head"] == other.ledger.at()[1]
    before, after = (accounts(statement)["Suspense account"] for statement in (came[0], december))
    assert after["carried_in"] == before["carried_out"] != "0.00"

    one.log.store.between = lambda: came.append(other.issue("2026-09"))
    again = one.issue("2026-09")
    assert (again.new, again.sha256, again.content) == (False, came[1].sha256, came[1].content)
    assert one.rows("SELECT count(*) AS n FROM statements") == [{"n": 4}]
    agree(one, other)


@pytest.mark.slow
def test_two_ledgers_of_one_log_state_months_record_rights_and_open_disputes_at_once(two):
    together = threading.Barrier(2)

    def lead(world, months, right):
        together.wait()
        stated = [world.issue(month) for month in months]
        assert say_rights(world.ledger, [right])
        number, new = open_dispute(world.ledger, stated[0].sha256, "Ben", "more of it is mine")
        assert new
        move_dispute(world.ledger, number, "under review", "looked at")
        move_dispute(world.ledger, number, "upheld", "so it is", "7.00")
        return [*stated, world.issue(months[0])]

    rights = [dataclasses.replace(OPTED_OUT, sha256=row["sha256"]) for row in TRAINING[:2]]
    with ThreadPoolExecutor(2) as pool:
        stated = [*pool.map(lead, two, (["2026-09", "2026-11"], ["2026-10", "2026-12"]), rights)]
    assert all(statement.new for each in stated for statement in each)
    agree(*two)
    kinds = Counter(entry.kind for entry in two[0].ledger.entries())
    assert kinds == {"run": 1, "usage": 4, "statement": 6, "rights": 2, "dispute": 6}
    # each dispute is paid once, by whichever statement came next
    assert two[0].rows("SELECT count(*) AS n, count(DISTINCT dispute) AS d FROM adjustments") == [{"n": 2, "d": 2}]


def test_what_is_said_to_the_same_ledger_while_a_statement_is_computed_counts_in_it(world):
    with writing(world.path) as other:

        class Slow(Usage):
            def counted(self, contract):
                say_rights(other, [OPTED_OUT])
                return super().counted(contract)

        def issue_slowly(ledger, contract, month, usage):
            return issue(ledger, contract, month, Slow(usage.rows, usage.outside))

        statement = world.issue(how=issue_slowly)
    assert ("output", "Suspense account", "not granted for output") in lines(statement)
    assert world.issue().sha256 == statement.sha256
