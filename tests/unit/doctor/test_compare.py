"""Nodes of a cluster beside each other."""

from __future__ import annotations

from hrm.doctor.checks import Fact
from hrm.doctor.compare import compare
from hrm.model.findings import DoctorReport

DRIVER = Fact("gpu.driver", lambda system: None)
INITIATOR = Fact("iscsi.initiator", lambda system: None, unique=True)


def nodes(**drivers: str) -> list[DoctorReport]:
    return [DoctorReport(node=name, facts={"gpu.driver": driver}) for name, driver in drivers.items()]


def test_who_has_something_else_than_most_is_named() -> None:
    (found,) = compare(nodes(slave01="418.39", slave02="418.39", slave03="410.48"), [DRIVER])

    assert found.title.en == "gpu.driver of slave03 is 410.48, and 418.39 on 2 others"


def test_nodes_of_two_kinds_have_no_odd_one_out() -> None:
    assert compare(nodes(a="418.39", b="418.39", c="535.104", d="535.104"), [DRIVER]) == []


def test_a_node_that_has_no_such_thing_is_not_compared() -> None:
    plain = DoctorReport(node="master00")

    assert compare([*nodes(slave01="418.39", slave02="418.39"), plain], [DRIVER]) == []


def test_what_each_must_have_for_itself_is_told_where_two_have_it_alike() -> None:
    reports = [
        DoctorReport(node=name, facts={"iscsi.initiator": "iqn.1993-08.org.debian:01:219b5d4f819a"}) for name in "ab"
    ]

    (found,) = compare(reports, [INITIATOR])

    assert found.title.en == "a, b have the same iscsi.initiator: iqn.1993-08.org.debian:01:219b5d4f819a"


def test_what_each_has_for_itself_is_well() -> None:
    reports = [DoctorReport(node=name, facts={"iscsi.initiator": f"iqn:{name}"}) for name in "abc"]

    assert compare(reports, [INITIATOR]) == []
