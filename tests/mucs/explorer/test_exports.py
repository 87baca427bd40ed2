"""Exports over HTTP are what the commands write, and the log is told of each."""

import hashlib
import io
import json
import subprocess
import sys
import zipfile

import pytest
from starlette.testclient import TestClient

from mucs.explorer.access import Access
from mucs.explorer.tokens import Tokens
from mucs.exports.croissant import describe
from mucs.exports.openlineage import run_event
from mucs.exports.spdx import bill
from mucs.ledger import Ledger
from mucs.royalties.export import write_files
from mucs.royalties.statement import find
from tests.factories import log_of
from tests.mucs.explorer.conftest import explorer

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def here(told):
    with Ledger.open(told / "ledger") as ledger:
        yield ledger


def files(answer) -> dict[str, bytes]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_statements_files_are_those_that_the_command_writes(client, here, tmp_path):
    sha256 = here.one("SELECT max(sha256) FROM statements")
    written = {path.name: path.read_bytes() for path in write_files(find(here, sha256), tmp_path)}
    answer = client.get(f"/v1/exports/statement/{sha256[:12]}")
    assert files(answer) == written
    assert client.get(f"/v1/exports/statement/{sha256}").content == answer.content
    assert client.get("/v1/exports/statement/art-2026%2F2026-10%2F1").status_code == 200
    assert "art-2026_2026-10_" in answer.headers["content-disposition"]


def test_the_evidence_of_a_run_is_checked_with_nothing_but_python(client, here, tmp_path):
    run, (_, head) = here.one("SELECT sha256 FROM runs WHERE run_id = 3"), here.at()  # which is as audits make them
    answer = client.get(f"/v1/exports/rocrate/{run[:12]}")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path)
    (folder,) = tmp_path.iterdir()
    assert folder.name == f"evidence-{run[:12]}"
    done = subprocess.run([sys.executable, "-I", folder / "check_run.py", head], capture_output=True, text=True)
    assert (done.returncode, run in done.stdout) == (0, True), done.stderr
    assert client.get(f"/v1/exports/rocrate/{run[:12]}").content == answer.content


def test_json_and_tables_are_those_of_the_formats_own_module(client, here):
    run = here.one("SELECT sha256 FROM runs WHERE run_id = 3")
    answer = client.get(f"/v1/exports/openlineage/{run}")
    assert (answer.headers["content-type"], answer.content) == ("application/json", run_event(here, run))
    told = {"day": "2026-11-01", "as_of": "2100-01-01T00:00:00+00:00"}
    sha256, body = bill(here, "0" * 64, told["day"], told["as_of"])
    assert client.get(f"/v1/exports/spdx/{sha256[:12]}", params=told).content == body
    sha256 = f"{'training_set':f<64}"
    made = describe(here, sha256, "croissant.csv", told["day"], told["as_of"])
    found = files(client.get(f"/v1/exports/croissant/{sha256}", params=told))
    assert found == {"croissant.json": made.metadata, "croissant.csv": made.table}


@pytest.mark.parametrize("kind", ["eu-summary", "ab2013"])
def test_summaries_say_what_only_their_author_can_know(client, kind):
    found = files(client.get(f"/v1/exports/{kind}/training_set"))
    assert set(found) == {f"{kind}.md", f"{kind}.json"}
    assert json.loads(found[f"{kind}.json"])["training_set"] == f"{'training_set':f<64}"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("statement/nothing", 404, "nothing"),
        ("rocrate/12345678", 404, "The ledger has 0 runs"),
        ("openlineage/x", 404, "names no run"),
        ("spdx/nothing", 404, "The ledger has 0 checkpoints called 'nothing'"),
        ("croissant/nothing", 404, "The ledger has 0 training sets called 'nothing'"),
        ("ab2013/training_set?day=soon", 400, "day cannot be 'soon'; give a day"),
        ("c2pa/g0", 404, "no page"),
    ],
)
def test_what_there_is_not_is_said_in_a_sentence(client, path, status, words):
    answer = client.get(f"/v1/exports/{path}")
    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text


def test_the_log_is_told_who_took_which_bytes(own, tmp_path):
    tokens = Tokens(tmp_path / "tokens")
    headers = {"authorization": f"Bearer {tokens.add('ann', 'analyst', None, 1)[0]}"}
    app, snapshots = explorer(own, access=Access(tokens))
    with TestClient(app, base_url="http://127.0.0.1:8787", headers=headers) as client:
        answer = client.get("/v1/exports/spdx/000000000000")
    snapshots.close()
    *_, last = log_of(own).after()
    assert (last.kind, last.body["what"], last.body["by"]) == ("access", "spdx", {"who": "ann", "role": "analyst"})
    assert last.body["address"] == "/v1/exports/spdx/000000000000"
    assert last.body["sha256"] == hashlib.sha256(answer.content).hexdigest()
