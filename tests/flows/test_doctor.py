"""`mucs doctor`: what is well, what is wrong and what to do, with real servers, and nothing left behind."""

import http.server
import json
import threading
import time

import pytest

from mucs.evidence.chain import GENESIS, link
from mucs.outbox import HELD, Outbox
from tasks.ledgers import open_log, writing
from tasks.s3 import client

NAMES = ["versions", "s3", "lock", "registry", "prefect", "gpu", "disk", "clock", "ledger", "log"]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    for name in ("MUCS_LEDGER", "MUCS_LOG", "MUCS_OUTBOX", "MUCS_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MUCS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def examined(mucs, *words: object) -> tuple[int, dict[str, tuple[str, str]]]:
    """The exit status, and state and words of each check."""
    status, out, err = mucs("doctor", "--json", *words)
    assert "Traceback" not in err
    told = json.loads(out)
    assert told["well"] == (status == 0)
    found = {each["check"]: (each["state"], each["said"]) for each in told["checks"]}
    assert list(found) == NAMES
    return status, found


@pytest.fixture(scope="module")
def bucket(s3) -> str:
    """One with object lock."""
    client().create_bucket(Bucket="doctor", ObjectLockEnabledForBucket=True)
    return "doctor"


def test_all_is_well(mucs, registry, bucket, tmp_path):
    log = f"s3://{bucket}/log"
    with writing("ledger", log) as ledger:
        first = link(
            1, GENESIS, "derivation", "2026-01-01T00:00:00.000000+00:00", {"child": "a" * 64, "parent": "b" * 64}
        )
        assert ledger.followed.append(first)
        assert ledger.sync() == 1
    Outbox(tmp_path / "outbox").put(HELD, {"log": log})
    status, found = examined(
        mucs, *("--ledger", "ledger", "--registry", registry, "--revision", "v1", "--outbox", "outbox")
    )
    assert status == 0, found
    assert [name for name in NAMES if found[name][0] != "ok"] == [], found
    assert "checkpoint, generated, held_out, train on s3://registry/world" in found["registry"][1]
    assert "what is locked under s3://doctor/log cannot be removed" in found["lock"][1]
    assert "within a second of S3's" in found["clock"][1]
    assert found["log"][1].startswith(f"{log}, up to entry 1, held when it was verified at ")
    left = client().list_object_versions(Bucket=bucket)
    assert [each["Key"] for each in left["Versions"] if "/doctor-" in each["Key"]] == []
    assert "DeleteMarkers" not in left


def test_what_does_not_apply_says_so_and_is_not_wrong(mucs):
    status, out, _ = mucs("doctor")
    lines = out.splitlines()
    assert status == 0
    assert [line.split()[1] for line in lines] == NAMES
    skipped = {line.split()[1] for line in lines if line.startswith("skipped")}
    assert skipped == {"s3", "lock", "registry", "clock", "ledger", "log"}


@pytest.fixture
def no_prefect():
    """An address with a password, at which no Prefect server answers."""
    from prefect import context

    kept = context.GLOBAL_SETTINGS_CONTEXT  # may have the server of other tests
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", "http://ann:geheimnis@127.0.0.1:9/api")
        context.refresh_global_settings_context()
        yield
    context.GLOBAL_SETTINGS_CONTEXT = kept


def test_what_is_wrong_is_named_with_what_to_do(mucs, registry, s3, no_prefect, monkeypatch, tmp_path):
    log = open_log(str(tmp_path / "log"))
    for position, previous in ((1, GENESIS), (2, "0" * 64)):
        assert log.append(link(position, previous, "derivation", "2026-01-01T00:00:00+00:00", {}))
    with writing("ledger", str(tmp_path / "other")):
        pass
    monkeypatch.setattr("flows.doctor.LITTLE", 1e18)
    status, found = examined(mucs, *("--ledger", "ledger", "--log", "log", "--registry", registry, "--revision", "v9"))
    assert status == 1
    assert "no revision 'v9'" in found["registry"][1]
    assert found["log"] == ("warning", found["log"][1])
    assert "the ledger lacks 2 of them: run mucs sync" in found["log"][1]
    assert found["disk"][0] == "warning"
    assert "make room" in found["disk"][1]
    assert found["prefect"][0] == "wrong"
    assert "geheimnis" not in json.dumps(found)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-mine")
    status, found = examined(mucs, "--log", "s3://evidence/doctor", "--ledger", "none")
    assert {name for name in NAMES if found[name][0] == "wrong"} == {"s3", "lock", "prefect", "log"}
    assert "denies access" in found["s3"][1] or "AWS_SECRET_ACCESS_KEY" in found["s3"][1]
    assert "a-secret-of-mine" not in json.dumps(found)


class Silent(http.server.BaseHTTPRequestHandler):
    """Takes a request, and answers with another day's date, or not at all."""

    answers = threading.Event()

    def do_HEAD(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answers.wait(60)
        self.send_response_only(200)
        self.send_header("Date", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()

    do_GET = do_PUT = do_HEAD

    def log_message(self, *args):
        pass


@pytest.fixture
def silent(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {"ENDPOINT_URL_S3": f"http://127.0.0.1:{server.server_port}", "ACCESS_KEY_ID": "a"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setattr("flows.doctor.SECONDS", 4.0)
    Silent.answers.clear()
    yield
    Silent.answers.set()
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_it_never_hangs(mucs, silent):
    began = time.monotonic()
    _, found = examined(mucs, "--log", "s3://evidence/doctor")
    assert time.monotonic() - began < 15
    assert found["s3"] == ("wrong", found["s3"][1])
    assert "gave no answer within 4 seconds" in found["s3"][1]


@pytest.mark.slow
def test_a_clock_that_is_off_is_wrong(mucs, silent):
    Silent.answers.set()
    _, found = examined(mucs, "--log", "s3://evidence/doctor")
    assert found["clock"][0] == "wrong"
    assert "seconds ahead of S3's; have it set by NTP" in found["clock"][1]
    assert found["s3"][0] == "wrong"  # it takes everything
