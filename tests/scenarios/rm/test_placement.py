"""Jobs find their queues, make some, and leave no empty ones behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hrm.model.errors import Forbidden, InvalidInput
from hrm.model.jobs import JobSpec
from hrm.model.placement import PlacementPolicy, PlacementRule, Rule
from hrm.model.queues import QueueDefaults, QueueSpec, QueueType
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState
from hrm.testing.builders import amounts, queue, queues
from hrm.testing.lives import Life, Lives, tasks

GROUPS = {"ada": ("staff", "gpu"), "bob.b": ("staff",), "eve": ("guests",)}
OWN_BELOW_GROUP = PlacementRule(rule=Rule.NESTED, parent=PlacementRule(rule=Rule.PRIMARY_GROUP, create=False))
TREE = queues(queue("default"), queue("staff", type=QueueType.PARENT, max_child_share=amounts(2, "2G")))


def rules(*rules: PlacementRule, **more: Any) -> PlacementPolicy:
    return PlacementPolicy(rules=rules, undeclared_queues=True, **more)


POLICY = rules(PlacementRule(rule=Rule.SPECIFIED), OWN_BELOW_GROUP, PlacementRule(rule=Rule.DEFAULT))


def paths(life: Life) -> list[str]:
    return [report.name for report in life.service.queues()]


async def test_a_queue_that_nobody_declared_is_made_and_goes_with_its_last_application(tmp_path: Path) -> None:
    async with Lives(tmp_path, root=TREE, placement=POLICY, groups=GROUPS) as lives:
        life = await lives.begin()
        told = await life.service.submit(JobSpec(groups=(tasks(),)), user="bob.b")
        await life.submit(user="bob.b")
        await life.settle()
        assert (told.queue, told.rule) == ("staff.bob_dot_b", "nested below primary_group")
        assert paths(life) == ["root", "default", "staff", "staff.bob_dot_b"]
        for name in life.containers():
            await life.finish(name)
        assert paths(life) == ["root", "default", "staff"]


async def test_it_has_the_defaults_and_the_maximum_for_children_of_the_queue_above(tmp_path: Path) -> None:
    policy = rules(PlacementRule(rule=Rule.SPECIFIED), OWN_BELOW_GROUP, defaults=QueueDefaults(max_running_apps=7))
    async with Lives(tmp_path, root=TREE, placement=policy, groups=GROUPS) as lives:
        life = await lives.begin()
        app = await life.submit(tasks(count=4), user="ada")
        await life.submit(queue="elsewhere", user="ada")
        await life.settle()
        made = {report.name: report for report in life.service.queues()}
        assert made["staff.ada"].undeclared
        assert made["staff.ada"].max_running_apps == 7
        assert made["staff.ada"].max_share == Resources(memory_mib=2048, vcores_milli=2000).as_dict()
        assert made["elsewhere"].max_share is None
        assert sorted(await life.states(app)) == ["PENDING", "PENDING", "RUNNING", "RUNNING"]


async def test_where_none_may_be_made_a_job_that_names_one_is_refused(lives: Lives) -> None:
    life = await lives.begin()
    with pytest.raises(InvalidInput, match="no queue 'reserch' takes applications"):
        await life.submit(queue="reserch")
    assert paths(life) == ["root", "default", "research"]


async def test_a_parent_takes_no_applications_though_it_has_no_queues_yet(tmp_path: Path) -> None:
    async with Lives(tmp_path, root=TREE) as lives:
        life = await lives.begin()
        with pytest.raises(InvalidInput, match="no queue 'staff' takes applications"):
            await life.submit(queue="staff")


async def test_a_job_for_which_the_rules_end_in_reject_is_refused(tmp_path: Path) -> None:
    policy = rules(PlacementRule(rule=Rule.SPECIFIED, create=False), PlacementRule(rule=Rule.REJECT))
    async with Lives(tmp_path, root=TREE, placement=policy) as lives:
        life = await lives.begin()
        with pytest.raises(Forbidden, match="rule 2"):
            await life.submit(queue="no_such")


async def test_a_job_that_falls_through_all_rules_is_told_so(tmp_path: Path) -> None:
    policy = rules(PlacementRule(rule=Rule.PRIMARY_GROUP))
    async with Lives(tmp_path, root=TREE, placement=policy, groups=GROUPS) as lives:
        life = await lives.begin()
        with pytest.raises(
            InvalidInput, match=r"no rule of scheduler\.placement gives a queue for a job that names no"
        ):
            await life.submit(user="in_no_group")
        with pytest.raises(InvalidInput, match="no queue 'staff' takes applications"):
            await life.submit(user="ada")


async def test_a_trial_says_where_a_job_would_go_and_what_would_be_made_and_makes_nothing(tmp_path: Path) -> None:
    async with Lives(tmp_path, root=TREE, placement=POLICY, groups=GROUPS) as lives:
        life = await lives.begin()
        found = await life.service.place(JobSpec(groups=(tasks(),)), user="ada")
        assert (found.queue, found.makes) == ("staff.ada", ["staff.ada"])
        assert paths(life) == ["root", "default", "staff"]
        assert await life.service.applications() == []
        with pytest.raises(InvalidInput, match="fits on no node"):
            await life.service.place(JobSpec(groups=(tasks(cpus=100),)), user="ada")


async def test_what_was_made_is_there_again_after_a_restart(tmp_path: Path) -> None:
    async with Lives(tmp_path, root=TREE, placement=POLICY, groups=GROUPS) as lives:
        life = await lives.begin()
        first = await life.submit(user="ada")
        deep = await life.submit(queue="new.team.mine", user="eve")
        await life.settle()
        before = paths(life)
        await life.kill()
        life = await lives.begin()
        await life.settle()
        made = [report.name for report in life.service.queues() if report.undeclared and not report.draining]
        assert (paths(life), len(made)) == (before, 4)
        assert [await life.states(app) for app in (first, deep)] == [["RUNNING"], ["RUNNING"]]
        again = await life.submit(user="ada")
        assert (await life.service.application(again)).queue == "staff.ada"


async def test_after_a_restart_that_forbids_such_queues_they_drain(tmp_path: Path) -> None:
    async with Lives(tmp_path, root=TREE, placement=POLICY, groups=GROUPS) as lives:
        life = await lives.begin()
        app = await life.submit(user="ada")
        await life.settle()
        await life.kill()
        lives.placement = None
        life = await lives.begin()
        await life.settle()
        (made,) = [report for report in life.service.queues() if report.draining]
        assert made.name == "staff.ada"
        await life.finish(life.containers(app)[0])
        assert (await life.ended(app)).state is ApplicationState.FINISHED
        assert paths(life) == ["root", "default", "staff"]


async def test_a_reload_keeps_what_was_made_and_its_new_limits_count(tmp_path: Path) -> None:
    async with Lives(tmp_path, root=TREE, placement=POLICY, groups=GROUPS) as lives:
        life = await lives.begin()
        app = await life.submit(tasks(count=4), user="ada")
        await life.settle()
        tree = queues(queue("default"), queue("staff", type=QueueType.PARENT, max_child_share=amounts(3, "8G")))
        report = await life.service.reload_queues(tree, placement=POLICY)
        await life.settle()
        assert (report.added, report.removed, report.changed) == ([], [], ["staff"])
        assert sorted(await life.states(app)) == ["PENDING", "RUNNING", "RUNNING", "RUNNING"]
        await life.submit(user="ada")


@pytest.mark.parametrize(
    ("tree", "policy"),
    [(TREE, PlacementPolicy()), (queues(queue("default")), POLICY)],
    ids=["no queue may be made any more", "the queue above is gone"],
)
async def test_a_reload_that_has_no_place_for_a_made_queue_drains_it(
    tmp_path: Path, tree: QueueSpec, policy: PlacementPolicy
) -> None:
    async with Lives(tmp_path, root=TREE, placement=POLICY, groups=GROUPS) as lives:
        life = await lives.begin()
        app = await life.submit(user="ada")
        await life.settle()
        await life.service.reload_queues(tree, placement=policy)
        assert "staff.ada" in [report.name for report in life.service.queues() if report.draining]
        await life.finish(life.containers(app)[0])
        assert (await life.ended(app)).state is ApplicationState.FINISHED
        assert "staff.ada" not in paths(life)


async def test_a_reload_that_declares_a_made_queue_makes_it_stay(tmp_path: Path) -> None:
    async with Lives(tmp_path, root=TREE, placement=POLICY, groups=GROUPS) as lives:
        life = await lives.begin()
        app = await life.submit(user="ada")
        await life.settle()
        await life.service.reload_queues(queues(queue("default"), queue("staff", queue("ada"))))
        await life.finish(life.containers(app)[0])
        assert paths(life) == ["root", "default", "staff", "staff.ada"]


async def test_a_queue_that_drains_is_open_again_when_a_rule_may_make_it(tmp_path: Path) -> None:
    async with Lives(tmp_path, root=queues(queue("default"), queue("old")), placement=POLICY) as lives:
        life = await lives.begin()
        await life.submit(queue="old")
        await life.settle()
        await life.service.reload_queues(queues(queue("default")))
        await life.submit(queue="old")
        await life.settle()
        (old,) = [report for report in life.service.queues() if report.name == "old"]
        assert (old.undeclared, old.draining, old.applications_running) == (True, False, 2)


@pytest.mark.parametrize(("before", "wanted"), [(queue("old"), "old.below"), (queue("old", queue("below")), "old")])
async def test_what_still_drains_becomes_nothing_else(tmp_path: Path, before: QueueSpec, wanted: str) -> None:
    async with Lives(tmp_path, root=queues(queue("default"), before), placement=POLICY) as lives:
        life = await lives.begin()
        await life.submit(queue="old.below" if before.children else "old")
        await life.settle()
        await life.service.reload_queues(queues(queue("default")))
        placed = await life.service.place(JobSpec(groups=(tasks(),), queue=wanted), user="eve")
        assert (placed.queue, placed.rule) == ("default", "default")


async def test_no_request_may_be_larger_than_the_nearest_limit_says(tmp_path: Path) -> None:
    tree = queues(
        queue("default"),
        queue("small", queue("a"), queue("b", max_container=amounts(3, "4G")), max_container=amounts(1, "1G")),
    )
    async with Lives(tmp_path, root=tree) as lives:
        life = await lives.begin()
        with pytest.raises(InvalidInput, match=r"larger than any in small\.a may be \(1 vcores, 1G\)"):
            await life.submit(tasks(cpus=2), queue="small.a")
        await life.submit(tasks(cpus=2), queue="small.b")
        await life.submit(tasks(cpus=4), queue="default")
