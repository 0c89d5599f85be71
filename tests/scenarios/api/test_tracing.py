"""Requests as spans at a collector: a real one for as much as it takes, over HTTP."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from hrm.api.tracing import traced

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Collector:
    """Keeps the spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                request = ExportTraceServiceRequest.FromString(body)
                for resource in request.resource_spans:
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


async def test_a_request_is_a_span_of_its_callers_trace_without_its_secrets(
    app: FastAPI, collector: Collector, http: httpx.AsyncClient
) -> None:
    token = http.headers["authorization"]
    async with traced(app, collector.endpoint) as door:
        transport = httpx.ASGITransport(app=door)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            headers = {"authorization": token, "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
            assert (await client.get("/api/v1/nodes", headers=headers)).status_code == 200
            assert (await client.get("/healthz")).status_code == 200
    (span,) = collector.spans
    assert span.trace_id.hex() == TRACE
    assert "/api/v1/nodes" in str(span)
    assert token.split()[1] not in str(span)


async def test_a_collector_that_is_away_keeps_nobody_waiting(app: FastAPI, unused_address: str) -> None:
    async with traced(app, unused_address) as door:
        transport = httpx.ASGITransport(app=door)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            assert (await client.get("/api/v1/nodes")).status_code == 401


async def test_without_a_collector_the_application_is_as_it_was(app: FastAPI) -> None:
    async with traced(app, None) as door:
        assert door is app
