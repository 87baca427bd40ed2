"""Evidence on real parts: signed, locked on S3, checked from there, and computed again."""

import base64
import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from flows.calibrate import calibrate
from mucs.attribution import Settings
from mucs.evidence.signing import keygen
from mucs.ledger.verify import verify_log
from tasks.calibrate import publish_calibration
from tasks.ledgers import open_log
from tasks.plan import code_version
from tasks.s3 import client
from tests.factories import contents
from tests.flows.test_audit import OBJECTS, SETTINGS, asked, evidence, run_audit, words
from tests.flows.test_cli import refused
from tests.mucs.ledger.test_ledger import attached

pytestmark = pytest.mark.usefixtures("prefect_server")


NAMES = OBJECTS | {"calibration", "envelope"}


@pytest.fixture(scope="module")
def signed(registry, prefect_server, tmp_path_factory):
    """One calibrated audit, signed, its log under object lock for three days: (its folder, its run, the settings)."""
    client().create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    folder = tmp_path_factory.mktemp("signed")
    keygen(folder / "key")
    settings = Settings.from_record(
        SETTINGS.record() | {"controls": True, "recall_sample": 1, "null_loss": 1}
    )  # which JSON writes as 1
    inputs = {"registry": str(registry), "revision": "v1", "log": "s3://locked/log", "licences": ["CC-BY-4.0"]}
    calibrate(**inputs, settings=settings, device="cpu", cache=folder / "cache")
    done = run_audit(
        *(registry, folder, ""), log="s3://locked/log", settings=settings, key=folder / "key", retention_days=3
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUCS_CACHE", str(folder / "cache"))
        yield folder, done.run, settings


@pytest.fixture
def own(signed, tmp_path, registry):
    """The same run in a log of its own, in a bucket without lock: (its ledger, its log, the run's files by name)."""
    folder, run, settings = signed
    log = f"s3://evidence/{tmp_path.name}"
    (calibration,) = (folder / "cache/work/calibrations").iterdir()
    publish_calibration.fn(calibration, log)
    done = run_audit(
        *(registry, tmp_path, tmp_path.name), settings=settings, cache=folder / "cache", key=folder / "key"
    )
    assert done.run == run
    return tmp_path / "ledger", log, {name.split("/")[1]: body for name, body in evidence(tmp_path.name).items()}


def keys(log: str) -> list[str]:
    """The S3 keys of a log's entries and objects."""
    prefix, store = log.split("/", 3)[3], open_log(log).store
    return [f"{prefix}/{name}" for kind in ("log/", "objects/") for name in store.names(kind)]


def test_evidence_under_object_lock_cannot_be_deleted_and_is_the_same_as_without(signed, own):
    _, log, files = own
    assert set(files) == NAMES
    s3, until = client(), timedelta(days=3)
    locked = keys("s3://locked/log")
    assert len(locked) == 1 + len(NAMES)  # the entry and its objects
    training = open_log("s3://locked/log").entry(1).body["objects"]["training"]
    for key in locked:
        found = s3.get_object(Bucket="locked", Key=key)
        body = found["Body"].read()
        of_itself = key.endswith("/000000000001.json") or key.endswith(training)  # the time, and the pseudonyms
        assert of_itself or body in files.values()
        assert found["ObjectLockMode"] == "COMPLIANCE"
        left = found["ObjectLockRetainUntilDate"] - datetime.now(UTC)
        assert until - timedelta(hours=1) < left <= until
        version = {"Bucket": "locked", "Key": key, "VersionId": found["VersionId"]}
        for more in ({}, {"BypassGovernanceRetention": True}):
            with pytest.raises(ClientError, match=r"AccessDenied|WORM|locked|retention"):
                s3.delete_object(**version, **more)
        assert s3.get_object(**version)["Body"].read() == body
    for key in keys(log):
        there = s3.head_object(Bucket="evidence", Key=key)
        assert "ObjectLockMode" not in there
        s3.delete_object(
            Bucket="evidence", Key=key, **({"VersionId": there["VersionId"]} if "VersionId" in there else {})
        )
    assert keys(log) == []


def test_a_copy_that_is_not_kept_for_as_long_as_its_entry_says_is_named(own, tmp_path):
    log = open_log("s3://locked/log")
    assert verify_log(log).fault is None
    copies = [open_log(place) for place in ("s3://evidence/copied", str(tmp_path / "copied"))]
    for copy in copies:
        for name in log.store.names(""):
            assert copy.store.put(name, log.store.get(name))
    until = log.entry(1).body["retained_until"]
    fault = verify_log(copies[0]).fault
    assert (
        f"is to be kept until {until[:19].replace('T', ' ')} UTC, as it says, and s3://evidence/copied keeps it"
        in fault
    )
    assert "from nobody" in fault
    assert verify_log(copies[1]).fault is None  # a folder keeps nothing, and is not asked


def test_a_bucket_without_lock_a_folder_and_keys_that_are_none_are_refused_before_any_work(mucs, registry, tmp_path):
    command = words(registry, tmp_path, "unlocked")
    assert "has no object lock" in refused(mucs(*command, "--retention-days", 3))
    assert "cannot be kept from anybody" in refused(
        mucs(*command, "--retention-days", 3, "--log", tmp_path / "log", "--work", tmp_path / "work")
    )
    assert "give at least 1" in refused(mucs(*command, "--retention-days", 0))
    assert "not an Ed25519 private key" in refused(mucs(*command, "--sign", tmp_path / "none"))
    assert list(tmp_path.iterdir()) == []


def test_a_signed_run_is_checked_with_its_files_and_the_public_key_alone(mucs, signed, own, tmp_path, monkeypatch):
    (folder, _, _), (_, _, files) = signed, own
    empty = tmp_path / "empty"
    empty.mkdir()
    beside = {"run.dsse.json": "envelope", "run.json": "record", "edges.parquet": "edges"}
    for name, of_log in beside.items():
        (empty / name).write_bytes(files[of_log])
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
    assert "one at a time" in refused(mucs(*command, "--inputs"))
    assert "cannot be read as JSON" in refused(mucs("verify", "--envelope", "gone", "--key", "key.pub"))


@pytest.mark.slow
def test_the_log_is_read_from_s3_and_the_first_change_is_named(mucs, signed, own, monkeypatch):
    folder, _, _ = signed
    ledger, log, _ = own
    monkeypatch.chdir(ledger.parent / "reports")  # where there is no ledger
    head = json.loads(mucs("head", "--log", log, "--json")[1])["head"]
    alone = ("verify", "--log", log, "--head", head, "--key", folder / "key.pub")
    both = ("verify", "--ledger", ledger)
    for command, what in ((alone, "the log"), (both, "the log and the ledger")):
        status, out, _ = mucs(*command)
        assert (status, f"It holds: {what}, 1 entries, head {head}" in out) == (0, True)
    s3 = client()
    for key in keys(log):
        name = key.rpartition("/")[2]
        named = "entr" if name.endswith(".json") else name
        body = s3.get_object(Bucket="evidence", Key=key)["Body"].read()
        flipped = body[:-40] + bytes([body[-40] ^ 1]) + body[-39:]
        for altered in (flipped, None):
            if altered is None:
                s3.delete_object(Bucket="evidence", Key=key)
            else:
                s3.put_object(Bucket="evidence", Key=key, Body=altered)
            for command in (alone, both):
                status, out, _ = mucs(*command)
                assert (status, out.startswith("It does not hold: "), named in out) == (1, True, True), (key, out)
                assert out.count("\n") == 1
        s3.put_object(Bucket="evidence", Key=key, Body=body)
    assert mucs(*alone)[0] == 0
    keygen(ledger.parent / "other")
    status, out, _ = mucs(*alone[:-1], ledger.parent / "other.pub")
    assert (status, "was not signed with" in out) == (1, True)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    assert "does not answer" in refused(mucs(*alone))


def test_a_run_that_was_not_signed_does_not_hold_where_a_key_is_asked_for(mucs, signed, registry, tmp_path):
    folder, _, settings = signed
    run_audit(registry, tmp_path, "unsigned", settings=settings, cache=folder / "cache")
    command = ("verify", "--ledger", tmp_path / "ledger")
    assert mucs(*command)[0] == 0
    status, out, _ = mucs(*command, "--key", folder / "key.pub")
    assert (status, "was never signed" in out) == (1, True)


def test_inputs_are_read_from_where_the_registry_is_now(mucs, own, registry):
    ledger, _, _ = own
    command = ("verify", "--ledger", ledger, "--inputs")
    moved = shutil.copytree(registry, ledger.parent / "moved")
    assert mucs(*command)[0] == 0
    assert mucs(*command, "--registry", moved)[0] == 0
    assert "not a registry" in refused(mucs(*command, "--registry", ledger.parent / "nowhere"))
    assert "give it with --inputs" in refused(mucs("verify", "--ledger", ledger, "--registry", moved))


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
    status, out, _ = mucs("verify", "--ledger", folder / "ledger", "--inputs")
    assert status == 1
    assert "altered" in out
    swapped(largest=True)
    monkeypatch.setenv("MUCS_CACHE", str(tmp_path))
    status, out, _ = mucs("replay", run, "--ledger", folder / "ledger")
    assert status == 1
    assert "different" in out
    assert "altered" in out


def test_a_replay_is_bit_identical_whole_or_in_part_and_writes_nothing(mucs, signed):
    folder, run, _ = signed
    ledger, published = folder / "ledger", keys("s3://locked/log")
    before = contents(ledger)
    status, out, _ = mucs("replay", run[:12], "--ledger", ledger)
    assert status == 0
    assert out.splitlines()[:3] == [f"g{k}: bit-identical" for k in range(3)]
    assert out.splitlines()[3] == f"Run {run[:16]}, 3 of 3 generated items: bit-identical."
    chosen = [
        json.loads(mucs("replay", run, "--sample", 1, "--seed", 5, "--ledger", ledger, "--json")[1]) for _ in range(2)
    ]
    assert chosen[0] == chosen[1]
    assert [len(c["items"]) for c in chosen] == [1, 1]
    assert contents(ledger) == before
    assert keys("s3://locked/log") == published
    assert "names no run" in refused(mucs("replay", "nothing", "--ledger", ledger))


@pytest.mark.slow
def test_a_replay_says_what_differs_and_where(mucs, signed, tmp_path, monkeypatch):
    folder, run, _ = signed
    ledger = shutil.copytree(folder / "ledger", tmp_path / "ledger")
    ((name,),) = asked(ledger, "SELECT min(generated_id) FROM edges")

    def change(amount: float) -> None:
        with attached(ledger) as connection:
            connection.execute(
                f"UPDATE file.edges SET score = score + {amount} WHERE rank = 12 AND generated_id = {name}"
            )

    change(-0.0005)
    code = code_version()
    monkeypatch.setattr("tasks.replay.code_version", lambda: code | {"method_sha256": "0" * 64})
    status, out, _ = mucs("replay", run, "--ledger", ledger)
    assert status == 0
    assert "The code of the method is another: 000000000000" in out
    assert out.count("equal within the tolerance of 0.001") == 2
    assert out.count(": bit-identical") == 2
    assert "rank 12: score" in out
    with attached(ledger) as connection:
        connection.execute("UPDATE file.unseen_edges SET score = score - 0.0005 WHERE rank = 8")
    status, out, _ = mucs("replay", run, "--ledger", ledger)
    assert (status, out.count("of held-out items, rank 8: score")) == (0, 2)
    assert out.count(": bit-identical") == 0
    change(-0.01)
    status, out, _ = mucs("replay", run, "--ledger", ledger)
    assert status == 1
    assert out.splitlines()[-1].endswith("3 of 3 generated items: different.")
