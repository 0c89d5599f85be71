"""YARN's REST interface of a real server: as a client of its own package calls it, and who is let in over sockets."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from hrm.testing import eventually, eventually_async
from hrm.testing.hadoop import Hadoop
from hrm.testing.hadoop_client import HadoopClient
from hrm.testing.other_user import OtherUser
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.protocols import APPLICATION_CLIENT, APPLICATION_MASTER
from tests.acceptance.conftest import Hrm, server_up

pytestmark = pytest.mark.yarn

CONFIGURATION = """\
node: {vcores: 4, memory: 4G}
queues: {research: {weight: 3}, batch: {weight: 1}}
scheduler: {default_queue: batch}
server: {port: 0}
yarn: {enabled: true, client_port: 0, master_port: 0, web_port: 0, node_port: 0, node_web_port: 0}
"""


# Named first: it forks, which must be before anything here has threads.
@pytest.fixture(scope="module")
def somebody_else() -> Iterator[OtherUser]:
    with OtherUser("nobody") as other:
        yield other


@pytest.fixture(scope="module")
def hrm() -> Iterator[Hrm]:
    with server_up(CONFIGURATION) as hrm:
        yield hrm


@pytest.fixture(scope="module")
def web(hrm: Hrm) -> str:
    return f"http://{hrm('status', '-o', 'json').json['yarn']['web']}"


def ask(url: str, *, method: str = "GET", body: Any = None, token: str = "") -> tuple[int, str]:
    """Status and text of the answer. At the top of the module, so that another user's process can do it."""
    request = urllib.request.Request(url, method=method, data=None if body is None else json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def submission(name: str, command: str = "sleep 1000") -> dict[str, Any]:
    return {
        "application-id": name,
        "application-name": "by rest",
        "application-type": "TEST",
        "queue": "research",
        "am-container-spec": {"commands": {"command": command}},
        "resource": {"memory": 256, "vCores": 1},
        "max-app-attempts": 1,
    }


def submitted(web: str, command: str = "sleep 1000", *, memory: int = 256) -> str:
    app = json.loads(ask(f"{web}/ws/v1/cluster/apps/new-application", method="POST")[1])["application-id"]
    body = {**submission(app, command), "resource": {"memory": memory, "vCores": 1}}
    status, text = ask(f"{web}/ws/v1/cluster/apps", method="POST", body=body)
    assert status == 202, text
    return app


def test_what_is_submitted_runs_in_a_container_and_is_killed(hrm: Hrm, web: str) -> None:
    app = submitted(web, "echo hello $USER; sleep 1000")
    eventually(lambda: "hello" in hrm("logs", app).out, 60)
    told = json.loads(ask(f"{web}/ws/v1/cluster/apps/{app}")[1])["app"]
    assert (told["state"], told["queue"], told["allocatedMB"]) == ("ACCEPTED", "root.research", 256)
    assert "hello" in ask(told["amContainerLogs"])[1]
    ask(f"{web}/ws/v1/cluster/apps/{app}/state", method="PUT", body={"state": "KILLED"})
    eventually(lambda: hrm.state(app) == "KILLED", 60)


def test_a_command_that_fails_fails_the_application(hrm: Hrm, web: str) -> None:
    app = submitted(web, "exit 7")
    eventually(lambda: hrm.state(app) == "FAILED", 60)
    told = json.loads(ask(f"{web}/ws/v1/cluster/apps/{app}")[1])["app"]
    assert (told["state"], told["finalStatus"]) == ("FAILED", "FAILED")
    assert "exit code 7" in told["diagnostics"]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_another_user_of_the_machine_is_who_the_kernel_says(somebody_else: OtherUser, hrm: Hrm, web: str) -> None:
    app = submitted(web)
    kill = {"method": "PUT", "body": {"state": "KILLED"}}
    url = f"{web}/ws/v1/cluster/apps/{app}/state?user.name=root"
    status, text = somebody_else.do(ask_kill, url)
    assert status == 403
    assert "nobody cannot perform operation MODIFY_APP" in text
    status, text = somebody_else.do(ask, f"{web}/ws/v1/cluster/apps/{app}")
    assert (status, json.loads(text)["app"]["diagnostics"]) == (200, "")
    token = (hrm.home / "token").read_text().strip()
    assert somebody_else.do(ask_with, f"{web}/ws/v1/cluster/info", token)[0] == 403
    assert hrm.state(app) != "KILLED"
    assert ask(url, **kill)[0] in (200, 202)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_no_master_has_the_server_speak_to_itself_in_root_s_name(somebody_else: OtherUser, hrm: Hrm, web: str) -> None:
    victim = submitted(web)
    clients, masters = (hrm("status", "-o", "json").json["yarn"][port] for port in ("clients", "masters"))
    mine = somebody_else.do(master_with_its_page_at, clients, masters, web)
    path = f"{web}/proxy/{mine}/ws/v1/cluster/apps/{victim}"
    status, text = somebody_else.do(ask_kill, f"{path}/state")
    assert (status, "is not a process of nobody's" in text) == (502, True), text
    assert somebody_else.do(ask, path)[0] == 502
    assert hrm.state(victim) not in ("KILLED", "FAILED")


def master_with_its_page_at(clients: str, masters: str, page: str) -> str:
    """An application of whoever calls, whose master runs here and names ``page`` as its own."""
    return asyncio.run(registered(address(clients), address(masters), page))


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


async def registered(clients: tuple[str, int], masters: tuple[str, int], page: str) -> str:
    async with await HadoopClient.connect(clients, user=pwd.getpwuid(os.geteuid()).pw_name) as client:
        new = await client.call(APPLICATION_CLIENT, "getNewApplication", service.GetNewApplicationRequestProto())
        request = service.SubmitApplicationRequestProto()
        context = request.application_submission_context
        context.application_id.CopyFrom(new.application_id)
        context.unmanaged_am = True
        await client.call(APPLICATION_CLIENT, "submitApplication", request)
        asked = service.GetApplicationReportRequestProto(application_id=new.application_id)

        async def token() -> TokenProto | None:
            report = (await client.call(APPLICATION_CLIENT, "getApplicationReport", asked)).application_report
            return report.am_rm_token if report.am_rm_token.password else None

        given = await eventually_async(token, 60)
    async with await HadoopClient.connect(masters, token=given) as master:
        request = service.RegisterApplicationMasterRequestProto(host="here", tracking_url=page)
        await master.call(APPLICATION_MASTER, "registerApplicationMaster", request)
    return f"application_{new.application_id.cluster_timestamp}_{new.application_id.id:04d}"


def ask_kill(url: str) -> tuple[int, str]:
    return ask(url, method="PUT", body={"state": "KILLED"})


def ask_with(url: str, token: str) -> tuple[int, str]:
    return ask(url, token=token)


@pytest.mark.real
def test_sparks_pages_are_shown_by_way_of_the_server(hrm: Hrm, web: str) -> None:
    assert hrm("yarn", "env").code == 0
    hadoop = Hadoop(hrm.home / "hadoop-conf", env=hrm.env)
    with hadoop.started(hadoop.example("pi.py"), 100_000, mode="cluster"):
        url = f"{web}/ws/v1/cluster/apps?states=RUNNING&applicationTypes=SPARK"
        eventually(lambda: json.loads(ask(url)[1])["apps"] is not None, 180)
        (app,) = json.loads(ask(url)[1])["apps"]["app"]
        assert app["trackingUrl"] == f"{web}/proxy/{app['id']}/"
        status, page = ask(app["trackingUrl"])
        assert (status, "Spark Jobs" in page) == (200, True), page[:500]
        # The sheets and scripts that the page names come the same way.
        assert f'href="/proxy/{app["id"]}/static/' in page
        assert ask(f"{web}/proxy/{app['id']}/static/webui.css")[0] == 200
        told = json.loads(ask(f"{web}/proxy/{app['id']}/api/v1/applications")[1])
        assert [one["id"] for one in told] == [app["id"]]
        assert ask(f"{web}/ws/v1/cluster/apps/{app['id']}/state", method="PUT", body={"state": "KILLED"})[0] < 300
    eventually(lambda: hrm.state(app["id"]) == "KILLED", 60)
    assert "KILLED" in ask(f"{web}/cluster/app/{app['id']}")[1]
