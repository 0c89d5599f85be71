"""The order of a job's task groups: who waits for whom, and who never begins because another failed."""

from __future__ import annotations

from collections.abc import Sequence

from hrm.model.jobs import TaskGroupSpec

#: Names in one sentence.
MAX_NAMES = 3


class GroupOrder:
    """Keeps which groups may begin. Groups are named by their positions in the job."""

    def __init__(self, groups: Sequence[TaskGroupSpec]) -> None:
        self._groups = groups
        positions = {group.name: position for position, group in enumerate(groups)}
        #: Of each group: tasks that have not succeeded, and who waits for it.
        self._open_tasks = [group.tasks for group in groups]
        self._followers: list[list[int]] = [[] for _ in groups]
        #: Groups that may not begin, with those that they wait for.
        self._missing: dict[int, set[int]] = {}
        #: Groups that never begin.
        self.dropped: set[int] = set()
        for position, group in enumerate(groups):
            if group.depends_on:
                self._missing[position] = {positions[name] for name in group.depends_on}
                for name in group.depends_on:
                    self._followers[positions[name]].append(position)

    def may_begin(self, position: int) -> bool:
        return position not in self._missing and position not in self.dropped

    @property
    def waiting(self) -> list[int]:
        """Groups that may begin later, in order."""
        return sorted(self._missing)

    def waits_for(self, position: int) -> list[str]:
        """Names of the groups that have not succeeded yet, in order."""
        return [self._groups[other].name for other in sorted(self._missing.get(position, ()))]

    def succeeded(self, position: int) -> list[int]:
        """One more task of the group did; returns the groups that may begin now."""
        self._open_tasks[position] -= 1
        freed = []
        if not self._open_tasks[position]:
            for follower in self._followers[position]:
                if missing := self._missing.get(follower):
                    missing.discard(position)
                    if not missing:
                        del self._missing[follower]
                        freed.append(follower)
        return freed

    def failed(self, position: int) -> list[int]:
        """A task of the group did; returns the groups that never begin for it, those behind them included."""
        lost, stack = [], [position]
        while stack:
            for follower in self._followers[stack.pop()]:
                if self._missing.pop(follower, None) is not None:
                    self.dropped.add(follower)
                    lost.append(follower)
                    stack.append(follower)
        return sorted(lost)


def never_began(group: TaskGroupSpec) -> str:
    """What is said of a task that its job's end left waiting."""
    if not group.depends_on:
        return "never began"
    return f"never began: it runs only after {names(group.depends_on)} succeeded"


def names(groups: Sequence[str]) -> str:
    """``prepare, train``; a few of many."""
    more = " and others" if len(groups) > MAX_NAMES else ""
    return ", ".join(groups[:MAX_NAMES]) + more
