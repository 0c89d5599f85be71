"""Which groups a user is in: asked of the machine, in a thread, and kept for a while."""

from __future__ import annotations

import grp
import os
import pwd
import threading

import pytest

from hrm.model.errors import ClusterError
from hrm.rm.groups import KEPT_S, Groups, groups_in_system


def test_the_machine_tells_the_primary_group_first() -> None:
    me = pwd.getpwuid(os.getuid())

    groups = groups_in_system(me.pw_name)

    assert groups[0] == grp.getgrgid(me.pw_gid).gr_name
    assert set(groups) == {grp.getgrgid(gid).gr_name for gid in os.getgrouplist(me.pw_name, me.pw_gid)}
    assert len(set(groups)) == len(groups)


@pytest.mark.parametrize("name", ["no-such-user", "", "a\0b"])
def test_a_user_that_the_machine_does_not_know_is_in_no_group(name: str) -> None:
    assert groups_in_system(name) == ()


async def test_what_it_said_counts_for_a_while_and_is_asked_in_another_thread() -> None:
    now, asked = 0.0, []

    def look_up(user: str) -> tuple[str, ...]:
        asked.append((user, threading.current_thread() is threading.main_thread()))
        return (f"group{len(asked)}",)

    groups = Groups(look_up, clock=lambda: now)

    assert [await groups.of("ada"), await groups.of("ada")] == [("group1",), ("group1",)]
    assert await groups.of("bob") == ("group2",)
    now = KEPT_S
    assert await groups.of("ada") == ("group3",)
    assert asked == [("ada", False), ("bob", False), ("ada", False)]


async def test_a_machine_that_cannot_say_is_no_answer_that_is_kept() -> None:
    answers = iter([OSError(5, "Input/output error"), ("staff",)])

    def look_up(user: str) -> tuple[str, ...]:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    groups = Groups(look_up)

    with pytest.raises(ClusterError, match="groups of ada cannot be looked up: Input/output error"):
        await groups.of("ada")
    assert await groups.of("ada") == ("staff",)
