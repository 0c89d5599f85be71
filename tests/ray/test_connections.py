"""Ports of containers on another machine of a Ray cluster."""

from __future__ import annotations

import asyncio
import sys

import pytest

from hrm.model.errors import Conflict
from hrm.testing.engine_harness import started
from hrm.testing.ray_machines import RayMachines
from tests.ray.conftest import EngineOf

pytestmark = pytest.mark.ray

ECHO = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], "ready", flush=True)
while True:
    connection, _ = server.accept()
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.close()
"""


async def test_a_port_of_a_container_is_reached_and_ends_when_both_have_said_everything(
    machines: RayMachines, engine_of: EngineOf
) -> None:
    machines.add("node1", "--cpus=2", "--memory-mib=1024")
    text = bytes(range(256)) * 400
    async with started(engine_of()) as run:
        container_id = run.launch(sys.executable, "-c", ECHO)
        port = int((await run.printed(container_id, "ready")).split()[0])

        stream = await run.engine.connect(run.node_id, container_id, port)
        await stream.write(text)
        said = b""
        while len(said) < len(text):
            said += await stream.read()
        await stream.end()
        last = await stream.read()
        await stream.close()

        assert await run.engine.listening_ports(run.node_id, container_id) == [port]
        assert (said, last) == (text, b"")
        with pytest.raises(Conflict):
            await run.engine.connect(run.node_id, container_id, port + 1)
        run.stop(container_id, grace_s=0)
        await run.ended(container_id)


@pytest.mark.real
async def test_a_call_that_says_nothing_for_long_is_not_broken_off_for_trying_whether_the_line_is_alive(
    machines: RayMachines, engine_of: EngineOf
) -> None:
    """Ray's servers take three tries that come too soon, each 3 s after the other, and then hang up."""
    if "node1" not in machines.workers:
        machines.add("node1", "--cpus=2", "--memory-mib=1024")
    async with started(engine_of()):
        import ray

        class Silent:
            def wait(self, seconds: float) -> str:
                import time

                time.sleep(seconds)
                return "not broken off"

        actor = ray.remote(Silent).options(num_cpus=0).remote()
        assert await asyncio.wait_for(asyncio.wrap_future(actor.wait.remote(20.0).future()), 120) == "not broken off"
        ray.kill(actor)
