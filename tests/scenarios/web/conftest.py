"""The site over a `FakeFacade`, beside the API as the server has them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from hrm.api.native import create_app
from hrm.api.settings import ApiSettings
from hrm.model.reports import ReloadReport
from hrm.testing.accounts import made_up_accounts
from hrm.testing.facade import FakeFacade
from hrm.web.desk import Desk
from hrm.web.door import Door, create_site
from hrm.web.weights import Weights
from tests.scenarios.api.running_server import TOKENS

Browser = Callable[..., httpx.AsyncClient]


async def _reload() -> ReloadReport:
    return ReloadReport(added=[], removed=[], changed=[])


def configuration() -> dict[str, Any]:
    return {}


@pytest.fixture
def facade() -> FakeFacade:
    return FakeFacade()


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    """Of a configuration with one queue, ``default``."""
    file = tmp_path / "hrm.yaml"
    file.write_text("queues:\n  default: {weight: 1}  # everybody's\n")
    return Weights(file, tmp_path, _reload)


@pytest.fixture
def door(facade: FakeFacade, weights: Weights) -> Door:
    settings, tester = ApiSettings(), os.geteuid() or 1001
    accounts = made_up_accounts({"root": 0, "ada": tester, "bob": tester})
    api = create_app(
        facade, tokens=TOKENS, settings=settings, reload=_reload, configuration=configuration, accounts=accounts
    )
    desk = Desk(facade=facade, accounts=accounts, weights=weights)
    site = create_site(desk, tokens=TOKENS, settings=settings, accounts=accounts, gate=api.state.streams)
    return Door(api, site)


@pytest.fixture
async def browser(door: Door) -> AsyncIterator[Browser]:
    """A browser with nothing in it; ``browser("ada")`` is logged in."""
    opened: list[httpx.AsyncClient] = []

    def open_one(user: str | None = None, **claims: bool) -> httpx.AsyncClient:
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app=door), base_url="http://127.0.0.1")
        if user is not None:
            client.cookies.set("hrm_session", TOKENS.mint(user, **claims), domain="127.0.0.1", path="/ui")
        opened.append(client)
        return client

    yield open_one
    for client in opened:
        await client.aclose()
