"""`hrm nodes attributes`, `hrm nodes set`, `hrm nodes labels`."""

from __future__ import annotations

import json

import pytest

from hrm.model.reports import NodeLabelReport
from tests.unit.cli.cli_fakes import FakeClient, node_report


def test_attributes_and_labels_are_listed_and_what_an_operator_set_is_marked(hrm, server: FakeClient) -> None:
    server.node_reports = [
        node_report(
            attributes={"os": "debian12", "disk": "ssd"}, set_attributes=["disk"], label="tape", exclusive=False
        ),
        node_report(node_id="other"),
    ]

    first, second = hrm("nodes", "attributes").out.splitlines()[1:]

    assert first.split() == ["box", "tape", "(shared)", "os=debian12", "disk=ssd*"]
    assert second.split() == ["other", "-", "-"]


def test_some_nodes_are_listed_for_programs(hrm, server: FakeClient) -> None:
    server.node_reports = [node_report(), node_report(node_id="other", attributes={"os": "a"})]

    told = json.loads(hrm("nodes", "attributes", "other", "-o", "json").out)

    assert told == [
        {"node_id": "other", "attributes": {"os": "a"}, "set_attributes": [], "label": "", "exclusive": True}
    ]


def test_attributes_are_set_and_taken_back_on_each_node_that_is_named(hrm, server: FakeClient) -> None:
    server.node_reports = [node_report(), node_report(node_id="other")]

    done = hrm("nodes", "set", "box", "other", "disk=ssd", "fast=", "--unset", "site", "--label", "tape")

    assert (done.code, done.err) == (0, "")
    change = {"disk": "ssd", "fast": "", "site": None}
    assert server.words == [("box", change), ("box", "tape"), ("other", change), ("other", "tape")]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["disk=ssd"], "names no node"),
        (["box"], "says nothing"),
        (["box", "a b=c"], "not the name of an attribute"),
        (["box", "os=a b"], "not a value for os"),
        (["box", "--label", "a", "--unset-label"], "exclude each other"),
    ],
)
def test_what_says_nothing_or_cannot_be_is_refused_before_anything_is_asked(
    hrm, server: FakeClient, arguments: list[str], problem: str
) -> None:
    result = hrm("nodes", "set", *arguments)

    assert result.code == 2
    assert problem in result.err
    assert server.words == []


def test_labels_are_listed_added_and_removed(hrm, server: FakeClient) -> None:
    server.labels = [NodeLabelReport(name="tape", exclusive=True, declared=True, nodes=["box", "other"])]

    listed = hrm("nodes", "labels").out.splitlines()[1:]
    hrm("nodes", "labels", "--remove", "old", "--add", "new", "--shared")

    assert [line.split() for line in listed] == [["tape", "yes", "hrm.yaml", "box", "other"]]
    assert server.words == [("remove", "old"), ("add", "new shared")]
