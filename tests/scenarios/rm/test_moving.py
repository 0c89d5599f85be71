"""Applications move between queues and past each other; what a limit forbids changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.model.errors import Conflict, InvalidInput, NotFound
from hrm.model.placement import PlacementPolicy
from hrm.model.queues import QueueSpec
from hrm.model.reports import QueueReport
from hrm.testing.builders import amounts, queue, queues
from hrm.testing.lives import Life, Lives, tasks


def of(life: Life, name: str) -> QueueReport:
    (found,) = [report for report in life.service.queues() if report.name == name]
    return found


async def test_an_application_moves_with_all_that_it_runs_and_that_holds_over_a_restart(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=6))
    await life.settle()
    moved = await life.service.move(app, "research", by="ada")
    assert (moved.queue, moved.tasks_running) == ("research", 4)
    assert (of(life, "default").applications_running, of(life, "research").containers_running) == (0, 4)
    (event,) = [event for event in await life.store.events() if event.kind == "application_moved"]
    assert event.detail == {"queue": "research", "from_queue": "default", "user": "ada"}
    await life.kill()
    life = await lives.begin()
    await life.settle()
    assert (await life.service.application(app)).queue == "research"
    assert of(life, "research").containers_running == 4


async def test_what_begins_later_is_told_the_new_queue(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=5))
    await life.settle()
    await life.service.move(app, "research", by="ada")
    await life.finish(life.containers(app)[0])
    assert [spec.env["HRM_QUEUE"] for spec in life.engine.launches] == ["default"] * 4 + ["research"]


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (queue("t", max_running_apps=0), r"t runs as many applications as it may \(0\)"),
        (queue("t", max_running_apps_per_user=0), r"t runs as many applications of ada as it may \(0\)"),
        (queue("t", max_share=amounts(1, "8G")), "t would pass its max share"),
        (queue("t", max_container=amounts(0.5, "8G")), "larger than any in t may be"),
        (queue("t", queue("below")), "no queue 't' takes applications"),
        (queue("other"), "no queue 't' takes applications"),
    ],
)
async def test_where_the_target_has_no_room_it_stays_and_is_told_why(
    tmp_path: Path, target: QueueSpec, why: str
) -> None:
    async with Lives(tmp_path, root=queues(queue("default"), target)) as lives:
        life = await lives.begin()
        app = await life.submit(tasks(count=2))
        await life.settle()
        before = life.service.queues()
        with pytest.raises(InvalidInput, match=why):
            await life.service.move(app, "t", by="ada")
        assert life.service.queues() == before
        assert (await life.service.application(app)).queue == "default"


async def test_one_that_waits_may_move_to_a_full_queue_and_waits_there(tmp_path: Path) -> None:
    root = queues(queue("default", max_running_apps=1), queue("full", max_running_apps=1))
    async with Lives(tmp_path, root=root) as lives:
        life = await lives.begin()
        await life.submit()
        waiting = await life.submit()
        await life.submit(queue="full")
        await life.settle()
        await life.service.move(waiting, "full", by="ada")
        assert (of(life, "default").applications_pending, of(life, "full").applications_pending) == (0, 1)


async def test_a_queue_made_for_a_move_that_a_limit_forbids_is_gone_again(tmp_path: Path) -> None:
    root = queues(queue("default"), queue("users", queue("known"), max_running_apps=0))
    async with Lives(tmp_path, root=root, placement=PlacementPolicy(undeclared_queues=True)) as lives:
        life = await lives.begin()
        app = await life.submit()
        await life.settle()
        with pytest.raises(InvalidInput, match="users runs as many applications as it may"):
            await life.service.move(app, "users.ada", by="ada")
        assert [report.name for report in life.service.queues()] == ["root", "default", "users", "users.known"]


async def test_moving_the_last_application_out_ends_a_draining_queue(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(queue="research")
    await life.settle()
    await life.service.reload_queues(queues(queue("default")))
    await life.service.move(app, "default", by="ada")
    assert [report.name for report in life.service.queues()] == ["root", "default"]


async def test_what_is_over_cannot_move_and_what_never_was_is_not_found(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    await life.finish(life.containers(app)[0])
    with pytest.raises(Conflict, match="is over"):
        await life.service.move(app, "research", by="ada")
    with pytest.raises(Conflict, match="is over"):
        await life.service.set_priority(app, 5, by="ada")
    with pytest.raises(NotFound):
        await life.service.move(app.replace("_0001", "_0099"), "research", by="ada")


async def test_a_higher_priority_runs_first_in_a_fifo_queue_also_after_a_restart(tmp_path: Path) -> None:
    async with Lives(tmp_path, root=queues(queue("default", policy="fifo"))) as lives:
        life = await lives.begin()
        busy = await life.submit(tasks(count=4))
        first, second = await life.submit(), await life.submit()
        await life.settle()
        assert (await life.service.set_priority(second, 10, by="ada")).priority == 10
        await life.kill()
        life = await lives.begin()
        await life.settle()
        await life.finish(life.containers(busy)[0])
        assert (await life.states(first), await life.states(second)) == (["PENDING"], ["RUNNING"])


async def test_a_priority_that_no_client_could_say_is_refused(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    with pytest.raises(InvalidInput, match="out of range"):
        await life.service.set_priority(app, 1 << 40, by="ada")
