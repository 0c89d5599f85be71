"""Launch contexts out of YARN's messages."""

from __future__ import annotations

import pytest

from hrm.model.errors import InvalidInput
from hrm.model.launch_contexts import LocalResource, ResourceKind, Visibility, taken_from
from hrm.model.resources import Resources
from hrm.yarn.launching import launch_context, master_group
from hrm.yarn.proto.records_pb2 import ContainerLaunchContextProto
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.tokens.credentials import Credentials

TOKENS = Credentials({"hdfs": TokenProto(identifier=b"id", password=b"p", kind="HDFS", service="nn:8020")})


def a_context() -> ContainerLaunchContextProto:
    message = ContainerLaunchContextProto(command=["java", "Main"], tokens=TOKENS.write())
    message.environment.add(key="A", value="1")
    wanted = message.localResources.add(key="lib/x.zip")
    wanted.value.resource.scheme, wanted.value.resource.file = "file", "/tmp/a b%20.zip"
    wanted.value.resource.port = -1
    wanted.value.timestamp, wanted.value.size = 1_700_000_000_123, 7
    wanted.value.type, wanted.value.visibility = 1, 2
    return message


def test_a_context_is_read_and_its_addresses_are_put_together_and_escaped() -> None:
    context = launch_context(a_context())
    assert context.commands == ("java", "Main")
    assert context.environment == {"A": "1"}
    assert context.tokens == TOKENS.write()
    assert context.local_resources == {
        "lib/x.zip": LocalResource(
            url="file:///tmp/a%20b%2520.zip",
            timestamp_ms=1_700_000_000_123,
            size_bytes=7,
            kind=ResourceKind.ARCHIVE,
            visibility=Visibility.PRIVATE,
        )
    }


@pytest.mark.parametrize("version", [0, 1])
def test_tokens_come_in_either_of_hadoops_forms_and_with_the_rest_of_a_buffer(version: int) -> None:
    message = a_context()
    message.tokens = TOKENS.write(version) + b"\0" * 200
    assert launch_context(message).tokens == TOKENS.write()


@pytest.mark.parametrize("tokens", [b"HDTS", b"HDTS\x07", b"no tokens", b"HDTS\0\x05abc"])
def test_what_are_no_tokens_is_refused_before_anything_is_launched(tokens: bytes) -> None:
    message = a_context()
    message.tokens = tokens
    with pytest.raises(InvalidInput, match="tokens"):
        launch_context(message)


def test_hosts_ports_and_users_of_addresses_are_kept() -> None:
    message = a_context()
    address = message.localResources[0].value.resource
    address.scheme, address.host, address.port, address.userInfo = "hdfs", "name", 8020, "ada"
    assert launch_context(message).local_resources["lib/x.zip"].url == "hdfs://ada@name:8020/tmp/a%20b%2520.zip"


@pytest.mark.parametrize("field", ["resource", "type"])
def test_a_file_without_an_address_or_a_kind_is_refused(field: str) -> None:
    message = a_context()
    message.localResources[0].value.ClearField(field)
    with pytest.raises(InvalidInput, match=r"local_resources: 'lib/x\.zip'"):
        launch_context(message)


def test_a_masters_group_carries_its_whole_context() -> None:
    group = master_group(a_context(), Resources(memory_mib=512, vcores_milli=1000))
    assert taken_from(dict(group.env)) == launch_context(a_context())
    assert group.resources.memory_mib == 512
