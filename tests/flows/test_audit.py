"""The whole audit, on real parts: S3, DVC, Prefect, DuckDB."""

import hashlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from prefect import get_client
from prefect.client.schemas.filters import TaskRunFilter
from prefect.settings import PREFECT_API_URL

from flows.audit import audit
from flows.calibrate import calibrate
from mucs.attribution import Settings
from mucs.attribution.version import METHOD_SHA256
from mucs.evidence.log import Log
from mucs.evidence.pseudonyms import Pseudonyms
from mucs.ledger import Ledger
from tasks.ledgers import open_log
from tasks.register import register
from tests.conftest import FAST, write_shards

pytestmark = pytest.mark.usefixtures("prefect_server")

SETTINGS = Settings.from_record(FAST | {"screening": [[2, 0.5]], "decoys": 3, "calibration_noises": 4})
CONTROLLED = replace(SETTINGS, controls=True, recall_sample=1)
OBJECTS = {
    "record",
    "noise_bank",
    "edges",
    "unseen_edges",
    "validations",
    "training",
    "generated",
    "thumbnails 0",
    "thumbnails 1",
}


def evidence(prefix: str) -> dict[str, bytes]:
    """What the runs of a log under a prefix of the evidence bucket published, by run and file.

    The training set's manifest has the names behind the pseudonyms, which are the log's own.
    """
    log = open_log(f"s3://evidence/{prefix}")
    found = {}
    for entry in log.after():
        if entry.kind == "run":
            objects = {"record": entry.body["run"], **entry.body["objects"]}
            objects |= {f"thumbnails {k}": sha256 for k, sha256 in enumerate(entry.body["thumbnails"])}
            found |= {f"{entry.body['run']}/{name}": log.object(sha256) for name, sha256 in objects.items()}
    training = [name for name in found if name.endswith("/training")]
    return found | {name: named(log, found[name]) for name in training}


def named(log: Log, manifest: bytes) -> bytes:
    """A training set's manifest as an object of a log, with the names of the rights holders."""
    rows = pq.read_table(io.BytesIO(manifest)).to_pylist()
    names = Pseudonyms(log.store).names(row["holder"] for row in rows)
    return json.dumps([row | {"holder": names[row["holder"]]} for row in rows]).encode()


def asked(ledger: Path, query: str) -> list[tuple]:
    """The rows of a query to a ledger."""
    with Ledger.open(ledger) as opened:
        return opened.connection.execute(query).fetchall()


def run_audit(registry, folder: Path, prefix: str, **changes):
    parameters = {
        "registry": os.path.relpath(registry),
        "revision": "v1",
        "log": f"s3://evidence/{prefix}",
        "licences": ["CC-BY-4.0"],
        "ledger": str(folder / "ledger"),
        "reports": folder / "reports",
        "cache": folder / "cache",
        "settings": SETTINGS,
        "device": "cpu",
    }
    return audit(**(parameters | changes))


@pytest.fixture(scope="module")
def audited(registry, prefect_server, tmp_path_factory):
    """One finished audit: (its folder, what it came to)."""
    folder = tmp_path_factory.mktemp("audited")
    return folder, run_audit(registry, folder, "once", settings=CONTROLLED)


def test_an_audit_leaves_evidence_edges_and_a_page(audited):
    folder, done = audited
    assert (done.attributed, done.held) == (3, 0)
    published = evidence("once")
    assert set(published) == {f"{done.run}/{name}" for name in OBJECTS}
    record = json.loads(published[f"{done.run}/record"])
    assert [item["id"] for item in record["generated"]] == ["g0", "g1", "g2"]
    assert all(v["success"] for v in json.loads(published[f"{done.run}/validations"]))
    ledger = folder / "ledger"
    edges = [("g0", 12), ("g1", 12), ("g2", 12)]
    assert asked(ledger, "SELECT generated, count(*) FROM lineage GROUP BY 1 ORDER BY 1") == edges
    first = "SELECT training FROM lineage WHERE rank = 1 AND generated < 'g2' ORDER BY generated"
    assert asked(ledger, first) == [("t03",), ("t10",)]
    assert asked(ledger, "SELECT count(*) FROM validations WHERE success") == [(9,)]
    page = done.report.read_text()
    assert page.count("data:image/webp;base64,") == 3 + 15
    assert "What it does not mean" in page
    assert "There is no calibration" in page
    assert "decoy p =" not in page
    verdicts = asked(ledger, "SELECT verdict FROM verdicts")
    for verdict in ("above chance", "within chance"):
        assert page.count(f"Verdict: {verdict}.") == verdicts.count((verdict,))
    assert json.loads(published[f"{done.run}/record"])["results"]["edges_root"] in page
    assert "of 8 images of the same kind that the model never saw" in page
    for claim in ("AUC", "says more than likeness", "likeness alone", "false discovery rate"):
        assert claim not in page
    assert done.run in page
    assert "http://" not in page.replace("http://www.w3.org", "")


@pytest.mark.slow
def test_shards_give_the_edges_of_their_files(audited, world, s3, tmp_path):
    shards = {
        name: write_shards(tmp_path / name, getattr(world, name), 2) for name in ("train", "held_out", "generated")
    }
    register.fn(tmp_path / "registry", "s3://registry/shards", {"checkpoint": world.checkpoint, **shards}, "v1")
    done = run_audit(tmp_path / "registry", tmp_path, "shards", settings=CONTROLLED)
    question = "SELECT generated, training, rank, score, p_value FROM lineage ORDER BY generated, rank"
    found = [asked(folder / "ledger", question) for folder in (audited[0], tmp_path)]
    assert found[0] == found[1]
    assert len(found[0]) == 36
    assert done.report.read_text().count("data:image/webp;base64,") == 3 + 15


def test_a_run_records_its_controls_recall_and_the_way_it_was_computed(audited):
    folder, done = audited
    record = json.loads(evidence("once")[f"{done.run}/record"])
    results = record["results"]
    assert results["controls"]["self_rank"] == 1
    assert results["controls"]["near_duplicate_rank"] <= 3
    assert results["controls"]["training_items"] == 24
    mean = sum(item["held_out_ks"] for item in results["attributions"]) / 3
    assert results["controls"]["held_out_ks"] == pytest.approx(mean)
    (measured,) = [item["recall"] for item in results["attributions"] if item["recall"]]
    assert results["recall"] == {"items": 1, "mean": measured}
    assert (record["calibration"], record["nondeterministic"]) == (None, [])
    assert len(record["trained"]["names"]) == 16
    assert {item["device"]["type"] for item in results["attributions"]} == {"cpu"}
    query = "SELECT count(*) FROM attributions WHERE probe_after > probe_before"
    assert asked(folder / "ledger", query) == [(3,)]
    assert asked(folder / "ledger", "SELECT count(recall) FROM attributions") == [(1,)]
    page = done.report.read_text()
    assert "rank 1 of 24" in page
    assert "exact scores of 1 generated image." in page


def test_prefect_keeps_a_table_and_a_link(audited):
    _, done = audited
    with get_client(sync_client=True) as prefect:
        kept = prefect.read_artifacts()
    (shares,) = [a for a in kept if a.key == "audit-shares" and done.run in a.description]
    assert {row["rights holder"] for row in json.loads(shares.data)} <= {"Ada", "Ben", "Cleo"}
    assert any(a.key == "audit-report" and done.report.resolve().as_uri() in a.data for a in kept)


def test_the_registry_is_recorded_so_that_another_folder_finds_it(audited, registry, tmp_path, monkeypatch, mucs):
    folder, _ = audited
    monkeypatch.chdir(tmp_path)
    (record,) = [json.loads(content) for name, content in evidence("once").items() if name.endswith("/record")]
    assert record["registry"] == str(registry)
    status, printed, said = mucs("verify", "--inputs", "--ledger", folder / "ledger")
    assert status == 0, printed + said


def test_a_second_identical_audit_is_a_no_op_that_brings_back_a_lost_page(audited, registry):
    folder, first = audited
    before, page = evidence("once"), first.report.read_text()
    first.report.unlink()
    again = run_audit(registry, folder, "once", settings=CONTROLLED)
    assert (again.run, again.attributed, again.held) == (None, 0, 3)
    assert evidence("once") == before
    assert first.report.read_text() == page


def test_a_ledger_that_was_lost_is_made_again_by_the_next_audit_which_finds_nothing_to_do(audited, registry, tmp_path):
    _, first = audited
    (tmp_path / "reports").mkdir()
    again = run_audit(registry, tmp_path, "once", settings=CONTROLLED, reports=tmp_path / "reports")
    assert (again.run, again.attributed, again.held) == (None, 0, 3)
    assert (tmp_path / "reports" / first.report.name).read_text() == first.report.read_text()


def test_a_gate_whose_result_was_kept_ends_as_reused(registry, tmp_path):
    """With another log, so that the second audit publishes, too."""
    began, done = datetime.now(UTC), []
    for night in ("first", "second"):
        (tmp_path / night).mkdir()
        done.append(run_audit(registry, tmp_path / night, f"reused-{night}", cache=tmp_path / "cache"))
    assert done[0].run == done[1].run
    gates = TaskRunFilter(
        name={"like_": "validate "}, start_time={"after_": began}, state={"type": {"any_": ["COMPLETED"]}}
    )
    with get_client(sync_client=True) as prefect:
        while len(found := prefect.read_task_runs(task_run_filter=gates)) < 10:  # they are told of a little later
            assert datetime.now(UTC) - began < timedelta(minutes=5)
            time.sleep(0.1)
    kept = ("checkpoint", "training set", "held-out set", "generated batch")
    assert Counter((run.name, run.state_name) for run in found) == {
        **{(f"validate {what}", state): 1 for what in kept for state in ("Completed", "Reused")},
        ("validate edges", "Completed"): 2,
    }


@pytest.mark.slow
def test_other_settings_are_another_run(audited, registry):
    folder, first = audited
    other = run_audit(registry, folder, "once", settings=Settings.from_record(FAST | {"max_steps": 2}), held_out=None)
    assert other.attributed == 3
    assert other.run != first.run
    said = [entry.body["thumbnails"] for entry in open_log("s3://evidence/once").after() if entry.kind == "run"]
    assert [len(objects) for objects in said] == [2, 0]  # the log has them all
    assert other.report.read_text().count("data:image/webp;base64,") == 3 + 15
    of_it = f"JOIN runs USING (run_id) WHERE sha256 = '{other.run}'"
    assert asked(folder / "ledger", f"SELECT count(*) FROM attributions {of_it} AND NOT converged") == [(3,)]
    assert asked(folder / "ledger", f"SELECT count(*) FROM edges {of_it} AND p_value IS NULL") == [(72,)]


@pytest.mark.slow
def test_a_run_twice_gives_identical_bytes(audited, registry, tmp_path):
    _, first = audited
    second = run_audit(registry, tmp_path, "twice", settings=CONTROLLED)
    assert second.run == first.run
    assert evidence("twice").items() <= evidence("once").items()
    assert second.report.read_text() == first.report.read_text()


def words(registry, folder: Path, prefix: str) -> list[str]:
    """The `mucs audit` command of this test world."""
    record = CONTROLLED.record()
    settings = [word for name, value in record.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    return [
        *("audit", "--registry", str(registry), "--revision", "v1", "--log", f"s3://evidence/{prefix}"),
        *("--licence", "CC-BY-4.0", "--device", "cpu", *settings),
        *("--ledger", str(folder / "ledger"), "--reports", str(folder / "reports")),
    ]


@pytest.mark.slow
def test_a_killed_audit_goes_on_where_it_was_and_ends_with_the_same_bytes(audited, registry, tmp_path):
    _, first = audited
    command = [sys.executable, "-m", "flows.cli", *words(registry, tmp_path, "killed")]
    environment = os.environ | {"MUCS_CACHE": str(tmp_path / "cache"), "PREFECT_API_URL": PREFECT_API_URL.value()}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not list((tmp_path / "cache").glob("work/items/*.safetensors")):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert evidence("killed") == {}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "computed before" in done.stderr
    assert "calibrate first: there is no calibration" in done.stderr
    assert first.run[:16] in done.stdout
    assert evidence("killed").items() <= evidence("once").items()


@pytest.mark.slow
def test_a_calibration_is_made_once_and_makes_a_new_audit_worthwhile(audited, registry, tmp_path, mucs):
    folder, first = audited
    inputs = {"registry": str(registry), "revision": "v1", "log": "s3://evidence/calibrated"}
    inputs |= {"licences": ["CC-BY-4.0"], "settings": CONTROLLED, "device": "cpu", "cache": folder / "cache"}
    kept = {path: path.stat().st_mtime_ns for path in (folder / "cache").glob("work/items/*.safetensors")}
    uncalibrated = run_audit(registry, tmp_path, "calibrated", settings=CONTROLLED, cache=folder / "cache")
    assert uncalibrated.run == first.run
    made = calibrate(**inputs)
    assert (made.decoys, made.noises, made.made) == (3, 4, True)

    audits = [
        run_audit(registry, tmp_path, "calibrated", settings=CONTROLLED, cache=folder / "cache") for _ in range(2)
    ]
    assert [(done.attributed, done.held) for done in audits] == [(3, 0), (0, 3)]
    assert audits[0].run != first.run
    published = evidence("calibrated")
    body = published[f"{audits[0].run}/calibration"]
    assert json.loads(published[f"{audits[0].run}/record"])["calibration"] == {
        "address": made.address,
        "sha256": hashlib.sha256(body).hexdigest(),
        "decoys": 3,
        "noises": 4,
        "method_sha256": METHOD_SHA256,
    }
    assert {path: path.stat().st_mtime_ns for path in (folder / "cache").glob("work/items/*.safetensors")} == kept
    assert kept
    (tmp_path / "anew").mkdir()
    assert run_audit(registry, tmp_path / "anew", "calibrated", settings=CONTROLLED).held == 3
    (row,) = json.loads(mucs("why", "g0", "--top", 1, "--ledger", tmp_path / "ledger", "--json")[1])
    assert row["decoy_p_value"] >= 1 / 4
    assert "decoy z" in mucs("why", "g0", "--ledger", tmp_path / "ledger")[1]
    assert mucs("verify", "--ledger", tmp_path / "ledger")[0] == 0
    page = audits[0].report.read_text()
    assert page.count("decoy p =") == 15
    assert "cannot fall below 1/4 = 0.250" in page
    counted = "count(*) AS edges, count(decoy_p_value) AS calibrated, max(rank) AS ranks"
    query = f"SELECT {counted} FROM unseen_edges JOIN runs r USING (run_id) WHERE r.sha256 = '{audits[0].run}'"
    (unseen,) = json.loads(mucs("sql", query, "--ledger", tmp_path / "ledger", "--json")[1])
    assert unseen == {"edges": 3 * 8, "calibrated": 3 * 8, "ranks": 8}


@pytest.mark.slow
def test_only_new_items_are_attributed(registry, world, tmp_path, s3):
    from tests.conftest import read_rows, write_manifest

    smaller = world.copy("generated", tmp_path / "generated")
    write_manifest(smaller, read_rows(smaller)[:2])
    (smaller / "g2.png").unlink()
    folders = {"checkpoint": world.checkpoint, "train": world.train, "held_out": world.held_out}
    own = tmp_path / "registry"
    register.fn(own, "s3://registry/growing", folders | {"generated": smaller}, "v1")
    first = run_audit(own, tmp_path, "growing")
    page = first.report.read_text()
    first.report.unlink()  # and drawn again when the batch is another
    register.fn(own, "s3://registry/growing", folders | {"generated": world.generated}, "v2")
    second = run_audit(own, tmp_path, "growing", revision="v2")
    assert (first.attributed, first.held) == (2, 0)
    assert (second.attributed, second.held) == (1, 2)
    assert first.report.read_text() == page


@pytest.mark.slow
def test_what_a_withdrawn_run_attributed_is_attributed_again_from_nothing(audited, registry, tmp_path, mucs, caplog):
    folder, first = audited
    ledger = tmp_path / "ledger"
    assert run_audit(registry, tmp_path, "again", settings=CONTROLLED, cache=folder / "cache").run == first.run
    assert mucs("withdraw", first.run[:8], "--reason", "a broken GPU", "--ledger", ledger)[0] == 0
    assert first.run[:16] not in mucs("why", "g0", "--ledger", ledger)[1]
    caplog.clear()
    with caplog.at_level(logging.INFO, "mucs"):
        again = run_audit(registry, tmp_path, "again", settings=CONTROLLED, cache=folder / "cache")
    assert (again.attributed, again.held) == (3, 0)
    assert again.run != first.run
    assert "computed before" not in caplog.text
    record = json.loads(evidence("again")[f"{again.run}/record"])
    assert record.pop("replaces") == [first.run]
    assert record == json.loads(evidence("once")[f"{first.run}/record"])  # the same came out
    (row,) = json.loads(mucs("why", "g0", "--top", 1, "--ledger", ledger, "--json")[1])
    assert row["run"] == again.run
    assert first.run in again.report.read_text()
    assert run_audit(registry, tmp_path, "again", settings=CONTROLLED, cache=folder / "cache").attributed == 0
    assert mucs("verify", "--ledger", ledger)[0] == 0


@pytest.mark.slow
def test_what_another_version_of_the_method_attributed_is_attributed_again_if_asked_for(
    registry, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr("tasks.stage_run.code_version", lambda: {"version": "0", "method_sha256": "0" * 64})
        first = run_audit(registry, tmp_path, "older")
    assert run_audit(registry, tmp_path, "older").attributed == 0
    again = run_audit(registry, tmp_path, "older", again_if_older=True)
    assert (again.attributed, again.held) == (3, 0)
    assert asked(tmp_path / "ledger", "SELECT DISTINCT run FROM lineage") == [(again.run,)]
    assert again.run != first.run
    assert run_audit(registry, tmp_path, "older", again_if_older=True).attributed == 0
