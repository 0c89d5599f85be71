"""What people are told: applications, tasks, history, containers, queues, nodes, reasons, the server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hrm.model.containers import ContainerUsage, NodeUsage
from hrm.model.errors import InvalidInput, NotFound
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState, ContainerState, NodeState, TaskState
from hrm.testing.builders import node, queue, queues
from hrm.testing.lives import Life, Lives, tasks


async def test_an_application_that_partly_runs_says_what_it_has_and_why_the_rest_waits(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=6), name="train", queue="research", priority=3)
    await life.settle()
    await life.finish(life.containers(app)[0])
    report = await life.service.application(app)
    assert (report.name, report.user, report.queue, report.priority) == ("train", "ada", "research", 3)
    assert (report.state, report.reason) == (ApplicationState.RUNNING, "insufficient_vcores")
    assert report.message == "too few vcores are free now"
    assert (report.tasks_total, report.tasks_pending, report.tasks_running, report.tasks_succeeded) == (6, 1, 4, 1)
    assert report.progress == pytest.approx(1 / 6)
    assert report.used == {"memory_mib": 4096, "vcores_milli": 4000, "gpus_milli": 0}
    assert report.nodes == ["n1"]
    assert report.exit_code is None


async def test_applications_are_listed_newest_first_page_by_page_and_by_what_one_asks_for(lives: Lives) -> None:
    life = await lives.begin()
    first = await life.submit(tasks("true"), user="ada")
    await life.ended(first)
    second = await life.submit(user="bob", queue="research")
    third = await life.submit(user="ada")
    await life.settle()

    async def ids(**what: object) -> list[str]:
        return [report.application_id for report in await life.service.applications(**what)]  # type: ignore[arg-type]

    assert await ids() == [third, second, first]
    assert await ids(limit=2) == [third, second]
    assert await ids(before=second) == [first]
    assert await ids(user="ada") == [third, first]
    assert await ids(queue="root.research") == [second]
    assert await ids(states=["FINISHED"]) == [first]
    assert await ids(states=["RUNNING", "FINISHED"], user="ada") == [third, first]


async def test_the_latest_events_of_one_application_are_told_oldest_first(lives: Lives) -> None:
    life = await lives.begin()
    app, other = await life.submit(tasks("true")), await life.submit(tasks("true"))
    await life.ended(app)
    await life.ended(other)

    events = await life.service.latest_events(app, limit=2)

    assert events[-1].kind == "application_finished"
    assert [one.application_id for one in events] == [app, app]
    assert events[0].seq < events[1].seq


async def test_an_end_that_is_not_on_disk_is_told_to_nobody(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    life.disk.hold()
    life.engine.finish(life.containers(app)[0], 0)
    await life.held()

    told = await life.service.application(app)
    assert (told.state, told.ended_at, told.exit_code, told.progress) == (ApplicationState.RUNNING, None, None, 1.0)
    assert await life.service.wait(app, timeout_s=0) == told
    assert await life.service.applications() == [told]
    assert await life.service.applications(states=["FINISHED"]) == []
    assert (await life.service.explain(app)).state == "RUNNING"
    server = life.service.server()
    assert (server.applications_running, server.applications_pending) == (1, 0)

    life.disk.let_go()
    assert (await life.ended(app)).state is ApplicationState.FINISHED
    assert [attempt.state for attempt in await life.service.history(app)] == [TaskState.SUCCEEDED]
    assert (await life.service.explain(app)).state == "FINISHED"


async def test_one_that_was_killed_before_it_ran_is_told_as_waiting_until_that_is_on_disk(lives: Lives) -> None:
    life = await lives.begin()
    await life.submit(tasks(cpus=4))
    app = await life.submit(tasks(cpus=4))
    await life.settle()
    life.disk.hold()
    killing = asyncio.create_task(life.service.kill(app, by="ada"))
    await life.held()
    assert (await life.service.application(app)).state is ApplicationState.ACCEPTED

    life.disk.let_go()
    await killing
    assert (await life.ended(app)).state is ApplicationState.KILLED


async def test_a_state_that_does_not_exist_is_refused_with_those_that_do(lives: Lives) -> None:
    life = await lives.begin()
    with pytest.raises(InvalidInput, match="no such state: 'DONE'") as refused:
        await life.service.applications(states=["DONE"])
    assert "FINISHED" in refused.value.next_step


async def test_tasks_are_told_page_by_page_running_and_ended(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=4, name="a"), tasks(count=3, name="b"))
    await life.settle()
    (first, *_) = life.containers(app)
    await life.finish(first, 2)
    page = await life.service.tasks(app, offset=3, limit=2)
    assert [(task.task_index, task.group, task.state, task.attempt) for task in page] == [
        (3, "a", "RUNNING", 1),
        (4, "b", "RUNNING", 1),
    ]
    whole = await life.service.tasks(app)
    assert [task.state for task in whole] == ["FAILED"] + ["RUNNING"] * 4 + ["PENDING"] * 2
    assert (whole[0].exit_code, whole[0].message, whole[1].node_id) == (2, "exit code 2", "n1")
    assert await life.service.tasks(app, offset=7) == []

    await life.service.kill(app, by="ada")
    await life.ended(app)
    over = await life.service.tasks(app, offset=4)
    assert [(task.state, task.message) for task in over] == [
        ("KILLED", "killed by ada"),
        ("KILLED", "never began"),
        ("KILLED", "never began"),
    ]


async def test_history_has_one_line_for_each_attempt_with_its_times_and_code(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(retries=1), name="train", queue="research")
    await life.settle()
    begun = lives.clock.now()
    await life.pass_time(5)
    await life.finish(life.containers(app)[0], 3)
    first, second = await life.service.history(app)
    assert (first.state, first.exit_code, first.started_at, first.ended_at) == ("FAILED", 3, begun, begun + 5)
    assert (first.name, first.user, first.queue, first.node_id) == ("train", "ada", "research", "n1")
    assert (second.state, second.attempt, second.ended_at) == ("RUNNING", 2, None)
    assert second.resources == {"memory_mib": 1024, "vcores_milli": 1000, "gpus_milli": 0}


async def test_history_can_be_asked_from_a_time_on_and_in_pages(lives: Lives) -> None:
    life = await lives.begin()
    early = await life.submit(tasks("true", count=2))
    await life.ended(early)
    lives.clock.advance(100)
    late = await life.submit(tasks("true", count=2))
    await life.ended(late)
    whole = await life.service.history()
    assert [one.application_id for one in whole] == [early, early, late, late]
    assert [one.application_id for one in await life.service.history(since=lives.clock.now())] == [late, late]
    assert await life.service.history(limit=1, offset=2) == whole[2:3]


async def test_containers_show_what_they_really_use(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    other = await life.submit()
    await life.settle()
    (name,) = life.containers(app)
    life.listener.heartbeat(
        "n1",
        NodeUsage(memory_used_mib=3000, cpu_milli=1500, disk_free_mib=900),
        [ContainerUsage(container_id=name, memory_mib=77, cpu_milli=950, read_bytes=1, written_bytes=2, disk_mib=3)],
    )
    await life.settle()
    (report,) = life.service.containers(app)
    assert (report.state, report.task_index, report.node_id) == (ContainerState.RUNNING, 0, "n1")
    assert (report.memory_used_mib, report.cpu_used_milli, report.disk_mib) == (77, 950, 3)
    assert len(life.service.containers()) == 2
    (machine,) = life.service.nodes()
    assert (machine.state, machine.containers, machine.memory_used_mib) == (NodeState.RUNNING, 2, 3000)
    assert machine.used["vcores_milli"] == 2000
    await life.service.kill(other, by="ada")
    await life.ended(other)
    assert life.service.containers(other) == []


async def test_queues_show_use_and_demand_against_their_shares(tmp_path: Path) -> None:
    root = queues(queue("research", weight=3), queue("batch"))
    async with Lives(tmp_path, root=root) as lives:
        life = await lives.begin()
        for name in ("research", "batch"):
            await life.submit(tasks(count=8, memory="2G"), queue=name)
        await life.settle()
        reports = {report.name: report for report in life.service.queues()}
        assert list(reports) == ["root", "research", "batch"]
        assert reports["research"].fair_share["memory_mib"] == 6144
        assert reports["batch"].fair_share["memory_mib"] == 2048
        assert reports["root"].used["memory_mib"] == 8192
        assert reports["batch"].containers_pending + reports["batch"].containers_running == 8


async def test_gpus_are_given_by_device_and_shown(tmp_path: Path) -> None:
    async with Lives(tmp_path, [node("g1", gpus=2)]) as lives:
        life = await lives.begin()
        await life.submit(tasks(resources=Resources.parse(cpus=1, memory="1G", gpus=1)))
        await life.settle()
        (report,) = life.service.containers()
        (machine,) = life.service.nodes()
        free = {device.device_id: device.free_milli for device in machine.devices}
        assert report.device_ids == [name for name, milli in free.items() if milli == 0]
        assert life.engine.launches[0].device_ids == tuple(report.device_ids)


async def test_waiting_for_an_end_stops_when_the_time_is_over(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    report = await life.service.wait(app, timeout_s=0.05)
    assert not report.state.final


async def test_the_server_says_who_it_is_and_what_it_does(lives: Lives) -> None:
    life = await lives.begin()
    await life.submit(tasks(cpus=4))
    await life.submit(tasks(cpus=4))
    await life.settle()
    report = life.service.server()
    assert (report.engine, report.nodes) == ("fake", 1)
    assert (report.applications_running, report.applications_pending) == (1, 1)
    assert report.loop_lag_max_ms > 0


UNKNOWN = "application_1000000000_0099"


async def test_what_never_was_is_not_found(lives: Lives) -> None:
    life = await lives.begin()
    service = life.service
    for name in (UNKNOWN, "application_7_0001"):
        for ask in (
            service.application(name),
            service.tasks(name),
            service.history(name),
            service.wait(name, timeout_s=0),
            service.kill(name, by="ada"),
            service.signal(name, 2),
            service.write_stdin(name, b"x"),
            service.close_stdin(name),
            service.explain(name),
        ):
            with pytest.raises(NotFound):
                await ask
        for call in (service.containers, service.attach, service.detach):
            with pytest.raises(NotFound):
                call(name)


async def test_what_is_no_id_is_bad_input(lives: Lives) -> None:
    life = await lives.begin()
    with pytest.raises(InvalidInput, match="not an application id"):
        await life.service.application("../etc/passwd")


async def test_the_work_that_is_there_is_told_whole_with_what_runs_and_what_waits(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=6, timeout_s=90.0), name="train", queue="research", priority=3)
    await life.settle()
    (one,) = life.service.work()
    assert (one.application_id, one.name, one.user, one.queue, one.priority) == (app, "train", "ada", "research", 3)
    assert [(held.node_id, held.resources["vcores_milli"], held.timeout_s) for held in one.holding] == [
        ("n1", 1000, 90.0)
    ] * 4
    (waits,) = one.waiting
    assert (waits.containers, waits.resources["memory_mib"], waits.timeout_s) == (2, 1024, 90.0)


async def test_history_tells_what_was_read_and_written_while_it_ran_after_it_and_in_the_next_life(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks())
    await life.settle()
    [name] = life.containers(app)
    usage = ContainerUsage(
        container_id=name, memory_mib=1, cpu_milli=1, read_bytes=5, written_bytes=7 << 40, disk_mib=0
    )
    life.listener.heartbeat("n1", NodeUsage(memory_used_mib=1, cpu_milli=1, disk_free_mib=900), [usage])
    await life.settle()

    async def told(life: Life) -> tuple[int | None, int | None]:
        [attempt] = await life.service.history(app)
        return attempt.read_bytes, attempt.written_bytes

    assert await told(life) == (5, 7 << 40)
    life.engine.finish(name)
    await life.settle()
    assert await told(life) == (5, 7 << 40)
    await life.kill()
    assert await told(await lives.begin()) == (5, 7 << 40)
