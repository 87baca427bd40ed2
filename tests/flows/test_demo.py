"""The demo as a newcomer runs it: minutes on 2 cores."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.test_audit import asked

pytestmark = pytest.mark.slow


def start_demo(folder: Path) -> subprocess.Popen:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PREFECT_"))}
    command = [sys.executable, "-m", "flows.cli", "demo", "--folder", str(folder)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def answers(folder: Path) -> bool:
    """Whether the demo's S3 server is up."""
    ports = folder / "s3" / "ports.json"
    if not ports.exists() or not ports.read_text():
        return False
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", json.loads(ports.read_text())[0])) == 0


def test_the_demo_finds_what_is_behind_each_image_and_then_nothing_to_do(tmp_path):
    first = start_demo(tmp_path)
    out, err = first.communicate()
    assert first.returncode == 0, err
    assert "Traceback" not in err
    assert not answers(tmp_path)
    ledger, best = tmp_path / "ledger", {}
    for generated, training in asked(ledger, "SELECT generated, training FROM lineage WHERE rank <= 3"):
        best.setdefault(generated, set()).add(training)
    ((record,),) = asked(ledger, "SELECT record FROM runs")
    assert asked(ledger, "SELECT bool_and(converged) FROM attributions") == [(True,)]
    assert len(best) == 16
    results = json.loads(record)["results"]
    assert (results["controls"]["self_rank"], results["recall"]["items"]) == (1, 1)
    # the flag of Lesotho, a black cat, the heart suit and a telephone: what anyone sees in these four images; machines of another kind
    # round otherwise, and one had Lesotho third, with 0.806 after 0.825 and 0.811
    seen = {"0001": "1F1F1-1F1F8", "0003": "1F408-200D-2B1B", "0005": "2665", "0014": "260E"}
    assert all(training in best[generated] for generated, training in seen.items()), best
    second = start_demo(tmp_path)
    out, err = second.communicate()
    assert second.returncode == 0
    assert "nothing to do" in err
    assert "reports/" in out
