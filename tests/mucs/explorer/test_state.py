"""What programs ask of the server itself."""

import json
import shutil
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from mucs.ledger import Ledger
from mucs.outbox import FAILED, HELD, Outbox
from tests.mucs.explorer.conftest import explorer

pytestmark = pytest.mark.heavy
ROOT = Path(__file__).parents[3]


@pytest.fixture
def outbox(tmp_path):
    return Outbox(tmp_path / "outbox")


@pytest.fixture
def client(own, outbox):
    app, snapshots = explorer(own, verified=lambda until: outbox.verified("log", until))
    with TestClient(app, base_url="http://127.0.0.1:8787") as made:
        yield made
    snapshots.close()


def figures(client):
    """The figures, by name and labels."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_figures_are_those_of_the_ledger(client, own, outbox):
    found = figures(client)
    with Ledger.open(own) as ledger:
        assert found["mucs_log_position",] == ledger.at()[0]
        assert found["mucs_runs",] == ledger.one("SELECT count(*) FROM runs")
        assert found["mucs_disputes_open",] == 1
        verdicts = ledger.rows(
            "SELECT verdict, count(*) AS n FROM speaking JOIN verdicts USING (run_id, generated_id) GROUP BY ALL"
        )
        assert {(row["verdict"].replace(" ", "_"), row["n"]) for row in verdicts} <= {
            (name[1], value) for name, value in found.items() if name[0] == "mucs_generated_items"
        }
        assert sum(value for name, value in found.items() if name[0] == "mucs_generated_items") == ledger.one(
            "SELECT count(*) FROM generated_items"
        )
    assert 0 < found["mucs_run_age_seconds",] < 3600
    assert ("mucs_verify_held",) not in found
    outbox.put(HELD, {"log": "log"})
    assert figures(client)["mucs_verify_held",] == 1
    outbox.put(FAILED, {"log": "log", "fault": "x"})
    found = figures(client)
    assert found["mucs_verify_held",] == 0
    assert 0 <= found["mucs_verify_age_seconds",] < 60


def test_it_goes_but_is_not_ready_while_the_ledger_is_away(client, own):
    assert client.get("/ready").json() == {"ready": True}
    shutil.move(own, own.with_name("away"))
    end = time.monotonic() + 15
    while client.get("/ready").status_code == 200:
        assert time.monotonic() < end
        time.sleep(0.2)
    assert client.get("/ready").headers["retry-after"] == "1"
    assert client.get("/health").json() == {"goes": True}
    assert figures(client) == {("mucs_ledger_readable",): 0}


def test_the_dashboard_asks_for_figures_that_there_are(client, outbox):
    outbox.put(HELD, {"log": "log"})
    asked = {
        target["expr"]
        for panel in json.loads((ROOT / "deploy/grafana.json").read_text())["panels"]
        for target in panel["targets"]
    }
    assert len(asked) == 6
    assert asked <= {name for name, *_ in figures(client)}
