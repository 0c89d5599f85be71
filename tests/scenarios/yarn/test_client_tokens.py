"""Tokens that clients are given: delegation tokens, and those of masters that run elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from hrm.model.ids import ApplicationId, AttemptId
from hrm.yarn.calls import TokenKind
from hrm.yarn.errors import AccessDenied, InvalidToken
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import security_pb2 as security
from hrm.yarn.proto.identifiers_pb2 import (
    AMRMTokenIdentifierProto,
    ClientToAMTokenIdentifierProto,
    YARNDelegationTokenIdentifierProto,
)
from tests.scenarios.yarn.client_door import Door


async def given(door: Door, *, renewer: str = "oozie") -> security.TokenProto:
    request = security.GetDelegationTokenRequestProto(renewer=renewer)
    return (await door.call("getDelegationToken", request)).token


async def test_a_delegation_token_is_its_owners_and_names_the_door(door: Door) -> None:
    token = await given(door)
    identifier = YARNDelegationTokenIdentifierProto.FromString(token.identifier)
    assert (identifier.owner, identifier.renewer) == ("ada", "oozie")
    assert (token.kind, token.service) == (TokenKind.DELEGATION, "rm:8032")
    proven = door.secrets.delegation_verifier()(token.identifier)
    assert (proven.user, proven.password) == ("ada", token.password)


async def test_it_is_renewed_by_its_renewer_alone(door: Door) -> None:
    token = await given(door)
    request = security.RenewDelegationTokenRequestProto(token=token)
    renewed = await door.call("renewDelegationToken", request, user="oozie")
    assert renewed.newExpiryTime > door.life.manager.clock() * 1000
    with pytest.raises(AccessDenied):
        await door.call("renewDelegationToken", request, user="bob")


async def test_it_lets_nobody_in_once_it_is_cancelled(door: Door) -> None:
    token = await given(door)
    request = security.CancelDelegationTokenRequestProto(token=token)
    with pytest.raises(AccessDenied):
        await door.call("cancelDelegationToken", request, user="bob")
    await door.call("cancelDelegationToken", request)
    with pytest.raises(InvalidToken):
        door.secrets.delegation_verifier()(token.identifier)


async def unmanaged(door: Door, **more: Any) -> str:
    return await door.submit(unmanaged_am=True, **more)


async def test_a_master_that_runs_elsewhere_gets_its_token_from_its_report_and_nobody_else_does(door: Door) -> None:
    app = await unmanaged(door)
    assert door.life.engine.launches == []
    report = await door.report(app)
    assert report.unmanaged_application
    identifier = AMRMTokenIdentifierProto.FromString(report.am_rm_token.identifier)
    assert identifier.appAttemptId.application_id == report.applicationId
    assert not (await door.report(app, user="bob")).HasField("am_rm_token")


async def test_a_master_in_a_container_is_not_given_to_by_the_report(door: Door) -> None:
    assert not (await door.report(await door.submit())).HasField("am_rm_token")


async def test_once_it_is_over_its_token_is_told_no_more(door: Door) -> None:
    app = await unmanaged(door)
    await door.life.service.kill(app, by="ada")
    await door.life.ended(app)
    report = await door.report(app)
    assert report.yarn_application_state == records.KILLED
    assert not report.HasField("am_rm_token")


async def test_whoever_may_look_inside_gets_a_token_for_the_master_in_the_own_name(door: Door) -> None:
    viewers = records.ApplicationACLMapProto(accessType=records.APPACCESS_VIEW_APP, acl="bob")
    context = records.ContainerLaunchContextProto(application_ACLs=[viewers])
    app = await door.submit(am_container_spec=context)
    await door.life.service.masters.register(
        str(AttemptId(ApplicationId.parse(app), 1)), host="n1", rpc_port=4711, tracking_url=""
    )
    for user in ("ada", "bob"):
        token = (await door.report(app, user=user)).client_to_am_token
        assert (token.kind, token.service) == (TokenKind.CLIENT_TO_AM, "n1:4711")
        assert ClientToAMTokenIdentifierProto.FromString(token.identifier).clientName == user
    assert not (await door.report(app, user="eve")).HasField("client_to_am_token")


async def test_an_application_that_is_over_and_a_job_of_hrms_have_no_master_to_come_in_at(door: Door) -> None:
    app = await door.submit()
    await door.life.service.kill(app, by="ada")
    await door.life.ended(app)
    native = await door.life.submit(user="ada")
    for name in (app, native):
        assert not (await door.report(name)).HasField("client_to_am_token")
