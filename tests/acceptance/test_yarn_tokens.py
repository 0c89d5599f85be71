"""Tokens of YARN's masters against the server as users start it, by a client made by hand."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import signal
import stat

import pytest

from hrm.model.ids import ApplicationId
from hrm.testing import eventually
from hrm.testing.conditions import eventually_async
from hrm.testing.hadoop_client import HadoopClient, RemoteError
from hrm.yarn.ids import application_message
from hrm.yarn.proto.records_pb2 import ResourceProto
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.proto.service_pb2 import (
    AllocateRequestProto,
    FinishApplicationMasterRequestProto,
    GetApplicationReportRequestProto,
    GetNewApplicationRequestProto,
    RegisterApplicationMasterRequestProto,
    SubmitApplicationRequestProto,
)
from hrm.yarn.protocols import APPLICATION_CLIENT, APPLICATION_MASTER
from tests.acceptance.conftest import Hrm

ME = pwd.getpwuid(os.geteuid()).pw_name
CONFIGURATION = """\
node: {vcores: 4, memory: 4G}
server: {port: 0}
yarn: {enabled: true, client_port: 0, master_port: 0, web_port: 0, node_port: 0, node_web_port: 0}
"""
NOT_REGISTERED = "org.apache.hadoop.yarn.exceptions.ApplicationMasterNotRegisteredException"


def address(hrm: Hrm, port: str) -> tuple[str, int]:
    host, _, number = json.loads((hrm.home / "server.json").read_text())["yarn"][port].rpartition(":")
    return host, int(number)


async def submitted(hrm: Hrm) -> ApplicationId:
    """An application whose master runs somewhere else: here."""
    async with await HadoopClient.connect(address(hrm, "clients"), user=ME) as client:
        new = await client.call(APPLICATION_CLIENT, "getNewApplication", GetNewApplicationRequestProto())
        request = SubmitApplicationRequestProto()
        context = request.application_submission_context
        context.application_id.CopyFrom(new.application_id)
        context.unmanaged_am = True
        context.resource.CopyFrom(ResourceProto(memory=128, virtual_cores=1))
        context.am_container_spec.SetInParent()
        await client.call(APPLICATION_CLIENT, "submitApplication", request)
    return ApplicationId(new.application_id.cluster_timestamp, new.application_id.id)


async def token_of(hrm: Hrm, application: ApplicationId) -> TokenProto:
    token = TokenProto()

    async def is_there() -> bool:
        request = GetApplicationReportRequestProto(application_id=application_message(application))
        async with await HadoopClient.connect(address(hrm, "clients"), user=ME) as client:
            answer = await client.call(APPLICATION_CLIENT, "getApplicationReport", request)
        token.CopyFrom(answer.application_report.am_rm_token)
        return bool(token.password)

    await eventually_async(is_there, 60)
    return token


async def register(master: HadoopClient) -> None:
    await master.call(
        APPLICATION_MASTER, "registerApplicationMaster", RegisterApplicationMasterRequestProto(host="here")
    )


def killed(hrm: Hrm) -> None:
    """The server is gone as if the power had failed."""
    pid = hrm.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{pid}") or "(defunct)" in status_of(pid), 60)
    (hrm.home / "server.json").unlink()


def status_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return "(defunct)" if file.read().rpartition(")")[2].split()[0] == "Z" else ""
    except FileNotFoundError:
        return "(defunct)"


def test_a_masters_token_is_good_after_the_server_was_killed_and_began_anew(hrm: Hrm) -> None:
    hrm.configure(CONFIGURATION)
    assert hrm("up", "--detach").code == 0

    async def before() -> tuple[ApplicationId, TokenProto]:
        application = await submitted(hrm)
        token = await token_of(hrm, application)
        async with await HadoopClient.connect(address(hrm, "masters"), token=token) as master:
            await register(master)
        return application, token

    async def after(token: TokenProto) -> None:
        async with await HadoopClient.connect(address(hrm, "masters"), token=token) as master:
            with pytest.raises(RemoteError) as raised:
                await master.call(APPLICATION_MASTER, "allocate", AllocateRequestProto(response_id=0))
            assert raised.value.java_class == NOT_REGISTERED, "it is told to register again, not that it is nobody"
            await register(master)
            await master.call(APPLICATION_MASTER, "allocate", AllocateRequestProto(response_id=0))
            finished = await master.call(
                APPLICATION_MASTER,
                "finishApplicationMaster",
                FinishApplicationMasterRequestProto(final_application_status="APP_SUCCEEDED"),
            )
            assert finished.isUnregistered

    application, token = asyncio.run(before())
    assert stat.S_IMODE((hrm.home / "yarn-keys").stat().st_mode) == 0o600
    killed(hrm)
    assert hrm("up", "--detach").code == 0
    asyncio.run(after(token))

    assert hrm("wait", application).code == 0
    with pytest.raises(RemoteError, match=r"over|not known"):
        asyncio.run(HadoopClient.connect(address(hrm, "masters"), token=token))
