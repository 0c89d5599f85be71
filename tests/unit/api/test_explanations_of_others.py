"""What of an explanation another user than the owner sees."""

from __future__ import annotations

from hrm.api.access import explanation_seen_by
from hrm.api.tokens import Identity
from hrm.model.explanations import Change, Ended, Explanation, Failure

SECRET = "train.py --password 1234"
WAITING = Explanation(
    application_id="application_1_0001",
    reason="insufficient_gpus",
    message="waits for 2 GPUs",
    evidence=[],
    changes=[Change(kind="fewer_gpus", text="would start now with 1 GPU", starts_now=True, command=SECRET)],
)
FAILED = Explanation(
    application_id="application_1_0001",
    reason="failed",
    message=f"failed: {SECRET}",
    evidence=[],
    ended=Ended(
        state="FAILED",
        started_at=1.0,
        ended_at=2.0,
        exit_code=1,
        exit_codes={"1": 1},
        more=False,
        first_failure=Failure(
            task_index=0, attempt=1, node_id="n1", container_id="c", at=2.0, exit_code=1, message=SECRET
        ),
    ),
)


def test_the_owner_and_an_admin_see_all_of_it() -> None:
    for caller in (Identity(user="ada"), Identity(user="root", admin=True)):
        assert explanation_seen_by(caller, "ada", WAITING) == WAITING
        assert explanation_seen_by(caller, "ada", FAILED) == FAILED


def test_others_see_why_it_waits_without_lines_that_quote_its_command() -> None:
    seen = explanation_seen_by(Identity(user="bob"), "ada", WAITING)

    assert (seen.message, seen.changes[0].text) == (WAITING.message, WAITING.changes[0].text)
    assert SECRET not in repr(seen)


def test_others_see_that_it_failed_and_none_of_its_messages() -> None:
    seen = explanation_seen_by(Identity(user="bob"), "ada", FAILED)

    assert (seen.message, seen.reason) == ("failed", "failed")
    assert seen.ended is not None
    assert seen.ended.exit_codes == {"1": 1}
    assert SECRET not in repr(seen)
