"""By YARN's door: application reports a second, and heartbeats of connected masters while the core schedules.

    python benches/yarn_rpc.py [--seconds 10] [--clients 20] [--masters 200] [--heartbeats-per-s 2000]

Each alone, against a server of the bench's own with store and engine. Clients ask as fast as they are answered, one
call at a time. Masters run elsewhere, prove their tokens, and heartbeat by the clock, so a late answer counts from when
it was due; in one of ten heartbeats a master asks for a container, and gives it back with the next. Targets, on two
cores of which the bench itself takes one: 5,000 reports/s; 2,000 heartbeats/s with a p99 under 20 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import os
import pwd
import selectors
import socket
import struct
import time

import psutil

from _server import BenchServer, bench_server
from hrm.model.ids import ApplicationId
from hrm.testing.conditions import eventually_async
from hrm.testing.hadoop_client import PREAMBLE, SIMPLE, HadoopClient, frame, request_header, split
from hrm.yarn.ids import application_message
from hrm.yarn.proto.records_pb2 import ApplicationIdProto, ResourceProto, ResourceRequestProto
from hrm.yarn.proto.rpc_pb2 import (
    IpcConnectionContextProto,
    RequestHeaderProto,
    RpcResponseHeaderProto,
    UserInformationProto,
)
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.proto.service_pb2 import (
    AllocateRequestProto,
    AllocateResponseProto,
    GetApplicationReportRequestProto,
    GetNewApplicationRequestProto,
    RegisterApplicationMasterRequestProto,
    SubmitApplicationRequestProto,
)
from hrm.yarn.protocols import APPLICATION_CLIENT, APPLICATION_MASTER

CONFIGURATION = """
node: {vcores: 1000, memory: 1000G, isolation: none}
yarn: {enabled: true, client_port: 0, master_port: 0, web_port: 0, node_port: 0, node_web_port: 0}
"""
ME = pwd.getpwuid(os.geteuid()).pw_name
Address = tuple[str, int]
ALLOCATE = RequestHeaderProto(
    methodName="allocate", declaringClassProtocolName=APPLICATION_MASTER.name, clientProtocolVersion=1
)
#: One of so many heartbeats asks for a container.
ASKS_IN = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--masters", type=int, default=200)
    parser.add_argument("--heartbeats-per-s", type=float, default=2000.0)
    options = parser.parse_args()
    print(f"load average before: {os.getloadavg()[0]:.1f}")
    with bench_server(CONFIGURATION) as server:
        application = asyncio.run(submit_one(address_of(server, "clients")))
        reports(server, application, options.clients, options.seconds)
    with bench_server(CONFIGURATION) as server:
        heartbeats(server, options.masters, options.heartbeats_per_s, options.seconds)
        print(f"longest turn of the loop: {server.client.server().loop_lag_max_ms:.1f} ms")
    print(f"load average after: {os.getloadavg()[0]:.1f}")


def address_of(server: BenchServer, port: str) -> Address:
    host, _, number = json.loads((server.home / "server.json").read_bytes())["yarn"][port].rpartition(":")
    return host, int(number)


def cpu_of(server: BenchServer) -> float:
    """Seconds of CPU that the server has used, which other work on the machine makes hardly longer."""
    return sum(psutil.Process(server.pid).cpu_times()[:2])


def tell(what: str, took_s: float, latencies_s: list[float], cpu_s: float) -> None:
    count = len(latencies_s)
    latencies_s.sort()
    p50, p99, most = (latencies_s[min(len(latencies_s) - 1, int(len(latencies_s) * part))] for part in (0.5, 0.99, 1))
    print(
        f"{what}: {count / took_s:.0f}/s, p50 {p50 * 1000:.2f} ms, p99 {p99 * 1000:.2f} ms, "
        f"longest {most * 1000:.1f} ms; {cpu_s / count * 1e6:.0f} µs of the server's CPU each"
    )


async def submit_one(clients: Address) -> ApplicationIdProto:
    async with await HadoopClient.connect(clients, user=ME) as client:
        return await submit(client)


async def submit(client: HadoopClient) -> ApplicationIdProto:
    """An application whose master runs elsewhere."""
    new = await client.call(APPLICATION_CLIENT, "getNewApplication", GetNewApplicationRequestProto())
    request = SubmitApplicationRequestProto()
    context = request.application_submission_context
    context.application_id.CopyFrom(new.application_id)
    context.application_name = "bench"
    context.unmanaged_am = True
    context.resource.CopyFrom(ResourceProto(memory=128, virtual_cores=1))
    context.am_container_spec.SetInParent()
    await client.call(APPLICATION_CLIENT, "submitApplication", request)
    return application_message(ApplicationId(new.application_id.cluster_timestamp, new.application_id.id))


# --- reports


def reports(server: BenchServer, application: ApplicationIdProto, count: int, seconds: float) -> None:
    """One call at a time on each of ``count`` connections, by as little as a client can do."""
    header = RequestHeaderProto(
        methodName="getApplicationReport",
        declaringClassProtocolName=APPLICATION_CLIENT.name,
        clientProtocolVersion=1,
    )
    call = frame(request_header(1, b"b" * 16, 0), header, GetApplicationReportRequestProto(application_id=application))
    with selectors.DefaultSelector() as selector:
        sent: dict[socket.socket, float] = {}
        for _ in range(count):
            connection = introduced(address_of(server, "clients"))
            selector.register(connection, selectors.EVENT_READ)
            connection.sendall(call)
            sent[connection] = time.perf_counter()
        latencies_s = []
        began, cpu_before_s = time.perf_counter(), cpu_of(server)
        while time.perf_counter() < began + seconds:
            for key, _ in selector.select(1.0):
                connection = key.fileobj  # type: ignore[assignment]
                check_success(connection)
                now = time.perf_counter()
                latencies_s.append(now - sent[connection])
                sent[connection] = now
                connection.sendall(call)
        took_s, cpu_s = time.perf_counter() - began, cpu_of(server) - cpu_before_s
        tell(f"getApplicationReport, {count} clients", took_s, latencies_s, cpu_s)
        for connection in sent:
            connection.close()


def introduced(clients: Address) -> socket.socket:
    connection = socket.create_connection(clients)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    context = IpcConnectionContextProto(userInfo=UserInformationProto(effectiveUser=ME))
    connection.sendall(PREAMBLE + SIMPLE + frame(request_header(-3), context))
    return connection


def check_success(connection: socket.socket) -> None:
    """Take one answer. Success is told from an error by the second field of its header."""
    answer = connection.recv(1 << 16)
    length = struct.unpack(">i", answer[:4])[0]
    while len(answer) < length + 4:
        answer += connection.recv(1 << 16)
    if answer[7:9] != b"\x10\x00":
        raise SystemExit(f"the server answered with an error: {answer[:300]!r}")


# --- heartbeats


def heartbeats(server: BenchServer, count: int, per_s: float, seconds: float) -> None:
    masters = asyncio.run(registered(server, count))
    with selectors.DefaultSelector() as selector:
        begin, interval_s = time.perf_counter() + 0.5, count / per_s
        due = [(begin + interval_s * index / count, index) for index in range(count)]
        for index, master in enumerate(masters):
            selector.register(master.connection, selectors.EVENT_READ, index)
        cpu_before_s = cpu_of(server)
        under_way = 0
        while due or under_way:
            while due and due[0][0] <= time.perf_counter():
                at, index = heapq.heappop(due)
                masters[index].send(at)
                under_way += 1
            for key, _ in selector.select(max(0.0, due[0][0] - time.perf_counter()) if due else 1.0):
                master = masters[key.data]
                at = master.take()
                under_way -= 1
                if at + interval_s < begin + seconds:
                    heapq.heappush(due, (at + interval_s, key.data))
        took_s, cpu_s = time.perf_counter() - begin, cpu_of(server) - cpu_before_s
    latencies_s = [latency for master in masters for latency in master.latencies_s]
    tell(f"allocate, {count} masters", took_s, latencies_s, cpu_s)
    print(f"granted and given back meanwhile: {sum(master.granted for master in masters) / took_s:.0f}/s")
    for master in masters:
        master.connection.close()


async def registered(server: BenchServer, count: int) -> list[Master]:
    """Masters that have proven their tokens, each of an application of its own."""
    clients, masters = address_of(server, "clients"), address_of(server, "masters")
    connected = []
    async with await HadoopClient.connect(clients, user=ME) as client:
        for _ in range(count):
            token = await token_of(client, await submit(client))
            master = await HadoopClient.connect(masters, token=token)
            await master.call(
                APPLICATION_MASTER, "registerApplicationMaster", RegisterApplicationMasterRequestProto(host="bench")
            )
            # The connection goes on without the loop that it was made on.
            connected.append(Master(master.writer.get_extra_info("socket").dup()))
            await master.close()
    return connected


async def token_of(client: HadoopClient, application: ApplicationIdProto) -> TokenProto:
    token = TokenProto()

    async def is_given() -> bool:
        request = GetApplicationReportRequestProto(application_id=application)
        answer = await client.call(APPLICATION_CLIENT, "getApplicationReport", request)
        token.CopyFrom(answer.application_report.am_rm_token)
        return bool(token.identifier)

    await eventually_async(is_given, 30)
    return token


class Master:
    """One that is registered. A heartbeat that is due while another is under way counts from when it was due."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(True)
        self.connection = connection
        self.latencies_s: list[float] = []
        self.granted = 0
        self._request = AllocateRequestProto(progress=0.5, response_id=0)
        self._beats = 0
        self._due = 0.0

    def send(self, due: float) -> None:
        if self._beats % ASKS_IN == 0:
            self._request.ask.append(ask(1))
        self._beats += 1
        self._due = due
        self.connection.sendall(frame(request_header(1, b"m" * 16, 0), ALLOCATE, self._request))

    def take(self) -> float:
        """When the heartbeat was due that is answered now."""
        answer = self.connection.recv(1 << 16)
        length = struct.unpack(">i", answer[:4])[0]
        while len(answer) < length + 4:
            answer += self.connection.recv(1 << 16)
        self.latencies_s.append(time.perf_counter() - self._due)
        header, *rest = split(answer[4:])
        if not rest:
            raise SystemExit(f"the server answered with an error: {RpcResponseHeaderProto.FromString(header)}")
        response = AllocateResponseProto.FromString(rest[0])
        self._request = AllocateRequestProto(progress=0.5, response_id=response.response_id)
        for container in response.allocated_containers:
            self.granted += 1
            self._request.release.append(container.id)
        return self._due


def ask(containers: int) -> ResourceRequestProto:
    request = ResourceRequestProto(resource_name="*", num_containers=containers)
    request.priority.priority = 1
    request.capability.CopyFrom(ResourceProto(memory=128, virtual_cores=1))
    return request


if __name__ == "__main__":
    main()
