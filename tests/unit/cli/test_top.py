"""`hrm top`: what it shows, and what its keys do."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from hrm.api.native import create_app
from hrm.api.settings import ApiSettings
from hrm.cli.top_app import HELP, TopApp
from hrm.cli.top_filter import jump_target, row_filter
from hrm.cli.top_pane import Pane
from hrm.cli.top_view import APPLICATION_HEAD, Row, bar, look, plain
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
    return [[str(cell) for cell in table.get_row_at(index)] for index in range(table.row_count)]


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


def plain_row(*cells: str) -> Row:
    return Row("application_1_0001", cells)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("", True), ("TR.IN", True), ("!train", False), ("!detect", True), ("tr(", False), ("!", True), ("b$", True)],
)
def test_a_filter_is_a_regular_expression_that_a_mark_inverts(text: str, shown: bool) -> None:
    assert row_filter(text)(plain_row("1", "train", "bob")) is shown


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("q", ("queues", None)),
        ("12", ("applications", "app12")),
        ("1", ("applications", "app1")),
        ("gpu0", ("nodes", "gpu01")),
        ("research.vis", ("queues", "research.vision")),
        ("nothing", None),
        (" ", None),
    ],
)
def test_a_jump_leads_to_a_table_or_to_the_row_of_that_name(text: str, found: object) -> None:
    tabs = [
        ("applications", [Row("app12", ("12", "train")), Row("app1", ("1", "train"))]),
        ("queues", [Row("research.vision", ("  vision",))]),
        ("nodes", [Row("gpu01", ("gpu01",))]),
    ]
    assert jump_target(text, tabs) == found


async def test_a_jump_moves_the_cursor_and_minus_goes_back(running: RunningServer, server: Client) -> None:
    for name in ("train", "detect"):
        submitted(running, name)
    async with opened(server) as (app, pilot):
        await until(pilot, lambda: len(rows(app)) == 2)
        await pilot.press("colon", "1", "enter")
        await until(pilot, lambda: str(app._under_cursor()).endswith("_0001"))
        await pilot.press("colon", *"node-1", "enter")
        await until(pilot, lambda: app._tab == "nodes")
        await pilot.press("minus")
        await until(pilot, lambda: app._tab == "applications")


async def test_what_is_tagged_is_ended_together(running: RunningServer, server: Client) -> None:
    ids = [submitted(running, name) for name in ("a", "b", "c")]
    async with opened(server) as (app, pilot):
        await until(pilot, lambda: len(rows(app)) == 3)
        await pilot.press("space", "space")
        await until(pilot, lambda: [row[0][0] for row in rows(app)].count("*") == 2)
        await pilot.press("c", "y")
        await until(pilot, lambda: sum(running.facade.apps[one].state.final for one in ids) == 2)


async def test_a_signal_is_chosen_and_sent(running: RunningServer, server: Client) -> None:
    app_id = submitted(running, "train")
    async with opened(server) as (app, pilot):
        await until(pilot, lambda: len(rows(app)) == 1)
        await pilot.press("C", "down", "enter")
        await until(pilot, lambda: running.facade.apps[app_id].signals == [signal.SIGINT])


async def test_a_time_limit_is_asked_for_and_set(
    running: RunningServer, server: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    app_id, limits = submitted(running, "train"), []
    monkeypatch.setattr(server, "set_deadline", lambda app, at: limits.append((app, at)))
    async with opened(server) as (app, pilot):
        await until(pilot, lambda: len(rows(app)) == 1)
        before = time.time()
        await pilot.press("t", *"2h", "enter")
        await until(pilot, lambda: len(limits) == 1)
        assert limits[0][0] == app_id
        assert before + 7200 <= limits[0][1] <= time.time() + 7200
        await pilot.press("t", *"none", "enter")
        await until(pilot, lambda: limits[1:] == [(app_id, None)])


async def test_output_stands_beside_the_table_in_either_stream_also_after_the_end(
    running: RunningServer, server: Client
) -> None:
    app_id = submitted(running, "train")
    running.do(lambda facade: facade.begin(app_id))
    running.do(lambda facade: facade.write(app_id, b"epoch 1\n"))
    async with opened(server) as (app, pilot):
        await until(pilot, lambda: len(rows(app)) == 1)
        await pilot.press("l")
        await until(pilot, lambda: detail(app) == "epoch 1")
        await pilot.press("o")
        await until(pilot, lambda: str(app.query_one(Pane).border_title).startswith("stderr"))
        await pilot.press("o", "w")
        assert app.query_one(Pane).has_class("long")
        running.do(lambda facade: facade.kill(app_id, by="ada"))
        await until(pilot, lambda: rows(app) == [] and detail(app) == "epoch 1")
        await pilot.press("a")
        await until(pilot, lambda: len(rows(app)) == 1)


async def test_columns_are_chosen_in_place(running: RunningServer, server: Client) -> None:
    submitted(running, "train")
    async with opened(server) as (app, pilot):
        await until(pilot, lambda: len(rows(app)) == 1)
        await pilot.press("f", "down", "space", "q")
        await until(pilot, lambda: len(rows(app)[0]) == len(APPLICATION_HEAD) - 1)
        assert rows(app)[0][:2] == ["1", "train"]


async def test_what_others_have_is_dimmed(running: RunningServer, server: Client) -> None:
    submitted(running, "train")
    async with opened(server) as (app, pilot):
        await until(pilot, lambda: len(rows(app)) == 1)
        assert app.query_one("#table-applications", DataTable).get_row_at(0)[0].style == "dim"


async def test_help_names_every_key(server: Client) -> None:
    told = " ".join(keys for keys, _ in HELP)
    named = {"minus": "-", "slash": "/", "colon": ":", "space": "Space", "escape": "Escape", "question_mark": "?"}
    assert all(named.get(binding.key, binding.key) in told for binding in TopApp.BINDINGS)
    async with opened(server) as (app, pilot):
        await pilot.press("question_mark")
        await until(pilot, lambda: len(app.screen_stack) == 2)
