"""An audit is told as a trace where the environment names a receiver; a real command, server, S3 and DVC."""

import gzip
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.flows.test_audit import words

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture
def receiver():
    """What takes spans: its address, and the requests that came."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            packed = self.headers.get("Content-Encoding") == "gzip"
            requests.append((self.path, gzip.decompress(body) if packed else body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()


def audit(registry, folder, name, **more):
    """Run the command with more variables."""
    from prefect.settings import PREFECT_API_URL

    environment = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()} | more
    command = [sys.executable, "-m", "flows.cli", *words(registry, folder, name)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_an_audit_is_one_trace_with_a_span_for_each_item(registry, tmp_path, receiver):
    address, requests = receiver
    done = audit(
        registry, tmp_path, "traces", OTEL_EXPORTER_OTLP_ENDPOINT=address, OTEL_RESOURCE_ATTRIBUTES="site=here"
    )
    assert done.returncode == 0, done.stderr
    assert {path for path, _ in requests} == {"/v1/traces"}
    spans, sources = [], []
    for _, body in requests:
        for each in ExportTraceServiceRequest.FromString(body).resource_spans:
            sources.append({a.key: a.value.string_value for a in each.resource.attributes})
            spans += [span for scope in each.scope_spans for span in scope.spans]
    assert all((source["service.name"], source["site"]) == ("mucs", "here") for source in sources)
    by_name = {span.name: span for span in spans}
    flow = by_name["generated at v1"]
    assert {span.trace_id for span in spans} == {flow.trace_id}
    assert not flow.parent_span_id
    for item in ("g0", "g1", "g2"):
        (name,) = [name for name in by_name if item in name.split()]
        span = by_name[name]
        assert span.parent_span_id == flow.span_id
        assert flow.start_time_unix_nano < span.start_time_unix_nano < span.end_time_unix_nano < flow.end_time_unix_nano


def test_a_receiver_that_is_away_fails_nothing(registry, tmp_path):
    done = audit(registry, tmp_path, "untraced", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert "Attributed" in done.stdout
