"""Hadoop's own command-line tools on labels and attributes of nodes, unmodified."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hrm.testing.hadoop import Hadoop
from tests.acceptance.conftest import Hrm, server_up

pytestmark = [pytest.mark.real, pytest.mark.yarn]

CONFIGURATION = """\
node: {node_id: box, vcores: 2, memory: 2G}
nodes: {box: {attributes: {disk: ssd}}}
node_labels: {declared: {exclusive: false}}
server: {port: 0}
yarn: {enabled: true, client_port: 0, master_port: 0, web_port: 0, node_port: 0}
"""


@pytest.fixture(scope="module")
def hrm() -> Iterator[Hrm]:
    with server_up(CONFIGURATION) as hrm:
        yield hrm


def test_an_administrator_adds_labels_and_everybody_sees_them_on_the_node(hrm: Hrm) -> None:
    assert hrm("yarn", "env").code == 0
    hadoop = Hadoop(hrm.home / "hadoop-conf", env=hrm.env)

    added = hadoop.cli("RMAdminCLI", "-addToClusterNodeLabels", "tape(exclusive=true)")
    given = hadoop.cli("RMAdminCLI", "-replaceLabelsOnNode", "127.0.0.1=tape")
    labels = hadoop.cli("ClusterCLI", "--list-node-labels").text
    attributes = hadoop.cli("ClusterCLI", "--list-node-attributes").text
    nodes = hadoop.cli("NodeCLI", "-list", "-showDetails").text
    (node,) = [word for word in nodes.split() if word.startswith("127.0.0.1:")][:1]
    status = hadoop.cli("NodeCLI", "-status", node).text
    (report,) = hrm("nodes", "-o", "json").json

    assert (added.code, given.code) == (0, 0), added.text + given.text
    assert report["label"] == "tape"
    assert "<tape:exclusivity=true>" in labels and "<declared:exclusivity=false>" in labels, labels
    assert "rm.yarn.io/disk" in attributes and "nm.yarn.io/os" in attributes, attributes
    assert "Node-Labels : tape" in status and "rm.yarn.io/disk(STRING)=ssd" in status, status

    removed = hadoop.cli("RMAdminCLI", "-removeFromClusterNodeLabels", "tape")
    assert removed.code == 0, removed.text
    assert "tape" not in hadoop.cli("ClusterCLI", "--list-node-labels").text
