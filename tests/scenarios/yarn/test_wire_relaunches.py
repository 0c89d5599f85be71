"""What masters ask of containers that run, over the wire: another program in place, its retries, further files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hrm.testing.hadoop_client import HadoopClient, RemoteError
from hrm.testing.lives import Lives
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.protocols import CONTAINER_MANAGEMENT
from tests.scenarios.yarn.test_wire_nodes import failures
from tests.scenarios.yarn.wire_masters import WireMaster, Yarn, opened

RESTART, ROLL_BACK, COMMIT = "restartContainer", "rollbackLastReInitialization", "commitLastReInitialization"
REPLACE, LOCALIZE, FILES = "reInitializeContainer", "localize", "getLocalizationStatuses"
ASKED = (REPLACE, RESTART, ROLL_BACK, COMMIT, LOCALIZE)


@pytest.fixture
async def yarn(lives: Lives, tmp_path: Path) -> AsyncIterator[Yarn]:
    async with opened(await lives.begin(), tmp_path) as yarn:
        yield yarn


@pytest.fixture
async def master(yarn: Yarn) -> WireMaster:
    return await yarn.begun()


@pytest.fixture
async def container(master: WireMaster) -> Any:
    """One that runs."""
    (granted,) = await master.get(1)
    await master.start(granted, command="echo first; sleep 1000")
    return granted


def asked(method: str, container: Any, command: str = "echo second; sleep 1000", **fields: Any) -> Any:
    """The request of a method about one container."""
    if method == REPLACE:
        context = records.ContainerLaunchContextProto(command=[command])
        return service.ReInitializeContainerRequestProto(
            container_id=container.id, container_launch_context=context, **fields
        )
    if method == LOCALIZE:
        return service.ResourceLocalizationRequestProto(container_id=container.id, **fields)
    if method == FILES:
        return service.GetLocalizationStatusesRequestProto(container_id=[container.id])
    return container.id


async def ask(master: WireMaster, method: str, container: Any, *words: str, **fields: Any) -> Any:
    answer = await master.at_node(container, method, asked(method, container, *words, **fields))
    await master.yarn.life.settle()
    return answer


async def status_of(master: WireMaster, container: Any) -> Any:
    request = service.GetContainerStatusesRequestProto(container_id=[container.id])
    (status,) = (await master.at_node(container, "getContainerStatuses", request)).status
    return status


def name_of(yarn: Yarn, master: WireMaster) -> str:
    """The id of its only container besides its own."""
    (report,) = [one for one in yarn.life.service.containers(str(master.attempt.application)) if one.task_index == 1]
    return report.container_id


async def log_of(yarn: Yarn, master: WireMaster) -> str:
    name = name_of(yarn, master)
    return bytes(yarn.life.engine.cluster.container("n1", name).logs["stdout"]).decode()


async def relaunches(yarn: Yarn) -> list[tuple[int, str]]:
    """Of the event log: which launch, and why."""
    rows = [row.detail for row in await yarn.life.store.events() if row.kind == "container_relaunched"]
    return [(row["launch"], row["message"]) for row in rows if row is not None]


async def test_a_restart_runs_the_same_anew_and_the_event_log_tells_it(
    yarn: Yarn, master: WireMaster, container: Any
) -> None:
    (before,) = [one for one in yarn.life.service.containers() if one.task_index == 1]
    await ask(master, RESTART, container)
    assert await log_of(yarn, master) == "first\nfirst\n"
    (after,) = [one for one in yarn.life.service.containers() if one.task_index == 1]
    assert (after.container_id, after.launches, after.started_at) == (before.container_id, 2, before.started_at)
    assert after.pid != before.pid
    assert await relaunches(yarn) == [(2, "it is restarted")]
    assert list((await master.beat()).completed_container_statuses) == []


async def test_without_a_launch_context_a_container_is_restarted(
    yarn: Yarn, master: WireMaster, container: Any
) -> None:
    request = service.ReInitializeContainerRequestProto(container_id=container.id)
    await master.at_node(container, REPLACE, request)
    await yarn.life.settle()
    assert await log_of(yarn, master) == "first\nfirst\n"


async def test_what_is_not_committed_can_be_rolled_back_once(yarn: Yarn, master: WireMaster, container: Any) -> None:
    await ask(master, REPLACE, container, auto_commit=False)
    await ask(master, ROLL_BACK, container)
    assert await log_of(yarn, master) == "first\nsecond\nfirst\n"
    with pytest.raises(RemoteError, match="nothing to roll back to") as refused:
        await ask(master, ROLL_BACK, container)
    assert refused.value.java_class.endswith("YarnException")


@pytest.mark.parametrize("by_itself", [True, False], ids=["by itself", "by hand"])
async def test_what_is_committed_stays(yarn: Yarn, master: WireMaster, container: Any, by_itself: bool) -> None:
    await ask(master, REPLACE, container, "echo second; sleep 1; exit 3", auto_commit=by_itself)
    if not by_itself:
        await ask(master, COMMIT, container)
    for method, words in ((ROLL_BACK, "nothing to roll back to"), (COMMIT, "nothing to commit")):
        with pytest.raises(RemoteError, match=words):
            await ask(master, method, container)
    await yarn.life.pass_time(2)
    assert [one.exit_status for one in (await master.beat()).completed_container_statuses] == [3]


async def test_one_that_fails_uncommitted_is_rolled_back_by_itself_and_its_diagnostics_say_so(
    yarn: Yarn, master: WireMaster, container: Any
) -> None:
    await ask(master, REPLACE, container, "echo second; exit 3", auto_commit=False)
    await yarn.life.settle()
    assert await log_of(yarn, master) == "first\nsecond\nfirst\n"
    status = await status_of(master, container)
    assert (status.state, status.container_sub_state) == (records.C_RUNNING, records.CSS_RUNNING)
    assert "its program is replaced\n" in status.diagnostics
    assert "ended with exit code 3: it is rolled back" in status.diagnostics
    assert list((await master.beat()).completed_container_statuses) == []


async def test_while_it_makes_way_it_is_scheduled_and_nothing_more_can_be_asked_of_it(
    yarn: Yarn, master: WireMaster
) -> None:
    (container,) = await master.get(1)
    await master.start(container, command="trap '' TERM; echo first; sleep 1000")
    await ask(master, RESTART, container)
    assert (await status_of(master, container)).container_sub_state == records.CSS_SCHEDULED
    for method in ASKED:
        with pytest.raises(RemoteError, match="started anew"):
            await ask(master, method, container)
    await yarn.life.pass_time(30)
    assert (await status_of(master, container)).container_sub_state == records.CSS_RUNNING
    assert await log_of(yarn, master) == "first\nfirst\n"


@pytest.mark.parametrize("method", ASKED)
async def test_of_one_that_does_not_run_nothing_can_be_asked(yarn: Yarn, master: WireMaster, method: str) -> None:
    waits, ended = await master.get(2)
    await master.start(ended, command="exit 4")
    assert await ask(master, FILES, ended)
    with pytest.raises(RemoteError, match=r"Specified .* does not exist!"):
        await ask(master, method, ended)
    with pytest.raises(RemoteError, match=r"Cannot perform .* does not run: it is ALLOCATED") as refused:
        await ask(master, method, waits)
    assert refused.value.java_class.endswith("YarnException")


@pytest.mark.parametrize("method", ASKED)
async def test_of_others_containers_nothing_can_be_asked(yarn: Yarn, master: WireMaster, method: str) -> None:
    other = await yarn.begun()
    (mine,), (theirs,) = await master.get(1), await other.get(1)
    await other.start(theirs)
    with pytest.raises(RemoteError, match="ApplicationMaster not authorized to perform"):
        await master.at_node(mine, method, asked(method, theirs))
    (failed,) = failures(await master.at_node(mine, FILES, asked(FILES, theirs)))
    assert "non-owner" in failed[1]
    assert await relaunches(yarn) == []


@pytest.mark.parametrize("method", ASKED)
async def test_a_call_that_names_no_container_or_none_that_there_is_is_refused(
    master: WireMaster, container: Any, method: str
) -> None:
    unknown = records.ContainerProto(id=container.id)
    unknown.id.id += 1000
    with pytest.raises(RemoteError, match="does not exist"):
        await master.at_node(container, method, asked(method, unknown))
    with pytest.raises(RemoteError, match="missing"):
        await master.at_node(container, method, asked(method, records.ContainerProto(id={})))


async def test_a_master_cannot_have_its_own_container_started_anew(yarn: Yarn, master: WireMaster) -> None:
    (container,) = await master.get(1)
    own = records.ContainerProto(id=container.id)
    own.id.id = container.id.id & ~0xFF | 1
    with pytest.raises(RemoteError, match="the master's own container"):
        await master.at_node(container, REPLACE, asked(REPLACE, own))


async def test_a_token_of_another_node_or_none_is_refused(master: WireMaster, container: Any) -> None:
    node = (container.nodeId.host, container.nodeId.port)
    forged = type(master.node_tokens[node])()
    forged.CopyFrom(master.node_tokens[node])
    forged.password = b"guessed"
    with pytest.raises(RemoteError):
        async with await HadoopClient.connect(node, token=forged) as client:
            await client.call(CONTAINER_MANAGEMENT, RESTART, container.id)


async def test_a_context_that_cannot_be_launched_or_names_a_service_changes_nothing(
    yarn: Yarn, master: WireMaster, container: Any
) -> None:
    for context, java_class in (
        (records.ContainerLaunchContextProto(), "YarnException"),
        (
            records.ContainerLaunchContextProto(command=["true"], service_data=[{"key": "no", "value": b""}]),
            "InvalidAuxServiceException",
        ),
    ):
        request = service.ReInitializeContainerRequestProto(container_id=container.id, container_launch_context=context)
        with pytest.raises(RemoteError) as refused:
            await master.at_node(container, REPLACE, request)
        assert refused.value.java_class.rpartition(".")[2] == java_class
    assert await log_of(yarn, master) == "first\n"


async def test_a_restart_of_the_server_in_the_middle_loses_nothing_and_tells_each_launch_once(
    lives: Lives, tmp_path: Path
) -> None:
    life = await lives.begin()
    async with opened(life, tmp_path) as yarn:
        master = await yarn.begun()
        (container,) = await master.get(1)
        await master.start(container, command="trap '' TERM; echo first; sleep 1000")
        await ask(master, RESTART, container)
    await life.kill()
    for _ in range(2):
        life = await lives.begin()
        async with opened(life, tmp_path) as yarn:
            await yarn.life.pass_time(30)
            assert await log_of(yarn, master) == "first\nfirst\n"
            assert await relaunches(yarn) == [(2, "it is restarted")]
            (report,) = [one for one in life.service.containers() if one.task_index == 1]
            assert report.launches == 2
        await life.kill()


# Retries


async def started_with_retries(master: WireMaster, command: str, **retry: Any) -> Any:
    (container,) = await master.get(1)
    context = records.ContainerRetryContextProto(**retry)
    await master.start(container, command=command, container_retry_context=context)
    return container


async def test_one_that_fails_is_retried_after_its_interval_and_scheduled_until_then(
    yarn: Yarn, master: WireMaster
) -> None:
    container = await started_with_retries(
        master, "echo once; exit 3", retry_policy=records.RETRY_ON_ALL_ERRORS, max_retries=1, retry_interval=30_000
    )
    assert (await status_of(master, container)).container_sub_state == records.CSS_SCHEDULED
    assert await log_of(yarn, master) == "once\n"
    await yarn.life.pass_time(31)
    assert [one.exit_status for one in (await master.beat()).completed_container_statuses] == [3]
    assert await relaunches(yarn) == [(2, "launch 1 ended with exit code 3: it is tried again")]


@pytest.mark.parametrize(
    ("retry", "launches"),
    [
        ({"retry_policy": records.NEVER_RETRY, "max_retries": 5}, 1),
        ({"retry_policy": records.RETRY_ON_ALL_ERRORS}, 1),
        ({"retry_policy": records.RETRY_ON_ALL_ERRORS, "max_retries": 2}, 3),
        ({"retry_policy": records.RETRY_ON_SPECIFIC_ERROR_CODES, "max_retries": 2}, 1),
        ({"retry_policy": records.RETRY_ON_SPECIFIC_ERROR_CODES, "max_retries": 2, "error_codes": [4]}, 1),
        ({"retry_policy": records.RETRY_ON_SPECIFIC_ERROR_CODES, "max_retries": 2, "error_codes": [4, 3]}, 3),
    ],
)
async def test_how_often_is_the_policys_to_say(
    yarn: Yarn, master: WireMaster, retry: dict[str, Any], launches: int
) -> None:
    await started_with_retries(master, "exit 3", **retry)
    for _ in range(4):
        await yarn.life.pass_time(2)
    assert [one.exit_status for one in (await master.beat()).completed_container_statuses] == [3]
    assert len(await relaunches(yarn)) == launches - 1


async def test_one_that_waits_for_its_retry_is_stopped_as_its_master_wants(yarn: Yarn, master: WireMaster) -> None:
    container = await started_with_retries(
        master, "exit 3", retry_policy=records.RETRY_ON_ALL_ERRORS, max_retries=-1, retry_interval=1_000_000
    )
    request = service.StopContainersRequestProto(container_id=[container.id])
    await master.at_node(container, "stopContainers", request)
    assert [one.exit_status for one in (await master.beat()).completed_container_statuses] == [-105]


# Files


async def test_files_are_pending_there_or_failed_with_the_reason(
    yarn: Yarn, master: WireMaster, container: Any, tmp_path: Path
) -> None:
    (tmp_path / "here").write_text("x")
    wanted = [
        records.StringLocalResourceMapProto(
            key=key,
            value=records.LocalResourceProto(
                resource=records.URLProto(scheme="file", port=-1, file=str(tmp_path / key)),
                size=1,
                timestamp=1,
                type=records.FILE,
                visibility=records.PRIVATE,
            ),
        )
        for key in ("here", "gone")
    ]
    await ask(master, LOCALIZE, container, local_resources=wanted)
    (told,) = (await ask(master, FILES, container)).cntn_localization_statuses
    assert told.container_id == container.id
    found = {one.resource_key: (one.localization_state, one.diagnostics) for one in told.localization_statuses}
    assert found["here"] == (service.L_COMPLETED, "")
    assert found["gone"][0] == service.L_FAILED
    assert "cannot be had" in found["gone"][1]


async def test_a_name_outside_of_the_containers_directory_is_refused(master: WireMaster, container: Any) -> None:
    wanted = records.StringLocalResourceMapProto(
        key="../out",
        value=records.LocalResourceProto(
            resource=records.URLProto(scheme="file", port=-1, file="/etc/hostname"),
            size=1,
            timestamp=1,
            type=records.FILE,
            visibility=records.PRIVATE,
        ),
    )
    with pytest.raises(RemoteError, match="not a name inside the container's directory"):
        await ask(master, LOCALIZE, container, local_resources=[wanted])


async def test_of_what_is_not_on_the_node_no_files_are_told(master: WireMaster, container: Any) -> None:
    waits, ended = await master.get(2)
    await master.start(ended, command="exit 4")
    answer = await ask(master, FILES, waits)
    assert [len(one.localization_statuses) for one in answer.cntn_localization_statuses] == [0]
    await master.beat()
    ((_, message),) = failures(await ask(master, FILES, ended))
    assert "was recently stopped on node manager" in message
    unknown = records.ContainerProto(id=container.id)
    unknown.id.id += 1000
    ((_, message),) = failures(await master.at_node(container, FILES, asked(FILES, unknown)))
    assert "is not handled by this NodeManager" in message
