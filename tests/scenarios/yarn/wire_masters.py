"""A master of YARN's made by hand, over the wire, at a live ResourceManager on a fake cluster."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from hrm.api.accounts import Accounts
from hrm.api.tokens import TokenAuthority
from hrm.config.home import Home
from hrm.config.yarn_values import YarnConfig
from hrm.model.ids import ApplicationId, AttemptId
from hrm.testing.hadoop_client import HadoopClient
from hrm.testing.lives import Life
from hrm.yarn.front import FrontDoor
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.protocols import APPLICATION_CLIENT, APPLICATION_MASTER, CONTAINER_MANAGEMENT
from tests.scenarios.yarn.client_door import submission

ME = pwd.getpwuid(os.geteuid()).pw_name
ANY_PORTS = YarnConfig(enabled=True, client_port=0, master_port=0, web_port=0, node_port=0, node_web_port=0)


class Yarn:
    """A life with YARN's front door open."""

    def __init__(self, life: Life, front: FrontDoor) -> None:
        self.life = life
        self.front = front
        #: How often somebody had the queues read anew.
        self.reloads = 0

    async def reload(self) -> None:
        self.reloads += 1

    async def submit(self, **fields: Any) -> str:
        """The id of an application, whose master is a program that sleeps unless ``fields`` say else."""
        address = _address(self.front.addresses["clients"])
        async with await HadoopClient.connect(address, user=ME) as client:
            new = await client.call(APPLICATION_CLIENT, "getNewApplication", service.GetNewApplicationRequestProto())
            context = submission(new.application_id, **fields)
            request = service.SubmitApplicationRequestProto(application_submission_context=context)
            await client.call(APPLICATION_CLIENT, "submitApplication", request)
        await self.life.settle()
        return str(ApplicationId(new.application_id.cluster_timestamp, new.application_id.id))

    def master(self, application_id: str, attempt: int = 1) -> WireMaster:
        return WireMaster(self, AttemptId(ApplicationId.parse(application_id), attempt))

    async def begun(self, **fields: Any) -> WireMaster:
        """A master that has registered."""
        master = self.master(await self.submit(**fields))
        await master.register()
        return master


class WireMaster:
    """Each call is one connection, as Java's clients to nodes have it."""

    def __init__(self, yarn: Yarn, attempt: AttemptId) -> None:
        self.yarn = yarn
        self.attempt = attempt
        self.token = yarn.front.secrets.issue_amrm(attempt)
        self.response_id = 0
        self.node_tokens: dict[tuple[str, int], Any] = {}

    async def call(self, method: str, request: Message) -> Any:
        address = _address(self.yarn.front.addresses["masters"])
        async with await HadoopClient.connect(address, token=self.token) as client:
            return await client.call(APPLICATION_MASTER, method, request)

    async def register(self, **fields: Any) -> Any:
        answer = await self.call("registerApplicationMaster", service.RegisterApplicationMasterRequestProto(**fields))
        self.response_id = 0
        self._learn(answer.nm_tokens_from_previous_attempts)
        return answer

    async def beat(self, *asks: records.ResourceRequestProto, **fields: Any) -> Any:
        """What it hears by two heartbeats: what it asks for, and what came of that."""
        first = await self.allocate(ask=asks, **fields)
        await self.yarn.life.settle()
        second = await self.allocate()
        second.allocated_containers.extend(first.allocated_containers)
        second.completed_container_statuses.extend(first.completed_container_statuses)
        return second

    async def allocate(self, **fields: Any) -> Any:
        answer = await self.call(
            "allocate", service.AllocateRequestProto(**{"response_id": self.response_id, "progress": 0.5, **fields})
        )
        self.response_id = answer.response_id
        self._learn(answer.nm_tokens)
        return answer

    async def get(self, count: int, **fields: Any) -> list[Any]:
        """Containers that it is granted now."""
        granted = list((await self.beat(ask(count, **fields))).allocated_containers)
        assert len(granted) == count
        return granted

    async def at_node(self, container: Any, method: str, request: Message) -> Any:
        node = (container.nodeId.host, container.nodeId.port)
        async with await HadoopClient.connect(node, token=self.node_tokens[node]) as client:
            return await client.call(CONTAINER_MANAGEMENT, method, request)

    async def start(self, *containers: Any, command: str = "sleep 1000", **context: Any) -> Any:
        request = service.StartContainersRequestProto()
        for container in containers:
            request.start_container_request.add(
                container_launch_context=records.ContainerLaunchContextProto(command=[command], **context),
                container_token=container.container_token,
            )
        answer = await self.at_node(containers[0], "startContainers", request)
        await self.yarn.life.settle()
        return answer

    async def finish(self, status: int = records.APP_SUCCEEDED, diagnostics: str = "", tracking_url: str = "") -> Any:
        answer = await self.call(
            "finishApplicationMaster",
            service.FinishApplicationMasterRequestProto(
                final_application_status=status, diagnostics=diagnostics, tracking_url=tracking_url
            ),
        )
        await self.yarn.life.settle()
        return answer

    async def exit(self, code: int = 0) -> None:
        """Its process ends."""
        life = self.yarn.life
        name = (await life.service.tasks(str(self.attempt.application)))[0].container_id
        assert name is not None
        await life.finish(name, code)

    def _learn(self, tokens: Any) -> None:
        for one in tokens:
            self.node_tokens[one.nodeId.host, one.nodeId.port] = one.token


def ask(count: int, *, memory: int = 512, vcores: int = 1, place: str = "*", **fields: Any) -> Any:
    return records.ResourceRequestProto(
        **{
            "priority": records.PriorityProto(priority=1),
            "resource_name": place,
            "capability": records.ResourceProto(memory=memory, virtual_cores=vcores),
            "num_containers": count,
            **fields,
        }
    )


@contextlib.asynccontextmanager
async def opened(life: Life, folder: Path, config: YarnConfig = ANY_PORTS) -> AsyncIterator[Yarn]:
    """YARN's front door before ``life``; its keys are kept in ``folder``, which outlives it."""
    home = Home(folder / "home")
    home.create()
    accounts = Accounts()
    front = FrontDoor(config, home, accounts)
    try:
        yarn = Yarn(life, front)
        verify = TokenAuthority(os.urandom(32)).verify
        async with front.open(life.service, accounts.check_submitter, verify, yarn.reload):
            yield yarn
    finally:
        await front.close()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)
