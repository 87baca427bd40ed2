"""A receiver of OpenLineage is told of audits as they begin and end, and no audit fails by it; a real server, Prefect, S3 and DVC."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from openlineage.client.event_v2 import RunEvent

from mucs import InputError
from mucs.exports.openlineage import PRODUCER
from mucs.ledger import Ledger
from tests.flows.test_audit import run_audit
from tests.flows.test_cli import refused

pytestmark = pytest.mark.usefixtures("prefect_server")


class Receiver:
    """Takes events; answers with a status."""

    def __init__(self) -> None:
        self.events, self.status = [], 201
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.status == 201:
                    receiver.events.append((self.path, json.loads(body)))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("lineage")


@pytest.fixture(scope="module")
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def told(receiver, monkeypatch):
    """What the receiver is told during a test."""
    monkeypatch.setenv("OPENLINEAGE_URL", receiver.url)
    receiver.events.clear()
    receiver.status = 201
    return receiver.events


@pytest.fixture(scope="module")
def audited(registry, prefect_server, receiver, folder):
    """An audit that was told of: its result, and the events."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENLINEAGE_URL", receiver.url)
        done = run_audit(registry, folder, "lineage")
    return done, list(receiver.events)


def test_a_receiver_is_told_what_an_audit_is_of_and_what_came_of_it(audited, registry, folder):
    done, events = audited
    assert [path for path, _ in events] == ["/api/v1/lineage"] * 2
    begun, ended = (event for _, event in events)
    assert (begun["eventType"], ended["eventType"]) == ("START", "COMPLETE")
    assert begun["run"]["runId"] == ended["run"]["runId"]
    assert begun["job"]["name"] == ended["job"]["name"] == "audit.generated"
    assert {event["producer"] for event in (begun, ended)} == {PRODUCER}
    paths = {"checkpoint", "train", "held_out", "generated"}
    assert {each["name"] for each in begun["inputs"]} == {each["name"] for each in ended["inputs"]} == paths
    assert {each["namespace"] for event in (begun, ended) for each in event["inputs"]} == {str(registry)}
    with Ledger.open(folder / "ledger") as ledger:
        record = ledger.run(done.run)["record"]
    of_kind = {given["path"]: given for given in record["inputs"].values()}
    for each in ended["inputs"]:
        given = of_kind[each["name"]]
        assert each["facets"]["version"]["datasetVersion"] == f"sha256:{given['sha256']}"
        tags = {tag["key"]: tag["value"] for tag in each["facets"]["tags"]["tags"]}
        assert tags["dvc_commit"] == given["commit"]
        gates = each["inputFacets"]["dataQualityAssertions"]["assertions"]
        assert gates
        assert all(gate["success"] for gate in gates)
    (edges,) = ended["outputs"]
    assert edges["name"] == f"objects/{record['results']['edges_sha256']}"
    assert edges["outputFacets"]["outputStatistics"]["rowCount"] == record["results"]["edges"]
    tags = {tag["key"]: tag["value"] for tag in ended["run"]["facets"]["tags"]["tags"]}
    assert (tags["run"], tags["generated_items"], tags["failed"]) == (done.run, "3", "0")


def test_an_audit_with_nothing_to_do_ends_with_nothing_and_one_that_fails_says_why(audited, told, registry, folder):
    run_audit(registry, folder, "lineage")
    assert [(event["eventType"], event["outputs"]) for _, event in told] == [("START", []), ("COMPLETE", [])]
    told.clear()
    with pytest.raises(InputError):
        run_audit(registry, folder, "lineage", revision="v1", batch="nothing")
    assert [event["eventType"] for _, event in told] == ["START", "FAIL"]
    assert "nothing" in told[1][1]["run"]["facets"]["errorMessage"]["message"]


@pytest.mark.parametrize("status", [500, None])
def test_no_audit_fails_by_a_receiver_that_refuses_or_is_none(
    audited, told, receiver, registry, folder, said, monkeypatch, status
):
    receiver.status = status
    monkeypatch.delenv("OPENLINEAGE_URL")
    url = receiver.url if status else "http://127.0.0.1:9"
    for name, value in {
        "TYPE": "http",
        "URL": url,
        "RETRY__TOTAL": "0",
    }.items():  # its client tries again for ten seconds
        monkeypatch.setenv(f"OPENLINEAGE__TRANSPORT__{name}", value)
    assert run_audit(registry, folder, "lineage").run is None
    assert any("not told" in line for line in said())
    assert told == []


def test_the_command_writes_the_event_of_a_run(mucs, audited, folder, tmp_path):
    done, events = audited
    place = tmp_path / "event.json"
    command = ("export", "openlineage", done.run[:12], "--ledger", folder / "ledger", "--output", place)
    status, out, _ = mucs(*command)
    first = place.read_bytes()
    assert (status, out) == (
        0,
        f"{place}: run {done.run[:12]}, {events[1][1]['outputs'][0]['outputFacets']['outputStatistics']['rowCount']} edges.\n",
    )
    said, live = json.loads(first), events[1][1]
    assert (said["job"], said["outputs"]) == (live["job"], live["outputs"])
    assert {each["name"] for each in said["inputs"]} == {each["name"] for each in live["inputs"]}
    assert set(said) <= set(RunEvent.__annotations__) | {"eventTime", "producer", "schemaURL"}
    mucs(*command)
    assert place.read_bytes() == first
    with Ledger.open(folder / "ledger") as ledger:
        assert ledger.rows("SELECT DISTINCT what FROM accesses") == [{"what": "openlineage"}]
    assert "names no run" in refused(mucs("export", "openlineage", "nothing", "--ledger", folder / "ledger"))
