"""The route of metrics for Prometheus; what it says is `hrm.api.exposition`."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI, Response

from hrm.api.access import Caller
from hrm.rm.facade import Facade

PATH = "/metrics"


def add_metrics_route(app: FastAPI, facade: Facade) -> None:
    """Add it to ``app``. It needs a token as all do (Prometheus: ``authorization: {credentials_file: …}``)."""

    @app.get(PATH, include_in_schema=False)
    async def metrics(caller: Caller) -> Response:
        # Imported when first asked for: most servers are never asked, and all start faster.
        from hrm.api.exposition import CONTENT_TYPE, Seen, exposition

        seen = Seen(facade.server(), facade.queues(), facade.nodes(), facade.measures())
        # With 500 nodes it is some megabytes of text: written in a thread, so that it does not hold the loop.
        return Response(await asyncio.to_thread(exposition, seen), media_type=CONTENT_TYPE)
