"""The sections `nodes` and `node_labels` of hrm.yaml, and labels of queues."""

from __future__ import annotations

import pytest

from hrm.config.documents import BadDocument, Document
from hrm.config.loader import parse_config, parse_plain
from hrm.config.plain import changed_keys, plain_config
from hrm.config.values import HrmConfig
from hrm.model.inventory import Inventory, NodeLabel, NodeNotes

TEXT = """
node_labels: {teaching: , spare: {exclusive: false}}
nodes:
  box1: {attributes: {disk: ssd, generation: 1.50, fast: true, empty: ""}, label: teaching}
  box2: {label: "", rack: /hall1/r3}
queues:
  course: {accessible_node_labels: [teaching], default_node_label: teaching}
  staff: {accessible_node_labels: "*"}
  others: {accessible_node_labels: []}
scheduler: {root: {default_node_label: spare}}
"""


def config(text: str) -> HrmConfig:
    return parse_config(Document(text, "hrm.yaml"))


def findings(text: str) -> list[str]:
    with pytest.raises(BadDocument) as caught:
        config(text)
    return [str(finding) for finding in caught.value.findings]


def test_what_is_written_is_what_counts_also_of_numbers_and_truth_values() -> None:
    read = config(TEXT)

    assert read.inventory == Inventory(
        nodes={
            "box1": NodeNotes(
                attributes={"disk": "ssd", "generation": "1.50", "fast": "true", "empty": ""}, label="teaching"
            ),
            "box2": NodeNotes(label="", rack="/hall1/r3"),
        },
        labels=(NodeLabel("teaching"), NodeLabel("spare", exclusive=False)),
    )


def test_queues_say_which_labels_they_may_use() -> None:
    root = config(TEXT).queues

    said = {queue.name: (queue.accessible_node_labels, queue.default_node_label) for queue in (root, *root.children)}
    assert said == {
        "root": (None, "spare"),
        "course": (("teaching",), "teaching"),
        "staff": (("*",), None),
        "others": ((), None),
        "default": (None, None),
    }


def test_what_is_shown_is_read_as_the_same() -> None:
    read = config(TEXT)

    assert parse_plain(plain_config(read), "shown") == read


def test_a_change_is_told_by_the_node() -> None:
    other = TEXT.replace("disk: ssd", "disk: nvme").replace("exclusive: false", "exclusive: true")

    assert changed_keys(config(TEXT), config(other)) == ["nodes.box1", "node_labels.spare"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "nodes:\n  box:\n    attributes: {a b: x}",
            "hrm.yaml:3: nodes.box.attributes.a b: not the name of an attribute",
        ),
        ("nodes:\n  box:\n    attributes: {os: a b}", "hrm.yaml:3: nodes.box.attributes.os: not a value for os: 'a b'"),
        ("nodes:\n  box:\n    attributes: {os: [a]}", "must be a single value"),
        ("nodes:\n  b x: {}", "hrm.yaml:2: nodes.b x: not a node"),
        ("nodes:\n  box: {lable: a}", "did you mean 'label'?"),
        ("nodes:\n  box: {rack: r3}", "hrm.yaml:2: nodes.box.rack: not the name of a rack: 'r3'"),
        ("nodes:\n  box: {rack: /r/}", "write for example /hall1/r3"),
        ("node_labels: {teaching: }\nnodes:\n  box: {label: teachin}", "did you mean 'teaching'?"),
        ("nodes:\n  box: {label: tape}", "declare it under node_labels"),
        ("node_labels: {a b: }", "not the name of a node label: 'a b'"),
        ("queues: {a: {accessible_node_labels: tape}}", "must be a list of node labels"),
        ("queues: {a: {accessible_node_labels: [a b]}}", "not the name of a node label: 'a b'"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_what_to_do(text: str, problem: str) -> None:
    (found,) = findings(text)

    assert problem in found
