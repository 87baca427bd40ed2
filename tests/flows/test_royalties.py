"""Statements from the command line and as a flow, over small ledgers, and over the demo's items as they are."""

import csv
import datetime
import hashlib
import json
import random
import re
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from flows.demo import DATA, sample_statement
from flows.royalties import royalties
from mucs.evidence import signing
from mucs.ledger import Ledger
from mucs.ledger.lake import Lake
from tests.conftest import read_rows
from tests.factories import fault, load, log_of
from tests.mucs.ledger import test_ledger
from tests.mucs.royalties.test_statement import CONTRACT, USAGE, World

ROOT = DATA.parent


@pytest.fixture
def words(tmp_path, monkeypatch):
    """A command over a small ledger."""
    with World(tmp_path) as world:
        world.load()
    (tmp_path / "contract.yaml").write_text(CONTRACT)
    (tmp_path / "usage.csv").write_text(USAGE)
    monkeypatch.setenv("MUCS_LEDGER", str(world.path))
    given = ("--contract", tmp_path / "contract.yaml", "--usage", tmp_path / "usage.csv")
    return ("royalties", *given, "--period", "2026-10", "--out", tmp_path / "out")


def entries(folder) -> list[str]:
    """What the log says."""
    return [entry.entry for entry in log_of(folder / "ledger").after()]


def test_a_statement_is_issued_once_with_its_files(mucs, words, tmp_path):
    status, out, err = mucs(*words)
    assert (status, "is issued" in out, "113.75" in out) == (0, True, True), err
    assert "other months" not in out
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    name = "art-2026_2026-10_1"
    assert set(files) == {f"{name}{suffix}" for suffix in (".json", ".csv", ".balances.csv", ".tsv", ".xlsx", ".html")}
    before = entries(tmp_path)
    (tmp_path / "out" / f"{name}.csv").unlink()
    again = json.loads(mucs(*words, "--json")[1])
    assert not again["new"]
    assert entries(tmp_path) == before
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files
    assert hashlib.sha256(files[f"{name}.json"]).hexdigest() == again["sha256"]
    lines = list(csv.DictReader(files[f"{name}.csv"].decode().splitlines()))
    assert sum(Decimal(line["gross"]) for line in lines) == Decimal("220.00")
    assert [line["gross"] for line in lines] == [line["gross"] for line in again["lines"]]


def test_usage_that_does_not_count_or_repeats_is_said_to(mucs, words, tmp_path):
    rows = (
        USAGE.replace("revenue\n", "revenue,territory\n")
        .replace("300\n", "300,DE\n")
        .replace("100.01\n", "100.01,DE\n")
    )
    (tmp_path / "usage.csv").write_text(rows + "g0,2026-11-01,5,900,DE\ng0,2026-10-03,5,900,FR\n")
    (tmp_path / "contract.yaml").write_text(CONTRACT + "territories: [DE]\n")
    _, out, _ = mucs(*words)
    assert "of other months, and do not count: 1." in out
    assert "of other territories, and do not count: 1." in out
    assert "113.75" in out
    (tmp_path / "usage.csv").write_text(rows + "g0,2026-10-02,3.0,300.00,DE\n")
    (tmp_path / "contract.yaml").write_text(CONTRACT + "splits: {t0: {BEN: 100}}\n")
    _, out, _ = mucs(*words)
    assert "repeat another one word by word, and count like it: 1." in out
    assert "Accounts whose names differ in capital letters alone: BEN, Ben." in out


def test_a_dry_run_shows_the_statement_and_writes_nothing(mucs, words, tmp_path):
    before = entries(tmp_path)
    status, out, _ = mucs(*words, "--dry-run")
    assert (status, "nothing is issued, and nothing was written" in out, "113.75" in out) == (0, True, True)
    assert "is issued." not in out
    told = json.loads(mucs(*words, "--dry-run", "--json")[1])
    assert (told["issued"], told["sha256"], told["files"]) == (False, None, [])
    assert told["header"]["statement"] == "art-2026/2026-10/1"
    assert entries(tmp_path) == before
    assert not (tmp_path / "out").exists()
    issued = json.loads(mucs(*words, "--json")[1])
    assert (issued["issued"], issued["balances"], issued["lines"]) == (True, told["balances"], told["lines"])
    assert "was issued before" in mucs(*words, "--dry-run")[1]
    assert mucs(*words, "--dry-run", "--contract", "gone.yaml")[0] == 2


def test_a_correction_says_what_moved_the_money_on_terminal_and_page(mucs, words, tmp_path):
    mucs(*words)
    (tmp_path / "rights.csv").write_text(
        "item,rights_holder,licence,standing,uses,valid_from,valid_to\nt0,Ada,CC0,opted out,,2026-10-15,\n"
    )
    mucs("rights", tmp_path / "rights.csv")
    said = "Rights of 1 work (t0): opted out (Ada) from 2026-10-15, entry "
    for more in (["--dry-run"], []):
        _, out, _ = mucs(*words, *more)
        assert "What changed since the version before:" in out
        assert said in out
    assert said in (tmp_path / "out/art-2026_2026-10_2.html").read_text()
    assert "Rights of 1 work (t0): opted out (holder:" in (tmp_path / "out/art-2026_2026-10_2.json").read_text()
    assert mucs("verify")[0] == 0


def test_what_may_be_paid_twice_is_said(mucs, words, tmp_path):
    mucs(*words)
    number = re.search(r"\d+", mucs("dispute", "open", "art-2026/2026-10/1", "Ada", "--reason", "t1 is mine")[1])[0]
    mucs("dispute", "review", number)
    mucs("dispute", "uphold", number, "--amount", "35", "--reason", "yes")
    (tmp_path / "rights.csv").write_text("item,rights_holder,licence,valid_from\nt1,Ada,CC0,2024-01-01\n")
    mucs("rights", tmp_path / "rights.csv")
    said = f"Dispute {number} of Ada was upheld with 35.0000, and later versions of its month give 56.88 more"
    for more in (["--dry-run"], []):
        assert said in mucs(*words, *more)[1]
    (tmp_path / "contract.yaml").write_text(CONTRACT.replace("art-2026", "again"))
    _, out, _ = mucs(*words)
    assert "The contract art-2026 pays for the same usage report: see that this is meant." in out
    assert "Dispute" not in out


def test_a_dispute_of_what_was_corrected_before_is_said_when_it_is_paid(mucs, words, tmp_path):
    mucs(*words)
    (tmp_path / "rights.csv").write_text("item,rights_holder,licence,valid_from\nt1,Ada,CC0,2024-01-01\n")
    mucs("rights", tmp_path / "rights.csv")
    number = re.search(r"\d+", mucs("dispute", "open", "art-2026/2026-10/1", "Ada", "--reason", "t1 is mine")[1])[0]
    assert "Dispute" not in mucs(*words)[1]
    mucs("dispute", "review", number)
    mucs("dispute", "uphold", number, "--amount", "35", "--reason", "yes")
    (tmp_path / "usage.csv").write_text(USAGE.replace("2026-10", "2026-09"))
    _, out, _ = mucs(*words, "--period", "2026-09")
    assert f"Dispute {number} of Ada was upheld with 35.0000, and later versions of its month give" in out


def test_a_month_that_is_not_over_is_warned_of(mucs, words, tmp_path):
    month = f"{datetime.datetime.now(datetime.UTC):%Y-%m}"
    (tmp_path / "contract.yaml").write_text(CONTRACT.replace("2027-01-01", "2099-01-01"))
    (tmp_path / "usage.csv").write_text(USAGE.replace("2026-10", month))
    for more in (["--dry-run"], [], []):
        assert "The month is not over" in mucs(*words, "--period", month, *more)[1]
    (page,) = (tmp_path / "out").glob("*.html")
    assert "Issued before the month was over" in page.read_text()


def test_the_flat_file_has_the_shape_of_a_sales_report(mucs, words, tmp_path):
    mucs(*words)
    records = [line.split("\t") for line in (tmp_path / "out/art-2026_2026-10_1.tsv").read_text().splitlines()]
    kinds = [record[0] for record in records]
    assert (kinds[0], kinds[-1], kinds.count("HEAD"), kinds.count("FOOT")) == ("HEAD", "FOOT", 1, 1)
    assert kinds == ["HEAD", "SY", "SY", "SU", "SU", "SU", "SU", "BA", "BA", "FOOT"]
    assert records[-1][1:] == ["10", "2", "4"]
    assert len({record[1] for record in records if record[0] == "SU"}) == 4


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.ids = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "br", "img", "link"):
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_leads_to_its_parts_and_the_files_beside_it_and_escapes_names(mucs, words, tmp_path):
    contract = tmp_path / "contract.yaml"
    contract.write_text(CONTRACT + "splits:\n  t0: {'<script>alert(1)</script>\u0026': 100}\n")
    mucs(*words)
    text = (tmp_path / "out/art-2026_2026-10_1.html").read_text()
    tags = Tags()
    tags.feed(text)
    parts = {address for address in tags.addresses if address.startswith("#")}
    assert (tags.open, parts <= {f"#{each}" for each in tags.ids}, len(tags.ids)) == ([], True, len(set(tags.ids)))
    beside = set(tags.addresses) - parts
    assert beside == {f"art-2026_2026-10_1{end}" for end in (".json", ".csv", ".balances.csv", ".xlsx")}
    assert all((tmp_path / "out" / name).is_file() for name in beside)
    balances = (tmp_path / "out/art-2026_2026-10_1.balances.csv").read_text()
    holders = [row["holder"] for row in csv.DictReader(balances.splitlines())]
    assert len([each for each in parts if each.startswith("#account-")]) == len(holders) > 2
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "91.88" in text  # 25.00 and 80.00, less 12.5 % that are rounded down


def test_a_signed_statement_is_checked_with_the_public_key_alone(mucs, words, tmp_path):
    signing.keygen(tmp_path / "key")
    assert mucs(*words, "--sign", tmp_path / "key")[0] == 0
    envelope = tmp_path / "out/art-2026_2026-10_1.dsse.json"
    said = signing.open_envelope(json.loads(envelope.read_text()), tmp_path / "key.pub")
    assert set(signing.subjects_beside(said, envelope.parent).values()) == {True}
    command = ("verify", "--envelope", envelope, "--key", tmp_path / "key.pub")
    assert mucs(*command)[0] == 0
    (tmp_path / "out/art-2026_2026-10_1.csv").write_text("other")
    assert mucs(*command)[0] == 1
    assert mucs(*words[:-1], tmp_path / "not", "--sign", tmp_path / "none")[0] == 2
    assert not (tmp_path / "not").exists()


def test_a_dispute_is_led_from_the_command_line(mucs, words):
    mucs(*words)
    assert "No disputes." in mucs("dispute", "list")[1]
    number = re.search(
        r"Dispute (\d+) is open", mucs("dispute", "open", "art-2026/2026-10/1", "Ada", "--reason", "t2")[1]
    )[1]
    assert "Nothing to do" in mucs("dispute", "open", "art-2026/2026-10/1", "Ada", "--reason", "t2")[1]
    status, _, err = mucs("dispute", "reject", number, "--reason", "no")
    assert (status, "is open, so it cannot become rejected" in err) == (2, True)
    assert "under review" in mucs("dispute", "review", number)[1]
    assert "is upheld" in mucs("dispute", "uphold", number, "--amount", "3.50", "--reason", "yes")[1]
    (row,) = json.loads(mucs("dispute", "list", "--json")[1])
    assert (row["state"], row["amount"], row["adjusted_by"]) == ("upheld", "3.5000", None)
    assert "upheld" in mucs("dispute", "list")[1]
    assert mucs("verify")[0] == 0


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--period", "October", "give a month"),
        ("--period", "2026-1", "The period cannot be '2026-1'; give a month, such as 2026-10"),
        ("--period", "２０２６-10", "The period cannot be '２０２６-10'; give a month"),
        ("--period", "2026-13", "give a month"),
        ("--period", "2026-10-01", "give a month"),
        ("--period", "2026-11", "no row that counts: 2 are of other months than 2026-11;"),
        ("--as-of", "20261031", "as_of cannot be '20261031'"),
        ("--as-of", "2099-01-01", "which lies ahead"),
        ("--contract", "gone.yaml", "cannot be read as text"),
        ("--usage", "gone.csv", "cannot be read as CSV"),
        ("--as-of", "then", "as_of cannot be 'then'"),
        ("--ledger", "gone", "There is no ledger"),
        ("--out", "/dev/null/out", "is not a folder"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(mucs, words, tmp_path, option, value, said):
    before = entries(tmp_path)
    status, out, err = mucs(*words, option, value)
    assert (status, out) == (2, "")
    assert said in err
    assert entries(tmp_path) == before
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("prefect_server")
def test_the_flow_states_the_month_before(tmp_path):
    with World(tmp_path) as world:
        world.load()
    month = f"{datetime.datetime.now(datetime.UTC).replace(day=1) - datetime.timedelta(days=1):%Y-%m}"
    (tmp_path / "contract.yaml").write_text(CONTRACT.replace("2027-01-01", "2099-01-01"))
    (tmp_path / f"{month}.csv").write_text(USAGE.replace("2026-10", month))
    given = {"contract": tmp_path / "contract.yaml", "usage": tmp_path / "{period}.csv", "ledger": str(world.path)}
    first = royalties(**given, out=tmp_path / "out")
    assert royalties(**given, out=tmp_path / "out") == first
    with Ledger.open(world.path) as ledger:
        (row,) = ledger.rows("SELECT sha256, period_start FROM statements")
    assert (row["sha256"], f"{row['period_start']:%Y-%m}") == (first, month)
    assert fault(world.path) is None


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """The demo's own items, with edges that are drawn here instead of measured for minutes: the training rows."""
    training, generated = read_rows(DATA / "openmoji/train"), read_rows(DATA / "generated")
    draw = random.Random(0)
    split = next(row for row in training if row["id"] == "2665")
    others = draw.sample([row for row in training if row is not split], len(training) - 1)
    monkeypatch.setattr(test_ledger, "TRAINING", [*others[:4], split, *others[4:]])
    monkeypatch.setattr(test_ledger, "GENERATED", generated)
    scores = sorted((round(draw.uniform(-0.2, 0.6), 6) for _ in training), reverse=True)
    run = test_ledger.make_run(tmp_path, scores=scores, chance=(0.01, 0.04, 2.5), decoys=24)
    load(tmp_path / "ledger", run)
    return training


@pytest.mark.heavy
def test_lines_can_be_rebuilt_by_hand_as_the_page_says(tmp_path, drawn):
    sample_statement(tmp_path)
    (query,) = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/royalties.md").read_text(), re.DOTALL)
    with Lake.at(tmp_path / "ledger").connect() as plain:  # as any client has it
        Lake.at(tmp_path / "ledger").attach(plain, read_only=True)
        rows = plain.execute(f"USE file; {query}").fetchall()
    assert len(rows) > 5
    assert {"Nicole Kornhaas", "Emily Jäger"} <= {row[0] for row in rows}
    for _, share, rebuilt, gross, rebuilt_gross in rows:
        assert float(share) == pytest.approx(rebuilt, abs=1e-11)
        assert float(gross) == pytest.approx(rebuilt_gross, abs=0.011)


@pytest.mark.heavy
def test_the_demo_states_what_its_artists_are_owed(tmp_path, drawn):
    first = sample_statement(tmp_path)
    content = first.statement.content
    assert content["header"]["usage"]["generated_items"] == 16
    assert content["header"]["works"] == {"known": len(drawn), "licensed": len(drawn)}
    artists = {row["rights_holder"] for row in drawn}
    assert {b["holder"] for b in content["balances"]} == artists | {"Suspense account"}
    assert hashlib.sha256(first.statement.said.encode()).hexdigest() == first.statement.sha256
    assert sum(Decimal(line["gross"]) for line in content["lines"]) == sum(
        map(Decimal, content["header"]["pots"].values())
    )
    second = sample_statement(tmp_path)
    assert (first.statement.new, second.statement.new) == (True, False)
    assert second.files == first.files
    assert first.page.read_text().startswith("<!doctype html>")
    assert (tmp_path / "statements/openmoji-sample_2026-10_1.json").read_text() == first.statement.said
    assert fault(tmp_path / "ledger") is None


def test_the_example_of_rights_in_the_docs_is_taken_by_the_demo(mucs, tmp_path, drawn, monkeypatch):
    text = (ROOT / "docs/ledger.md").read_text()
    (rights,) = re.findall(r"```\n(item,.*?)```", text, re.DOTALL)
    (tmp_path / "rights.csv").write_text(rights)
    monkeypatch.setenv("MUCS_LEDGER", str(tmp_path / "ledger"))
    status, out, err = mucs("rights", tmp_path / "rights.csv")
    assert (status, f"Recorded {len(rights.splitlines()) - 1} rights." in out) == (0, True), err
    (question,) = re.findall(r"^mucs (ask lapsed .*?) --as-of", text, re.MULTILINE)
    assert question.split()[1:] == ["lapsed", "day=2026-08-01", "use=output"]
    found = json.loads(mucs("ask", "unlicensed", "day=2026-08-01", "use=output", "--json")[1])
    named = {row["item"] for row in csv.DictReader(rights.splitlines())}
    assert {row["training"] for row in found} == named
    held = {row["id"]: row["rights_holder"] for row in drawn}
    assert all(held[row["item"]] == row["rights_holder"] for row in csv.DictReader(rights.splitlines()))
