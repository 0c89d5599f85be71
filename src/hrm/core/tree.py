"""The whole tree of queues: found by path, reloaded as one, shared out."""

from __future__ import annotations

from collections.abc import Sequence

from hrm.core.applications import App
from hrm.core.queues import Cluster, Queue
from hrm.core.shares import Claim, compute_shares
from hrm.model.errors import InvalidInput
from hrm.model.queues import ROOT, Order, QueueSpec, canonical_path
from hrm.model.resources import Resources


class QueuesInUse(InvalidInput):
    """A new tree has no place for what runs. ``problems`` has the path of each queue, and what is wrong with it."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__(
            "; ".join(f"{path} {problem}" for path, problem in problems),
            field="queues",
            next_step="let them end first, or move them (`hrm move`)",
        )
        self.problems = tuple(problems)


class QueueTree:
    """Owner of all queues. ``by_path`` has the root and those that drain, too."""

    def __init__(self, spec: QueueSpec, cluster: Cluster) -> None:
        self.cluster = cluster
        _check_root(spec)
        self.root = Queue(spec, ROOT, None, cluster)
        self.by_path: dict[str, Queue] = {}
        self._take(spec)

    def open_leaf(self, path: str, *, recovered: bool = False) -> Queue:
        """The leaf queue that an application may enter, or one ``recovered`` may. Raises InvalidInput."""
        queue = self.by_path.get(canonical_path(path))
        if queue is None or (queue.draining and not recovered):
            what = "no such queue" if queue is None else "being removed, it takes nothing new"
            leaves = ", ".join(leaf.path for leaf in self.open_leaves())
            raise InvalidInput(f"{what}: {path!r}", field="queue", next_step=f"use one of: {leaves}")
        if not queue.is_leaf:
            below = ", ".join(sorted(child.path for child in queue.children.values())) or "none yet"
            raise InvalidInput(
                f"applications run in leaf queues, {path!r} has queues below it",
                field="queue",
                next_step=f"use one of: {below}",
            )
        return queue

    def open_leaves(self) -> list[Queue]:
        """Those that applications may enter, by path."""
        leaves = [queue for queue in self.by_path.values() if queue.is_leaf and not queue.draining]
        return sorted(leaves, key=lambda queue: queue.path)

    # ---- reload

    def reload(self, spec: QueueSpec) -> None:
        """Take a new tree. Raises InvalidInput, with nothing changed, if what runs cannot live in it.

        A queue that is gone while in use is drained: its applications go on, none may enter, and it is dropped with
        its last one. A leaf in use cannot get queues below it, nor a parent in use become a leaf.
        """
        _check_root(spec)
        problems = []
        for path, wanted in spec.walk():
            queue = self.by_path.get(path)
            if queue is not None and _in_use(queue) and queue.is_leaf is wanted.is_parent:
                change = "become a parent of queues" if queue.is_leaf else "lose the queues below it"
                problems.append((path, f"cannot {change} while applications are in it"))
        if problems:
            raise QueuesInUse(problems)
        self._take(spec)

    def _take(self, spec: QueueSpec) -> None:
        self._match(self.root, spec)
        self.by_path = {queue.path: queue for queue in self.root.walk()}
        self._settle()

    def _settle(self) -> None:
        """After specs of queues in use changed: work out anew what depends on them."""
        self.cluster.epoch += 1
        for queue in self.by_path.values():
            queue.set_limited()
        for queue in reversed(self.by_path.values()):
            queue.sum_demand()
            # Keys of another policy must not meet those made from now on.
            queue.bring_up_to_date()

    def _match(self, queue: Queue, spec: QueueSpec) -> None:
        queue.draining = False
        queue.set_spec(spec)
        before, queue.children = queue.children, {}
        for child_spec in spec.children:
            child = before.pop(child_spec.name, None)
            if child is None:
                child = Queue(child_spec, queue.child_path(child_spec.name), queue, self.cluster)
            queue.children[child_spec.name] = child
            self._match(child, child_spec)
        for name, child in before.items():
            if _in_use(child):
                queue.children[name] = child
                _drain(child)

    def add(self, parent: str, spec: QueueSpec, *, draining: bool) -> None:
        """Take a queue that is in no file, and those below it. One that drains is opened unless it is to go on so.

        Raises InvalidInput, with nothing changed, where the parent is none, or what drains there is of the other kind.
        """
        above = self.by_path.get(canonical_path(parent))
        if above is None or above.is_leaf:
            what = "no such queue" if above is None else "applications run there, no queue can lie below it"
            raise InvalidInput(f"{what}: {parent!r}", field="queue")
        for path, wanted in spec.walk(above.child_path(spec.name)):
            drains = self.by_path.get(path)
            if drains is not None and drains.is_leaf is wanted.is_parent:
                kind = "applications are still" if drains.is_leaf else "queues are still"
                raise InvalidInput(f"{kind} in {path!r}, which drains", field="queue", next_step="let them end first")
        self._add(above, spec, draining)

    def _add(self, above: Queue, spec: QueueSpec, draining: bool) -> None:
        queue = above.children.get(spec.name)
        if queue is None:
            queue = above.children[spec.name] = Queue(spec, above.child_path(spec.name), above, self.cluster)
            self.by_path[queue.path] = queue
            queue.draining = draining
            queue.set_limited()
        elif queue.draining and not draining:
            queue.draining = False
            queue.set_spec(spec)
            self._settle()
        for child in spec.children:
            self._add(queue, child, draining)

    def drop_if_drained(self, queue: Queue) -> None:
        """After the last application left: forget a queue that is in no file (any more), and parents alike."""
        while queue.goes_when_empty and queue.parent is not None and not queue.apps and not queue.children:
            del queue.parent.children[queue.spec.name]
            del self.by_path[queue.path]
            queue = queue.parent
            queue.shared_from = None

    def follow_cluster(self) -> list[Queue]:
        """The cluster's size changed: so do shares that are parts of it. Those queues."""
        self.cluster.epoch += 1
        parts = [q for q in self.by_path.values() if q.spec.min_share_of_cluster or q.spec.max_share_of_cluster]
        if parts:
            for queue in parts:
                queue.set_limits()
            for queue in reversed(self.by_path.values()):
                queue.sum_demand()
        return parts

    # ---- limits on running applications

    def next_to_run(self) -> App | None:
        """The oldest waiting application that limits let run now."""
        return _oldest(self.root)

    # ---- shares

    def update_shares(self) -> None:
        """Fair shares now (among queues with running applications) and steady ones (as if all had some)."""
        total = self.cluster.total.frozen()
        self.root.fair_share = self.root.steady_share = total
        # Parents first. A queue whose share is as before, and whose children are, has shared it out already.
        for queue in self.by_path.values():
            if queue.children:
                children = list(queue.children.values())
                active = [child.sharing_apps > 0 for child in children]
                basis = (self.cluster.epoch, queue.fair_share, queue.steady_share, active)
                if basis != queue.shared_from:
                    queue.shared_from = basis
                    now = _share_out(children, queue.fair_share, steady=False)
                    steady = _share_out(children, queue.steady_share, steady=True)
                    for child, share, steady_share in zip(children, now, steady, strict=True):
                        child.fair_share, child.steady_share = share, steady_share
            else:
                queue.share_out()
            if queue.spec.order is Order.DEFICIT:
                # Its keys are made from shares.
                queue.order_epoch = 0


def check_move(app: App, target: Queue) -> None:
    """Raises InvalidInput where a queue that the application would enter has no room for what it runs and holds."""
    entered = [queue for queue in target.lineage if queue not in app.queue.lineage]
    for queue in entered:
        limit, max_share = queue.spec.max_running_apps, queue.max_share
        if app.runnable and limit is not None and queue.running_apps >= limit:
            raise InvalidInput(f"{queue.path} runs as many applications as it may ({limit})", field="queue")
        of_user = queue.max_running_apps_of(app.user)
        if app.runnable and of_user is not None and queue.running_of_user.get(app.user, 0) >= of_user:
            raise InvalidInput(
                f"{queue.path} runs as many applications of {app.user} as it may ({of_user})", field="queue"
            )
        if max_share is not None and not queue.usage.stays_within(app.usage, max_share):
            raise InvalidInput(
                f"{queue.path} would pass its max share ({max_share.frozen()}) with what it holds", field="queue"
            )


def _check_root(spec: QueueSpec) -> None:
    if spec.name != ROOT:
        raise InvalidInput(f"the root queue is called {ROOT!r}: {spec.name!r}", field="queues")


def _in_use(queue: Queue) -> bool:
    return any(below.apps for below in queue.walk())


def _drain(queue: Queue) -> None:
    queue.draining = True
    for child in list(queue.children.values()):
        if _in_use(child):
            _drain(child)
        else:
            del queue.children[child.spec.name]


def _oldest(queue: Queue) -> App | None:
    limit = queue.spec.max_running_apps
    if not queue.waiting or (limit is not None and queue.running_apps >= limit):
        return None
    if queue.is_leaf:
        return _oldest_in_leaf(queue)
    found = [app for child in queue.children.values() if (app := _oldest(child)) is not None]
    return min(found, key=lambda app: app.age, default=None)


def _oldest_in_leaf(leaf: Queue) -> App | None:
    """The oldest whose user may run another."""
    full: set[str] = set()
    for app in leaf.waiting_apps:
        if app.user not in full:
            if leaf.full_of_apps_of(app.user) is None:
                return app
            full.add(app.user)
    return None


def _share_out(children: list[Queue], total: Resources, *, steady: bool) -> list[Resources]:
    """Each child's part of ``total``, one resource at a time.

    Under the fair policy only memory decides who is next; the other resources are shared out alike for people to see.
    """
    limits = [(child.min_share.frozen(), child.max_share.frozen() if child.max_share else None) for child in children]
    names = {*total.names()}.union(*(minimum.names() for minimum, _ in limits))
    parts: list[dict[str, int]] = [{} for _ in children]
    for name in sorted(names):
        claims = [
            Claim(
                child.weight,
                minimum.get(name),
                None if maximum is None else maximum.get(name),
                steady or child.sharing_apps > 0,
            )
            for child, (minimum, maximum) in zip(children, limits, strict=True)
        ]
        for part, share in zip(parts, compute_shares(claims, total.get(name)), strict=True):
            part[name] = share
    return [Resources.of(part) for part in parts]
