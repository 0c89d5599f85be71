"""YARN's REST interface: what is told, what is changed, and who is let in."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hrm.yarn.proto import records_pb2 as records
from tests.scenarios.yarn.client_door import Door
from tests.scenarios.yarn.rest_door import Rest


@pytest.fixture
async def rest(door: Door) -> AsyncIterator[Rest]:
    rest = Rest(door)
    yield rest
    await rest.close()


def submission(name: str, **more: Any) -> dict[str, Any]:
    return {
        "application-id": name,
        "application-name": "by rest",
        "application-type": "TEST",
        "am-container-spec": {
            "commands": {"command": "sleep 1000"},
            "environment": {"entry": [{"key": "MODE", "value": "fast"}]},
            "local-resources": {
                "entry": {
                    "key": "app.jar",
                    "value": {"resource": "file:///srv/app.jar", "type": "FILE", "size": 7, "timestamp": 1000},
                }
            },
        },
        "resource": {"memory": 256, "vCores": 1},
        **more,
    }


def with_file(url: str) -> dict[str, Any]:
    """What a container runs with one file."""
    entry = {"key": "f", "value": {"resource": url, "type": "FILE", "size": 1, "timestamp": 1}}
    return {"commands": {"command": "true"}, "local-resources": {"entry": entry}}


async def new_id(rest: Rest) -> str:
    return (await rest.told("apps/new-application", method="POST"))["application-id"]


# --- the cluster


async def test_the_cluster_and_its_sums_are_told(rest: Rest) -> None:
    await rest.door.submit()
    assert (await rest.told("info"))["clusterInfo"]["state"] == "STARTED"
    metrics = (await rest.told("metrics"))["clusterMetrics"]
    assert (metrics["totalMB"], metrics["allocatedMB"], metrics["availableMB"]) == (8192, 1024, 7168)
    assert (metrics["appsSubmitted"], metrics["appsRunning"], metrics["activeNodes"]) == (1, 1, 1)


async def test_the_tree_of_queues_is_told_with_shares(rest: Rest) -> None:
    await rest.door.submit(queue="research")
    root = (await rest.told("scheduler"))["scheduler"]["schedulerInfo"]["rootQueue"]
    leaves = {queue["queueName"]: queue for queue in root["childQueues"]["queue"]}
    assert list(leaves) == ["root.default", "root.research"]
    assert leaves["root.research"]["type"] == "fairSchedulerLeafQueueInfo"
    assert (leaves["root.research"]["usedResources"]["memory"], leaves["root.research"]["numActiveApps"]) == (1024, 1)


async def test_clients_of_the_capacity_scheduler_find_its_tree_beside(rest: Rest) -> None:
    await rest.door.submit(queue="research")
    info = (await rest.told("scheduler"))["scheduler"]["schedulerInfo"]
    assert (info["queueName"], info["capacity"], info["absoluteUsedCapacity"]) == ("root", 100.0, 12.5)
    research = next(queue for queue in info["queues"]["queue"] if queue["queueName"] == "research")
    assert (research["queuePath"], research["absoluteCapacity"], research["usedCapacity"]) == (
        "root.research",
        50.0,
        25.0,
    )
    (partition,) = research["capacities"]["queueCapacitiesByPartition"]
    assert (partition["partitionName"], partition["absoluteUsedCapacity"]) == ("", 12.5)


async def test_nodes_are_told_all_and_one(rest: Rest) -> None:
    (node,) = (await rest.told("nodes"))["nodes"]["node"]
    assert (node["id"], node["state"], node["availMemoryMB"]) == ("127.0.0.1:8041", "RUNNING", 8192)
    assert (await rest.told("nodes/127.0.0.1:8041"))["node"] == node
    assert (await rest.told("nodes?states=lost,unhealthy"))["nodes"]["node"] == []
    assert (await rest("nodes/other:1")).status_code == 404


async def test_dashboards_find_their_numbers(rest: Rest) -> None:
    await rest.door.submit()
    beans = {bean["name"]: bean for bean in (await rest.told("/jmx"))["beans"]}
    assert beans["Hadoop:service=ResourceManager,name=ClusterMetrics"]["NumActiveNMs"] == 1
    assert beans["Hadoop:service=ResourceManager,name=QueueMetrics,q0=root,q1=default"]["AllocatedMB"] == 1024
    only = await rest.told("/jmx", params={"qry": "Hadoop:service=ResourceManager,name=ClusterMetrics"})
    assert len(only["beans"]) == 1


async def test_xml_says_the_same_as_json(rest: Rest) -> None:
    await rest.door.submit(application_name="a <b> & c")
    response = await rest("apps", headers={"Accept": "application/xml"})
    assert response.headers["content-type"] == "application/xml"
    root = ElementTree.fromstring(response.content)
    assert (root.tag, root.findtext("app/name"), root.findtext("app/state")) == ("apps", "a <b> & c", "ACCEPTED")


# --- applications


async def test_an_application_is_told_by_yarns_names(rest: Rest) -> None:
    app = await rest.door.submit(queue="research", applicationTags=["nightly"])
    await rest.door.master(app).register()
    told = (await rest.told(f"apps/{app}"))["app"]
    assert {key: told[key] for key in ("id", "user", "queue", "state", "finalStatus", "applicationType")} == {
        "id": app, "user": "ada", "queue": "root.research", "state": "RUNNING", "finalStatus": "UNDEFINED",
        "applicationType": "SPARK",
    }  # fmt: skip
    assert (told["applicationTags"], told["allocatedMB"], told["runningContainers"]) == ("nightly", 1024, 1)
    assert told["trackingUrl"] == f"http://rm:8088/proxy/{app}/"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["waits", "killed", "runs"]),
        ("states=running", ["runs"]),
        ("states=KILLED&states=RUNNING", ["killed", "runs"]),
        ("states=NEW,ACCEPTED", ["waits"]),
        ("finalStatus=KILLED", ["killed"]),
        ("user=bob", ["waits"]),
        ("queue=research", ["runs"]),
        ("applicationTypes=spark", ["waits", "runs"]),
        ("applicationTags=nightly", ["runs"]),
        ("name=killed", ["killed"]),
        ("limit=1", ["waits"]),
        ("finishedTimeBegin=1", ["killed"]),
        ("startedTimeEnd=1", []),
    ],
)
async def test_a_list_is_narrowed_down(rest: Rest, query: str, names: list[str]) -> None:
    door = rest.door
    runs = await door.submit(application_name="runs", queue="research", applicationTags=["nightly"])
    await door.master(runs).register()
    killed = await door.submit(application_name="killed", applicationType="FLINK")
    await door.life.service.kill(killed, by="ada")
    await door.life.ended(killed)
    await door.submit(application_name="waits", user="bob")
    apps = (await rest.told(f"apps?{query}"))["apps"]
    assert [one["name"] for one in (apps or {"app": []})["app"]] == names


@pytest.mark.parametrize(
    "query", ["states=GONE", "finalStatus=LOST", "limit=0", "limit=two", "startedTimeBegin=2&startedTimeEnd=1"]
)
async def test_a_filter_that_cannot_be_is_refused(rest: Rest, query: str) -> None:
    response = await rest(f"apps?{query}")
    assert response.status_code == 400
    assert response.json()["RemoteException"]["exception"] == "BadRequestException"


async def test_how_many_there_are_of_each_kind(rest: Rest) -> None:
    await rest.door.submit()
    await rest.door.submit(applicationType="FLINK")
    items = (await rest.told("appstatistics?states=accepted&applicationTypes=spark,flink"))["appStatInfo"]["statItem"]
    assert items == [
        {"state": "ACCEPTED", "type": "spark", "count": 1}, {"state": "ACCEPTED", "type": "flink", "count": 1},
    ]  # fmt: skip


async def test_runs_and_containers_are_told(rest: Rest) -> None:
    app = await rest.door.submit()
    (line,) = (await rest.told(f"apps/{app}/appattempts"))["appAttempts"]["appAttempt"]
    attempt = (await rest.told(f"apps/{app}/appattempts/{line['appAttemptId']}"))["appAttempt"]
    assert (attempt["appAttemptState"], attempt["amContainerId"]) == ("LAUNCHED", line["containerId"])
    (container,) = (await rest.told(f"apps/{app}/appattempts/1/containers"))["containers"]["container"]
    assert (container["containerId"], container["containerState"]) == (line["containerId"], "RUNNING")
    one = await rest.told(f"apps/{app}/appattempts/1/containers/{line['containerId']}")
    assert one["container"] == container
    assert (await rest(f"apps/{app}/appattempts/7")).status_code == 404


# --- submitting and changing


async def test_what_is_submitted_by_rest_runs(rest: Rest) -> None:
    app = await new_id(rest)
    body = submission(app, queue="research", priority=3, **{"application-tags": {"tag": ["x"]}})
    response = await rest("apps", method="POST", json=body)
    assert (response.status_code, response.headers["location"]) == (202, f"http://rm:8088/ws/v1/cluster/apps/{app}")
    await rest.door.life.settle()
    told = (await rest.told(f"apps/{app}"))["app"]
    assert (told["name"], told["queue"], told["applicationTags"], told["priority"]) == (
        "by rest", "root.research", "x", 3,
    )  # fmt: skip
    assert len(rest.door.life.engine.launches) == 1


async def test_the_same_may_be_said_in_xml(rest: Rest) -> None:
    app = await new_id(rest)
    body = f"""<application-submission-context>
      <application-id>{app}</application-id><application-name>by xml</application-name>
      <am-container-spec><commands><command>sleep 1000</command></commands></am-container-spec>
      <resource><memory>256</memory><vCores>1</vCores></resource>
    </application-submission-context>"""
    response = await rest("apps", method="POST", content=body, headers={"Content-Type": "application/xml"})
    assert response.status_code == 202, response.text
    assert (await rest.told(f"apps/{app}"))["app"]["name"] == "by xml"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"application-id": "application_1_1"}, "application-id"),
        ({"resource": {"memory": 1 << 40, "vCores": 1}}, "above the maximum allocation"),
        ({"resource": {"memory": "lots"}}, "memory: not a whole number"),
        ({"priority": 1 << 40}, "priority: not a whole number"),
        ({"am-container-spec": "run it"}, "am-container-spec: not an object"),
        ({"am-container-spec": {"commands": {"command": ""}}}, "is empty"),
        ({"queue": "nowhere"}, "nowhere"),
        ({"am-container-spec": with_file("http://[::1/x")}, "not an address"),
        ({"am-container-spec": with_file("http://h:port/x")}, "not an address"),
        ({"unmanaged-AM": "perhaps"}, "neither true nor false"),
        ({"am-container-spec": {"credentials": {"tokens": {"entry": []}, "secrets": {"x": 1}}}}, "credentials"),
    ],
)
async def test_a_submission_that_cannot_be_is_refused_with_what_is_wrong(
    rest: Rest, change: dict[str, Any], said: str
) -> None:
    app = await new_id(rest)
    response = await rest("apps", method="POST", json={**submission(app), **change})
    assert response.status_code == 400
    assert said in response.json()["RemoteException"]["message"]
    assert (await rest.told("apps"))["apps"] is None


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"<a><b></a>", "application/xml"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "application/xml"),
        (b"{}", "text/plain"),
        (b"a=b", "application/x-www-form-urlencoded"),
        (b'{"x": "' + b"y" * (9 << 20) + b'"}', "application/json"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(rest: Rest, content: bytes, kind: str) -> None:
    response = await rest("apps", method="POST", content=content, headers={"Content-Type": kind})
    assert response.status_code in (400, 413)


async def test_it_is_killed_by_its_state(rest: Rest) -> None:
    app = await rest.door.submit()
    first = await rest(f"apps/{app}/state", method="PUT", json={"state": "KILLED"})
    assert first.status_code in (200, 202)
    await rest.door.life.ended(app)
    again = await rest(f"apps/{app}/state", method="PUT", json={"state": "KILLED"})
    assert (again.status_code, again.json()) == (200, {"state": "KILLED"})
    assert (await rest(f"apps/{app}/state", method="PUT", json={"state": "RUNNING"})).status_code == 400


async def test_queue_priority_and_lifetime_are_changed(rest: Rest) -> None:
    app = await rest.door.submit()
    assert await rest.told(f"apps/{app}/queue", method="PUT", json={"queue": "root.research"}) == {
        "queue": "root.research"
    }
    assert await rest.told(f"apps/{app}/priority", method="PUT", json={"priority": 7}) == {"priority": 7}
    body = {"timeout": {"type": "LIFETIME", "expiryTime": "2033-05-18T03:33:20.000+0000"}}
    told = await rest.told(f"apps/{app}/timeout", method="PUT", json=body)
    assert told["timeout"]["expiryTime"] == "2033-05-18T03:33:20.000+0000"
    assert (await rest.told(f"apps/{app}/timeouts/LIFETIME")) == told


async def test_a_container_is_signalled(rest: Rest) -> None:
    app = await rest.door.submit()
    (container,) = rest.door.life.containers(app)
    path = f"containers/{container}/signal"
    assert (await rest(f"{path}/LAUGH", method="POST")).status_code == 400
    assert (await rest(f"{path}/FORCEFUL_SHUTDOWN", method="POST", user="bob")).status_code == 403
    assert (await rest(f"{path}/FORCEFUL_SHUTDOWN", method="POST")).status_code == 200
    await rest.door.life.settle()
    assert container not in rest.door.life.containers(app)


# --- who is let in


async def test_whoever_proves_nothing_is_told_nothing(rest: Rest) -> None:
    for path in ("info", "apps", "nodes", "/jmx", "/ws/v1/node/info", "/node/containerlogs/c/ada"):
        response = await rest(path, user=None)
        assert response.status_code == 401, path
    assert (await rest("apps/new-application", method="POST", user=None)).status_code == 401


async def test_a_name_that_is_only_claimed_counts_for_nothing(rest: Rest) -> None:
    app = await rest.door.submit(user="bob")
    request = {"method": "PUT", "json": {"state": "KILLED"}}
    assert (await rest(f"apps/{app}/state?user.name=bob", **request)).status_code == 403
    assert (await rest(f"apps/{app}/state?user.name=bob", user=None, **request)).status_code == 401


async def test_a_token_proves_from_anywhere_and_here_only_in_its_users_hands(rest: Rest) -> None:
    app = await rest.door.submit(user="bob")
    request = {"method": "PUT", "json": {"priority": 1}, "headers": {"Authorization": "Bearer of-bob"}}
    assert (await rest(f"apps/{app}/priority", user=None, **request)).status_code == 200
    assert (await rest(f"apps/{app}/priority", user="bob", **request)).status_code == 200
    assert (await rest(f"apps/{app}/priority", user="ada", **request)).status_code == 403


@pytest.mark.parametrize(("token", "status"), [("forged", 401), ("of-master", 403)])
async def test_tokens_that_are_none_or_a_masters_let_nobody_in(rest: Rest, token: str, status: int) -> None:
    response = await rest("info", user=None, headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == status


@pytest.mark.parametrize("header", [{"Origin": "http://rm:8088"}, {"Sec-Fetch-Site": "same-origin"}])
async def test_what_a_browser_sends_changes_nothing_without_a_token(rest: Rest, header: dict[str, str]) -> None:
    app = await rest.door.submit()
    request: dict[str, Any] = {"method": "PUT", "json": {"priority": 1}}
    assert (await rest(f"apps/{app}/priority", headers=header, **request)).status_code == 403
    with_token = {**header, "Authorization": "Bearer of-admin"}
    assert (await rest(f"apps/{app}/priority", user=None, headers=with_token, **request)).status_code == 200


async def test_another_host_name_is_not_this_server(rest: Rest) -> None:
    assert (await rest("info", headers={"Host": "evil.example.org"})).status_code == 403
    assert (await rest("info", headers={"Host": "localhost:8088"})).status_code == 200


async def test_others_see_that_it_is_there_and_nothing_inside(rest: Rest) -> None:
    app = await rest.door.submit(am_container_spec=records.ContainerLaunchContextProto())
    told = (await rest.told(f"apps/{app}", user="bob"))["app"]
    assert (told["state"], told["diagnostics"]) == ("ACCEPTED", "")
    assert "trackingUrl" not in told
    for path in ("appattempts", "appattempts/1", "appattempts/1/containers"):
        assert (await rest(f"apps/{app}/{path}", user="bob")).status_code == 403
    assert (await rest(f"apps/{app}/appattempts", user="root")).status_code == 200


async def test_what_is_told_is_no_page_that_scripts_could_read(rest: Rest) -> None:
    response = await rest("info")
    assert response.headers["content-security-policy"].startswith("sandbox")
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_what_is_not_there_is_said(rest: Rest) -> None:
    for path in ("nothing", "apps/application_1_0001", "apps/seventeen", "/else/where"):
        response = await rest(path)
        assert (response.status_code, response.json()["RemoteException"]["exception"]) == (404, "NotFoundException")


# --- what YARN has as options


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("get-node-labels", {"nodeLabelsInfo": None}),
        ("nodes/127.0.0.1:8041/get-labels", {"nodeLabelsInfo": None}),
        ("get-node-to-labels", {"nodeToLabelsInfo": {"nodeToLabels": {"entry": []}}}),
        ("label-mappings", {"labelsToNodesInfo": {"labelsToNodes": {"entry": []}}}),
    ],
)
async def test_there_are_no_node_labels(rest: Rest, path: str, told: dict[str, Any]) -> None:
    assert await rest.told(path) == told


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "scheduler-conf"),
        ("PUT", "scheduler-conf"),
        ("POST", "nodes/127.0.0.1:8041/resource"),
        ("POST", "reservation/new-reservation"),
        ("GET", "reservation/list"),
    ],
)
async def test_what_nobody_switched_on_is_refused_as_such(rest: Rest, method: str, path: str) -> None:
    response = await rest(path, method=method, json={})
    assert response.status_code == 400
    assert response.json()["RemoteException"]["exception"] == "YARNFeatureNotEnabledException"


async def test_a_list_leaves_out_what_it_is_told_to(rest: Rest) -> None:
    await rest.door.submit()
    (app,) = (await rest.told("apps?deSelects=timeouts,resourceInfo"))["apps"]["app"]
    assert not {"timeouts", "resourceSecondsMap"} & app.keys()
    assert (await rest("apps?deSelects=everything")).status_code == 400


async def test_who_asks_and_what_they_may_do_in_a_queue_is_told(rest: Rest) -> None:
    assert (await rest.told("userinfo"))["clusterUserInfo"]["requestedUser"] == "ada"
    path = "queues/root.research/access?queue-acl-type="
    assert (await rest.told(f"{path}SUBMIT_APPLICATIONS"))["queueAccess"]["allowed"] is True
    refused = (await rest.told(f"{path}ADMINISTER_QUEUE"))["queueAccess"]
    assert refused["allowed"] is False
    assert "ada" in refused["diagnostics"]
    assert (await rest(f"{path}ADMINISTER_QUEUE&user=bob")).status_code == 403
    assert (await rest.told(f"{path}ADMINISTER_QUEUE", user="root"))["queueAccess"]["allowed"] is True


# --- node labels


async def test_an_admin_adds_labels_gives_them_to_nodes_and_removes_them(rest: Rest) -> None:
    added = await rest(
        "add-node-labels",
        method="POST",
        user="root",
        json={"nodeLabelInfo": [{"name": "tape"}, {"name": "spare", "exclusivity": "false"}]},
    )
    replaced = await rest("nodes/127.0.0.1:8041/replace-labels?labels=tape", method="POST", user="root")
    tape = {"name": "tape", "exclusivity": True}

    assert (added.status_code, replaced.status_code) == (200, 200)
    assert await rest.told("get-node-labels") == {
        "nodeLabelsInfo": {
            "nodeLabelInfo": [{**tape, "activeNMs": 1}, {"name": "spare", "exclusivity": False, "activeNMs": 0}]
        }
    }
    assert await rest.told("nodes/127.0.0.1:8041/get-labels") == {
        "nodeLabelsInfo": {"nodeLabelInfo": [{**tape, "activeNMs": 1}]}
    }
    assert await rest.told("get-node-to-labels") == {
        "nodeToLabelsInfo": {"nodeToLabels": {"entry": [{"key": "127.0.0.1:8041", "value": {"nodeLabelInfo": [tape]}}]}}
    }
    assert await rest.told("label-mappings?labels=tape") == {
        "labelsToNodesInfo": {"labelsToNodes": {"entry": [{"key": tape, "value": {"nodes": ["127.0.0.1:8041"]}}]}}
    }
    assert (await rest.told("nodes"))["nodes"]["node"][0]["nodeLabels"] == ["tape"]

    entries = {"nodeToLabels": [{"nodeId": "127.0.0.1:0", "labels": ["spare"]}]}
    assert (await rest("replace-node-to-labels", method="POST", user="root", json=entries)).status_code == 200
    assert (await rest.told("nodes"))["nodes"]["node"][0]["nodeLabels"] == ["spare"]

    removed = await rest("remove-node-labels?labels=tape&labels=spare", method="POST", user="root")
    assert removed.status_code == 200
    assert await rest.told("get-node-labels") == {"nodeLabelsInfo": None}
    assert (await rest.told("nodes"))["nodes"]["node"][0]["nodeLabels"] == []


async def test_labels_are_added_by_xml(rest: Rest) -> None:
    added = await rest(
        "add-node-labels",
        method="POST",
        user="root",
        content="<nodeLabelsInfo><nodeLabelInfo><name>a</name><exclusivity>false</exclusivity></nodeLabelInfo>"
        "</nodeLabelsInfo>",
        headers={"content-type": "application/xml"},
    )

    assert added.status_code == 200
    (label,) = (await rest.told("get-node-labels"))["nodeLabelsInfo"]["nodeLabelInfo"]
    assert (label["name"], label["exclusivity"]) == ("a", False)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("add-node-labels", {"nodeLabelInfo": []}, 400),
        ("add-node-labels", {"nodeLabelInfo": [{"name": "a b"}]}, 400),
        ("add-node-labels", {"nodeLabelInfo": [{"name": "a", "exclusivity": "perhaps"}]}, 400),
        ("remove-node-labels", {}, 400),
        ("remove-node-labels?labels=none", {}, 404),
        ("nodes/127.0.0.1:8041/replace-labels?labels=none", {}, 404),
        ("nodes/127.0.0.1:8041/replace-labels?labels=a,b", {}, 400),
        ("nodes/elsewhere:1/replace-labels?labels=", {}, 404),
        ("replace-node-to-labels", {"nodeToLabels": ["n1"]}, 400),
    ],
)
async def test_labels_that_cannot_be_change_nothing(rest: Rest, path: str, body: dict[str, Any], status: int) -> None:
    response = await rest(path, method="POST", user="root", json=body)

    assert response.status_code == status
    assert await rest.told("get-node-labels") == {"nodeLabelsInfo": None}


@pytest.mark.parametrize(
    "path",
    ["add-node-labels", "remove-node-labels?labels=a", "replace-node-to-labels", "nodes/n1/replace-labels?labels=a"],
)
async def test_nobody_but_admins_changes_labels(rest: Rest, path: str) -> None:
    response = await rest(path, method="POST", json={"nodeLabelInfo": [{"name": "a"}]})

    assert response.status_code == 403
    assert await rest.told("get-node-labels") == {"nodeLabelsInfo": None}


async def test_labels_of_a_submission_are_those_of_the_application_and_of_its_master(rest: Rest) -> None:
    await rest("add-node-labels", method="POST", user="root", json={"nodeLabelInfo": [{"name": "a"}, {"name": "b"}]})
    name = await new_id(rest)
    body = submission(name, **{"app-node-label-expression": "a", "am-container-node-label-expression": "b"})

    assert (await rest("apps", method="POST", json=body)).status_code == 202

    told = (await rest.told(f"apps/{name}"))["app"]
    assert (told["appNodeLabelExpression"], told["amNodeLabelExpression"]) == ("a", "b")
