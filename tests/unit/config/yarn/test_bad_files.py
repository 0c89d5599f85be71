"""What is wrong in YARN's files: all of it at once, with file, line and element."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.config.documents import BadDocument
from hrm.config.yarn.importer import import_fair_scheduler
from tests.unit.config.yarn.conftest import Findings

SAMPLES = Path(__file__).parent / "samples"


def test_every_finding_of_both_files_is_told_at_once(findings: Findings) -> None:
    inside = """
<queue name="a">
  <weight>-1</weight>
  <maxResources>1024 mb</maxResources>
  <maxRunningApps>many</maxRunningApps>
  <wait>1</wait>
</queue>
<queue name="b.c"/>
<queueMaxAppsDefalt>3</queueMaxAppsDefalt>"""

    assert findings(inside, {"yarn.scheduler.fair.preemption": "yes"}) == [
        "fair-scheduler.xml:3: a: weight: cannot be negative: -1",
        "fair-scheduler.xml:4: a: maxResources: says nothing of vcores "
        "(write for example '1024 mb, 2 vcores', 'memory-mb=1024, vcores=2' or '50%')",
        "fair-scheduler.xml:5: a: maxRunningApps: not a whole number: 'many'",
        "fair-scheduler.xml:6: a: wait: unknown element (did you mean 'weight'?)",
        "fair-scheduler.xml:8: root: queue: a queue's own name has no dot: 'b.c' (nest it in its parent's element)",
        "fair-scheduler.xml:9: queueMaxAppsDefalt: unknown element (did you mean 'queueMaxAppsDefault'?)",
        "yarn-site.xml:1: yarn.scheduler.fair.preemption: neither true nor false: 'yes'",
    ]


@pytest.mark.parametrize(
    ("inside", "finding"),
    [
        ("<queue/>", "root: queue: a queue without a name"),
        ('<queue name=" "/>', "root: queue: a queue without a name"),
        ('<queue name="root.default"/>', "a queue's own name has no dot: 'root.default'"),
        ('<queue name="a"><queue name="root"/></queue>', "a: queue: only the outermost queue is called root"),
        ('<queue name="root"/><queue name="a"/>', "queue: beside the root, which begins on line 1"),
        ('<queue name="a"/><pool name="a"/>', "a: pool: declared twice, first on line 1"),
        ('<queue name="a b"/>', "a b: queue: not a queue name: 'a b'"),
        ('<queue name="a" tpye="parent"/>', "a: tpye: unknown attribute (did you mean 'type'?)"),
        ('<queue name="a" type="parnet"/>', "a: type: unknown type 'parnet'"),
        (
            '<queue name="a"><weight>1</weight><weight>2</weight></queue>',
            "a: weight: given twice, first on line 1 (keep one)",
        ),
        ('<queue name="a"><weight/></queue>', "a: weight: is empty"),
        ('<queue name="a"><weight>NaN</weight></queue>', "a: weight: not a number: 'NaN'"),
        ('<queue name="a"><weight>1e999</weight></queue>', "a: weight: not a number: '1e999'"),
        ('<queue name="a"><weight>1<b/></weight></queue>', "a: weight: has <b> inside"),
        ('<queue name="a"><maxRunningApps>-1</maxRunningApps></queue>', "maxRunningApps: must be at least 0, not -1"),
        ('<queue name="a"><maxAMShare>-0.5</maxAMShare></queue>', "maxAMShare: cannot be negative: -0.5"),
        (
            '<queue name="a" type="parent"><maxAMShare>0.5</maxAMShare></queue>',
            "a: maxAMShare: only a queue without queues below can have it",
        ),
        (
            '<queue name="a"><queue name="b"/><reservation/></queue>',
            "a: reservation: only a queue without queues below can have it",
        ),
        (
            '<queue name="a"><minResources>2048 mb, 1 vcores</minResources>'
            "<maxResources>1024 mb, 1 vcores</maxResources></queue>",
            "a: minResources: above max_share in memory_mib (lower it)",
        ),
        ('<queue name="a"><schedulingPolicy>fare</schedulingPolicy></queue>', "unknown policy: 'fare'"),
        (
            '<queue name="a"><schedulingPolicy>drf</schedulingPolicy></queue>',
            "a: schedulingPolicy: drf is not allowed below the root, which is fair",
        ),
        (
            '<queue name="a"><schedulingPolicy>fifo</schedulingPolicy><queue name="b"/></queue>',
            "a: schedulingPolicy: fifo orders applications",
        ),
        (
            "<defaultQueueSchedulingPolicy>fifo</defaultQueueSchedulingPolicy>",
            "defaultQueueSchedulingPolicy: cannot be fifo",
        ),
        (
            '<queue name="a"><allowPreemptionFrom>no</allowPreemptionFrom></queue>',
            "allowPreemptionFrom: neither true nor false: 'no'",
        ),
        (
            '<queue name="a"><fairSharePreemptionTimeout>10s</fairSharePreemptionTimeout></queue>',
            "fairSharePreemptionTimeout: not a whole number: '10s'",
        ),
        ('<user name="ada"><maxRunningApps>x</maxRunningApps></user>', "ada: maxRunningApps: not a whole number: 'x'"),
        ('<user name="ada"><weight>1</weight></user>', "ada: weight: unknown element"),
        ("<user><maxRunningApps>1</maxRunningApps></user>", "user: a user without a name"),
        ('<user name="ada"/><user name="ada"/>', "user: 'ada' is given twice, first on line 1"),
        (
            "<fairSharePreemptionTimeout>1</fairSharePreemptionTimeout>"
            "<defaultFairSharePreemptionTimeout>1</defaultFairSharePreemptionTimeout>",
            "defaultFairSharePreemptionTimeout: given twice, first on line 1",
        ),
        ('<queue name="default"><queue name="x"/></queue>', "default"),
    ],
)
def test_a_finding_says_what_is_wrong_and_where(findings: Findings, inside: str, finding: str) -> None:
    (only,) = findings(inside)

    assert only.startswith("fair-scheduler.xml:1: ")
    assert finding in only


@pytest.mark.parametrize(
    ("rules", "finding"),
    [
        ("", "queuePlacementPolicy: has no rules"),
        ("<specified/>", "unknown element"),
        ("<rule/>", "a rule without a name"),
        ('<rule name="nested"/>', "unknown rule: 'nested'"),
        ('<rule name="specified"/>', "an application can get past the last rule"),
        ('<rule name="user" create="false"/>', "an application can get past the last rule"),
        ('<rule name="default"/><rule name="reject"/>', "is never reached: the rule on line 1 always finds a queue"),
        ('<rule name="nestedUserQueue"/>', "does not say under which queue the user's own lies"),
        ('<rule name="nestedUserQueue"><rule name="reject"/></rule>', "reject cannot say below which queue"),
        ('<rule name="default"><rule name="user"/></rule>', "default with another rule inside"),
        ('<rule name="default" queu="x"/>', "unknown attribute 'queu' (did you mean 'queue'?)"),
    ],
)
def test_placement_rules_that_cannot_work_are_found(findings: Findings, rules: str, finding: str) -> None:
    found = findings(f"<queuePlacementPolicy>{rules}</queuePlacementPolicy>")

    assert any(finding in one and one.startswith("fair-scheduler.xml:1: ") for one in found)


def test_a_rule_cannot_name_a_queue_below_a_leaf(findings: Findings) -> None:
    rule = '<queuePlacementPolicy><rule name="default" queue="a.b"/></queuePlacementPolicy>'

    (only,) = findings(f'<queue name="a"/>\n{rule}')

    assert only.startswith("fair-scheduler.xml:2: queuePlacementPolicy: no such queue: 'a.b'")


def test_the_files_in_the_wrong_order_are_recognised() -> None:
    with pytest.raises(BadDocument) as refused:
        import_fair_scheduler(SAMPLES / "yarn-site.xml", SAMPLES / "fair-scheduler.xml")

    assert "begins with <configuration>, not <allocations>" in str(refused.value)
    assert "give fair-scheduler.xml first, then yarn-site.xml" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "finding"),
    [
        ("yarn.scheduler.fair.max.assign", "three", "not a whole number: 'three'"),
        ("yarn.scheduler.fair.reservable-nodes", "2", "must be at most 1.0, not 2"),
        ("yarn.scheduler.fair.locality.threshold.node", "half", "not a number: 'half'"),
        ("yarn.scheduler.fair.waitTimeBeforeKill", "-1", "must be at least 0, not -1"),
        ("yarn.scheduler.fair.waitTimeBeforeKill", "${kill.after}", "not a whole number: '${kill.after}'"),
        ("yarn.scheduler.maximum-allocation-mb", "8g", "not a whole number: '8g'"),
        ("yarn.scheduler.increment-allocation-mb", "-1", "cannot be negative: -1"),
        ("yarn.acl.enable", "1", "neither true nor false: '1'"),
    ],
)
def test_values_of_the_site_are_checked(findings: Findings, name: str, value: str, finding: str) -> None:
    assert findings("", {name: value}) == [f"yarn-site.xml:1: {name}: {finding}"]
