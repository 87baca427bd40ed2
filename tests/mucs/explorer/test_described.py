"""What `/v1/openapi.json` describes is what a program finds, whatever it asks."""

import json
import subprocess
import sys

import httpx
import pytest

from tests.mucs.explorer.served import serving

pytestmark = pytest.mark.heavy
# By path, names that the ledger has: made-up ones are never found, and would see nothing but 404.
KNOWN = {
    "/v1/generated/{item}": {"item": "g0"},
    "/v1/generated/{item}/edges/{training}/proof": {"item": "g0", "training": "t0"},
    "/v1/training/{item}": {"item": "t1"},
    "/v1/holders/{name}": {"name": "Ada"},
    "/v1/runs/{sha}": {"sha": "{run}"},
    "/v1/statements/{sha}": {"sha": "{statement}"},
    "/v1/questions/{name}": {"name": "runs"},
    "/v1/exports/statement/{sha}": {"sha": "{statement}"},
    "/v1/exports/rocrate/{run}": {"run": "{run}"},
    "/v1/exports/openlineage/{run}": {"run": "{run}"},
    "/v1/exports/spdx/{checkpoint}": {"checkpoint": "0" * 64},
    **{
        f"/v1/exports/{kind}/{{training_set}}": {"training_set": "training_set"}
        for kind in ("croissant", "eu-summary", "ab2013")
    },
}

# Nobody attributes pictures here, and 503 says so.
SETTINGS = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 503]
"""


@pytest.mark.slow
def test_whatever_is_asked_is_answered_as_described(told, tmp_path):
    with serving(told, tmp_path / "errors") as served, httpx.Client(base_url=served.address) as client:
        names = {
            view[:-1]: client.get(f"/{view}.json").json()["views"][view]["rows"][0][view[:-1]]
            for view in ("runs", "statements")
        }
        description = client.get("/v1/openapi.json").json()
        for path, given in KNOWN.items():
            known = {key: name.format(**names) for key, name in given.items()}
            assert client.get(path.format(**known)).status_code == 200
            for parameter in description["paths"][path]["get"]["parameters"]:
                if parameter["in"] == "path":
                    parameter["example"] = known[parameter["name"]]
        (tmp_path / "openapi.json").write_text(json.dumps(description))
        (tmp_path / "schemathesis.toml").write_text(SETTINGS)
        command = [sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", served.address]
        command += ["--seed", "0", "--max-examples", "15", "--generation-database", "none", "--no-color"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert served.said() == ""
