"""Logs of each form that entries had, as users have them, are read by this program."""

import shutil
from pathlib import Path

import pytest

from mucs.evidence.log import Log
from mucs.evidence.store import Folder
from mucs.evidence.thumbnails import Thumbnails
from mucs.ledger import Ledger
from mucs.ledger.rights import say_derivation
from mucs.ledger.verify import verify

pytestmark = pytest.mark.heavy

GOLDEN = Path(__file__).parents[2] / "golden"
KINDS = ["run", "run", "rights", "derivation", "withdrawal", "usage", "statement", "dispute", "dispute", "dispute"]


@pytest.mark.parametrize(("version", "thumbnails"), [(2, 0), (3, 6)])
def test_a_ledger_is_made_of_it_that_holds_answers_and_goes_on(tmp_path, version, thumbnails):
    log = Log(Folder(Path(shutil.copytree(GOLDEN / f"log-{version}", tmp_path / "log"))))
    entries = list(log.after())
    assert ([entry.kind for entry in entries], {entry.version for entry in entries}) == (KINDS, {version})
    with Ledger.rebuild(tmp_path / "ledger", log) as ledger:
        done = verify(ledger, log)
        assert (done.fault, done.position, done.head) == (None, 10, entries[-1].sha256)
        assert ledger.one("SELECT count(*) FROM thumbnails") == thumbnails
        for row in ledger.rows("FROM thumbnails"):
            assert Thumbnails(log).webp(row["object_sha256"], row["image_sha256"])[:4] == b"RIFF"
        why = ledger.ask("why", generated="g0")
        assert [(row["training"], float(row["score"])) for row in why] == [
            ("t0", 0.4),
            ("t1", 0.2),
            ("t2", -0.1),
            ("t3", -0.3),
        ]
        assert {row["rights_holder"] for row in why} == {"Ada", "Ben"}
        assert ledger.rows("SELECT state, amount::DOUBLE AS amount FROM disputes") == [
            {"state": "upheld", "amount": 12.5}
        ]
        assert say_derivation(ledger, "1" * 64, "2" * 64)
        assert verify(ledger, log).fault is None
