"""Finds the queue of a job by the rules of `scheduler.placement` (YARN's QueuePlacementPolicy)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hrm.model.errors import Forbidden, InvalidInput
from hrm.model.placement import PlacementPolicy, PlacementRule, Rule, Submitter, queue_name_of
from hrm.model.queues import DEFAULT_QUEUE, MAX_DEPTH, ROOT, QueueSpec, canonical_path

#: The rules that look at groups.
_BY_GROUP = (Rule.PRIMARY_GROUP, Rule.SECONDARY_GROUP)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a job goes, and by which rule."""

    queue: str
    rule: str


def parent_path(path: str) -> str:
    """Of the queue directly above; the root's own is not asked for."""
    return path.rpartition(".")[0] or ROOT


def child_path(parent: str, name: str) -> str:
    return name if parent == ROOT else f"{parent}.{name}"


class Placer:
    """``queue`` gives a queue that is open, declared or not, by its path; None iff there is none.

    ``draining`` gives those, too, that take nothing new; what is in them keeps them from becoming something else.
    """

    def __init__(
        self,
        policy: PlacementPolicy,
        queue: Callable[[str], QueueSpec | None],
        draining: Callable[[str], QueueSpec | None] | None = None,
    ) -> None:
        self._policy = policy
        self._queue = queue
        self._draining = draining or queue

    @property
    def needs_groups(self) -> bool:
        """True iff some rule looks at them."""
        return any(
            rule.rule in _BY_GROUP or (rule.parent is not None and rule.parent.rule in _BY_GROUP)
            for rule in self._policy.rules or ()
        )

    def place(self, named: str | None, submitter: Submitter) -> Placed | None:
        """Where a job goes that names the queue ``named``; None iff no queue is there for it, nor may be made.

        Only nothing, or plain ``default``, names none; ``root.default`` is the queue of this name. Raises Forbidden
        where a rule refuses the job.
        """
        named = None if named in (None, "", DEFAULT_QUEUE) else named
        if self._policy.rules is None:
            wanted = canonical_path(named or self._policy.default_queue)
            found = self._there(wanted, create=True)
            return None if found is None else Placed(found, str(Rule.SPECIFIED if named else Rule.DEFAULT))
        for number, rule in enumerate(self._policy.rules, start=1):
            if rule.rule is Rule.REJECT:
                raise Forbidden(
                    f"no queue takes this job of {submitter.user}: rule {number} of scheduler.placement refuses it",
                    next_step="name another queue, or ask the server's operator",
                )
            found = self._by(rule, named, submitter)
            if found is not None:
                return Placed(found, str(rule))
        return None

    def _by(self, rule: PlacementRule, named: str | None, submitter: Submitter) -> str | None:
        """The queue that the rule gives, which is there or may be made."""
        match rule.rule:
            case Rule.SPECIFIED:
                return None if named is None else self._there(canonical_path(named), create=rule.create)
            case Rule.DEFAULT:
                return self._there(rule.queue or self._policy.default_queue, create=rule.create)
        parent = ROOT if rule.parent is None else self._by(rule.parent, named, submitter)
        if parent is None or ((above := self._queue(parent)) is not None and not above.is_parent):
            return None
        groups = submitter.groups
        match rule.rule:
            case Rule.USER | Rule.NESTED:
                return self._there(child_path(parent, queue_name_of(submitter.user)), create=rule.create)
            case Rule.PRIMARY_GROUP if groups:
                return self._there(child_path(parent, queue_name_of(groups[0])), create=rule.create)
            case Rule.SECONDARY_GROUP:
                paths = (child_path(parent, queue_name_of(group)) for group in groups[1:])
                return next((path for path in paths if self._there(path, create=False)), None)
        return None

    def _there(self, path: str, *, create: bool) -> str | None:
        spec = self._queue(path)
        # Without `create` only declared ones count, as in YARN: what others' jobs made is chance.
        if spec is not None and (create or not spec.undeclared):
            return path
        return path if create and self.may_make(path) else None

    def may_make(self, path: str) -> bool:
        """True iff a leaf may come into being there: rules may make some, and nothing above is a leaf."""
        names = path.split(".")
        if not self._policy.undeclared_queues or len(names) > MAX_DEPTH:
            return False
        try:
            for name in names:
                QueueSpec(name=name)
        except InvalidInput:
            return False
        drains = self._draining(path)
        if ROOT in names or (drains is not None and drains.is_parent):
            return False
        above = parent_path(path)
        while above != ROOT and self._draining(above) is None:
            above = parent_path(above)
        spec = self._draining(above)
        return spec is not None and spec.is_parent

    def made(self, path: str) -> list[str]:
        """Paths of the queues that would have to be made for ``path`` to be there, from above."""
        missing = []
        while path != ROOT and self._queue(path) is None:
            missing.append(path)
            path = parent_path(path)
        return missing[::-1]
