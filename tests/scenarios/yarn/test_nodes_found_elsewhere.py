"""Nodes on machines of their own: masters find each at its own address, by a port that leads to the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hrm.engines.ray.relay import Relay
from hrm.model.errors import ClusterError
from hrm.testing import eventually_async
from hrm.testing.lives import Life, Lives
from tests.scenarios.yarn.wire_masters import Yarn, ask, opened

ELSEWHERE = "127.0.0.2"


class Machine:
    """The only node's, with the relay of its agent; it may not answer."""

    def __init__(self) -> None:
        self.relay = Relay()
        self.answers = True

    async def lead(self, node_id: str, to: tuple[str, int], purpose: str = "rpc") -> tuple[str, int]:
        if not self.answers:
            raise ClusterError(f"{node_id} does not answer")
        return await self.relay.open(ELSEWHERE, to, purpose)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
async def life(lives: Lives, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Life:
    life = await lives.begin()
    monkeypatch.setattr(life.engine, "relay", machine.lead)
    return life


@pytest.fixture
async def yarn(life: Life, machine: Machine, tmp_path: Path) -> AsyncIterator[Yarn]:
    async with opened(life, tmp_path) as yarn:
        yield yarn


async def test_containers_are_started_at_the_nodes_own_address(yarn: Yarn) -> None:
    master = await yarn.begun()
    (container,) = await master.get(1)
    assert container.nodeId.host == ELSEWHERE
    assert list((await master.start(container)).succeeded_requests) == [container.id]
    assert yarn.life.engine.launches[-1].env["NM_HOST"] == ELSEWHERE


async def test_what_is_granted_before_it_is_known_where_the_node_is_is_told_when_it_is(
    life: Life, machine: Machine, tmp_path: Path
) -> None:
    machine.answers = False
    async with opened(life, tmp_path) as yarn:
        master = await yarn.begun()
        assert list((await master.beat(ask(1))).allocated_containers) == []
        machine.answers = True

        async def told() -> bool:
            return bool((await master.allocate()).allocated_containers)

        await eventually_async(told)


async def test_a_node_that_is_found_at_another_port_lets_in_by_tokens_for_that(yarn: Yarn, machine: Machine) -> None:
    master = await yarn.begun()
    (first,) = await master.get(1)
    machine.relay = Relay()
    moved = first.nodeId.port
    await eventually_async(lambda: yarn.front.nodes.of("n1").port != moved)
    later = await yarn.begun()
    (container,) = await later.get(1)
    assert container.nodeId.port == yarn.front.nodes.of("n1").port
    assert list((await later.start(container)).succeeded_requests) == [container.id]
