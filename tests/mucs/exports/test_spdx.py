"""A checkpoint's bill of materials: what it was trained on, read back by the format's own library."""

import io

import pytest
from spdx_python_model import v3_0_1 as model

from mucs import InputError
from mucs.exports.spdx import bill
from mucs.ledger import Ledger
from mucs.ledger.rights import Right, say_rights
from tests.factories import fault, load, staged_run, training_row, writing
from tests.flows.test_cli import refused

pytestmark = pytest.mark.heavy
DAY = "2026-11-30"
CHECKPOINT, TRAINING_SET = f"{'checkpoint':f<64}", f"{'training_set':f<64}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A ledger of a checkpoint and its training set, of which images are under several licences."""
    folder = tmp_path_factory.mktemp("spdx")
    load(folder / "ledger", staged_run(folder, training=4))
    licences = ("CC-BY-SA-4.0", "our own (2026)", "mit")
    with writing(folder / "ledger") as ledger:
        rights = [
            Right(2 + k, training_row(k)["sha256"], "Ben", licence, "granted", None, "2026-01-01", None)
            for k, licence in enumerate(licences)
        ]
        say_rights(ledger, rights)
    return folder


def read(body: bytes):
    found = model.SHACLObjectSet()
    model.JSONLDDeserializer().read(io.BytesIO(body), found)
    return found


def test_it_says_what_a_checkpoint_was_trained_on_and_under_which_licences(folder):
    with Ledger.open(folder / "ledger") as ledger:
        sha256, body = bill(ledger, None, DAY)
        assert bill(ledger, CHECKPOINT[:9], DAY) == (sha256, body)
    assert sha256 == CHECKPOINT
    found = read(body)
    assert found.missing_ids == set()
    (checkpoint,) = found.foreach_type(model.ai_AIPackage)
    (training,) = found.foreach_type(model.dataset_DatasetPackage)
    assert [each.hashValue for each in (*checkpoint.verifiedUsing, *training.verifiedUsing)] == [
        CHECKPOINT,
        TRAINING_SET,
    ]
    related = {each.relationshipType.rpartition("/")[2]: each for each in found.foreach_type(model.Relationship)}
    assert set(related) == {"trainedOn", "hasDeclaredLicense"}
    assert (related["trainedOn"].from_, list(related["trainedOn"].to)) == (checkpoint, [training])
    (licence,) = related["hasDeclaredLicense"].to
    assert (
        licence.simplelicensing_licenseExpression
        == "CC-BY-SA-4.0 AND LicenseRef-CC0 AND LicenseRef-our-own-2026 AND MIT"
    )
    (document,) = found.foreach_type(model.SpdxDocument)
    assert list(document.rootElement) == [checkpoint]
    assert len(document.element) == 6


def test_the_command_tells_the_log_and_bad_input_is_one_sentence(mucs, folder, tmp_path):
    given = ("--ledger", folder / "ledger", "--output", tmp_path / "bill.json")
    status, out, _ = mucs("export", "spdx", "--day", DAY, *given)
    assert (status, out) == (0, f"{tmp_path / 'bill.json'}: checkpoint {CHECKPOINT[:12]}.\n")
    with Ledger.open(folder / "ledger") as ledger:
        assert (tmp_path / "bill.json").read_bytes() == bill(ledger, None, DAY)[1]
        assert ledger.one("SELECT what FROM accesses ORDER BY position DESC LIMIT 1") == "spdx"
        with pytest.raises(InputError, match="0 checkpoints called 'beef'"):
            bill(ledger, "beef", DAY)
    assert fault(folder / "ledger") is None
    assert "--day cannot be 'x'" in refused(mucs("export", "spdx", "--day", "x", *given))
