"""A scheduler that is made from YARN's files does what YARN would: numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hrm.config.yarn import read_fair_scheduler
from hrm.core.commands import PreemptContainer
from hrm.testing.builders import Scenario, amounts

Given = Callable[..., Scenario]


@pytest.fixture
def given(tmp_path: Path) -> Given:
    """A scheduler of these queues and properties."""

    def make(allocations: str, **site: str) -> Scenario:
        fair_scheduler, yarn_site = tmp_path / "fair-scheduler.xml", tmp_path / "yarn-site.xml"
        fair_scheduler.write_text(f"<allocations>{allocations}</allocations>")
        properties = "".join(
            f"<property><name>yarn.scheduler.fair.{name}</name><value>{value}</value></property>"
            for name, value in site.items()
        )
        yarn_site.write_text(f"<configuration>{properties}</configuration>")
        root, options = read_fair_scheduler(fair_scheduler, yarn_site)
        return Scenario(root, options=options)

    return make


def shares(s: Scenario) -> dict[str, tuple[int, int]]:
    s.update_shares()
    return {
        view.path: (view.fair_share.memory_mib, view.steady_fair_share.memory_mib) for view in s.scheduler.queue_views()
    }


def test_weights_and_a_maximum_divide_the_memory(given: Given) -> None:
    # 12 GiB. With applications in research and batch: 3 to 1 would be 9216 and 3072, but research has at most 6144, so
    # batch has the rest. With applications everywhere, default (weight 1) takes part: 6144, and half the rest each.
    s = given(
        '<queue name="research"><weight>3</weight><maxResources>memory-mb=6144</maxResources></queue>'
        '<queue name="batch"/>'
    )
    s.add_node(cpus=12, memory="12G")
    for path in ("research", "batch"):
        s.ask(s.submit(path), 20)

    found = shares(s)

    assert found["research"] == (6144, 6144)
    assert found["batch"] == (6144, 3072)
    assert found["default"] == (0, 3072)


def test_a_minimum_lifts_a_share_above_its_weight(given: Given) -> None:
    # 8 GiB, equal weights, 4096 each; but a is promised 6144, which leaves 2048 for b.
    s = given('<queue name="a"><minResources>6144 mb, 1 vcores</minResources></queue><queue name="b"/>')
    s.add_node(cpus=8, memory="8G")
    for path in ("a", "b"):
        s.ask(s.submit(path), 20)

    found = shares(s)

    assert (found["a"][0], found["b"][0]) == (6144, 2048)


def test_percentages_follow_the_size_of_the_cluster(given: Given) -> None:
    s = given(
        '<queue name="a"><maxResources>50% memory, 25% cpu</maxResources></queue>'
        '<queue name="b"><maxResources>vcores=50%</maxResources></queue>'
    )
    s.add_node("n1", cpus=8, memory="8G")
    s.add_node("n2", cpus=8, memory="24G")

    limits = {view.path: view.max_share for view in s.scheduler.queue_views()}

    assert limits["a"] == amounts(cpus=4, memory="16G")
    assert limits["b"] == amounts(cpus=8, memory="32G")


def test_a_queue_never_gets_more_than_its_maximum_of_anything(given: Given) -> None:
    s = given('<queue name="a"><maxResources>8192 mb, 3 vcores</maxResources></queue>', assignmultiple="true")
    s.add_node(cpus=8, memory="8G")
    app = s.submit("a")
    s.ask(app, 10, cpus=1, memory="1G")

    s.settle()

    assert s.running(app) == 3


@pytest.mark.parametrize(
    ("site", "placed"),
    [
        ({}, [1, 1, 1]),
        ({"assignmultiple": "true"}, [5, 2, 1]),
        ({"assignmultiple": "true", "dynamic.max.assign": "false"}, [8, 0, 0]),
        ({"assignmultiple": "true", "dynamic.max.assign": "false", "max.assign": "3"}, [3, 3, 2]),
    ],
)
def test_a_visit_places_as_many_as_yarn_would(given: Given, site: dict[str, str], placed: list[int]) -> None:
    # By the dynamic rule it goes on while at most half of what was free is assigned, checked after assigning.
    s = given('<queue name="a"/>', **site)
    s.add_node(cpus=8, memory="8G")
    s.ask(s.submit("a"), 20)

    assert [len(s.visit("n1")) for _ in range(3)] == placed


def test_limits_on_running_applications_hold_for_queue_user_and_all(given: Given) -> None:
    s = given(
        '<userMaxAppsDefault>2</userMaxAppsDefault><user name="ben"><maxRunningApps>1</maxRunningApps></user>'
        '<queue name="a"><maxRunningApps>3</maxRunningApps></queue><queue name="b"/>'
    )
    s.add_node(cpus=8, memory="8G")

    apps = [s.submit("a", user=user) for user in ("ada", "ada", "ada", "ben", "ben", "eve")]
    other = s.submit("b", user="eve")

    views = [s.scheduler.application_view(app.application) for app in (*apps, other)]
    # ada's third and ben's second are over their users' limits; eve's is the fourth in a queue of three.
    assert [view.runnable for view in views if view] == [True, True, False, True, False, False, True]


def test_nobody_is_preempted_unless_yarn_site_says_so(given: Given) -> None:
    inside = (
        '<defaultFairSharePreemptionTimeout>10</defaultFairSharePreemptionTimeout><queue name="a"/><queue name="b"/>'
    )

    def warned(s: Scenario) -> int:
        s.add_node(cpus=4, memory="4G")
        s.ask(s.submit("a"), 4)
        s.settle()
        s.ask(s.submit("b"), 4)
        s.preempt()
        return sum(isinstance(one, PreemptContainer) for one in s.preempt(after_s=11.0))

    # b's share is 2 GiB; it is starved below half of that, for which one container of 1 GiB has to end.
    assert warned(given(inside)) == 0
    assert warned(given(inside, preemption="true")) == 1


def test_half_a_queues_share_may_be_masters_unless_the_file_says_otherwise(given: Given) -> None:
    def running(inside: str) -> int:
        s = given(inside, assignmultiple="true", **{"dynamic.max.assign": "false"})
        s.add_node(cpus=8, memory="8G")
        apps = [s.submit("a") for _ in range(8)]
        for app in apps:
            s.ask(app, 1, for_master=True)
        s.update_shares()
        s.settle()
        return sum(s.running(app) for app in apps)

    # The share is 8 GiB, masters take 1 GiB each: half is 4, all is 8.
    assert running('<queue name="a"/>') == 4
    assert running('<queue name="a"><maxAMShare>0.25</maxAMShare></queue>') == 2
    assert running('<queue name="a"><maxAMShare>-1</maxAMShare></queue>') == 8
