"""Hadoop's own client of nodes has what runs in a container replaced, restarted and rolled back, and files brought."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hrm.testing.lives import Lives
from hrm.yarn.tokens.credentials import Credentials
from tests.scenarios.yarn.test_hadoops_own_classes import Java, raised
from tests.scenarios.yarn.test_wire_relaunches import log_of
from tests.scenarios.yarn.wire_masters import Yarn, opened

pytestmark = [pytest.mark.real, pytest.mark.yarn]


async def test_a_container_is_run_anew_by_javas_client(lives: Lives, tmp_path: Path) -> None:
    async with opened(await lives.begin(), tmp_path) as yarn:
        master = await yarn.begun()
        (container,) = await master.get(1)
        await master.start(container, command="echo first; sleep 1000")
        node = (container.nodeId.host, container.nodeId.port)
        file = tmp_path / "container_tokens"
        file.write_bytes(Credentials(tokens={"node": master.node_tokens[node]}).write())
        java = await asyncio.to_thread(Java, file)
        try:
            proxy = await asyncio.to_thread(java.proxy, "ContainerManagementProtocol", node)
            await _orders(yarn, java, proxy, container, tmp_path)
        finally:
            java.close()
        assert await log_of(yarn, master) == "first\nfirst\nsecond\nfirst\nsecond\n"


async def _orders(yarn: Yarn, java: Java, proxy: Any, container: Any, folder: Path) -> None:
    records, requests = java.hadoop.yarn.api.records, java.hadoop.yarn.api.protocolrecords
    name = records.ContainerId.fromString(yarn.life.containers()[-1])
    context = records.ContainerLaunchContext.newInstance({}, {}, ["echo second; sleep 1000"], {}, None, {})

    async def said(ask: Any) -> Any:
        answer = await asyncio.to_thread(ask)
        await yarn.life.settle()
        return answer

    def replace(auto_commit: bool) -> Any:
        return proxy.reInitializeContainer(
            requests.ReInitializeContainerRequest.newInstance(name, context, auto_commit)
        )

    await said(lambda: proxy.restartContainer(name))
    await said(lambda: replace(False))
    await said(lambda: proxy.rollbackLastReInitialization(name))
    java_class, message = await said(lambda: raised(lambda: proxy.rollbackLastReInitialization(name)))
    assert java_class == "org.apache.hadoop.yarn.exceptions.YarnException"
    assert "nothing to roll back to" in message
    await said(lambda: replace(False))
    await said(lambda: proxy.commitLastReInitialization(name))

    (folder / "here").write_text("x")
    kinds, whose = records.LocalResourceType, records.LocalResourceVisibility
    files = {
        key: records.LocalResource.newInstance(
            records.URL.newInstance("file", None, -1, str(folder / key)), kinds.FILE, whose.PRIVATE, 1, 1
        )
        for key in ("here", "gone")
    }
    await said(lambda: proxy.localize(requests.ResourceLocalizationRequest.newInstance(name, files)))
    asked = requests.GetLocalizationStatusesRequest.newInstance([name])
    told = (await said(lambda: proxy.getLocalizationStatuses(asked))).getLocalizationStatuses()
    found = {one.getResourceKey(): one.getLocalizationState().toString() for one in told[name]}
    assert found == {"here": "COMPLETED", "gone": "FAILED"}
