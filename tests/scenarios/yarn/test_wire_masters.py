"""Masters of YARN's over the wire: registering, asking, hearing and finishing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hrm.model.states import ApplicationState
from hrm.testing import eventually_async
from hrm.testing.hadoop_client import HadoopClient, RemoteError
from hrm.testing.lives import Lives
from hrm.yarn.exits import ABORTED
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.protocols import APPLICATION_MASTER
from tests.scenarios.yarn.wire_masters import ME, WireMaster, Yarn, ask, opened


@pytest.fixture
async def yarn(lives: Lives, tmp_path: Path) -> AsyncIterator[Yarn]:
    async with opened(await lives.begin(), tmp_path) as yarn:
        yield yarn


def numbers(statuses: object) -> dict[int, int]:
    """Exit statuses by the containers' numbers."""
    return {status.container_id.id & 0xFFFF: status.exit_status for status in statuses}  # type: ignore[attr-defined]


async def refused(java_class: str, call: object) -> str:
    """The message of an exception of that class."""
    with pytest.raises(RemoteError) as refusal:
        await call  # type: ignore[misc]
    assert refusal.value.java_class.rpartition(".")[2] == java_class
    return refusal.value.message


async def test_a_master_registers_gets_containers_starts_them_hears_their_ends_and_finishes(yarn: Yarn) -> None:
    master = yarn.master(await yarn.submit())
    registration = await master.register(host="n1", rpc_port=4711, tracking_url="http://n1:4040")
    assert registration.queue == "default"
    assert registration.maximumCapability.memory == 8192
    assert registration.client_to_am_token_master_key
    assert [one.name for one in registration.resource_types] == ["memory-mb", "vcores", "yarn.io/gpu"]
    first, second = await master.get(2)
    assert (first.resource.memory, first.resource.virtual_cores, first.priority.priority) == (512, 1, 1)
    answer = await master.start(first, second, command="exit 3")
    assert len(answer.succeeded_requests) == 2
    heard = await master.beat()
    assert [status.exit_status for status in heard.completed_container_statuses] == [3, 3]
    assert heard.num_cluster_nodes == 1
    assert (await master.finish(diagnostics="all done")).isUnregistered
    await master.exit()
    report = await yarn.life.ended(str(master.attempt.application))
    assert (report.state, report.message) == (ApplicationState.FINISHED, "all done")


async def test_counts_are_absolute_and_each_size_priority_and_request_has_its_own(yarn: Yarn) -> None:
    master = await yarn.begun()
    second = records.PriorityProto(priority=2)
    heard = await master.beat(ask(5, vcores=4), ask(1, allocation_request_id=7), ask(1, priority=second))
    assert [(one.allocation_request_id, one.priority.priority) for one in heard.allocated_containers] == [
        (7, 1),
        (-1, 2),
    ]

    def pending() -> list[int]:
        return [one.pending for one in yarn.life.scheduler.ask_views(master.attempt.application) if one.pending]

    assert pending() == [5]
    await master.beat(ask(3, vcores=4))
    assert pending() == [3]
    await master.beat(ask(0, vcores=4))
    assert pending() == []


async def test_what_is_asked_is_raised_to_what_yarn_grants(yarn: Yarn) -> None:
    (container,) = await (await yarn.begun()).get(1, memory=130, vcores=0)
    assert (container.resource.memory, container.resource.virtual_cores) == (256, 1)


async def test_an_answer_that_was_lost_is_given_again_and_a_stale_call_is_refused(yarn: Yarn) -> None:
    master = await yarn.begun()
    await master.allocate(ask=[ask(1)])
    await yarn.life.settle()
    heard = await master.allocate()
    master.response_id -= 1
    assert await master.allocate(ask=[ask(3)]) == heard
    await yarn.life.settle()
    assert list((await master.allocate()).allocated_containers) == []
    master.response_id = 1
    said = await refused("InvalidApplicationMasterRequestException", master.allocate())
    assert "Invalid responseId" in said


async def test_a_master_asks_only_after_it_has_registered_and_registers_once(yarn: Yarn) -> None:
    master = yarn.master(await yarn.submit())
    await refused("ApplicationMasterNotRegisteredException", master.allocate())
    await refused("ApplicationMasterNotRegisteredException", master.finish())
    await master.register()
    assert "already registered" in await refused("InvalidApplicationMasterRequestException", master.register())


@pytest.mark.parametrize(
    ("wrong", "java_class"),
    [
        ({"memory": 1 << 20}, "InvalidResourceRequestException"),
        ({"vcores": 100}, "InvalidResourceRequestException"),
        ({"memory": -1}, "InvalidResourceRequestException"),
        ({"num_containers": -1}, "InvalidResourceRequestException"),
        ({"num_containers": 2_000_000_000}, "InvalidResourceRequestException"),
        ({"place": "/" + "r" * 300}, "InvalidResourceRequestException"),
        ({"node_label_expression": "fast"}, "InvalidLabelResourceRequestException"),
        ({"priority": records.PriorityProto(priority=-5)}, "InvalidResourceRequestException"),
    ],
)
async def test_an_ask_that_cannot_be_is_refused_and_changes_nothing(
    yarn: Yarn, wrong: dict[str, object], java_class: str
) -> None:
    master = await yarn.begun()
    fields = {"memory": 512, **wrong}
    await refused(java_class, master.allocate(ask=[ask(1), ask(1, **fields)]))  # type: ignore[arg-type]
    assert list((await master.beat()).allocated_containers) == []


async def test_a_masters_token_of_each_node_comes_once(yarn: Yarn) -> None:
    master = await yarn.begun()
    first = await master.beat(ask(1))
    assert len(first.nm_tokens) == 1
    assert list((await master.beat(ask(1))).nm_tokens) == []


async def test_what_is_given_back_unused_is_told_as_released(yarn: Yarn) -> None:
    master = await yarn.begun()
    (unused,) = await master.get(1)
    heard = await master.beat(release=[unused.id])
    (status,) = heard.completed_container_statuses
    assert (status.exit_status, status.diagnostics) == (ABORTED, "Container released by application")
    assert len(yarn.life.containers()) == 1


async def test_a_running_container_that_is_given_back_ends_and_is_told_once(yarn: Yarn) -> None:
    master = await yarn.begun()
    (running,) = await master.get(1)
    await master.start(running)
    heard = await master.beat(release=[running.id])
    assert [status.exit_status for status in heard.completed_container_statuses] == [ABORTED]
    assert list((await master.beat(release=[running.id])).completed_container_statuses) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"response_id": 77},
        {"ask": [ask(1, memory=1 << 20)]},
        {"ask": [ask(1)], "blacklist_request": records.ResourceBlacklistRequestProto(blacklist_additions=["*"])},
    ],
    ids=["a response id never given", "a size that fits nowhere", "a blacklist of all"],
)
async def test_a_call_that_is_refused_ends_nothing(yarn: Yarn, wrong: dict[str, Any]) -> None:
    master = await yarn.begun()
    (running,) = await master.get(1)
    await master.start(running)
    with pytest.raises(RemoteError):
        await master.allocate(release=[running.id], **wrong)
    await yarn.life.settle()
    assert list((await master.beat()).completed_container_statuses) == []


async def test_a_container_of_another_application_cannot_be_given_back(yarn: Yarn) -> None:
    master, other = await yarn.begun(), await yarn.begun()
    (container,) = await other.get(1)
    await refused("InvalidContainerReleaseException", master.allocate(release=[container.id]))


async def test_nodes_that_a_master_does_not_want_get_nothing_of_it_until_it_wants_them_again(yarn: Yarn) -> None:
    master = await yarn.begun()
    unwanted = records.ResourceBlacklistRequestProto(blacklist_additions=["127.0.0.1"])
    assert list((await master.beat(ask(1), blacklist_request=unwanted)).allocated_containers) == []
    wanted = records.ResourceBlacklistRequestProto(blacklist_removals=["127.0.0.1"])
    assert len((await master.beat(blacklist_request=wanted)).allocated_containers) == 1
    both = records.ResourceBlacklistRequestProto(blacklist_additions=["a"], blacklist_removals=["a"])
    await refused("InvalidResourceBlacklistRequestException", master.allocate(blacklist_request=both))


async def test_a_master_names_no_more_nodes_that_it_does_not_want_than_there_may_be(yarn: Yarn) -> None:
    master = await yarn.begun()
    for part in range(2):
        names = [f"host{part}x{number}" for number in range(5000)]
        await master.allocate(blacklist_request=records.ResourceBlacklistRequestProto(blacklist_additions=names))
    one_more = records.ResourceBlacklistRequestProto(blacklist_additions=["one-more"])
    await refused("InvalidResourceBlacklistRequestException", master.allocate(blacklist_request=one_more))
    instead = records.ResourceBlacklistRequestProto(blacklist_additions=["one-more"], blacklist_removals=["host0x1"])
    assert (await master.allocate(blacklist_request=instead)).response_id == 3
    long = records.ResourceBlacklistRequestProto(blacklist_additions=["x" * 300])
    await refused("InvalidResourceBlacklistRequestException", master.allocate(blacklist_request=long))


async def test_what_is_not_done_is_refused_one_by_one(yarn: Yarn) -> None:
    master = await yarn.begun()
    placed = records.SchedulingRequestProto(allocationRequestId=3)
    heard = await master.allocate(scheduling_requests=[placed])
    assert [rejected.request for rejected in heard.rejected_scheduling_requests] == [placed]


async def test_headroom_is_what_is_free_and_shrinks_with_what_is_granted(yarn: Yarn) -> None:
    master = await yarn.begun()
    assert (await master.allocate()).limit.memory == 8192 - 1024


async def test_the_last_word_stands_and_leftover_containers_are_ended(yarn: Yarn) -> None:
    master = await yarn.begun()
    (running,) = await master.get(1)
    await master.start(running)
    await master.finish(records.APP_FAILED, "driver failed: boom", "http://history/1")
    assert (await master.finish(records.APP_SUCCEEDED, "not so")).isUnregistered
    assert len(yarn.life.containers()) == 1
    await master.exit(1)
    report = await yarn.life.ended(str(master.attempt.application))
    assert (report.state, report.message) == (ApplicationState.FAILED, "driver failed: boom")
    (attempt,) = await yarn.life.service.attempts(str(master.attempt.application))
    assert attempt.tracking_url == "http://history/1"


async def test_a_master_whose_attempt_is_over_does_not_come_in(yarn: Yarn) -> None:
    master = await yarn.begun(maxAppAttempts=1)
    await master.exit(1)
    await yarn.life.ended(str(master.attempt.application))
    await refused("SecretManager$InvalidToken", master.allocate())


async def test_a_master_whose_connection_outlives_its_attempt_is_told_to_shut_down(yarn: Yarn) -> None:
    # AMRMClient ends its program at this exception, and asks again at any other.
    master = await yarn.begun()
    request = service.AllocateRequestProto(response_id=0, progress=0.5)
    host, _, port = yarn.front.addresses["masters"].rpartition(":")
    async with await HadoopClient.connect((host, int(port)), token=master.token) as client:
        await client.call(APPLICATION_MASTER, "allocate", request)
        await yarn.life.service.kill(str(master.attempt.application), by=ME)
        await yarn.life.ended(str(master.attempt.application))
        for method, message in (
            ("allocate", request),
            ("registerApplicationMaster", service.RegisterApplicationMasterRequestProto()),
            ("finishApplicationMaster", service.FinishApplicationMasterRequestProto(final_application_status=1)),
        ):
            await refused("ApplicationAttemptNotFoundException", client.call(APPLICATION_MASTER, method, message))


async def test_a_master_hears_the_priority_of_its_application_and_how_many_nodes_there_are(yarn: Yarn) -> None:
    master = await yarn.begun(priority=records.PriorityProto(priority=3))
    first = await master.allocate()
    assert (first.application_priority.priority, first.num_cluster_nodes) == (3, 1)
    await yarn.life.service.set_priority(str(master.attempt.application), 7, by=ME)
    assert (await master.allocate()).application_priority.priority == 7


@pytest.mark.parametrize("ahead", [1, 1000, 1 << 30, -5])
async def test_a_response_id_that_was_never_given_is_refused_and_the_right_one_goes_on(yarn: Yarn, ahead: int) -> None:
    master = await yarn.begun()
    await master.allocate()
    right = master.response_id
    said = await refused("InvalidApplicationMasterRequestException", master.allocate(response_id=right + ahead))
    assert "Invalid responseId" in said
    master.response_id = right
    assert (await master.allocate()).response_id == right + 1


async def test_the_next_attempt_is_given_what_the_one_before_left_running(yarn: Yarn) -> None:
    first = await yarn.begun(keep_containers_across_application_attempts=True)
    (kept,) = await first.get(1)
    await first.start(kept)
    await first.exit(1)
    await yarn.life.settle()
    second = yarn.master(str(first.attempt.application), attempt=2)
    registration = await second.register()
    assert [one.id for one in registration.containers_from_previous_attempts] == [kept.id]
    assert len(registration.nm_tokens_from_previous_attempts) == 1
    heard = await second.beat(release=[kept.id])
    assert [status.exit_status for status in heard.completed_container_statuses] == [ABORTED]
    await refused("SecretManager$InvalidToken", first.allocate())


async def test_an_unmanaged_master_needs_no_container(yarn: Yarn) -> None:
    master = await yarn.begun(unmanaged_am=True)
    (container,) = await master.get(1)
    await master.start(container)
    assert len(yarn.life.containers()) == 1
    await master.finish()
    assert (await yarn.life.ended(str(master.attempt.application))).state is ApplicationState.FINISHED


async def test_after_a_restart_a_master_registers_anew_and_hears_of_what_ended_meanwhile(
    lives: Lives, tmp_path: Path
) -> None:
    async with opened(await lives.begin(), tmp_path) as yarn:
        master = await yarn.begun()
        told, running = await master.get(2)
        await master.start(told, running)
        await yarn.life.finish(yarn.life.containers()[1], 0)
        assert len((await master.beat()).completed_container_statuses) == 1
        (left,) = [name for name in yarn.life.containers() if not name.endswith("_000001")]
        await yarn.life.close()
    lives.machines.finish(left, 5)
    async with opened(await lives.begin(), tmp_path) as yarn:
        again = WireMaster(yarn, master.attempt)
        again.token = master.token
        await refused("ApplicationMasterNotRegisteredException", again.allocate())
        await again.register()
        heard = await again.beat(ask(1))
        assert [status.exit_status for status in heard.completed_container_statuses] == [5]
        assert len(heard.allocated_containers) == 1


async def test_a_new_key_is_handed_to_masters_with_their_next_answer(yarn: Yarn) -> None:
    master = await yarn.begun()
    assert not (await master.allocate()).HasField("am_rm_token")
    secrets = yarn.front.secrets
    later = secrets._clock() + 2 * 86_400
    secrets._clock = lambda: later
    await secrets.roll()
    answer = await master.allocate()
    assert answer.am_rm_token.identifier != master.token.identifier
    master.token = answer.am_rm_token
    assert not (await master.allocate()).HasField("am_rm_token")


async def test_a_master_hears_of_nodes_that_take_nothing_more_and_that_do_again(yarn: Yarn) -> None:
    master = await yarn.begun()
    assert list((await master.allocate()).updated_nodes) == []

    async def heard_of() -> int:
        (node,) = (await master.allocate()).updated_nodes or [None]
        return node.node_state if node is not None else 0

    await yarn.life.service.drain_node("n1", by="ada")
    assert await eventually_async(heard_of, describe="the node drains") == records.NS_DECOMMISSIONING
    assert list((await master.allocate()).updated_nodes) == []
    await yarn.life.service.undrain_node("n1", by="ada")
    assert await eventually_async(heard_of, describe="it takes containers again") == records.NS_RUNNING
