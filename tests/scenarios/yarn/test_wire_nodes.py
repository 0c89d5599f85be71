"""What masters ask nodes for, over the wire: starting, looking at, signalling and stopping containers."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hrm.model.auxiliary import AuxiliaryService
from hrm.testing.hadoop_client import RemoteError
from hrm.testing.lives import Lives
from hrm.yarn.exits import KILLED_BY_MASTER
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.proto.identifiers_pb2 import ContainerTokenIdentifierProto
from tests.scenarios.yarn.wire_masters import ANY_PORTS, WireMaster, Yarn, opened


@pytest.fixture
async def yarn(lives: Lives, tmp_path: Path) -> AsyncIterator[Yarn]:
    async with opened(await lives.begin(), tmp_path) as yarn:
        yield yarn


@pytest.fixture
async def master(yarn: Yarn) -> WireMaster:
    return await yarn.begun()


def failures(answer: object) -> list[tuple[str, str]]:
    """(class, message) of what was not done."""
    return [
        (one.exception.class_name.rpartition(".")[2], one.exception.message)
        for one in answer.failed_requests  # type: ignore[attr-defined]
    ]


async def test_a_container_is_told_of_its_node_and_gets_its_own_files_and_variables(
    yarn: Yarn, master: WireMaster
) -> None:
    (container,) = await master.get(1)
    variable = records.StringStringMapProto(key="A", value="1")
    await master.start(container, command="run", environment=[variable], tokens=b"")
    spec = yarn.life.engine.launches[-1]
    assert spec.env["NM_HOST"] == "127.0.0.1"
    assert int(spec.env["NM_PORT"]) == container.nodeId.port
    assert spec.command == ("hrm-container",)


async def test_a_container_is_started_once(master: WireMaster) -> None:
    (container,) = await master.get(1)
    await master.start(container)
    ((java_class, message),) = failures(await master.start(container))
    assert java_class == "InvalidContainerException"
    assert "already is running" in message


async def test_of_a_batch_each_container_is_answered_for_itself(master: WireMaster) -> None:
    good, bad = await master.get(2)
    bad.container_token.password = b"guessed"
    answer = await master.start(good, bad)
    assert list(answer.succeeded_requests) == [good.id]
    assert [(one.container_id, failures(answer)[0][0]) for one in answer.failed_requests] == [
        (bad.id, "SecretManager$InvalidToken")
    ]


async def test_a_container_of_another_attempt_cannot_be_started_with_its_token(yarn: Yarn, master: WireMaster) -> None:
    other = await yarn.begun()
    (mine,), (theirs,) = await master.get(1), await other.get(1)
    ((java_class, message),) = failures(await master.start(theirs))
    assert java_class == "SecretManager$InvalidToken"
    assert "another attempt's" in message
    assert failures(await master.start(mine)) == []


async def test_the_tokens_of_an_attempt_are_of_no_use_to_it_or_the_next_once_that_has_begun(yarn: Yarn) -> None:
    first = await yarn.begun(keep_containers_across_application_attempts=True)
    started, unused = await first.get(2)
    await first.start(started)
    await first.exit(1)
    await yarn.life.settle()
    with pytest.raises(RemoteError, match="ApplicationAttemptNotFoundException"):
        await first.start(unused)
    second = yarn.master(str(first.attempt.application), attempt=2)
    await second.register()
    ((java_class, message),) = failures(await second.start(unused))
    assert (java_class, "another attempt's" in message) == ("SecretManager$InvalidToken", True)
    second.node_tokens = first.node_tokens
    with pytest.raises(RemoteError, match="ApplicationAttemptNotFoundException"):
        await second.start(unused)


async def test_a_containers_token_is_good_for_ten_minutes(
    yarn: Yarn, master: WireMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    (container,) = await master.get(1)
    expires = ContainerTokenIdentifierProto.FromString(container.container_token.identifier).expiryTimeStamp
    monkeypatch.setattr(yarn.front.secrets, "_clock", lambda: expires / 1000)
    ((java_class, message),) = failures(await master.start(container))
    assert (java_class, message) == ("SecretManager$InvalidToken", "the container's token has expired")


async def test_a_token_with_more_than_was_granted_is_refused(master: WireMaster) -> None:
    (container,) = await master.get(1)
    forged = ContainerTokenIdentifierProto.FromString(container.container_token.identifier)
    forged.resource.memory = 1 << 20
    container.container_token.identifier = forged.SerializeToString()
    assert failures(await master.start(container))[0][0] == "SecretManager$InvalidToken"


async def test_a_container_that_was_given_back_cannot_be_started(yarn: Yarn, master: WireMaster) -> None:
    (container,) = await master.get(1)
    await master.beat(release=[container.id])
    assert failures(await master.start(container))[0][0] == "InvalidContainerException"
    assert len(yarn.life.containers()) == 1


async def test_a_node_lets_no_master_in_by_another_attempts_token_or_anothers_node(
    yarn: Yarn, master: WireMaster
) -> None:
    (container,) = await master.get(1)
    node = (container.nodeId.host, container.nodeId.port)
    master.node_tokens[node] = yarn.front.secrets.issue_nm(
        master.attempt, records.NodeIdProto(host="elsewhere", port=1), "ada"
    )
    with pytest.raises(RemoteError, match="token is for the node elsewhere:1"):
        await master.start(container)
    master.node_tokens[node] = master.token
    with pytest.raises(RemoteError):
        await master.start(container)


async def test_a_master_whose_attempt_is_over_starts_nothing_more(yarn: Yarn, master: WireMaster) -> None:
    (container,) = await master.get(1)
    await master.finish()
    await master.exit()
    await yarn.life.ended(str(master.attempt.application))
    with pytest.raises(RemoteError, match="ApplicationAttemptNotFoundException"):
        await master.start(container)


@pytest.mark.parametrize("wrong", ["nothing to run", "a bad name", "a service"])
async def test_a_context_that_cannot_be_launched_is_refused(master: WireMaster, wrong: str) -> None:
    (container,) = await master.get(1)
    bad_link = records.StringLocalResourceMapProto(
        key="../up", value=records.LocalResourceProto(resource=records.URLProto(scheme="file", file="/x"), type=2)
    )
    answer = {
        "nothing to run": lambda: master.start(container, command=" "),
        "a bad name": lambda: master.start(container, localResources=[bad_link]),
        "a service": lambda: master.start(
            container, service_data=[records.StringBytesMapProto(key="spark_shuffle", value=b"")]
        ),
    }[wrong]
    java_class, message = failures(await answer())[0]
    if wrong == "a service":
        assert (java_class, message) == (
            "InvalidAuxServiceException",
            "The auxService:spark_shuffle does not exist: yarn.auxiliary_services in hrm.yaml has none",
        )
    else:
        assert java_class == "YarnException"
    assert failures(await master.start(container)) == [], "it can still be started"


async def test_a_container_that_asks_for_a_service_of_the_node_is_started_and_its_master_told_the_port(
    lives: Lives, tmp_path: Path
) -> None:
    service_of_nodes = AuxiliaryService(name="spark_shuffle", command=("serve",), port=7337)
    config = replace(ANY_PORTS, auxiliary_services=(service_of_nodes,))
    async with opened(await lives.begin(), tmp_path, config) as yarn:
        master = await yarn.begun()
        (container,) = await master.get(1)
        asked = [records.StringBytesMapProto(key="spark_shuffle", value=b"a secret")]
        answer = await master.start(container, service_data=asked)
        assert failures(answer) == []
        told = {one.key: one.value for one in answer.services_meta_data}
        assert told == {"spark_shuffle": b"\x00\x00\x1c\xa9"}
        assert yarn.front.facts["shuffle_port"] == "7337"


async def test_statuses_are_those_of_containers_that_run_and_of_those_that_ended(master: WireMaster) -> None:
    running, ended, unknown = await master.get(3)
    await master.start(running)
    await master.start(ended, command="exit 4")
    await master.beat(release=[unknown.id])
    unknown.id.id += 1000
    request = service.GetContainerStatusesRequestProto(container_id=[running.id, ended.id, unknown.id])
    answer = await master.at_node(running, "getContainerStatuses", request)
    assert [(one.container_id, one.state, one.exit_status) for one in answer.status] == [
        (running.id, records.C_RUNNING, -1000),
        (ended.id, records.C_COMPLETE, 4),
    ]
    assert "not handled by this NodeManager" in failures(answer)[0][1]


async def test_a_stopped_container_ends_as_its_master_wanted(yarn: Yarn, master: WireMaster) -> None:
    stopped, kept = await master.get(2)
    await master.start(stopped, kept)
    request = service.StopContainersRequestProto(container_id=[stopped.id])
    answer = await master.at_node(stopped, "stopContainers", request)
    assert list(answer.succeeded_requests) == [stopped.id]
    heard = await master.beat()
    assert [status.exit_status for status in heard.completed_container_statuses] == [KILLED_BY_MASTER]
    assert len(yarn.life.containers()) == 2


async def test_containers_of_others_are_neither_stopped_nor_looked_at_nor_signalled(
    yarn: Yarn, master: WireMaster
) -> None:
    other = await yarn.begun()
    (mine,), (theirs,) = await master.get(1), await other.get(1)
    await other.start(theirs)
    stop = service.StopContainersRequestProto(container_id=[theirs.id])
    look = service.GetContainerStatusesRequestProto(container_id=[theirs.id])
    for method, request in (("stopContainers", stop), ("getContainerStatuses", look)):
        assert "non-owner" in failures(await master.at_node(mine, method, request))[0][1]
    kill = service.SignalContainerRequestProto(container_id=theirs.id, command=service.FORCEFUL_SHUTDOWN)
    with pytest.raises(RemoteError, match="non-owner"):
        await master.at_node(mine, "signalToContainer", kill)
    await yarn.life.settle()
    assert list((await other.beat()).completed_container_statuses) == []


async def test_a_signal_reaches_the_container(yarn: Yarn, master: WireMaster) -> None:
    (container,) = await master.get(1)
    await master.start(container)
    request = service.SignalContainerRequestProto(container_id=container.id, command=service.FORCEFUL_SHUTDOWN)
    await master.at_node(container, "signalToContainer", request)
    await yarn.life.settle()
    heard = await master.beat()
    assert [status.exit_status for status in heard.completed_container_statuses] == [128 + signal.SIGKILL]
