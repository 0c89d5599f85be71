"""Nodes are told when an application is over whose containers shared a directory there."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hrm.testing import eventually_async
from hrm.testing.lives import Lives
from tests.scenarios.yarn.wire_masters import ME, opened


async def test_a_node_hears_that_an_application_is_over_once_that_is_on_disk(lives: Lives, tmp_path: Path) -> None:
    life = await lives.begin()
    async with opened(life, tmp_path) as yarn:
        master = await yarn.begun()
        (container,) = await master.get(1)
        await master.start(container)
        life.disk.hold()
        finishing = asyncio.create_task(master.finish())
        await eventually_async(lambda: life.disk.holding, describe="the end is being written")
        assert life.engine.ended_applications == []
        life.disk.let_go()
        await finishing
        await master.exit()
        told = ("n1", str(master.attempt.application))
        await eventually_async(lambda: life.engine.ended_applications == [told], describe="the node is told")


async def test_a_server_that_begins_anew_still_knows_where_its_containers_run(lives: Lives, tmp_path: Path) -> None:
    first = await lives.begin()
    async with opened(first, tmp_path) as yarn:
        master = await yarn.begun()
    await first.kill()
    life = await lives.begin()
    async with opened(life, tmp_path):
        await life.service.kill(str(master.attempt.application), by=ME)
        told = ("n1", str(master.attempt.application))
        await eventually_async(lambda: told in life.engine.ended_applications, describe="the node is told")
