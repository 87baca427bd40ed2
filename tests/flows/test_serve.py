"""`mucs serve`: an S3 in any folder, as another shell uses it."""

import os
import shlex
import subprocess
import sys

import pytest

from tests.flows.test_cli import refused

CODE = "import sys, boto3; print(*(b['Name'] for b in boto3.client('s3').list_buckets()['Buckets'])); sys.exit(3)"
BOTO = [sys.executable, "-c", CODE]


@pytest.fixture
def clean():
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def serve(*words: object) -> list[str]:
    return [sys.executable, "-m", "flows.cli", "serve", *map(str, words)]


def test_a_command_runs_with_the_server_and_gives_its_status(clean, tmp_path):
    made = serve(tmp_path / "s3", "--bucket", "registry", "--bucket", "evidence", "--", *BOTO)
    done = subprocess.run(made, env=clean, capture_output=True, text=True)
    assert (done.returncode, {"registry", "evidence"} <= {*done.stdout.split()}) == (3, True), done.stderr
    done = subprocess.run(serve(tmp_path / "s3", "no-such-program"), env=clean, capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot be run" in done.stderr


@pytest.mark.slow
def test_it_prints_what_another_shell_needs_and_prints_the_same_again(clean, tmp_path):
    pipe, words, printed = subprocess.PIPE, serve(tmp_path, "--bucket", "evidence"), []
    for _ in range(2):
        with subprocess.Popen(words, env=clean, stdout=pipe, stderr=pipe, text=True) as server:
            assert server.stderr.readline().startswith("Serving")
            again = subprocess.run(words, env=clean, capture_output=True, text=True)
            assert again.returncode == 2
            assert "served by another process" in again.stderr
            lines = [server.stdout.readline() for _ in range(4)]
            exports = dict(shlex.split(line)[1].split("=", 1) for line in lines)
            done = subprocess.run(BOTO, env=clean | exports, capture_output=True, text=True)
            assert "evidence" in done.stdout.split()
            server.terminate()
        assert server.returncode == 0
        printed.append(exports)
    assert printed[0].keys() == {
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION")
    }
    assert printed[0] == printed[1]


def test_a_folder_of_something_else_is_refused(mucs, tmp_path):
    (tmp_path / "mine.png").write_bytes(b"")
    assert "holds other files than a server's" in refused(mucs("serve", tmp_path))
    assert "'no bucket' is no name for a bucket" in refused(mucs("serve", tmp_path / "s3", "--bucket", "no bucket"))
