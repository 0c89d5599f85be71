"""A port for each node: what clients build from a node's address is about that node, on whichever machine it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hrm.engines.ray.relay import Relay
from hrm.testing.builders import node
from hrm.testing.lives import Lives
from tests.scenarios.yarn.wire_masters import ME, Yarn, opened

ELSEWHERE = "127.0.0.2"


@pytest.fixture
async def yarn(tmp_path: Path) -> AsyncIterator[Yarn]:
    async with Lives(tmp_path, nodes=[node(name, cpus=2, memory="4G") for name in ("n1", "n2")]) as lives:
        life = await lives.begin()
        relay = Relay()

        async def lead(node_id: str, to: tuple[str, int], purpose: str = "rpc") -> tuple[str, int] | None:
            """The second node is on a machine of its own."""
            return None if node_id == "n1" else await relay.open(ELSEWHERE, to, purpose)

        life.engine.relay = lead  # type: ignore[method-assign]
        async with opened(life, tmp_path) as yarn:
            yield yarn


async def get(url: str, **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        return await client.get(url, **more)


def place(yarn: Yarn, node_id: str) -> str:
    return f"http://{yarn.front.nodes.of(node_id).http_address}"


async def test_a_node_tells_of_itself_and_its_containers_alone(yarn: Yarn) -> None:
    master = await yarn.begun()
    containers = await master.get(3)
    for one in containers:
        await master.start(one)
    at = {live.container_id: live.node_id for live in yarn.life.service.containers()}
    assert set(at.values()) == {"n1", "n2"}
    info = (await get(f"{place(yarn, 'n1')}/ws/v1/node")).json()["nodeInfo"]
    known = yarn.front.nodes.of("n1")
    assert info["id"] == f"{known.host}:{known.port}"
    told = (await get(f"{place(yarn, 'n1')}/ws/v1/node/containers")).json()["containers"]["container"]
    assert {one["id"] for one in told} == {name for name, node_id in at.items() if node_id == "n1"}
    elsewhere = next(name for name, node_id in at.items() if node_id == "n2")
    assert (await get(f"{place(yarn, 'n1')}/ws/v1/node/containers/{elsewhere}")).status_code == 404
    assert (await get(f"{place(yarn, 'n1')}/ws/v1/cluster/info")).status_code == 404


async def test_containers_and_logs_name_the_port_of_their_node(yarn: Yarn) -> None:
    master = await yarn.begun()
    for one in await master.get(3):
        node_id = next(name for name in ("n1", "n2") if yarn.front.nodes.of(name).port == one.nodeId.port)
        assert f"http://{one.node_http_address}" == place(yarn, node_id)
        await master.start(one)
        launched = yarn.life.engine.launches[-1]
        assert launched.env["NM_HTTP_PORT"] == place(yarn, node_id).rpartition(":")[2]
        assert launched.env["NM_HOST"] == one.nodeId.host
    listed = await get(f"http://{yarn.front.addresses['web']}/ws/v1/node/containers")
    for line in listed.json()["containers"]["container"]:
        assert line["containerLogsLink"].startswith(tuple(place(yarn, name) for name in ("n1", "n2")))
        assert line["containerLogsLink"].endswith(f"/node/containerlogs/{line['id']}/{ME}")


async def test_at_a_port_of_another_machine_the_socket_proves_nothing_and_the_servers_own_is_asked(yarn: Yarn) -> None:
    assert ELSEWHERE in place(yarn, "n2")
    sent_on = await get(f"{place(yarn, 'n2')}/ws/v1/node/apps?state=RUNNING")
    assert sent_on.status_code == 307
    assert sent_on.headers["location"] == (
        f"http://{yarn.front.addresses['web']}/ws/v1/node/apps?state=RUNNING&node=n2"
    )
    followed = await get(f"{place(yarn, 'n2')}/ws/v1/node", follow_redirects=True)
    assert followed.json()["nodeInfo"]["nodeHostName"] == ELSEWHERE
    wrong = await get(f"{place(yarn, 'n2')}/ws/v1/node", headers={"Authorization": "Bearer nonsense"})
    assert wrong.status_code == 401


async def test_a_page_that_points_its_own_name_at_a_node_is_refused(yarn: Yarn) -> None:
    answer = await get(f"{place(yarn, 'n1')}/ws/v1/node", headers={"Host": "evil.example"})
    assert answer.status_code == 403
