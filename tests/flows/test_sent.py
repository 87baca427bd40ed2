"""An audit of a picture that somebody sent, on real parts: its batch lies in the log, and in no registry."""

import json

import pytest

from mucs.evidence.log import object_name
from mucs.images.request import Request
from tasks.accept import accept
from tasks.ledgers import open_log
from tasks.validate import ImageSpec
from tests.conftest import read_rows
from tests.flows.test_audit import asked, evidence, run_audit

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.heavy]

LOG = "s3://evidence/sent"


@pytest.fixture(scope="module")
def sent(world, registry, prefect_server, tmp_path_factory):
    """The picture g0 of the world, sent and attributed: (folder, its request, what the audit came to)."""
    folder = tmp_path_factory.mktemp("sent")
    (row, *_) = read_rows(world.generated)
    request = Request((world.generated / row["file_name"]).read_bytes(), label=row["class"], seed=row["seed"])
    path = accept(request, ImageSpec(8, 8, 2, prompts=False), LOG)
    return folder, request, path, run_audit(registry, folder, "sent", batch=path)


def test_the_run_commits_to_what_was_sent_and_says_where_it_is(sent):
    _, request, path, done = sent
    assert (done.attributed, done.held) == (1, 0)
    published = evidence("sent")
    assert published[f"{done.run}/batch"] == request.to_shard()
    record = json.loads(published[f"{done.run}/record"])
    assert (record["inputs"]["batch"]["path"], record["inputs"]["batch"]["commit"]) == (path, "")
    assert record["generated"] == [{"id": request.row["id"], "sha256": request.row["sha256"]}]
    assert done.report.read_text().count("data:image/webp;base64,") == 1 + 5


@pytest.mark.slow
def test_its_edges_are_those_of_the_same_picture_in_a_batch_of_the_registry(sent, registry, tmp_path):
    folder, request, _, _ = sent
    run_audit(registry, tmp_path, "nightly")
    question = "SELECT training, rank, score, p_value FROM lineage WHERE generated_sha256 = '{}' ORDER BY rank"
    nightly, on_demand = (asked(of / "ledger", question.format(request.row["sha256"])) for of in (tmp_path, folder))
    assert nightly == on_demand
    assert len(nightly) == 12


def test_a_second_audit_of_it_is_a_no_op_that_brings_back_a_lost_page(sent, registry):
    folder, _, path, first = sent
    page = first.report.read_text()
    first.report.unlink()
    again = run_audit(registry, folder, "sent", batch=path)
    assert (again.run, again.held) == (None, 1)
    assert first.report.read_text() == page


@pytest.mark.slow
def test_it_is_verified_and_computed_again_from_the_log(sent, mucs, tmp_path, monkeypatch):
    folder, _, path, done = sent
    monkeypatch.setenv("MUCS_CACHE", str(tmp_path / "cache"))
    status, printed, said = mucs("verify", "--inputs", "--ledger", folder / "ledger")
    assert status == 0, printed + said
    status, printed, said = mucs("replay", done.run[:12], "--ledger", folder / "ledger")
    assert status == 0, printed + said
    assert "bit-identical" in printed

    log, name = open_log(LOG), object_name(path.partition(":")[2])
    body = log.store.get(name)
    log.store.delete(name)
    try:
        status, printed, _ = mucs("verify", "--log", LOG, "--ledger", tmp_path / "none")
        assert status == 1
        assert f"the batch of entry 1 does not hold: the object {path.partition(':')[2]}" in printed
        monkeypatch.setenv("MUCS_CACHE", str(tmp_path / "another"))
        status, printed, _ = mucs("replay", done.run[:12], "--ledger", folder / "ledger")
        assert status == 1
        assert "is missing" in printed
    finally:
        log.store.put(name, body)
