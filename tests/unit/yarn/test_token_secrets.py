from __future__ import annotations

import hashlib
import hmac
import stat
from pathlib import Path

import pytest

from hrm.config.home import Home
from hrm.model.errors import ClusterError, Forbidden, InvalidInput
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.yarn.calls import TokenKind
from hrm.yarn.errors import AccessDenied, InvalidToken, YarnError
from hrm.yarn.ids import container_message
from hrm.yarn.proto.identifiers_pb2 import (
    AMRMTokenIdentifierProto,
    ClientToAMTokenIdentifierProto,
    ContainerTokenIdentifierProto,
    YARNDelegationTokenIdentifierProto,
)
from hrm.yarn.proto.records_pb2 import NodeIdProto
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.tokens import secrets as secrets_module
from hrm.yarn.tokens.secrets import TokenSecrets
from hrm.yarn.tokens.state import TokenState

NOW = 1_763_900_000.0
DAY_S = 86_400.0
ATTEMPT = AttemptId(ApplicationId(1763900000000, 17), 1)
OTHER = AttemptId(ApplicationId(1763900000000, 18), 1)
NODE = NodeIdProto(host="node1", port=8041)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


@pytest.fixture
def secrets(home: Home, clock: Clock) -> TokenSecrets:
    return TokenSecrets.open(home, clock=clock)


def is_good(secrets: TokenSecrets, token: TokenProto) -> bool:
    """Whether the masters' port would find the password of the token."""
    try:
        return secrets.amrm_verifier(lambda attempt: True)(token.identifier).password == token.password
    except InvalidToken:
        return False


def container_token(secrets: TokenSecrets, *, expires_at: float = NOW + 600) -> TokenProto:
    return secrets.issue_container(
        ContainerTokenIdentifierProto(
            containerId=container_message(ContainerId(ATTEMPT, 3, 2)),
            nmHostAddr="node1:8041",
            appSubmitter="ada",
            expiryTimeStamp=int(expires_at * 1000),
        )
    )


def test_keys_lie_in_the_home_for_nobody_else(secrets: TokenSecrets, home: Home) -> None:
    assert stat.S_IMODE(home.yarn_keys_file.stat().st_mode) == 0o600


def test_tokens_are_good_after_a_restart(secrets: TokenSecrets, home: Home, clock: Clock) -> None:
    token = secrets.issue_amrm(ATTEMPT)
    restarted = TokenSecrets.open(home, clock=clock)

    assert is_good(restarted, token)
    assert restarted.issue_amrm(ATTEMPT) == token
    assert restarted.client_to_am_key(ATTEMPT) == secrets.client_to_am_key(ATTEMPT)


def test_keys_of_another_home_make_other_tokens(secrets: TokenSecrets, tmp_path: Path, clock: Clock) -> None:
    elsewhere = Home(tmp_path / "elsewhere")
    elsewhere.create()

    assert not is_good(TokenSecrets.open(elsewhere, clock=clock), secrets.issue_amrm(ATTEMPT))


def test_keys_that_others_could_read_are_refused(secrets: TokenSecrets, home: Home) -> None:
    home.yarn_keys_file.chmod(0o640)

    with pytest.raises(Forbidden, match="yarn-keys"):
        TokenSecrets.open(home)


@pytest.mark.parametrize(
    "damage",
    [b"{", b"[]", b"null", b'{"version": 2}', b'{"version": 1}', b'{"version":1,"keys":{},"delegations":{}}', b"\xff"],
)
def test_a_damaged_file_is_named_with_the_way_out(home: Home, damage: bytes) -> None:
    home.write_private(home.yarn_keys_file, damage)

    with pytest.raises(InvalidInput, match="yarn-keys") as raised:
        TokenSecrets.open(home)

    assert "delete" in raised.value.next_step


def test_a_masters_token_says_attempt_and_key_and_nothing_else(secrets: TokenSecrets) -> None:
    token = secrets.issue_amrm(ATTEMPT)

    identifier = AMRMTokenIdentifierProto.FromString(token.identifier)
    assert (identifier.appAttemptId.application_id.id, identifier.appAttemptId.attemptId) == (17, 1)
    assert identifier.keyId == 1
    assert (token.kind, token.service, len(token.password)) == ("YARN_AM_RM_TOKEN", "", 20)


async def test_a_key_is_good_for_an_interval_after_the_next_one_came(secrets: TokenSecrets, clock: Clock) -> None:
    first = secrets.issue_amrm(ATTEMPT)
    clock.now = NOW + DAY_S
    await secrets.roll()
    second = secrets.issue_amrm(ATTEMPT)
    assert first != second

    assert is_good(secrets, first)
    clock.now = NOW + 2 * DAY_S - 1
    assert is_good(secrets, first)
    clock.now = NOW + 2 * DAY_S
    assert not is_good(secrets, first)
    assert is_good(secrets, second)


async def test_a_token_that_was_made_late_in_its_keys_time_is_good_as_long_as_the_key(
    secrets: TokenSecrets, clock: Clock
) -> None:
    clock.now = NOW + 10 * DAY_S  # the server was asleep: nothing was rolled
    late = secrets.issue_amrm(ATTEMPT)
    await secrets.roll()

    assert is_good(secrets, late)


async def test_a_rolled_key_is_on_disk_before_tokens_are_made_with_it(
    secrets: TokenSecrets, home: Home, clock: Clock
) -> None:
    clock.now = NOW + DAY_S
    await secrets.roll()
    token = secrets.issue_amrm(ATTEMPT)

    assert is_good(TokenSecrets.open(home, clock=clock), token)


async def test_a_key_that_cannot_be_written_is_not_used(clock: Clock) -> None:
    def full(data: bytes) -> None:
        raise ClusterError("the disk is full")

    secrets = TokenSecrets(TokenState.new(NOW), full, clock=clock)
    before = secrets.issue_amrm(ATTEMPT)
    clock.now = NOW + DAY_S
    with pytest.raises(ClusterError):
        await secrets.roll()

    assert secrets.issue_amrm(ATTEMPT) == before


async def test_keys_that_are_good_no_more_are_forgotten(secrets: TokenSecrets, home: Home, clock: Clock) -> None:
    for day in range(1, 20):
        clock.now = NOW + day * DAY_S
        await secrets.roll()

    state = TokenState.decode(home.yarn_keys_file.read_bytes(), where="")
    assert len(state.rings[TokenKind.AMRM].keys) == 2
    assert len(state.rings[TokenKind.DELEGATION].keys) == 8, "its tokens last for seven days"
    assert len(state.rings[TokenKind.CLIENT_TO_AM].keys) == 1


def test_a_containers_token_is_good_for_its_node_and_its_attempt_until_it_expires(
    secrets: TokenSecrets, clock: Clock
) -> None:
    token = container_token(secrets)

    assert secrets.verify_container(token, NODE, ATTEMPT).appSubmitter == "ada"
    assert (token.kind, token.service) == ("ContainerToken", "node1:8041")
    with pytest.raises(InvalidToken, match="another attempt's"):
        secrets.verify_container(token, NODE, OTHER)
    with pytest.raises(InvalidToken, match="node1:8041"):
        secrets.verify_container(token, NodeIdProto(host="node1", port=8042), ATTEMPT)
    clock.now = NOW + 600
    with pytest.raises(InvalidToken, match="expired"):
        secrets.verify_container(token, NODE, ATTEMPT)


def changed_identifier(token: TokenProto) -> None:
    identifier = ContainerTokenIdentifierProto.FromString(token.identifier)
    identifier.resource.memory = 1 << 40
    token.identifier = identifier.SerializeToString()


def changed_password(token: TokenProto) -> None:
    token.password = b"x" * 20


def changed_kind(token: TokenProto) -> None:
    token.kind = "NMToken"


@pytest.mark.parametrize("change", [changed_identifier, changed_password, changed_kind])
def test_a_containers_token_that_was_changed_is_refused(secrets: TokenSecrets, change: object) -> None:
    token = container_token(secrets)
    change(token)  # type: ignore[operator]

    with pytest.raises(InvalidToken, match="not one of this cluster"):
        secrets.verify_container(token, NODE, ATTEMPT)


@pytest.mark.parametrize("identifier", [b"", b"\xff", b"\x30\x01"])
def test_a_containers_token_that_says_nothing_is_refused(secrets: TokenSecrets, identifier: bytes) -> None:
    with pytest.raises(InvalidToken):
        secrets.verify_container(TokenProto(identifier=identifier, password=b"", kind="", service=""), NODE, ATTEMPT)


def test_a_master_can_work_out_its_clients_passwords_and_nobody_elses(secrets: TokenSecrets) -> None:
    token = secrets.issue_client_to_am(ATTEMPT, "ada")

    identifier = ClientToAMTokenIdentifierProto.FromString(token.identifier)
    assert identifier.clientName == "ada"
    key = secrets.client_to_am_key(ATTEMPT)
    assert token.password == hmac.digest(key, token.identifier, hashlib.sha1)
    assert key != secrets.client_to_am_key(OTHER)


async def test_a_delegation_token_is_good_for_a_day_and_longer_if_it_is_renewed(
    secrets: TokenSecrets, clock: Clock
) -> None:
    token = await secrets.issue_delegation("ada", "oozie", service="rm:8032")
    verify = secrets.delegation_verifier()
    assert verify(token.identifier).user == "ada"
    assert (token.kind, token.service) == ("RM_DELEGATION_TOKEN", "rm:8032")

    clock.now = NOW + DAY_S - 1
    assert await secrets.renew_delegation(token, by="oozie") == (NOW + 2 * DAY_S - 1) * 1000
    clock.now = NOW + 2 * DAY_S - 2
    verify(token.identifier)

    clock.now = NOW + 2 * DAY_S - 1
    with pytest.raises(InvalidToken, match="expired"):
        verify(token.identifier)
    with pytest.raises(InvalidToken, match="expired"):
        await secrets.renew_delegation(token, by="oozie")


async def test_nobody_renews_a_delegation_token_beyond_its_end(secrets: TokenSecrets, clock: Clock) -> None:
    token = await secrets.issue_delegation("ada", "oozie")
    for half_days in range(1, 14):
        clock.now = NOW + half_days * DAY_S / 2
        until_ms = await secrets.renew_delegation(token, by="oozie")
        await secrets.roll()

    assert until_ms == YARNDelegationTokenIdentifierProto.FromString(token.identifier).maxDate
    assert until_ms == (NOW + 7 * DAY_S) * 1000


@pytest.mark.parametrize("somebody", ["", "ada", "mallory"])
async def test_who_is_not_named_may_not_renew(secrets: TokenSecrets, somebody: str) -> None:
    token = await secrets.issue_delegation("ada", "oozie")

    with pytest.raises(AccessDenied):
        await secrets.renew_delegation(token, by=somebody)


@pytest.mark.parametrize("somebody", ["ada", "oozie", "gateway"])
async def test_a_cancelled_delegation_token_stays_so_after_a_restart(
    secrets: TokenSecrets, home: Home, clock: Clock, somebody: str
) -> None:
    kept = await secrets.issue_delegation("ada", "oozie", real_user="gateway")
    token = await secrets.issue_delegation("ada", "oozie", real_user="gateway")
    await secrets.cancel_delegation(token, by=somebody)

    restarted = TokenSecrets.open(home, clock=clock).delegation_verifier()
    restarted(kept.identifier)
    with pytest.raises(InvalidToken, match="cancelled"):
        restarted(token.identifier)


async def test_others_may_not_cancel(secrets: TokenSecrets) -> None:
    token = await secrets.issue_delegation("ada", "")

    for somebody in ("", "mallory"):
        with pytest.raises(AccessDenied):
            await secrets.cancel_delegation(token, by=somebody)


async def test_who_does_not_know_the_password_may_not_cancel(secrets: TokenSecrets) -> None:
    token = await secrets.issue_delegation("ada", "oozie")
    token.password = b"x" * 20

    with pytest.raises(InvalidToken):
        await secrets.cancel_delegation(token, by="ada")


async def test_a_number_is_never_given_to_two_delegation_tokens(
    secrets: TokenSecrets, home: Home, clock: Clock
) -> None:
    first = await secrets.issue_delegation("ada", "oozie")
    await secrets.cancel_delegation(first, by="ada")
    second = await TokenSecrets.open(home, clock=clock).issue_delegation("ada", "oozie")

    numbers = [
        YARNDelegationTokenIdentifierProto.FromString(token.identifier).sequenceNumber for token in (first, second)
    ]
    assert numbers == [1, 2]


async def test_delegation_tokens_are_so_many_and_those_that_end_make_room(
    secrets: TokenSecrets, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets_module, "MAX_DELEGATIONS", 2)
    for _ in range(2):
        await secrets.issue_delegation("ada", "oozie")
    with pytest.raises(YarnError, match="no more"):
        await secrets.issue_delegation("ada", "oozie")

    clock.now = NOW + DAY_S
    await secrets.issue_delegation("ada", "oozie")


async def test_one_user_cannot_take_the_delegation_tokens_of_all(
    secrets: TokenSecrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets_module, "MAX_DELEGATIONS_OF_ONE", 2)
    for _ in range(2):
        await secrets.issue_delegation("ada", "oozie")

    with pytest.raises(YarnError, match="ada has 2"):
        await secrets.issue_delegation("ada", "oozie")
    await secrets.issue_delegation("bob", "oozie")
