"""Traces of requests for an OpenTelemetry collector: an option (``server.otlp_endpoint``, extra ``otel``)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from hrm.model.errors import InvalidInput

#: What is asked all the time, or stays open, tells nothing in a trace.
_LEFT_OUT = "healthz,metrics,ui/live,ui/static,attach,events"


@asynccontextmanager
async def traced(app: ASGIApp, endpoint: str | None) -> AsyncIterator[ASGIApp]:
    """``app`` with a span for each request, sent to ``endpoint`` (OTLP over HTTP) by a thread; None: as it is.

    A caller's own trace goes on (W3C Trace Context). Spans have method, path, status and time, no header and no body.
    Raises InvalidInput where the extra is not installed.
    """
    if endpoint is None:
        yield app
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise InvalidInput(
            f"a part is not installed: {error.name}", field="server.otlp_endpoint", next_step="pip install 'hrm[otel]'"
        ) from None
    provider = TracerProvider(resource=Resource.create({"service.name": "hrm"}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield OpenTelemetryMiddleware(
            app, excluded_urls=_LEFT_OUT, tracer_provider=provider, exclude_spans=["receive", "send"]
        )
    finally:
        await asyncio.to_thread(provider.shutdown)
