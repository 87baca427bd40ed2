"""A name is erased, and the log, every run, statement and sum hold as before."""

import json
from pathlib import Path

import pytest

from mucs import InputError
from mucs.evidence import holds
from mucs.evidence.pseudonyms import Pseudonyms
from mucs.ledger import Ledger, prove
from mucs.ledger.rights import Right, forget, say_rights
from mucs.ledger.tables import table_digests
from mucs.ledger.verify import verify, verify_log
from mucs.royalties import Period, issue, read_contract, read_usage
from mucs.royalties.dispute import open_dispute
from mucs.royalties.export import write_files
from mucs.royalties.statement import find
from tests.factories import load, log_of, staged_run, training_row, writing

pytestmark = pytest.mark.heavy

CONTRACT = """\
id: art-2026
version: 1
licensor: {name: Collecting Society}
licensee: {name: Picture Maker}
currency: {code: EUR, decimals: 2}
valid_from: 2026-01-01
valid_to: 2027-01-01
pots: {training: {amount: 100.00}, output: {amount: 50}}
fallback: equal
evidence: {top: 3}
splits: {t0: {Ada: 75, Ben: 25}}
"""
USAGE = "generated,date,units\ng0,2026-10-02,3\ng1,2026-10-09,1\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A ledger with a run, rights, two versions of a statement and a dispute, all of which name Ada: (it, the last statement)."""
    folder = tmp_path_factory.mktemp("world")
    path = folder / "ledger"
    load(path, staged_run(folder))
    (folder / "contract.yaml").write_text(CONTRACT)
    (folder / "usage.csv").write_text(USAGE)
    contract, month = read_contract(folder / "contract.yaml"), Period.month("2026-10")
    with writing(path) as ledger:
        issue(ledger, contract, month, read_usage(folder / "usage.csv", month))
        image = training_row(1)["sha256"]
        assert say_rights(ledger, [Right(2, image, "Ada", "CC0", "granted", ["training"], "2024-01-01", None)])
        statement = issue(ledger, contract, month, read_usage(folder / "usage.csv", month))
        open_dispute(ledger, statement.sha256, "Ada", "too little")
    return path, statement


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_nothing_that_is_committed_to_has_a_name(world):
    path, statement = world
    committed = Path(log_of(path).place)
    for name in ("Ada", "Ben", "Cleo"):
        for place in ("log", "objects"):
            texts = [f.read_bytes() for f in (committed / place).iterdir() if not f.read_bytes().startswith(b"PAR1")]
            assert texts
            assert not any(name.encode() in text for text in texts), (name, place)
        assert name in json.dumps(statement.content)
        assert name not in statement.said
    assert any("(Ada)" in sentence for sentence in statement.changes)
    with Ledger.open(path) as ledger:
        assert {row["rights_holder"] for row in ledger.rows("SELECT rights_holder FROM training_items")} == {
            "Ada",
            "Ben",
            "Cleo",
        }
        assert not ledger.one("SELECT count(manifest_row->>'rights_holder') FROM training_items")
        assert find(ledger, statement.sha256).said == statement.said


def test_an_erased_name_is_nowhere_and_all_holds_as_before(world, tmp_path):
    path, statement = world
    log, head = log_of(path), None
    with writing(path) as ledger:
        sums = ledger.rows("SELECT rights_holder = 'Ada' AS hers, sum(net) AS net FROM lines GROUP BY 1 ORDER BY 1")
        head = ledger.at()[1]
        proof = prove(ledger, "g0", ledger.ask("why", generated="g0")[0]["training"])
        other = path.with_name("other")
    with Ledger.rebuild(other, log):
        pass
    with writing(path) as ledger:
        with pytest.raises(InputError, match=r"no pseudonym of a rights holder 'Ade' \(did you mean 'Ada'"):
            forget(ledger, "Ade")
        pseudonym = Pseudonyms(log.store).of_known("Ada")
        stands = forget(ledger, "Ada")
        assert stands == f"erased {pseudonym[7:15]}"
    with Ledger.write(other, log) as behind:
        behind.sync()
        with Ledger.open(path) as ledger:
            assert table_digests(behind.connection) == table_digests(ledger.connection)
    for place in (path, other, Path(log.place)):
        assert b"Ada" not in everything(place), place
    assert verify_log(log, head).fault is None
    with Ledger.open(path) as ledger:
        assert verify(ledger, log).fault is None
        after = ledger.rows(
            "SELECT rights_holder = ? AS hers, sum(net) AS net FROM lines GROUP BY 1 ORDER BY 1", [stands]
        )
        assert after == sums
        assert {row["rights_holder"] for row in ledger.rows("FROM disputes")} == {stands}
        again = find(ledger, statement.sha256)
        files = write_files(again, tmp_path)
        assert (again.said, holds(proof, proof["root"])) == (statement.said, True)
        assert any(stands.encode() in file.read_bytes() for file in files if file.suffix == ".html")
    with writing(path) as ledger, pytest.raises(InputError, match="no pseudonym"):
        forget(ledger, "Ada")
