"""The queues beyond what the scheduler needs of them: where jobs go, who may what, which are made and kept.

What no file declares lives as long as an application needs it: queues that placement rules make (*undeclared*), and
those that left the file while in use, also where the server began anew meanwhile (*draining*).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from hrm.core.events import Event, QueueAdded
from hrm.core.scheduler import Scheduler
from hrm.model.access import AccessList
from hrm.model.errors import Forbidden, InvalidInput
from hrm.model.placement import PlacementPolicy, Submitter
from hrm.model.queues import (
    ROOT,
    QueueDefaults,
    QueueSpec,
    QueueType,
    access_to,
    canonical_path,
    default_label_of,
    labels_of,
)
from hrm.model.resources import Resources
from hrm.rm.groups import Groups
from hrm.rm.placement import Placed, Placer, child_path, parent_path


class Queues:
    """One instance, on the manager's loop. Changes nothing itself: it says what the scheduler is to be told."""

    def __init__(
        self, scheduler: Scheduler, policy: PlacementPolicy | None = None, groups: Groups | None = None
    ) -> None:
        self._scheduler = scheduler
        self._groups = groups or Groups()
        self.policy = policy or PlacementPolicy()

    @property
    def policy(self) -> PlacementPolicy:
        """How jobs find their queues."""
        return self._policy

    @policy.setter
    def policy(self, policy: PlacementPolicy) -> None:
        self._policy = policy
        spec_of = self._scheduler.queue_spec
        self._placer = Placer(policy, spec_of, partial(spec_of, draining=True))

    # --- where jobs go

    async def place(self, named: str | None, user: str) -> Placed:
        """The leaf queue of a job that names the queue ``named``. Raises InvalidInput (none) and Forbidden."""
        groups = await self._groups.of(user) if self._placer.needs_groups else ()
        placed = self._placer.place(named, Submitter(user=user, groups=groups))
        if placed is None:
            raise self._nowhere(named) if self._policy.rules is None else self._by_no_rule(named)
        self._check_leaf(placed.queue)
        return placed

    def target(self, named: str) -> str:
        """The leaf queue ``named``, for an application that is to move there. Raises InvalidInput."""
        path = canonical_path(named)
        if self._scheduler.queue_spec(path) is None and not self._placer.may_make(path):
            raise self._nowhere(named)
        self._check_leaf(path)
        return path

    def missing(self, path: str) -> list[str]:
        """Queues that have to be made for ``path`` to be there, from above."""
        return self._placer.made(path)

    def _nowhere(self, named: str | None) -> InvalidInput:
        wanted = canonical_path(named or self._policy.default_queue)
        leaves = ", ".join(self._scheduler.leaf_paths())
        return InvalidInput(
            f"no queue {wanted!r} takes applications", field="queue", next_step=f"choose one of: {leaves}"
        )

    def _by_no_rule(self, named: str | None) -> InvalidInput:
        told = f"names the queue {named!r}" if named else "names no queue"
        return InvalidInput(
            f"no rule of scheduler.placement gives a queue for a job that {told}",
            field="queue",
            next_step=f"name one of: {', '.join(self._scheduler.leaf_paths())}",
        )

    def _check_leaf(self, path: str) -> None:
        spec = self._scheduler.queue_spec(path)
        if spec is not None and spec.is_parent:
            raise self._nowhere(path)

    # --- what applications need to be there

    def opened(self, path: str, *, recovered: bool = False) -> list[Event]:
        """What the scheduler is to be told before an application enters ``path``, which may not be there (any more).

        For one ``recovered`` from an earlier life a queue that may not be made is there all the same, draining.
        """
        if self._scheduler.queue_spec(path) is not None:
            return []
        may_make = self._placer.may_make(path)
        missing = self.missing(path) if may_make else self._gone(path) if recovered else []
        if not missing:
            return []
        above = parent_path(missing[0])
        parent = self._scheduler.queue_spec(above, draining=True)
        assert parent is not None, "missing queues begin below one that is there"
        names = [path.rpartition(".")[2] for path in missing]
        return [QueueAdded(above, _chain(names, parent, self._policy.defaults), draining=not may_make)]

    def _gone(self, path: str) -> list[str]:
        missing = []
        while self._scheduler.queue_spec(path, draining=True) is None:
            missing.append(path)
            path = parent_path(path)
        return missing[::-1]

    def home_after_restart(self, path: str) -> str:
        """Where an application goes on that was in ``path`` in an earlier life: there, as far as the tree allows it.

        A leaf that stands where a parent of it was takes it; one that was in what is a parent now goes to the default
        queue.
        """
        above = path
        while (spec := self._scheduler.queue_spec(above, draining=True)) is None:
            above = parent_path(above)
        if above == path:
            return self._policy.default_queue if spec.is_parent else path
        return path if spec.is_parent else above

    def with_undeclared(self, root: QueueSpec, policy: PlacementPolicy) -> QueueSpec:
        """A new tree with those queues that live without being declared, as far as it and ``policy`` let them."""
        if not policy.undeclared_queues:
            return root
        made: dict[str, list[QueueSpec]] = {}
        for view in self._scheduler.queue_views():
            if view.spec.undeclared and not view.draining and view.parent is not None:
                made.setdefault(view.parent, []).append(view.spec)
        return _with_made(root, ROOT, made, policy.defaults) if made else root

    # --- who may what

    async def check_submit(self, path: str, user: str) -> None:
        """Raises Forbidden, with who may."""
        if not await self.may_submit(path, user):
            lineage = self._lineage(path)
            lists = [access_to(lineage, admin=admin) for admin in (False, True)]
            who = ", ".join(dict.fromkeys(str(found) for found in lists if str(found) != "nobody")) or "nobody"
            raise Forbidden(
                f"{user} may not submit to {path}; its submit_acl and admin_acl, and those above it, allow: {who}",
                next_step="choose a queue that `hrm queues access` shows as yours, or ask its administrator",
            )

    async def may_submit(self, path: str, user: str) -> bool:
        """True iff a submit or admin ACL of it, or of a queue above it, allows it."""
        lineage = self._lineage(path)
        return await self._allowed(access_to(lineage, admin=False), user) or await self.administers(path, user)

    async def groups(self, user: str) -> tuple[str, ...]:
        return await self._groups.of(user)

    async def administers(self, path: str, user: str) -> bool:
        """True iff an admin ACL of it, or of a queue above it, names the user."""
        return await self._allowed(access_to(self._lineage(path), admin=True), user)

    async def _allowed(self, access: AccessList, user: str) -> bool:
        if access.allows(user, ()):
            return True
        return bool(access.groups) and access.allows(user, await self._groups.of(user))

    def access(self, path: str) -> tuple[AccessList, AccessList]:
        """Who may submit to it, and who administers it."""
        lineage = self._lineage(path)
        return access_to(lineage, admin=False), access_to(lineage, admin=True)

    def max_container(self, path: str) -> Resources | None:
        """What no request there may exceed: what it, or the nearest queue above it that does, says."""
        return next((spec.max_container for spec in self._lineage(path) if spec.max_container is not None), None)

    def node_labels(self, path: str) -> tuple[str, ...]:
        """Node labels that requests there may name; "*" for all."""
        return labels_of(self._lineage(path))

    def default_label(self, path: str) -> str:
        """The label of requests there that name none."""
        return default_label_of(self._lineage(path))

    def naming_label(self, label: str) -> list[str]:
        """Paths of the queues that name it as theirs."""
        return [
            view.path
            for view in self._scheduler.queue_views()
            if label in (view.spec.accessible_node_labels or ()) or view.spec.default_node_label == label
        ]

    def _lineage(self, path: str) -> list[QueueSpec]:
        """The queue and those above it, the root last; those that are to be made yet are left out."""
        found = []
        while path != ROOT:
            if (spec := self._scheduler.queue_spec(path, draining=True)) is not None:
                found.append(spec)
            path = parent_path(path)
        root = self._scheduler.queue_spec(ROOT)
        assert root is not None, "there is always a root"
        return [*found, root]


def _chain(names: list[str], above: QueueSpec, defaults: QueueDefaults) -> QueueSpec:
    """Undeclared queues, each below the one before."""
    spec = defaults.undeclared(names[0], above)
    if len(names) == 1:
        return spec
    return replace(spec, type=QueueType.PARENT, children=(_chain(names[1:], spec, defaults),))


def _with_made(spec: QueueSpec, path: str, made: dict[str, list[QueueSpec]], defaults: QueueDefaults) -> QueueSpec:
    """``spec``, which is at ``path``, with the undeclared queues that were ``made`` below each path."""
    if not spec.is_parent:
        return spec
    children = list(spec.children)
    known = {child.name for child in children}
    unknown = (one for one in made.get(path, ()) if one.name not in known)
    children += [replace(defaults.undeclared(one.name, spec), type=one.type) for one in unknown]
    below = tuple(_with_made(child, child_path(path, child.name), made, defaults) for child in children)
    return spec if below == spec.children else replace(spec, children=below)
