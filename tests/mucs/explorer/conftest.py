"""A small ledger with all that pages show, and the explorer over it."""

import datetime
import shutil

import pytest
from starlette.testclient import TestClient

from mucs.evidence.thumbnails import Thumbnails
from mucs.explorer.access import Access
from mucs.explorer.app import make_app
from mucs.explorer.snapshot import Snapshots
from mucs.explorer.telling import Telling
from mucs.ledger import Ledger, analyst
from mucs.ledger.rights import Right, say_derivation, say_rights, withdraw
from mucs.royalties import Period, issue, read_contract, read_usage
from mucs.royalties.dispute import open_dispute
from tests import chromium
from tests.factories import load, log_of, staged_run, writing
from tests.mucs.ledger.test_ledger import TRAINING, make_run

ODD = ("a/b c?d#e&f%2F", "<script>alert(1)</script>", "ünï ✓", "right\u202egnp.exe", "=1+1", "..", "z.json", "N" * 5000)
HOLDERS = ('<img src=x onerror=alert(1)> & "Co"', "=HYPERLINK(1)", "Æ/Œ?#")
KINDS = ("checkpoint", "training_set", "held_out", "batch")
OTHER_INPUTS = {kind: {"path": kind, "commit": "c" * 40, "sha256": f"{place}" * 64} for place, kind in enumerate(KINDS)}
CONTRACT = """\
id: art-2026
version: 1
licensor: {name: Collecting Society}
licensee: {name: Picture <Maker>}
currency: {code: EUR, decimals: 2}
valid_from: 2026-01-01
valid_to: 2027-01-01
pots:
  training: {amount: 100.00}
  output: {percentage: 30, minimum: 50}
fallback: equal
evidence: {top: 3}
deductions: {administration: 10}
minimum_payout: 20.00
"""


def tell(folder) -> None:
    """Runs, rights, usage, two versions of a statement, a dispute, and a withdrawal."""
    path = folder / "ledger"
    runs = [
        make_run(folder, "a", (0.4, 0.2, -0.1, -0.3)),
        make_run(folder, "b", (0.9, 0.3, 0.1, 0.0), unseen=((0.2, -0.1), (-0.1, -0.2))),
    ]
    outcomes = runs[1].record["results"]["attributions"]
    for outcome, p in zip(outcomes, (0.03125, 0.6), strict=True):  # as of the first run, which is older, nobody knows
        outcome["tie_p_value"] = p
    for run in runs:
        load(path, run)
    odd = staged_run(
        folder, generated=9, training=12, edges=12, ids=ODD, holders=HOLDERS, held_out=4, inputs=OTHER_INPUTS
    )
    load(path, odd)
    for units in (3, 5):
        used = f"generated,date,units,revenue\ng0,2026-10-02,{units},300\ng1,2026-10-09,1,100.01\n"
        statement = say_statement(folder, used)
    with writing(path) as ledger:
        open_dispute(ledger, statement, "Ada", "The second of mine <b>is missing</b>")
        opted = Right(2, TRAINING[1]["sha256"], "Ben", "private", "opted out", None, "2026-03-01", None)
        say_rights(ledger, [opted])
        say_derivation(ledger, f"{'training_set':f<64}", "e" * 64)
        withdraw(ledger, runs[0].sha256, "another batch was meant")


def say_statement(folder, usage, contract=CONTRACT) -> str:
    """Issue a statement for what was used in October, given as CSV, to the ledger of a folder; its SHA-256."""
    (folder / "contract.yaml").write_text(contract)
    (folder / "usage.csv").write_text(usage)
    month = Period.month("2026-10")
    terms, used = read_contract(folder / "contract.yaml"), read_usage(folder / "usage.csv", month)
    with writing(folder / "ledger") as ledger:
        return issue(ledger, terms, month, used).sha256


def explorer(path, on_demand=None, access=None, verified=lambda _: None):
    """The application over a ledger, and what to close."""
    snapshots = Snapshots(str(path), lambda: Ledger.open(path))
    telling = Telling(lambda: Ledger.write(path, log_of(path)), snapshots, takings=access is not None)

    def select(sql, rows, seconds):
        return analyst.select(str(path), sql, rows, seconds)

    thumbnails = Thumbnails(log_of(path))
    who = access or Access(local="Olive")
    return make_app(snapshots, thumbnails, select, who, telling, on_demand, verified=verified), snapshots


@pytest.fixture(scope="session")
def told(tmp_path_factory):
    """The folder of the ledger, which stays as it is."""
    folder = tmp_path_factory.mktemp("explorer")
    tell(folder)
    return folder


@pytest.fixture(scope="session")
def client(told):
    app, snapshots = explorer(told / "ledger")
    with TestClient(app, base_url="http://127.0.0.1:8787", follow_redirects=False) as made:
        yield made
    snapshots.close()


@pytest.fixture(scope="module")
def browser():
    with chromium.launched() as made:
        yield made


@pytest.fixture
def own(told, tmp_path):
    """A copy of the ledger that a test may change."""
    for name in ("ledger", "log"):
        shutil.copytree(told / name, tmp_path / name)
    return tmp_path / "ledger"


@pytest.fixture(scope="session")
def before_statements(told):
    """A time after the runs and before the statements."""
    with Ledger.open(told / "ledger") as ledger:
        at = ledger.one("SELECT max(loaded_at) FROM runs")
    return (at + datetime.timedelta(microseconds=1)).astimezone(datetime.UTC).isoformat()
