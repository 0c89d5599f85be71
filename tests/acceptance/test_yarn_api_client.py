"""The package yarn-api-client as it comes: each of its calls against a server's REST interface."""

from __future__ import annotations

import getpass
import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from hrm.testing import eventually
from tests.acceptance.conftest import Hrm, server_up
from tests.acceptance.test_yarn_rest import CONFIGURATION, master_with_its_page_at, submission, submitted

pytestmark = [pytest.mark.real, pytest.mark.yarn]

HEADER = "Hadoop-YARN-RM-Delegation-Token"
LATER = "2033-05-18T03:33:20.000+0000"
#: Not calls but what they are made of.
INNER = {"construct_parameters", "request"}


@dataclass
class Story:
    """A server, the package's three clients of it, and two applications: one that runs and one that cannot yet."""

    hrm: Hrm
    web: str
    manager: Any
    node: Any
    #: By way of the server's proxy.
    master: Any
    runs: str
    #: One that runs until it is signalled.
    ends: str
    waits: str
    #: One whose master answers as MapReduce's: with the path that it was asked.
    mapreduce: str

    @property
    def attempt(self) -> str:
        return self.runs.replace("application", "appattempt") + "_000001"

    @property
    def container(self) -> str:
        (container,) = self.node.node_application(self.runs).data["app"]["containerids"]
        return str(container)

    @property
    def node_id(self) -> str:
        (node,) = self.manager.cluster_nodes().data["nodes"]["node"]
        return str(node["id"])

    def new(self) -> str:
        """One that may be killed."""
        return submitted(self.web)


class Answers(BaseHTTPRequestHandler):
    """Method, path and body of each request, as JSON."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        told = json.dumps({"asked": [self.command, self.path, body]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    do_GET = do_PUT = answer

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """A master's page."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def story(page: str) -> Iterator[Story]:
    from yarn_api_client import ApplicationMaster, NodeManager, ResourceManager

    with server_up(CONFIGURATION.replace("{default_queue", "{master_timeout: 10m, default_queue")) as hrm:
        doors = hrm("status", "-o", "json").json["yarn"]
        web = f"http://{doors['web']}"
        runs = submitted(web, "echo begun; sleep 1000")
        ends = submitted(web, "echo begun; sleep 1000")
        for app in (runs, ends):
            eventually(lambda app=app: "begun" in hrm("logs", app).out, 60)
        waits = submitted(web, memory=4000)
        mapreduce = master_with_its_page_at(doors["clients"], doors["masters"], page)
        yield Story(
            hrm, web, ResourceManager([web]), NodeManager(web), ApplicationMaster(web), runs, ends, waits, mapreduce
        )


def refused(call: Callable[[], Any], *, by: str = "YARNFeatureNotEnabledException") -> bool:
    from yarn_api_client.errors import APIError

    with pytest.raises(APIError, match=by):
        call()
    return True


def ids(items: Any, key: str = "id") -> list[str]:
    return [one[key] for one in items]


def killed(story: Story) -> bool:
    app = story.new()
    story.manager.cluster_application_kill(app)
    return bool(eventually(lambda: story.hrm.state(app) == "KILLED", 60))


def submits(story: Story) -> bool:
    app = story.manager.cluster_new_application().data["application-id"]
    story.manager.cluster_submit_application(submission(app))
    return bool(eventually(lambda: story.manager.cluster_application_state(app).data["state"] == "ACCEPTED", 60))


def signalled(story: Story) -> bool:
    (container,) = story.node.node_application(story.ends).data["app"]["containerids"]
    story.manager.cluster_container_signal(container, "FORCEFUL_SHUTDOWN")
    return bool(eventually(lambda: story.hrm.state(story.ends) == "FAILED", 60))


def memory_of_a_node(story: Story) -> bool:
    """It is read from the files that `hrm yarn env` writes."""
    from yarn_api_client.hadoop_conf import _get_maximum_container_memory

    assert story.hrm("yarn", "env").code == 0
    return int(_get_maximum_container_memory(str(story.hrm.home / "hadoop-conf"))) == 4096


def given_token(story: Story) -> dict[str, Any]:
    token: dict[str, Any] = story.manager.cluster_new_delegation_token(getpass.getuser()).data
    return token


def renewed(story: Story) -> bool:
    """The package's own call cannot be made (it hands `requests` its headers twice); what it would send is."""
    token = given_token(story)
    with pytest.raises(TypeError, match="headers"):
        story.manager.cluster_renew_delegation_token(token["token"])
    address = f"{story.web}/ws/v1/cluster/delegation-token/expiration"
    answer = story.manager.session.post(address, headers={HEADER: token["token"]}).json()
    return bool(answer["expiration-time"] >= token["expiration-time"])


def cancelled(story: Story) -> bool:
    """As `renewed`."""
    token = given_token(story)["token"]
    with pytest.raises(TypeError, match="headers"):
        story.manager.cluster_cancel_delegation_token(token)
    address = f"{story.web}/ws/v1/cluster/delegation-token"
    statuses = [story.manager.session.delete(address, headers={HEADER: token}).status_code for _ in range(2)]
    return statuses == [200, 401]


def moved(story: Story) -> bool:
    manager, app = story.manager, story.new()
    assert manager.cluster_change_application_queue(app, "batch").data == {"queue": "root.batch"}
    return bool(manager.cluster_get_application_queue(app).data == {"queue": "root.batch"})


def raised(story: Story) -> bool:
    manager, app = story.manager, story.new()
    assert manager.cluster_change_application_priority(app, 3).data == {"priority": 3}
    return bool(manager.cluster_get_application_priority(app).data == {"priority": 3})


def lengthened(story: Story) -> bool:
    told = story.manager.cluster_update_application_timeout(story.new(), "LIFETIME", LATER).data["timeout"]
    return bool(told["expiryTime"] == LATER)


def partition(story: Story) -> Any:
    return story.manager.cluster_queue_partition(story.manager.cluster_scheduler_queue("research"), "")


def allocations(told: Any) -> Any:
    return told.data["activities"]["allocations"][0]["root"]


#: Of the ResourceManager.
CLUSTER: dict[str, Callable[[Story], Any]] = {
    "get_active_endpoint": lambda s: s.manager.get_active_endpoint() == s.web,
    "cluster_information": lambda s: s.manager.cluster_information().data["clusterInfo"]["state"] == "STARTED",
    "cluster_metrics": lambda s: s.manager.cluster_metrics().data["clusterMetrics"]["totalNodes"] == 1,
    "cluster_scheduler": lambda s: s.manager.cluster_scheduler().data["scheduler"]["schedulerInfo"]["rootQueue"],
    "cluster_scheduler_queue": lambda s: s.manager.cluster_scheduler_queue("batch")["queuePath"] == "root.batch",
    "cluster_queue_partition": lambda s: partition(s)["absoluteCapacity"] > 50,
    "cluster_scheduler_queue_availability": lambda s: s.manager.cluster_scheduler_queue_availability(partition(s), 90),
    "cluster_applications": lambda s: s.runs
    in ids(
        s.manager.cluster_applications(
            states=["ACCEPTED"], user=getpass.getuser(), queue="research", application_types=["TEST"], limit=50,
            started_time_begin=1, started_time_end=1 << 42,
        ).data["apps"]["app"]
    ),
    "cluster_application_statistics": lambda s: s.manager.cluster_application_statistics(
        states=["ACCEPTED"], application_types=["TEST"]
    ).data["appStatInfo"]["statItem"][0]["count"]
    >= 2,
    "cluster_application": lambda s: s.manager.cluster_application(s.runs).data["app"]["name"] == "by rest",
    "cluster_application_attempts": lambda s: ids(
        s.manager.cluster_application_attempts(s.runs).data["appAttempts"]["appAttempt"], "appAttemptId"
    )
    == [s.attempt],
    "cluster_application_attempt_info": lambda s: s.manager.cluster_application_attempt_info(s.runs, s.attempt).data[
        "appAttempt"
    ]["amContainerId"]
    == s.container,
    "cluster_application_attempt_containers": lambda s: ids(
        s.manager.cluster_application_attempt_containers(s.runs, s.attempt).data["containers"]["container"],
        "containerId",
    )
    == [s.container],
    "cluster_application_attempt_container_info": lambda s: s.manager.cluster_application_attempt_container_info(
        s.runs, s.attempt, s.container
    ).data["container"]["containerState"]
    == "RUNNING",
    "cluster_application_state": lambda s: s.manager.cluster_application_state(s.waits).data == {"state": "ACCEPTED"},
    "cluster_application_kill": killed,
    "cluster_nodes": lambda s: s.manager.cluster_nodes(states=["RUNNING"]).data["nodes"]["node"],
    "cluster_node": lambda s: s.manager.cluster_node(s.node_id).data["node"]["state"] == "RUNNING",
    "cluster_node_update_resource": lambda s: refused(
        lambda: s.manager.cluster_node_update_resource(s.node_id, {"resource": {"memory": 1, "vCores": 1}})
    ),
    "cluster_node_container_memory": memory_of_a_node,
    "cluster_new_application": lambda s: s.manager.cluster_new_application().data["maximum-resource-capability"],
    "cluster_submit_application": submits,
    "cluster_get_application_queue": lambda s: s.manager.cluster_get_application_queue(s.runs).data["queue"]
    == "root.research",
    "cluster_change_application_queue": moved,
    "cluster_get_application_priority": lambda s: s.manager.cluster_get_application_priority(s.runs).data
    == {"priority": 0},
    "cluster_change_application_priority": raised,
    "cluster_application_timeouts": lambda s: ids(
        s.manager.cluster_application_timeouts(s.runs).data["timeouts"]["timeout"], "type"
    )
    == ["LIFETIME"],
    "cluster_application_timeout": lambda s: s.manager.cluster_application_timeout(s.runs, "LIFETIME").data["timeout"][
        "expiryTime"
    ]
    == "UNLIMITED",
    "cluster_update_application_timeout": lengthened,
    "cluster_container_signal": signalled,
    "cluster_new_delegation_token": lambda s: given_token(s)["owner"] == getpass.getuser(),
    "cluster_renew_delegation_token": renewed,
    "cluster_cancel_delegation_token": cancelled,
    "cluster_reservations": lambda s: refused(s.manager.cluster_reservations),
    "cluster_new_reservation": lambda s: refused(s.manager.cluster_new_reservation),
    "cluster_submit_reservation": lambda s: refused(lambda: s.manager.cluster_submit_reservation({})),
    "cluster_update_reservation": lambda s: refused(lambda: s.manager.cluster_update_reservation({})),
    "cluster_delete_reservation": lambda s: refused(lambda: s.manager.cluster_delete_reservation("reservation_1_1")),
    "cluster_scheduler_conf_mutation": lambda s: refused(s.manager.cluster_scheduler_conf_mutation),
    "cluster_modify_scheduler_conf_mutation": lambda s: refused(
        lambda: s.manager.cluster_modify_scheduler_conf_mutation({})
    ),
    "scheduler_activities": lambda s: s.waits
    in str(allocations(s.manager.scheduler_activities(node_id=s.node_id, group_by="diagnostic"))),
    "application_activities": lambda s: "asks for 4G"
    in s.manager.application_activities(
        s.waits, max_time=1.0, request_priorities=["0"], allocation_request_ids=["-1"], group_by="diagnostic", limit=5,
        actions=["refresh", "get"], summarize=True,
    ).data["appActivities"]["diagnostic"],
}  # fmt: skip
#: Of NodeManagers.
NODE: dict[str, Callable[[Story], Any]] = {
    "node_information": lambda s: s.node.node_information().data["nodeInfo"]["nodeHealthy"],
    "node_applications": lambda s: (
        s.runs in ids(s.node.node_applications(state="RUNNING", user=getpass.getuser()).data["apps"]["app"])
    ),
    "node_application": lambda s: s.node.node_application(s.runs).data["app"]["state"] == "RUNNING",
    "node_containers": lambda s: s.container in ids(s.node.node_containers().data["containers"]["container"]),
    "node_container": lambda s: s.node.node_container(s.container).data["container"]["state"] == "RUNNING",
    "auxiliary_services": lambda s: s.node.auxiliary_services().data["services"] == {"service": []},
    "auxiliary_services_update": lambda s: refused(
        lambda: s.node.auxiliary_services_update({"services": []}), by="UnsupportedOperationException"
    ),
}
#: Of masters of MapReduce's: what is below the application's name in an address.
MASTER = {
    "application_information": "info",
    "jobs": "jobs",
    "job": "jobs/1",
    "job_attempts": "jobs/1/jobattempts",
    "job_counters": "jobs/1/counters",
    "job_conf": "jobs/1/conf",
    "job_tasks": "jobs/1/tasks",
    "job_task": "jobs/1/tasks/2",
    "task_counters": "jobs/1/tasks/2/counters",
    "task_attempts": "jobs/1/tasks/2/attempts",
    "task_attempt": "jobs/1/tasks/2/attempts/3",
    "task_attempt_state": "jobs/1/tasks/2/attempts/3/state",
    "task_attempt_state_kill": "jobs/1/tasks/2/attempts/3/state",
    "task_attempt_counters": "jobs/1/tasks/2/attempts/3/counters",
}


@pytest.mark.parametrize(
    ("kind", "tried"), [("ResourceManager", CLUSTER), ("NodeManager", NODE), ("ApplicationMaster", MASTER)]
)
def test_all_calls_of_the_package_are_tried_here(kind: str, tried: dict[str, Any]) -> None:
    import yarn_api_client

    members = inspect.getmembers(getattr(yarn_api_client, kind), inspect.isfunction)
    assert {name for name, _ in members if not name.startswith("_")} - INNER == tried.keys()


@pytest.mark.parametrize("call", CLUSTER)
def test_the_resource_manager_answers(story: Story, call: str) -> None:
    assert CLUSTER[call](story)


@pytest.mark.parametrize("call", NODE)
def test_nodes_answer(story: Story, call: str) -> None:
    assert NODE[call](story)


@pytest.mark.parametrize("call", MASTER)
def test_a_master_is_asked_by_way_of_the_server(story: Story, call: str) -> None:
    ask = getattr(story.master, call)
    count = len(inspect.signature(ask).parameters) - 1
    method, path, body = ask(story.mapreduce, *map(str, range(1, count + 1))).data["asked"]
    assert path == f"/ws/v1/mapreduce/{MASTER[call]}"
    assert (method, body) == (("PUT", '{"state": "KILLED"}') if call.endswith("_kill") else ("GET", ""))
