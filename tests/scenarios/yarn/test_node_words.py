"""Node labels and attributes, as YARN's clients and masters know them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hrm.model.inventory import Inventory, NodeLabel, NodeNotes
from hrm.testing.builders import node, queue, queues
from hrm.testing.lives import Lives
from hrm.yarn.errors import InvalidLabelResourceRequest
from hrm.yarn.ids import container_id
from hrm.yarn.nodes import NodeAddress
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from tests.scenarios.yarn.client_door import Door
from tests.scenarios.yarn.test_wire_masters import refused
from tests.scenarios.yarn.test_wire_placing import AND, ATTRIBUTE, composite, given, scheduling, simple, target
from tests.scenarios.yarn.wire_masters import Yarn, ask, opened

INVENTORY = Inventory(
    nodes={
        "n1": NodeNotes(attributes={"disk": "ssd", "example.org/site": "north"}),
        "n2": NodeNotes(label="tape"),
    },
    labels=(NodeLabel("tape"), NodeLabel("spare", exclusive=False)),
)
TREE = queues(
    queue("default", accessible_node_labels=()),
    queue("research", accessible_node_labels=("tape",), default_node_label="tape"),
    queue("open"),
)


@pytest.fixture
async def lives(tmp_path: Path) -> AsyncIterator[Lives]:
    nodes = [node("n1", cpus=4, memory="8G", os="debian12"), node("n2", cpus=4, memory="8G", os="debian11")]
    async with Lives(tmp_path, nodes, root=TREE, inventory=INVENTORY) as lives:
        yield lives


@pytest.fixture
async def door(lives: Lives) -> Door:
    door = Door(await lives.begin())
    door.nodes.add("n2", NodeAddress("127.0.0.2", 8042, "rm:8088"))
    return door


@pytest.fixture
async def yarn(lives: Lives, tmp_path: Path) -> AsyncIterator[Yarn]:
    async with opened(await lives.begin(), tmp_path) as yarn:
        yield yarn


# --- what is told


async def test_labels_are_told_with_their_nodes(door: Door) -> None:
    labels = await door.call("getClusterNodeLabels", service.GetClusterNodeLabelsRequestProto())
    nodes = await door.call("getNodeToLabels", service.GetNodesToLabelsRequestProto())
    of_labels = await door.call("getLabelsToNodes", service.GetLabelsToNodesRequestProto())
    of_one = await door.call("getLabelsToNodes", service.GetLabelsToNodesRequestProto(nodeLabels=["spare", "no"]))

    assert [(one.name, one.isExclusive) for one in labels.nodeLabels] == [("tape", True), ("spare", False)]
    assert list(labels.deprecatedNodeLabels) == ["tape", "spare"]
    assert [(one.nodeId.host, list(one.nodeLabels)) for one in nodes.nodeToLabels] == [("127.0.0.2", ["tape"])]
    told = {one.nodeLabels: [place.port for place in one.nodeId] for one in of_labels.labelsToNodes}
    assert told == {"tape": [8042], "spare": []}
    assert [one.nodeLabels for one in of_one.labelsToNodes] == ["spare"]


async def test_attributes_are_told_with_a_prefix_that_says_where_they_come_from(door: Door) -> None:
    await door.life.service.node_words.set_attributes("n2", {"os": "plan9"}, by="root")

    all_keys = await door.call("getClusterNodeAttributes", service.GetClusterNodeAttributesRequestProto())
    by_host = await door.call("getNodesToAttributes", service.GetNodesToAttributesRequestProto(hostnames=["127.0.0.1"]))
    key = records.NodeAttributeKeyProto(attributePrefix="nm.yarn.io", attributeName="os")
    by_key = await door.call("getAttributesToNodes", service.GetAttributesToNodesRequestProto(nodeAttributes=[key]))

    assert [(one.attributeKey.attributePrefix, one.attributeKey.attributeName) for one in all_keys.nodeAttributes] == [
        ("example.org", "site"),
        ("nm.yarn.io", "os"),
        ("nm.yarn.io", "rack"),
        ("rm.yarn.io", "disk"),
        ("rm.yarn.io", "os"),
    ]
    (told,) = by_host.nodesToAttributes
    assert told.node == "127.0.0.1"
    assert [(one.attributeKey.attributeName, one.attributeValue) for one in told.nodeAttributes] == [
        ("disk", "ssd"),
        ("site", "north"),
        ("os", "debian12"),
        ("rack", "/default-rack"),
    ]
    (found,) = by_key.attributesToNodes
    assert [(one.hostname, one.attributeValue) for one in found.nodeValueMap] == [("127.0.0.1", "debian12")]


async def test_nodes_and_queues_are_told_with_their_labels(door: Door) -> None:
    first, second = (await door.call("getClusterNodes", service.GetClusterNodesRequestProto())).nodeReports
    asked = service.GetQueueInfoRequestProto(queueName="research")
    research = (await door.call("getQueueInfo", asked)).queueInfo

    assert (list(first.node_labels), list(second.node_labels)) == ([], ["tape"])
    assert "disk" in [one.attributeKey.attributeName for one in first.node_attributes]
    assert (list(research.accessibleNodeLabels), research.defaultNodeLabelExpression) == (["tape"], "tape")


# --- submissions


@pytest.mark.parametrize(
    ("fields", "labels"),
    [
        ({"queue": "research"}, ("tape", "tape")),
        ({"queue": "research", "node_label_expression": ""}, ("", "")),
        ({"queue": "open"}, ("", "")),
        ({"queue": "open", "node_label_expression": "spare"}, ("spare", "spare")),
        (
            {
                "queue": "open",
                "node_label_expression": "spare",
                "am_container_resource_request": [
                    records.ResourceRequestProto(
                        resource_name="*",
                        num_containers=1,
                        node_label_expression="tape",
                        capability=records.ResourceProto(memory=512, virtual_cores=1),
                    )
                ],
            },
            ("spare", "tape"),
        ),
    ],
)
async def test_an_application_and_its_master_have_labels_of_their_own_or_the_queues(
    door: Door, fields: dict[str, object], labels: tuple[str, str]
) -> None:
    report = await door.report(await door.submit(**fields))

    assert (report.appNodeLabelExpression, report.amNodeLabelExpression) == labels


@pytest.mark.parametrize(
    ("queue_name", "label", "problem"),
    [
        ("default", "tape", "queue default may not use node label tape"),
        ("open", "none", "no node label 'none'"),
        ("open", "tape && spare", "not the name of a node label"),
    ],
)
async def test_a_label_that_the_queue_may_not_use_is_refused(
    door: Door, queue_name: str, label: str, problem: str
) -> None:
    with pytest.raises(InvalidLabelResourceRequest, match=problem):
        await door.submit(queue=queue_name, node_label_expression=label)

    assert await door.listed() == []


# --- masters


async def test_containers_are_granted_where_the_label_of_their_request_is(yarn: Yarn) -> None:
    master = await yarn.begun(queue="open")

    labelled = await master.get(2, memory=512, node_label_expression="tape")
    others = await master.get(1, memory=256)

    where = {one.container_id: one.node_id for one in yarn.life.service.containers()}
    assert [where[str(container_id(one.id))] for one in (*labelled, *others)] == ["n2", "n2", "n1"]


async def test_a_scheduling_request_names_a_label_as_the_partition_of_its_constraint(yarn: Yarn) -> None:
    master = await yarn.begun(queue="open")
    tape = simple(target("tape", kind=ATTRIBUTE, whose="yarn_node_partition/"), attributeOpCode=records.EQ)
    apart = simple(target("web"), most=0)
    labelled = await given(
        master,
        scheduling(1, "db", constraint=tape),
        scheduling(3, "web", number=2, constraint=composite(AND, tape, apart)),
    )
    others = await given(master, scheduling(2, "web", number=3))

    where = {one.container_id: one.node_id for one in yarn.life.service.containers()}
    assert [where[str(container_id(one.id))] for one in (*labelled, *others)] == ["n2", "n2", "n1", "n1"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"node_label_expression": "spare"}, "queue research may not use node label spare"),
        ({"node_label_expression": "none"}, "no node label 'none'"),
        ({"node_label_expression": "tape", "resource_name": "127.0.0.1"}, "names the place"),
    ],
)
async def test_a_request_with_a_label_that_cannot_be_is_refused_and_changes_nothing(
    yarn: Yarn, fields: dict[str, str], problem: str
) -> None:
    master = await yarn.begun(queue="research")

    message = await refused(
        "InvalidLabelResourceRequestException", master.allocate(ask=[ask(1), ask(1, memory=512, **fields)])
    )

    assert problem in message
    assert list((await master.beat()).allocated_containers) == []
