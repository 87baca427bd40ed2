"""Evidence on real parts: signed, locked on S3, checked from there, and computed again."""

import base64
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from botocore.exceptions import ClientError

from flows.calibrate import calibrate
from mucs.attribution import Settings
from tasks.plan import code_version
from tasks.s3 import client
from tests.flows.test_audit import SETTINGS, evidence, run_audit, words
from tests.flows.test_cli import refused

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def signed(registry, prefect_server, tmp_path_factory):
    """One calibrated audit, signed, under object lock for three days: (its folder, its run, the settings)."""
    from mucs.evidence.signing import keygen

    client().create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    folder = tmp_path_factory.mktemp("signed")
    keygen(folder / "key")
    settings = Settings.from_record(
        SETTINGS.record() | {"controls": True, "recall_sample": 1, "null_loss": 1}
    )  # which JSON writes as 1
    inputs = {"registry": str(registry), "revision": "v1", "results": "s3://locked/runs", "licences": ["CC-BY-4.0"]}
    calibrate(**inputs, settings=settings, device="cpu", cache=folder / "cache")
    done = run_audit(
        *(registry, folder, ""), results="s3://locked/runs", settings=settings, key=folder / "key", retention_days=3
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUCS_CACHE", str(folder / "cache"))
        yield folder, done.run, settings


@pytest.fixture
def own(signed, tmp_path, registry):
    """A copy of the ledger, and of what it published in a bucket without lock: (the ledger, its prefix)."""
    folder, run, settings = signed
    s3 = client()
    for item in s3.list_objects_v2(Bucket="locked", Prefix="runs/calibrations/")["Contents"]:
        body = s3.get_object(Bucket="locked", Key=item["Key"])["Body"].read()
        s3.put_object(Bucket="evidence", Key=f"{tmp_path.name}/{item['Key'].removeprefix('runs/')}", Body=body)
    done = run_audit(
        *(registry, tmp_path, tmp_path.name), settings=settings, cache=folder / "cache", key=folder / "key"
    )
    assert done.run == run
    return tmp_path / "ledger.duckdb", f"{tmp_path.name}/{run}"


def test_evidence_under_object_lock_cannot_be_deleted_and_is_the_same_as_without(signed, own):
    (_, run, _), s3 = signed, client()
    names = {"run.json", "noise_bank.safetensors", "edges.parquet", "validations.json", "run.dsse.json"}
    unlocked = evidence(own[1])
    assert set(unlocked) == names
    for name in names:
        key = f"runs/{run}/{name}"
        found = s3.get_object(Bucket="locked", Key=key)
        assert found["Body"].read() == unlocked[name]
        assert found["ObjectLockMode"] == "COMPLIANCE"
        left = found["ObjectLockRetainUntilDate"] - datetime.now(UTC)
        assert timedelta(days=2, hours=23) < left <= timedelta(days=3)
        with pytest.raises(ClientError, match=r"AccessDenied|WORM|locked|retention"):
            s3.delete_object(Bucket="locked", Key=key, VersionId=found["VersionId"])
        with pytest.raises(ClientError, match=r"AccessDenied|WORM|locked|retention"):
            s3.delete_object(Bucket="locked", Key=key, VersionId=found["VersionId"], BypassGovernanceRetention=True)
        assert s3.get_object(Bucket="locked", Key=key)["Body"].read() == unlocked[name]
    version = s3.get_object(Bucket="evidence", Key=f"{own[1]}/run.json").get("VersionId")
    s3.delete_object(Bucket="evidence", Key=f"{own[1]}/run.json", **({"VersionId": version} if version else {}))
    assert "run.json" not in evidence(own[1])


def test_a_bucket_without_lock_and_keys_that_are_none_are_refused_before_any_work(mucs, registry, tmp_path):
    command = words(registry, tmp_path, "unlocked")
    assert "has no object lock" in refused(mucs(*command, "--retention-days", 3))
    assert "give at least 1" in refused(mucs(*command, "--retention-days", 0))
    assert "not an Ed25519 private key" in refused(mucs(*command, "--sign", tmp_path / "none"))
    assert not (tmp_path / "ledger.duckdb").exists()


def test_a_signed_run_is_checked_with_its_files_and_the_public_key_alone(mucs, signed, own, tmp_path, monkeypatch):
    folder, _, _ = signed
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in ("run.dsse.json", "run.json", "edges.parquet"):
        (empty / name).write_bytes(evidence(own[1])[name])
    shutil.copy(folder / "key.pub", empty)
    monkeypatch.chdir(empty)
    command = ("verify", "--envelope", "run.dsse.json", "--key", "key.pub")
    status, out, _ = mucs(*command)
    assert status == 0
    assert "run.json is the one that was signed" in out
    assert "noise_bank.safetensors is not beside it" in out
    found = json.loads(mucs(*command, "--json")[1])
    assert found["statement"]["predicate"]["edges"] == 36
    (empty / "edges.parquet").write_bytes(b"other")
    status, out, _ = mucs(*command)
    assert status == 1
    assert "edges.parquet is ANOTHER" in out
    envelope = json.loads((empty / "run.dsse.json").read_text())
    said = base64.b64decode(envelope["payload"]).replace(b'"edges":36', b'"edges":37')
    (empty / "run.dsse.json").write_text(json.dumps(envelope | {"payload": base64.b64encode(said).decode()}))
    status, out, _ = mucs(*command)
    assert status == 1
    assert "was changed since" in out
    assert "give --key" in refused(mucs("verify", "--envelope", "run.dsse.json"))
    assert "one at a time" in refused(mucs(*command, "--published"))
    assert "cannot be read as JSON" in refused(mucs("verify", "--envelope", "gone", "--key", "key.pub"))


def test_what_was_published_is_read_from_s3_and_the_first_change_is_named(mucs, signed, own, registry, monkeypatch):
    folder, _, _ = signed
    ledger, prefix = own
    command = ("verify", "--ledger", ledger, "--published", "--key", folder / "key.pub")
    status, out, _ = mucs(*command)
    assert (status, "It holds: " in out) == (0, True)
    moved = shutil.copytree(registry, ledger.parent / "moved")
    assert mucs(*command, "--registry", moved)[0] == 0
    assert "not a registry" in refused(mucs(*command, "--registry", ledger.parent / "nowhere"))
    assert "give it with --published" in refused(mucs("verify", "--ledger", ledger, "--registry", moved))
    (calibration,) = (f"{ledger.parent.name}/{name}" for name in evidence(ledger.parent.name) if "calibrations" in name)
    s3 = client()
    keys = [f"{prefix}/{name}" for name in evidence(prefix)] + [calibration]
    for key in keys:
        body = s3.get_object(Bucket="evidence", Key=key)["Body"].read()
        flipped = body[:-40] + bytes([body[-40] ^ 1]) + body[-39:]
        s3.put_object(Bucket="evidence", Key=key, Body=flipped)
        status, out, _ = mucs(*command)
        assert status == 1
        assert f"s3://evidence/{key} was" in out
        s3.delete_object(Bucket="evidence", Key=key)
        status, out, _ = mucs(*command)
        assert status == 1
        assert f"s3://evidence/{key} is gone" in out
        s3.put_object(Bucket="evidence", Key=key, Body=body)
    assert mucs("keygen", ledger.parent / "other")[0] == 0
    status, out, _ = mucs(*command[:-1], ledger.parent / "other.pub")
    assert (status, "was not signed with" in out) == (1, True)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    assert "does not answer" in refused(mucs(*command))


@pytest.fixture
def swapped(registry):
    """Alter an object of the registry's remote, the largest (the checkpoint's) or the smallest (an image's)."""
    before: dict[str, bytes] = {}

    def swap(largest: bool) -> None:
        listed = client().list_objects_v2(Bucket="registry", Prefix="world/files/")["Contents"]
        sizes = sorted((item["Size"], item["Key"]) for item in listed if not item["Key"].endswith(".dir"))
        _, key = sizes[-1] if largest else sizes[0]
        before[key] = client().get_object(Bucket="registry", Key=key)["Body"].read()
        client().put_object(Bucket="registry", Key=key, Body=before[key][:-1] + b"x")

    yield swap
    for key, body in before.items():
        client().put_object(Bucket="registry", Key=key, Body=body)


def test_a_swapped_image_or_checkpoint_is_found_on_s3_and_is_not_replayed(mucs, signed, swapped, tmp_path, monkeypatch):
    folder, run, _ = signed
    swapped(largest=False)
    status, out, _ = mucs("verify", "--ledger", folder / "ledger.duckdb", "--published")
    assert status == 1
    assert "altered" in out
    swapped(largest=True)
    monkeypatch.setenv("MUCS_CACHE", str(tmp_path))
    status, out, _ = mucs("replay", run, "--ledger", folder / "ledger.duckdb")
    assert status == 1
    assert "different" in out
    assert "altered" in out


def test_a_replay_is_bit_identical_whole_or_in_part_and_writes_nothing(mucs, signed):
    folder, run, _ = signed
    ledger = folder / "ledger.duckdb"
    before = ledger.read_bytes()
    status, out, _ = mucs("replay", run[:12], "--ledger", ledger)
    assert status == 0
    assert out.splitlines()[:3] == [f"g{k}: bit-identical" for k in range(3)]
    assert out.splitlines()[3] == f"Run {run[:16]}, 3 of 3 generated items: bit-identical."
    chosen = [
        json.loads(mucs("replay", run, "--sample", 1, "--seed", 5, "--ledger", ledger, "--json")[1]) for _ in range(2)
    ]
    assert chosen[0] == chosen[1]
    assert [len(c["items"]) for c in chosen] == [1, 1]
    assert ledger.read_bytes() == before
    assert "names no run" in refused(mucs("replay", "nothing", "--ledger", ledger))


def test_a_replay_says_what_differs_and_where(mucs, signed, tmp_path, monkeypatch):
    folder, run, _ = signed
    ledger = Path(shutil.copy(folder / "ledger.duckdb", tmp_path))
    ((name,),) = duckdb.connect(str(ledger), read_only=True).sql("SELECT min(generated_id) FROM edges").fetchall()

    def change(amount: float) -> None:
        with duckdb.connect(str(ledger)) as connection:
            connection.execute(f"UPDATE edges SET score = score + {amount} WHERE rank = 12 AND generated_id = {name}")

    change(-0.0005)
    code = code_version()
    monkeypatch.setattr("tasks.replay.code_version", lambda: code | {"method_sha256": "0" * 64})
    status, out, _ = mucs("replay", run, "--ledger", ledger)
    assert status == 0
    assert "The code of the method is another: 000000000000" in out
    assert out.count("equal within the tolerance of 0.001") == 2
    assert out.count(": bit-identical") == 2
    assert "rank 12: score" in out
    change(-0.01)
    status, out, _ = mucs("replay", run, "--ledger", ledger)
    assert status == 1
    assert out.splitlines()[-1].endswith("3 of 3 generated items: different.")


def test_serve_runs_a_command_with_the_demos_s3_and_ends_with_its_status(mucs, tmp_path):
    assert "holds no demo" in refused(mucs("serve", "--folder", tmp_path, "true"))
    (tmp_path / "s3").mkdir()
    code = (
        "import os, sys, boto3; boto3.client('s3').create_bucket(Bucket='made-here');"
        "print(os.environ['MUCS_LEDGER']); sys.exit(3)"
    )
    serve = [sys.executable, "-m", "flows.cli", "serve", "--folder", str(tmp_path)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run([*serve, sys.executable, "-c", code], env=clean, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (3, str(tmp_path / "ledger.duckdb")), done.stderr
    done = subprocess.run([*serve, "no-such-program"], env=clean, capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot be run" in done.stderr


def test_serve_prints_what_to_set_and_serves_until_it_is_stopped(tmp_path):
    (tmp_path / "s3").mkdir()
    serve = [sys.executable, "-m", "flows.cli", "serve", "--folder", str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(serve, stdout=pipe, stderr=pipe, text=True) as server:
        assert server.stderr.readline().startswith("Serving")
        again = subprocess.run([*serve, "true"], capture_output=True, text=True)
        assert again.returncode == 2
        assert "served by another process" in again.stderr
        server.terminate()
        printed, _ = server.communicate()
    assert server.returncode == 0
    exports = dict(line.removeprefix("export ").split("=", 1) for line in printed.splitlines())
    assert exports.keys() == {
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION", "MUCS_LEDGER")
    }
