"""`hrm top`: what it shows, and what its keys do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from hrm.api.native import create_app
from hrm.api.settings import ApiSettings
from hrm.cli.top_app import TopApp
from hrm.cli.top_view import bar, look, plain
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.reports import ReloadReport
from hrm.sdk.client import Client
from hrm.testing import eventually_async
from hrm.testing.accounts import made_up_accounts
from hrm.testing.facade import FakeFacade
from tests.scenarios.api.running_server import TOKENS, RunningServer


async def _reload() -> ReloadReport:
    return ReloadReport(added=[], removed=[], changed=[])


@pytest.fixture
def running() -> RunningServer:
    facade, settings = FakeFacade(), ApiSettings(check_socket_owner=False)
    app = create_app(
        facade,
        tokens=TOKENS,
        settings=settings,
        reload=_reload,
        configuration=dict,
        accounts=made_up_accounts({"ada": 1001}),
    )
    return RunningServer(app, facade, settings)


@pytest.fixture
def server(running: RunningServer) -> Client:
    return running.client("ada", admin=True)


@pytest.fixture(autouse=True)
def ended(running: RunningServer) -> object:
    yield None
    running.stop()


def submitted(running: RunningServer, name: str) -> str:
    job = JobSpec(name=name, groups=(TaskGroupSpec(command=("true",)),))
    return running.do(lambda facade: facade.submit(job, user="ada")).application_id  # type: ignore[attr-defined,no-any-return]


@asynccontextmanager
async def opened(server: Client, **options: bool) -> AsyncIterator[tuple[TopApp, Pilot[None]]]:
    app = TopApp(server, interval_s=0.05, **options)
    async with app.run_test(size=(140, 40)) as pilot:
        yield app, pilot


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    async def met() -> bool:
        await pilot.pause()
        return condition()

    await eventually_async(met, 30.0)


def rows(app: TopApp, name: str = "applications") -> list[list[str]]:
    table = app.query_one(f"#table-{name}", DataTable)
    return [table.get_row_at(index) for index in range(table.row_count)]


def detail(app: TopApp) -> str:
    return str(app.query_one("#text", Static).content)


@pytest.mark.parametrize(("part", "drawn"), [(0, "    "), (0.5, "||  "), (1, "||||"), (7, "||||")])
def test_a_bar_is_as_full_as_what_it_shows(part: float, drawn: str) -> None:
    assert bar(part, 4) == drawn


def test_once_it_is_plain_text(running: RunningServer, server: Client) -> None:
    submitted(running, "train")
    text = plain(look(server))
    assert "CPU [" in text
    assert "train" in text
    assert "\x1b" not in text


async def test_what_is_submitted_appears_and_goes(running: RunningServer, server: Client) -> None:
    async with opened(server) as (app, pilot):
        await until(pilot, lambda: "pending" in str(app.query_one("#head", Static).content))
        first = submitted(running, "train")
        await until(pilot, lambda: [row[2] for row in rows(app)] == ["train"])
        running.do(lambda facade: facade.kill(first, by="ada"))
        await until(pilot, lambda: rows(app) == [])


async def test_a_filter_leaves_what_has_it_and_escape_shows_all(running: RunningServer, server: Client) -> None:
    for name in ("train", "detect"):
        submitted(running, name)
    async with opened(server) as (app, pilot):
        await until(pilot, lambda: len(rows(app)) == 2)
        await pilot.press("slash", *"DET")
        await until(pilot, lambda: [row[2] for row in rows(app)] == ["detect"])
        await pilot.press("escape")
        await until(pilot, lambda: len(rows(app)) == 2)


async def test_enter_explains_and_l_shows_the_output(running: RunningServer, server: Client) -> None:
    app_id = submitted(running, "train")
    running.do(lambda facade: facade.begin(app_id))
    running.do(lambda facade: facade.write(app_id, b"epoch 1\n\x1b[31mred"))
    async with opened(server) as (app, pilot):
        await until(pilot, lambda: len(rows(app)) == 1)
        await pilot.press("enter")
        await until(pilot, lambda: detail(app).startswith("1: "))
        await pilot.press("l")
        await until(pilot, lambda: detail(app).startswith("epoch 1"))
        assert "\x1b" not in detail(app)


async def test_c_ends_an_application_after_a_question(running: RunningServer, server: Client) -> None:
    app_id = submitted(running, "train")
    async with opened(server) as (app, pilot):
        await until(pilot, lambda: len(rows(app)) == 1)
        await pilot.press("c")
        await pilot.press("n")
        assert not running.facade.apps[app_id].state.final
        await pilot.press("c")
        await pilot.press("y")
        await until(pilot, lambda: running.facade.apps[app_id].state.final)


async def test_read_only_means_it(running: RunningServer, server: Client) -> None:
    submitted(running, "train")
    async with opened(server, read_only=True) as (app, pilot):
        await until(pilot, lambda: len(rows(app)) == 1)
        await pilot.press("c")
        assert len(app.screen_stack) == 1


async def test_queues_and_nodes_are_a_key_away(server: Client) -> None:
    async with opened(server) as (app, pilot):
        await pilot.press("2")
        await until(pilot, lambda: [row[0].strip() for row in rows(app, "queues")] == ["root", "default"])
        await pilot.press("3")
        await until(pilot, lambda: [row[0] for row in rows(app, "nodes")] == ["node-1"])


async def test_a_server_that_is_gone_is_told_and_the_program_stays(running: RunningServer, server: Client) -> None:
    async with opened(server) as (app, pilot):
        await until(pilot, lambda: "pending" in str(app.query_one("#head", Static).content))
        running.stop()
        await until(pilot, lambda: str(app.query_one("#head", Static).content).startswith("!"))
