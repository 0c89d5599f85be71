"""Placement constraints on machines in two racks: a master made by hand, which lies in no container."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from hrm.model.ids import ApplicationId
from hrm.testing.conditions import eventually_async
from hrm.testing.hadoop_client import HadoopClient
from hrm.testing.ray_server import RayServer, ray_server
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.protocols import APPLICATION_CLIENT, APPLICATION_MASTER
from tests.acceptance.spark_programs import yarn_ports
from tests.scenarios.yarn.client_door import submission
from tests.scenarios.yarn.test_wire_placing import ATTRIBUTE, DELAYED_OR, composite, scheduling, simple, target, timed

pytestmark = [pytest.mark.ray, pytest.mark.real, pytest.mark.yarn]
NODES = ("one", "two", "three")
RACKS = {"one": "/near", "two": "/near", "three": "/far"}
DEADLINE_S = 120.0


@pytest.fixture(scope="module")
def names() -> dict[str, str]:
    """Of the machines, by address."""
    return {}


@pytest.fixture(scope="module")
def server(names: dict[str, str]) -> Iterator[RayServer]:
    with ray_server() as server:
        if not server.machines.in_namespaces:
            pytest.skip("needs network namespaces, and so root")
        ports = json.dumps(yarn_ports())[1:-1]
        nodes = ", ".join(f"{name}: {{rack: {rack}, attributes: {{place: {name}}}}}" for name, rack in RACKS.items())
        server.up(
            engine={"head_runs_containers": "false"},
            more=f"nodes: {{{nodes}}}\n"
            f"yarn: {{enabled: true, host: {server.machines.head.address}, {ports}, users: [root], "
            f"hosts: [{server.machines.head.address}]}}\n",
        )
        for name in NODES:
            machine = server.machines.add(name, "--cpus=3", "--memory-mib=3072")
            names[str(machine.address)] = name
        server.all_up(NODES)
        yield server


class Master:
    """Of an unmanaged application; beats as often as it is asked to."""

    def __init__(self, clients: HadoopClient, address: tuple[str, int], application_id: records.ApplicationIdProto):
        self._clients = clients
        self._address = address
        self._id = application_id
        self._response_id = 0

    async def register(self) -> None:
        request = service.GetApplicationReportRequestProto(application_id=self._id)

        async def report() -> Any:
            told = (await self._clients.call(APPLICATION_CLIENT, "getApplicationReport", request)).application_report
            return told if told.HasField("am_rm_token") else None

        self._token = (await eventually_async(report, DEADLINE_S)).am_rm_token
        await self._call("registerApplicationMaster", service.RegisterApplicationMasterRequestProto())

    async def _call(self, method: str, request: Any) -> Any:
        async with await HadoopClient.connect(self._address, token=self._token) as client:
            return await client.call(APPLICATION_MASTER, method, request)

    async def given(self, count: int, *wanted: Any) -> list[str]:
        """Where so many containers are, once it has them: addresses of machines."""
        granted: list[str] = []
        asks = list(wanted)

        async def all_there() -> bool:
            request = service.AllocateRequestProto(response_id=self._response_id, scheduling_requests=asks)
            heard = await self._call("allocate", request)
            asks.clear()
            assert not heard.rejected_scheduling_requests
            self._response_id = heard.response_id
            granted.extend(one.nodeId.host for one in heard.allocated_containers)
            return len(granted) >= count

        await eventually_async(all_there, DEADLINE_S)
        return granted

    async def finish(self) -> None:
        request = service.FinishApplicationMasterRequestProto(final_application_status=records.APP_SUCCEEDED)
        await self._call("finishApplicationMaster", request)

    @property
    def application(self) -> str:
        return str(ApplicationId(self._id.cluster_timestamp, self._id.id))


async def begun(server: RayServer) -> Master:
    told = json.loads((server.home / "server.json").read_text())["yarn"]
    clients, masters = (_address(told[door]) for door in ("clients", "masters"))
    client = await HadoopClient.connect(clients, user="root")
    new = await client.call(APPLICATION_CLIENT, "getNewApplication", service.GetNewApplicationRequestProto())
    context = submission(new.application_id, unmanaged_am=True)
    request = service.SubmitApplicationRequestProto(application_submission_context=context)
    await client.call(APPLICATION_CLIENT, "submitApplication", request)
    master = Master(client, masters, new.application_id)
    await master.register()
    return master


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def test_containers_lie_by_rack_by_attribute_and_after_a_while_elsewhere(
    server: RayServer, names: dict[str, str]
) -> None:
    """One story, because a cluster takes its time to begin."""

    async def story() -> None:
        master = await begun(server)
        apart = simple(target("web"), most=0, scope="rack")
        web = await master.given(2, scheduling(3, "web", constraint=apart))
        explained = server.hrm("explain", master.application)
        assert sorted(RACKS[names[address]] for address in web) == ["/far", "/near"]
        assert "no web of its own in the rack" in explained
        await master.given(0, scheduling(0, "web", constraint=apart))

        on_two = simple(target("two", kind=ATTRIBUTE, whose="place"), attributeOpCode=records.EQ)
        (db,) = await master.given(1, scheduling(1, "db", number=2, constraint=on_two))
        beside = simple(target("db"), least=1, scope="rack")
        near = await master.given(2, scheduling(2, "cache", number=3, constraint=beside))
        assert names[db] == "two"
        assert {RACKS[names[address]] for address in near} == {"/near"}

        nowhere = simple(target("nothing"), least=1)
        patient = composite(DELAYED_OR, timed=[timed(nowhere, 2000), timed(beside, 0)])
        await master.given(1, scheduling(1, "late", number=4, constraint=patient))
        await master.finish()

    asyncio.run(story())
