"""What operators ask: drain nodes and the server, clear up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hrm.model.cleaning import Cleanable
from hrm.model.errors import Forbidden, InvalidInput, NotFound
from hrm.model.states import NodeState
from hrm.sdk.client import Client
from hrm.testing.facade import NODE_ID, FakeFacade
from tests.scenarios.api.running_server import RunningServer


@pytest.fixture
def admin(server: RunningServer) -> Iterator[Client]:
    with server.client("root", admin=True) as connected:
        yield connected


def test_an_admin_drains_a_node_and_undrains_it(admin: Client) -> None:
    drained = admin.drain_node(NODE_ID, "new disk")
    assert (drained.state, drained.drained_by, drained.drain_reason) == (NodeState.DRAINING, "root", "new disk")
    assert admin.nodes() == [drained]

    assert admin.undrain_node(NODE_ID).state is NodeState.RUNNING


def test_an_admin_drains_the_server_and_undrains_it(admin: Client) -> None:
    assert admin.drain_server().drained_by == "root"
    assert admin.server().drained_by == "root"
    assert admin.undrain_server().drained_by == ""


def test_an_admin_clears_up(admin: Client, server: RunningServer) -> None:
    told = admin.clean(("logs", "scratch"), older_than_s=3600, dry_run=True)
    done = admin.clean()

    assert (told.dry_run, done.dry_run, done.rows) == (True, False, 9)
    assert server.do(lambda facade: facade.cleanings) == [
        ((Cleanable.LOGS, Cleanable.SCRATCH), 3600, True, "root"),
        (tuple(Cleanable), None, False, "root"),
    ]


def test_others_may_not(client: Client, server: RunningServer) -> None:
    for ask in (
        lambda: client.drain_node(NODE_ID),
        client.drain_server,
        client.undrain_server,
        client.clean,
        lambda: client.examine_node(NODE_ID),
    ):
        with pytest.raises(Forbidden):
            ask()
    facade = server.facade
    assert (facade.drain, facade.drained_by, facade.cleanings) == (None, "", [])


def test_a_node_that_is_not_there_is_named(admin: Client) -> None:
    with pytest.raises(NotFound, match="no node 'elsewhere'"):
        admin.drain_node("elsewhere")


@pytest.mark.parametrize("node_id", ["../server", "a/b", "", "x?y=1"])
def test_what_is_no_nodes_name_stays_out_of_the_path(admin: Client, node_id: str) -> None:
    with pytest.raises(InvalidInput):
        admin.drain_node(node_id)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (f"nodes/{NODE_ID}/drain", {"reason": "x" * 2000}, "reason"),
        (f"nodes/{NODE_ID}/drain", {"reason": "\x1b[2J"}, "reason"),
        (f"nodes/{NODE_ID}/drain", {"why": "x"}, None),
        ("clean", {}, "kinds"),
        ("clean", {"kinds": []}, "kinds"),
        ("clean", {"kinds": ["everything"]}, "kinds"),
        ("clean", {"kinds": [["logs"]]}, "kinds"),
        ("clean", {"kinds": ["logs"], "older_than_s": -1}, "older_than_s"),
        ("clean", {"kinds": ["logs"], "older_than_s": True}, "older_than_s"),
        ("clean", {"kinds": ["logs"], "older_than_s": 1e300}, "older_than_s"),
        ("clean", {"kinds": ["logs"], "dry_run": "no"}, "dry_run"),
        ("clean", {"kinds": ["logs"], "older_then_s": 5}, None),
    ],
)
async def test_a_bad_body_is_refused_and_nothing_done(
    http: httpx.AsyncClient, facade: FakeFacade, bearer: Any, path: str, body: dict[str, Any], field: str | None
) -> None:
    answer = await http.post(f"/api/v1/{path}", json=body, headers=bearer("root", admin=True))

    assert answer.status_code == 422
    assert answer.json()["error"].get("field") == field
    assert (facade.drain, facade.cleanings) == (None, [])


def test_an_admin_has_the_doctor_examine_a_node(admin: Client) -> None:
    report = admin.examine_node(NODE_ID, ["gpu", "nfs"])

    assert report.node == NODE_ID
    assert [run.name for run in report.checks_run] == ["gpu.all", "nfs.all"]
