"""Hadoop's own classes read what HRM writes, prove its tokens, and know its errors: Java, driven from here."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from hrm.api.accounts import Accounts
from hrm.model.ids import ContainerId
from hrm.testing.hadoop import java_home
from hrm.yarn.calls import Caller, Service
from hrm.yarn.door import bind
from hrm.yarn.errors import ApplicationNotFound
from hrm.yarn.ids import container_message, node_address
from hrm.yarn.proto.identifiers_pb2 import ContainerTokenIdentifierProto
from hrm.yarn.proto.records_pb2 import NodeIdProto
from hrm.yarn.proto.service_pb2 import GetContainerStatusesResponseProto, RegisterApplicationMasterResponseProto
from hrm.yarn.protocols import APPLICATION_MASTER, CONTAINER_MANAGEMENT
from hrm.yarn.rpc.hub import Authentication
from hrm.yarn.rpc.server import RpcServer
from hrm.yarn.rpc.simple import SimpleDoor
from hrm.yarn.tokens.credentials import Credentials
from hrm.yarn.tokens.secrets import TokenSecrets
from hrm.yarn.tokens.state import TokenState
from tests.scenarios.yarn.running_rpc import ATTEMPT, ME, Echo

pytestmark = [pytest.mark.real, pytest.mark.yarn]

API = "org.apache.hadoop.yarn.api"


class Java:
    """A JVM with Hadoop's classes, whose user has what is in a file of credentials."""

    def __init__(self, credentials: Path) -> None:
        from py4j.java_gateway import GatewayParameters, JavaGateway

        package = find_spec("pyspark")
        assert package is not None and package.origin is not None, "pyspark is missing"
        self._process = subprocess.Popen(
            [
                str(java_home() / "bin" / "java"),
                "-cp",
                f"{Path(package.origin).parent}/jars/*",
                "py4j.GatewayServer",
                "0",
            ],
            env={**os.environ, "HADOOP_TOKEN_FILE_LOCATION": str(credentials)},
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        port = int(self._process.stdout.readline())
        # Nothing that was asked for is forgotten there: to tell of it would take the connection after its end.
        parameters = GatewayParameters(port=port, auto_convert=True, enable_memory_management=False)
        self._gateway = JavaGateway(gateway_parameters=parameters)
        self.jvm: Any = self._gateway.jvm
        self.hadoop: Any = self.jvm.org.apache.hadoop
        self.conf = self.hadoop.yarn.conf.YarnConfiguration()

    def proxy(self, protocol: str, address: tuple[str, int]) -> Any:
        """As Hadoop's clients make it."""
        kind = self.jvm.java.lang.Class.forName(f"{API}.{protocol}")
        socket_address = self.jvm.java.net.InetSocketAddress(*address)
        return self.hadoop.yarn.ipc.YarnRPC.create(self.conf).getProxy(kind, socket_address, self.conf)

    def new_array(self, kind: Any, *things: Any) -> Any:
        """An array of Java's."""
        array = self._gateway.new_array(kind, len(things))
        for at, thing in enumerate(things):
            array[at] = thing
        return array

    def identifier(self, kind: str, data: bytes) -> Any:
        found = self.jvm.java.lang.Class.forName(kind).getDeclaredConstructor(None).newInstance(None)
        stream = self.jvm.java.io.ByteArrayInputStream(data)
        found.readFields(self.jvm.java.io.DataInputStream(stream))
        return found

    def close(self) -> None:
        self._gateway.close()
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def raised(call: Callable[[], object]) -> tuple[str, str]:
    """Class and message of the exception that a call ends with in Java."""
    from py4j.protocol import Py4JJavaError

    with pytest.raises(Py4JJavaError) as error:
        call()
    exception: Any = error.value.java_exception
    return exception.getClass().getName(), exception.getMessage()


@dataclass
class House:
    """The three ports, whose methods say who called; what their tokens are made by; and a JVM that has them."""

    clients: tuple[str, int]
    masters: tuple[str, int]
    node: NodeIdProto
    credentials: Credentials
    secrets: TokenSecrets
    folder: Path
    java: Java

    async def ask(self, protocol: str, address: tuple[str, int], ask: Callable[[Any], object]) -> Any:
        """What ``ask`` gives with the protocol's proxy, while the server goes on here."""
        return await asyncio.to_thread(lambda: ask(self.java.proxy(protocol, address)))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    def registered(request: Message, caller: Caller) -> Message:
        answer = RegisterApplicationMasterResponseProto(queue=caller.user)
        answer.maximumCapability.memory = 1024
        return answer

    def unknown(request: Message, caller: Caller) -> Message:
        raise ApplicationNotFound("Application with id 'application_1_0002' doesn't exist in RM.")

    def no_statuses(request: Message, caller: Caller) -> Message:
        return GetContainerStatusesResponseProto()

    secrets = TokenSecrets(TokenState.new(0.0), lambda data: None)
    async with AsyncExitStack() as stack:

        async def serve(service: Service, authentication: Authentication, bound: Any) -> tuple[str, int]:
            server = RpcServer([service], authentication)
            await server.start(bound)
            stack.push_async_callback(server.close)
            return server.address

        at_node = bind("127.0.0.1", 0, key="node")
        node = NodeIdProto(host="127.0.0.1", port=at_node.getsockname()[1])
        clients = await serve(
            Echo().service(getApplicationReport=unknown),
            Authentication(tokens=secrets.delegation_verifier(), simple=SimpleDoor(Accounts())),
            bind("127.0.0.1", 0, key="clients"),
        )
        masters = await serve(
            Service(APPLICATION_MASTER, {"registerApplicationMaster": registered}),
            Authentication(tokens=secrets.amrm_verifier(lambda attempt: attempt == ATTEMPT)),
            bind("127.0.0.1", 0, key="masters"),
        )
        await serve(
            Service(CONTAINER_MANAGEMENT, {"getContainerStatuses": no_statuses}),
            Authentication(tokens=secrets.nm_verifier(node)),
            at_node,
        )
        credentials = Credentials(secrets={"word": b"hush"})
        for alias, token in {
            "master": secrets.issue_amrm(ATTEMPT),
            "node": secrets.issue_nm(ATTEMPT, node, ME),
        }.items():
            credentials.tokens[alias] = token
        credentials.tokens["master"].service = f"127.0.0.1:{masters[1]}"
        file = tmp_path / "container_tokens"
        file.write_bytes(credentials.write())
        java = await asyncio.to_thread(Java, file)
        stack.callback(java.close)
        yield House(clients, masters, node, credentials, secrets, tmp_path, java)


def queue_info(proxy: Any, java: Java) -> str:
    records = java.hadoop.yarn.api.protocolrecords
    name: str = (
        proxy.getQueueInfo(records.GetQueueInfoRequest.newInstance("q", False, False, False))
        .getQueueInfo()
        .getQueueName()
    )
    return name


def register(proxy: Any, java: Java) -> str:
    records = java.hadoop.yarn.api.protocolrecords
    queue: str = proxy.registerApplicationMaster(
        records.RegisterApplicationMasterRequest.newInstance("host", 1, "")
    ).getQueue()
    return queue


async def test_a_client_comes_in_as_its_user_though_it_has_tokens_for_others(house: House) -> None:
    # It begins with SASL because it has tokens at all, finds none that fits, and goes on by simple.
    answer = await house.ask("ApplicationClientProtocol", house.clients, lambda proxy: queue_info(proxy, house.java))

    assert answer == f"{ME} q"


async def test_a_master_proves_its_token_and_is_its_attempt(house: House) -> None:
    answer = await house.ask("ApplicationMasterProtocol", house.masters, lambda proxy: register(proxy, house.java))

    assert answer == str(ATTEMPT)


async def test_a_master_proves_its_token_to_a_node(house: House) -> None:
    def ask(proxy: Any) -> int:
        records = house.java.hadoop.yarn.api.protocolrecords
        none: int = (
            proxy.getContainerStatuses(records.GetContainerStatusesRequest.newInstance([]))
            .getContainerStatuses()
            .size()
        )
        return none

    assert await house.ask("ContainerManagementProtocol", (house.node.host, house.node.port), ask) == 0


async def test_a_wrong_password_is_refused_at_once(house: House) -> None:
    def ask(proxy: Any) -> tuple[str, str]:
        security = house.java.hadoop.security
        user = security.UserGroupInformation.getLoginUser()
        alias = house.java.hadoop.io.Text("master")
        good = user.getCredentials().getToken(alias)
        bad = security.token.Token(good.getIdentifier(), b"wrong", good.getKind(), good.getService())
        user.addToken(alias, bad)
        return raised(lambda: register(proxy, house.java))

    java_class, message = await house.ask("ApplicationMasterProtocol", house.masters, ask)

    assert java_class == "javax.security.sasl.SaslException"
    assert "not made with this token's password" in message


async def test_a_delegation_token_is_its_owner(house: House) -> None:
    token = await house.secrets.issue_delegation("ada", "oozie", service=f"127.0.0.1:{house.clients[1]}")

    def ask(proxy: Any) -> str:
        hadoop = house.java.hadoop
        held = hadoop.security.token.Token(
            token.identifier, token.password, hadoop.io.Text(token.kind), hadoop.io.Text(token.service)
        )
        hadoop.security.UserGroupInformation.getLoginUser().addToken(hadoop.io.Text("delegation"), held)
        return queue_info(proxy, house.java)

    assert await house.ask("ApplicationClientProtocol", house.clients, ask) == "ada q"


async def test_errors_are_raised_as_what_they_are(house: House) -> None:
    records = house.java.hadoop.yarn.api.protocolrecords
    known = house.java.hadoop.yarn.api.records.ApplicationId.newInstance(1, 2)

    def ask(proxy: Any) -> list[tuple[str, str]]:
        return [
            raised(lambda: proxy.getApplicationReport(records.GetApplicationReportRequest.newInstance(known))),
            raised(lambda: proxy.getClusterMetrics(records.GetClusterMetricsRequest.newInstance())),
        ]

    (not_found, message), (unsupported, _) = await house.ask("ApplicationClientProtocol", house.clients, ask)

    assert not_found == "org.apache.hadoop.yarn.exceptions.ApplicationNotFoundException"
    assert message == "Application with id 'application_1_0002' doesn't exist in RM."
    assert unsupported == "java.lang.UnsupportedOperationException"


async def test_identifiers_are_read_as_they_were_meant(house: House) -> None:
    container = ContainerId(ATTEMPT, 3, 2)
    token = house.secrets.issue_container(
        ContainerTokenIdentifierProto(
            containerId=container_message(container), nmHostAddr=node_address(house.node), appSubmitter="ada"
        )
    )
    delegation = await house.secrets.issue_delegation("ada", "oozie")
    read = house.java.identifier

    of_container = read("org.apache.hadoop.yarn.security.ContainerTokenIdentifier", token.identifier)
    of_master = read(
        "org.apache.hadoop.yarn.security.AMRMTokenIdentifier", house.credentials.tokens["master"].identifier
    )
    of_owner = read("org.apache.hadoop.yarn.security.client.RMDelegationTokenIdentifier", delegation.identifier)

    assert of_container.getContainerID().toString() == str(container)
    assert of_container.getApplicationSubmitter() == "ada"
    assert of_master.getApplicationAttemptId().toString() == str(ATTEMPT)
    assert of_owner.getUser().getUserName() == "ada"


async def test_a_master_in_java_works_out_its_clients_passwords(house: House) -> None:
    token = house.secrets.issue_client_to_am(ATTEMPT, "ada")
    identifier = house.java.identifier(
        "org.apache.hadoop.yarn.security.client.ClientToAMTokenIdentifier", token.identifier
    )
    manager = house.java.hadoop.yarn.security.client.ClientToAMTokenSecretManager(
        identifier.getApplicationAttemptID(), house.secrets.client_to_am_key(ATTEMPT)
    )

    assert bytes(manager.retrievePassword(identifier)) == token.password


@pytest.mark.parametrize("version", [0, 1])
async def test_credentials_go_there_and_back(house: House, version: int) -> None:
    given, back = house.folder / "given", house.folder / "back"
    given.write_bytes(house.credentials.write(version))
    java_class = house.java.hadoop.security.Credentials

    read = java_class.readTokenStorageFile(house.java.jvm.java.io.File(str(given)), house.java.conf)
    form = java_class.SerializedFormat.PROTOBUF if version else java_class.SerializedFormat.WRITABLE
    read.writeTokenStorageFile(house.java.hadoop.fs.Path(f"file://{back}"), house.java.conf, form)

    assert Credentials.read(back.read_bytes()) == house.credentials


@pytest.fixture(scope="module", autouse=True)
def spark() -> Iterator[None]:
    assert find_spec("py4j") is not None, "py4j is missing: it comes with pyspark"
    yield
