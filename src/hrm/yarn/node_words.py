"""Labels and attributes of nodes, as YARN's clients ask for them (partitions and node attributes).

An attribute is told with a prefix, as YARN has it: its own domain if it has one, ``nm.yarn.io`` if the node found it
itself, ``rm.yarn.io`` if it was set. Requests may leave these two out.
"""

from __future__ import annotations

from collections.abc import Iterable

from hrm.model.errors import InvalidInput
from hrm.model.inventory import FOUND, check_label
from hrm.model.reports import NodeReport
from hrm.rm.facade import Facade
from hrm.yarn.calls import Caller, Handler
from hrm.yarn.errors import InvalidLabelResourceRequest
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service

SET, TOLD = "rm.yarn.io", "nm.yarn.io"


def label_of(message: records.ResourceRequestProto | records.ApplicationSubmissionContextProto) -> str | None:
    """The node label that a request or submission names, "" for none; None iff it says nothing.

    Raises InvalidLabelResourceRequest for more than a name: YARN, too, knows no other expressions.
    """
    if not message.HasField("node_label_expression"):
        return None
    label = message.node_label_expression.strip()
    if label:
        try:
            check_label(label)
        except InvalidInput as error:
            raise InvalidLabelResourceRequest(f"Invalid label resource request, {error}") from None
    return label


def attributes(report: NodeReport) -> list[records.NodeAttributeProto]:
    """All of a node's."""
    return [
        records.NodeAttributeProto(attributeKey=_key(name, report), attributeType=records.STRING, attributeValue=value)
        for name, value in report.attributes.items()
    ]


def _key(name: str, report: NodeReport) -> records.NodeAttributeKeyProto:
    domain, slash, own = name.rpartition("/")
    if not slash:
        domain = TOLD if name in FOUND and name not in report.set_attributes else SET
    return records.NodeAttributeKeyProto(attributePrefix=domain, attributeName=own)


def nodes_at(reports: Iterable[NodeReport], nodes: NodeAddresses, host: str, port: int) -> list[NodeReport]:
    """Those whose door is there; port 0 means all of the host, as in YARN."""
    places = ((nodes.of(report.node_id), report) for report in reports)
    return [report for place, report in places if place.host == host and port in (0, place.port)]


class NodeWords:
    """Answers for everybody; what changes is asked for over REST (`hrm.yarn.web.labels`)."""

    def __init__(self, facade: Facade, nodes: NodeAddresses) -> None:
        self._facade = facade
        self._nodes = nodes
        self.handlers: dict[str, Handler] = {
            name: getattr(self, method)
            for name, method in {
                "getClusterNodeLabels": "labels",
                "getNodeToLabels": "nodes_to_labels",
                "getLabelsToNodes": "labels_to_nodes",
                "getClusterNodeAttributes": "attributes",
                "getAttributesToNodes": "attributes_to_nodes",
                "getNodesToAttributes": "nodes_to_attributes",
            }.items()
        }

    def labels(
        self, request: service.GetClusterNodeLabelsRequestProto, caller: Caller
    ) -> service.GetClusterNodeLabelsResponseProto:
        known = self._facade.node_words.labels()
        return service.GetClusterNodeLabelsResponseProto(
            deprecatedNodeLabels=[label.name for label in known],
            nodeLabels=[records.NodeLabelProto(name=label.name, isExclusive=label.exclusive) for label in known],
        )

    def nodes_to_labels(
        self, request: service.GetNodesToLabelsRequestProto, caller: Caller
    ) -> service.GetNodesToLabelsResponseProto:
        """Nodes without one are left out, as in YARN."""
        return service.GetNodesToLabelsResponseProto(
            nodeToLabels=[
                records.NodeIdToLabelsProto(nodeId=self._id(report), nodeLabels=[report.label])
                for report in self._facade.nodes()
                if report.label
            ]
        )

    def labels_to_nodes(
        self, request: service.GetLabelsToNodesRequestProto, caller: Caller
    ) -> service.GetLabelsToNodesResponseProto:
        """Of all labels, or of those that are named; one that there is not is passed over."""
        wanted, reports = set(request.nodeLabels), list(self._facade.nodes())
        return service.GetLabelsToNodesResponseProto(
            labelsToNodes=[
                records.LabelsToNodeIdsProto(
                    nodeLabels=label.name,
                    nodeId=[self._id(report) for report in reports if report.label == label.name],
                )
                for label in self._facade.node_words.labels()
                if not wanted or label.name in wanted
            ]
        )

    def attributes(
        self, request: service.GetClusterNodeAttributesRequestProto, caller: Caller
    ) -> service.GetClusterNodeAttributesResponseProto:
        return service.GetClusterNodeAttributesResponseProto(
            nodeAttributes=[
                records.NodeAttributeInfoProto(
                    attributeKey=records.NodeAttributeKeyProto(attributePrefix=domain, attributeName=name),
                    attributeType=records.STRING,
                )
                for domain, name in self._by_key()
            ]
        )

    def attributes_to_nodes(
        self, request: service.GetAttributesToNodesRequestProto, caller: Caller
    ) -> service.GetAttributesToNodesResponseProto:
        """Of all attributes, or of those that are named."""
        wanted = {(key.attributePrefix, key.attributeName) for key in request.nodeAttributes}
        return service.GetAttributesToNodesResponseProto(
            attributesToNodes=[
                records.AttributeToNodesProto(
                    nodeAttribute=records.NodeAttributeKeyProto(attributePrefix=key[0], attributeName=key[1]),
                    nodeValueMap=[
                        records.NodeToAttributeValueProto(hostname=host, attributeValue=value) for host, value in values
                    ],
                )
                for key, values in self._by_key().items()
                if not wanted or key in wanted
            ]
        )

    def nodes_to_attributes(
        self, request: service.GetNodesToAttributesRequestProto, caller: Caller
    ) -> service.GetNodesToAttributesResponseProto:
        """Of all hosts, or of those that are named."""
        wanted = set(request.hostnames)
        hosts = ((self._nodes.of(report.node_id).host, report) for report in self._facade.nodes())
        return service.GetNodesToAttributesResponseProto(
            nodesToAttributes=[
                records.NodeToAttributesProto(node=host, nodeAttributes=attributes(report))
                for host, report in hosts
                if not wanted or host in wanted
            ]
        )

    def _by_key(self) -> dict[tuple[str, str], list[tuple[str, str]]]:
        """Hosts and values of each attribute, by prefix and name."""
        found: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for report in self._facade.nodes():
            host = self._nodes.of(report.node_id).host
            for one in attributes(report):
                key = (one.attributeKey.attributePrefix, one.attributeKey.attributeName)
                found.setdefault(key, []).append((host, one.attributeValue))
        return dict(sorted(found.items()))

    def _id(self, report: NodeReport) -> records.NodeIdProto:
        place = self._nodes.of(report.node_id)
        return records.NodeIdProto(host=place.host, port=place.port)
