"""What always holds between identities and their texts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hrm.model.errors import InvalidInput
from hrm.model.ids import ApplicationId, AttemptId, ContainerId, parse_node_id

applications = st.builds(ApplicationId, st.integers(0, 10**18 - 1), st.integers(0, 10**10 - 1))
attempts = st.builds(AttemptId, applications, st.integers(1, 10**10 - 1))
containers = st.builds(ContainerId, attempts, st.integers(1, 10**10 - 1), st.integers(1, 10**12 - 1))


@given(applications)
def test_an_application_id_reads_back_as_it_was_printed(identity: ApplicationId) -> None:
    assert ApplicationId.parse(str(identity)) == identity


@given(attempts)
def test_an_attempt_id_reads_back_as_it_was_printed(identity: AttemptId) -> None:
    assert AttemptId.parse(str(identity)) == identity


@given(containers)
def test_a_container_id_reads_back_as_it_was_printed(identity: ContainerId) -> None:
    assert ContainerId.parse(str(identity)) == identity


@given(st.lists(containers, min_size=2, max_size=2, unique=True))
def test_two_identities_never_share_a_text(pair: list[ContainerId]) -> None:
    assert str(pair[0]) != str(pair[1])


@given(applications, st.integers(1, 500), st.integers(1, 500))
def test_later_containers_of_an_application_sort_after_earlier_ones(
    application: ApplicationId, first: int, second: int
) -> None:
    attempt = AttemptId(application, 1)
    assert (ContainerId(attempt, 1, first) < ContainerId(attempt, 1, second)) == (first < second)


@given(st.text(max_size=50) | st.from_regex(r"(application|appattempt|container)_e?[0-9_]{1,40}\s?"))
def test_whatever_is_read_as_an_identity_is_its_one_text(text: str) -> None:
    for kind in (ApplicationId, AttemptId, ContainerId):
        try:
            identity = kind.parse(text)
        except InvalidInput as refusal:
            assert len(refusal.problem) < 200
        else:
            assert str(identity) == text


@given(st.text(max_size=300))
def test_a_node_id_never_leads_out_of_a_directory_or_a_line(text: str) -> None:
    try:
        node_id = parse_node_id(text)
    except InvalidInput as refusal:
        assert refusal.field == "node_id"
    else:
        assert node_id == text
        assert node_id.isascii() and node_id.isprintable()
        assert not set(node_id) & set("/ \\\0\n")
        assert node_id not in (".", "..") and not node_id.startswith("-")
