"""Traces: a span for each run of a flow and of a task, as OpenTelemetry has them, told to whom the environment names.

Prefect makes the spans, which cost nothing where nobody listens; this says who does, in every process that runs flows or tasks.
"""

from __future__ import annotations

import logging
import os

from mucs import __version__

log_of_traces = logging.getLogger("mucs.traces")
NAMED = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)  # as OpenTelemetry's own variables say where they go
SERVICE = "mucs"


def start() -> None:
    """Have spans told, in the background and when the process ends, where the environment names a receiver that takes OTLP over HTTP.

    A receiver that is away, or refuses, is warned of by OpenTelemetry and fails nothing.
    """
    if not any(os.environ.get(name) for name in NAMED):
        return
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log_of_traces.warning(
            "traces    not told, as OpenTelemetry is not installed: pip install opentelemetry-exporter-otlp-proto-http"
        )
        return
    said = {"service.version": __version__}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        said["service.name"] = SERVICE
    provider = TracerProvider(resource=Resource.create(said))  # which OTEL_RESOURCE_ATTRIBUTES add to
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
