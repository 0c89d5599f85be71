"""The tree of queues: usage and demand up each path, and the sorted siblings that a visit walks.

Theory of operation. Every queue keeps those of its children that wait for something sorted by the key of its policy: a
parent in one line, a leaf in one line per shape that is asked for. An allocation changes the usage of one application
and the queues above it, so it re-keys one path from leaf to root: O(depth × log siblings). Keys that depend on more
than that (the size of the cluster, weights) carry the epoch in which they were made; when it is over, the first visit
that enters the queue sorts it once.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterator

from hrm.core.amounts import NOTHING, Amounts
from hrm.core.applications import App, Ask, Shape
from hrm.core.openings import Openings
from hrm.core.ordering import KEYS, Key, fifo_key
from hrm.core.shares import share_of_each
from hrm.core.watch import Watch
from hrm.model.queues import ROOT, Policy, QueueSpec
from hrm.model.resources import ZERO, Resources


class Cluster:
    """What all queues share: the size that keys depend on, and the least that anything waits for."""

    __slots__ = ("_raised_at", "epoch", "floor", "openings", "total")

    def __init__(self, openings: Openings) -> None:
        #: Sum of all nodes, unschedulable ones too.
        self.total = Amounts()
        #: Grows when keys made before are no longer right.
        self.epoch = 1
        #: No waiting shape needs less than this of anything: a node with less free is not looked at further.
        self.floor = Amounts()
        self._raised_at = 0
        #: Told when queues use less.
        self.openings = openings

    def lower_floor(self, shapes: dict[Shape, int], shape: Shape) -> None:
        """``shape`` is new among the waiting ``shapes``."""
        self.floor = shape.copy() if len(shapes) == 1 else self.floor.smallest(shape)
        self._raised_at = max(self._raised_at, len(shapes))

    def raise_floor(self, shapes: dict[Shape, int]) -> None:
        """A shape waits no longer. A floor that is too low is safe, so it is worked out anew only now and then."""
        if shapes and (len(shapes) < 16 or len(shapes) * 2 <= self._raised_at):
            waiting = iter(shapes)
            floor = next(waiting).copy()
            for shape in waiting:
                floor = floor.smallest(shape)
            self.floor = floor
            self._raised_at = len(shapes)


class Queue:
    """One queue. A leaf has applications, a parent queues."""

    __slots__ = (
        "am_usage",
        "app_share",
        "apps",
        "asked",
        "changes",
        "children",
        "cluster",
        "demand",
        "draining",
        "entry",
        "fair_share",
        "first_app",
        "held",
        "key_of",
        "limited",
        "lineage",
        "lines",
        "max_share",
        "min_share",
        "min_since",
        "missed_visit",
        "name",
        "order",
        "order_epoch",
        "parent",
        "path",
        "priority",
        "running_apps",
        "running_of_user",
        "shapes",
        "shared_from",
        "sharing_apps",
        "spec",
        "start",
        "steady_share",
        "usage",
        "waiting",
        "waiting_apps",
        "watch",
        "weight",
    )

    def __init__(self, spec: QueueSpec, path: str, parent: Queue | None, cluster: Cluster) -> None:
        self.path = self.name = path
        self.parent = parent
        self.cluster = cluster
        #: This queue and those above it, up to the root.
        self.lineage: tuple[Queue, ...] = (self, *(parent.lineage if parent else ()))
        self.children: dict[str, Queue] = {}
        self.apps: dict[App, None] = {}
        #: Queues have no start time and no priority: ties go by name.
        self.start = 0.0
        self.priority = 0
        self.usage = Amounts()
        #: Of a leaf: what masters in containers use; it stays until their attempt is over.
        self.am_usage = Amounts()
        #: What the children demand together.
        self.asked = Amounts()
        #: The same, at most the max share.
        self.demand = self.asked
        #: Applications that may run, and those that wait for that, here and below.
        self.running_apps = 0
        self.waiting = 0
        #: Of those that may run: who is due a share.
        self.sharing_apps = 0
        #: Users of those that may run, each with their number.
        self.running_of_user: dict[str, int] = {}
        #: Of a leaf: the latter, oldest first.
        self.waiting_apps: list[App] = []
        #: Shapes that wait here and below, each with the number of asks.
        self.shapes: dict[Shape, int] = {}
        #: Of a parent: its children that wait for something, by key.
        self.order: list[Key] = []
        #: Of a leaf: for each shape the applications that wait for such, by key. A visit that finds a shape too large
        #: passes over a whole line, however many stand in it.
        self.lines: dict[Shape, list[Key]] = {}
        self.order_epoch = 0
        self.entry: Key | None = None
        self.missed_visit = 0
        #: Shapes that a limit of this queue turned down since it last let something in: see `hrm.core.openings`.
        self.held: dict[Shape, None] = {}
        self.fair_share: Resources = ZERO
        self.steady_share: Resources = ZERO
        #: What the shares of what is below were last worked out from.
        self.shared_from: object = None
        #: Of a leaf: the fair share of each application that may run; in a fifo queue the first has it all.
        self.app_share: Resources = ZERO
        #: Of a leaf: when it last had its minimum share, as far as preemption goes; None before the first look.
        self.min_since: float | None = None
        self.first_app: App | None = None
        #: Of a leaf: grows with all that who is starved here depends on, and what was last found of that.
        self.changes = 0
        self.watch: Watch | None = None
        #: True iff it was taken out of the configuration while in use: what runs goes on, nothing new enters.
        self.draining = False
        self.set_spec(spec)

    def set_spec(self, spec: QueueSpec) -> None:
        """Take limits, weight and policy as declared. The children are not touched."""
        self.spec = spec
        self.weight = spec.weight
        self.key_of = KEYS[spec.policy, spec.order]
        self.order_epoch = 0
        self.set_limits()

    def set_limits(self) -> None:
        """Work min and max share out, which may be parts of the cluster. What parents sum up is left to the caller."""
        spec, total = self.spec, self.cluster.total.frozen()
        minimum = spec.min_share if spec.min_share_of_cluster is None else spec.min_share_of_cluster.of(total)
        maximum = spec.max_share if spec.max_share_of_cluster is None else spec.max_share_of_cluster.of(total)
        self.min_share = Amounts.of(minimum) if minimum else NOTHING
        # A part of a small cluster may be less than the minimum: then that is the limit (YARN's FSQueue.getMaxShare).
        self.max_share = None if maximum is None else Amounts.of(maximum.largest(minimum))
        self.demand = self.asked if self.max_share is None else self.asked.smallest(self.max_share)

    def set_limited(self) -> None:
        """Note which queues of the lineage have a max share at all. After any of them changed."""
        #: Those of the lineage with a max share: what an allocation has to check.
        self.limited: tuple[Queue, ...] = tuple(queue for queue in self.lineage if queue.max_share is not None)

    @property
    def is_leaf(self) -> bool:
        return not self.children and not self.spec.is_parent

    @property
    def goes_when_empty(self) -> bool:
        """True iff it is in no file, or not any more."""
        return self.draining or self.spec.undeclared

    def inherited(self, field: str, default: float) -> float:
        """What the queue nearest from here up declares for ``field`` of QueueSpec."""
        declared = (getattr(queue.spec, field) for queue in self.lineage)
        return next((float(value) for value in declared if value is not None), default)

    def walk(self) -> Iterator[Queue]:
        """This queue and all below it, parents first."""
        yield self
        for child in self.children.values():
            yield from child.walk()

    def child_path(self, name: str) -> str:
        return name if self.path == ROOT else f"{self.path}.{name}"

    # ---- the order of children

    def enter(self, child: Queue) -> None:
        """Something begins to wait in the child."""
        child.entry = self.key_of(child, self.cluster.total)
        insort(self.order, child.entry)

    def leave(self, child: Queue) -> None:
        """Nothing waits in the child any more."""
        if child.entry is not None:
            _take_out(self.order, child.entry)
            child.entry = None

    def rekey(self, child: App | Queue, entry: Key) -> None:
        """The usage or demand of a child that waits for something changed; ``entry`` is where it was."""
        child.entry = key = self.key_of(child, self.cluster.total)
        if self.children:
            _move(self.order, entry, key)
        else:
            for shape in child.shapes:
                _move(self.lines[shape], entry, key)

    def bring_up_to_date(self) -> None:
        """Sort anew if keys were made in an earlier epoch. A visit does so before it looks at the order."""
        if self.order_epoch == self.cluster.epoch:
            return
        self.order_epoch = self.cluster.epoch
        for member in self.waiting_members():
            member.entry = self.key_of(member, self.cluster.total)
        for line in (self.order, *self.lines.values()):
            line[:] = sorted(entry[-1].entry for entry in line)

    def waiting_members(self) -> list[App | Queue]:
        """Children that wait for something, first come first by policy (as far as keys are up to date)."""
        entries = dict.fromkeys(entry for line in (self.order, *self.lines.values()) for entry in line)
        return [entry[-1] for entry in sorted(entries)]

    def sum_demand(self) -> None:
        """Add up the children's demand anew: after a reload, when a limit below or here may have changed."""
        self.asked = Amounts()
        for app in self.apps:
            self.asked.add(app.demand)
        for child in self.children.values():
            self.asked.add(child.demand)
        self.demand = self.asked if self.max_share is None else self.asked.smallest(self.max_share)

    # ---- changes of a leaf, carried up to the root

    def charge(self, app: App, amounts: Amounts, times: int) -> None:
        """The application here uses so much more (``times`` 1) or less (-1); it and the queues above find their place.

        Every allocation takes this path, so its sums are written out.
        """
        memory, vcores, gpus = amounts.memory * times, amounts.vcores * times, amounts.gpus * times
        others, total = amounts.others, self.cluster.total
        self.changes += 1
        one: App | Queue = app
        for parent in self.lineage:
            usage = one.usage
            usage.memory += memory
            usage.vcores += vcores
            usage.gpus += gpus
            if others:
                usage.add_others(others, times)
            entry = one.entry
            if entry is not None:
                one.entry = key = parent.key_of(one, total)
                if parent.children:
                    _move(parent.order, entry, key)
                else:
                    lines = parent.lines
                    for shape in one.shapes:
                        _move(lines[shape], entry, key)
            one = parent
        one.usage.add_times(amounts, times)

    def rekey_path(self, app: App) -> None:
        """After the demand of the application, and with it of the queues above, changed."""
        self.changes += 1
        one: App | Queue = app
        for parent in self.lineage:
            entry = one.entry
            if entry is not None:
                parent.rekey(one, entry)
            one = parent

    def change_demand(self, amounts: Amounts, times: int) -> None:
        """The applications here ask for (or hold) so much more or less."""
        self.changes += 1
        queue: Queue | None = self
        while queue is not None:
            queue.asked.add_times(amounts, times)
            if queue.max_share is not None:
                before, queue.demand = queue.demand, queue.asked.smallest(queue.max_share)
                # From here up only what the limit lets through counts.
                difference = queue.demand.copy()
                difference.subtract(before)
                amounts, times = difference, 1
            queue = queue.parent

    def add_waiting(self, app: App, ask: Ask) -> None:
        """An ask of a runnable application began to wait."""
        shape = ask.shape
        if _count_up(app.shapes, shape):
            if app.entry is None:
                app.entry = self.key_of(app, self.cluster.total)
            insort(self.lines.setdefault(shape, []), app.entry)
        for queue in self.lineage:
            if _count_up(queue.shapes, shape):
                if queue.parent is None:
                    self.cluster.lower_floor(queue.shapes, shape)
                elif len(queue.shapes) == 1:
                    queue.parent.enter(queue)

    def remove_waiting(self, app: App, ask: Ask) -> None:
        """An ask of a runnable application waits no longer."""
        shape = ask.shape
        if _count_down(app.shapes, shape) and app.entry is not None:
            line = self.lines[shape]
            _take_out(line, app.entry)
            if not line:
                del self.lines[shape]
            if not app.shapes:
                app.entry = None
        for queue in self.lineage:
            if _count_down(queue.shapes, shape):
                self.cluster.openings.forget(queue, shape)
                if queue.parent is None:
                    self.cluster.raise_floor(queue.shapes)
                elif not queue.shapes:
                    queue.parent.leave(queue)

    # ---- applications

    def admit(self, app: App) -> None:
        """Take an application, with all that it holds and asks for. It waits until `set_running`."""
        app.queue = self
        self.apps[app] = None
        insort(self.waiting_apps, app, key=lambda one: one.age)
        for queue in self.lineage:
            queue.waiting += 1
            queue.usage.add(app.usage)
        self.am_usage.add(app.am_usage)
        self.change_demand(app.demand, 1)
        self.rekey_path(app)

    def dismiss(self, app: App) -> None:
        """Let it go, with all that it holds and asks for."""
        self.set_running(app, False)
        self.waiting_apps.remove(app)
        del self.apps[app]
        for queue in self.lineage:
            queue.waiting -= 1
            queue.usage.subtract(app.usage)
        self.am_usage.subtract(app.am_usage)
        self.change_demand(app.demand, -1)
        self.rekey_path(app)
        self.ease()

    def set_running(self, app: App, running: bool) -> None:
        """Let the application run, or make it wait, as far as placing goes."""
        if app.runnable == running:
            return
        step = 1 if running else -1
        self.changes += 1
        for queue in self.lineage:
            queue.running_apps += step
            queue.sharing_apps += step if app.shares else 0
            queue.waiting -= step
            queue.running_of_user[app.user] = queue.running_of_user.get(app.user, 0) + step
            if not queue.running_of_user[app.user]:
                del queue.running_of_user[app.user]
        if running:
            self.waiting_apps.remove(app)
            app.runnable = True
            for ask in app.asks:
                self.add_waiting(app, ask)
        else:
            insort(self.waiting_apps, app, key=lambda one: one.age)
            app.runnable = False
            for ask in app.asks:
                self.remove_waiting(app, ask)

    def let_share(self, app: App) -> None:
        """It asks for, or has, something that is guaranteed: from now on it is due its part."""
        app.shares = True
        self.changes += 1
        if app.runnable:
            for queue in self.lineage:
                queue.sharing_apps += 1

    # ---- shares of applications

    def share_out(self) -> None:
        """Of a leaf: work out the fair shares of its applications, which all weigh the same, from its own.

        In a fifo queue the first has it all, as in YARN's FifoPolicy.computeShares.
        """
        if self.spec.policy is Policy.FIFO:
            running = (app for app in self.apps if app.runnable and app.shares)
            self.first_app = min(running, key=lambda app: fifo_key(app, self.cluster.total), default=None)
            self.app_share = self.fair_share
            self.shared_from = None
        else:
            count = self.sharing_apps
            basis = (count, self.fair_share)
            if basis == self.shared_from:
                return
            self.shared_from = basis
            self.app_share = Resources.of({n: share_of_each(count, amount) for n, amount in self.fair_share.items()})

    def share_of(self, app: App) -> Resources:
        """The fair share of an application here, as of the last update."""
        if not app.runnable or not app.shares or (self.spec.policy is Policy.FIFO and app is not self.first_app):
            return ZERO
        return self.app_share

    # ---- limits

    def ease(self) -> None:
        """Something here ended or left: this queue and those above use less."""
        for queue in self.lineage:
            if queue.held:
                self.cluster.openings.ease(queue)

    def may_run(self, user: str) -> bool:
        """True iff no queue of the lineage has as many running applications as it may, of all and of the user."""
        return self.full_of_apps() is None and self.full_of_apps_of(user) is None

    def max_running_apps_of(self, user: str) -> int | None:
        """Applications of the user that may run here; None iff unlimited."""
        spec = self.spec
        return dict(spec.max_running_apps_of_users).get(user, spec.max_running_apps_per_user)

    def full_of_apps_of(self, user: str) -> Queue | None:
        """The queue nearest to the root that may run no further application of the user."""
        full = None
        for queue in self.lineage:
            limit = queue.max_running_apps_of(user)
            if limit is not None and queue.running_of_user.get(user, 0) >= limit:
                full = queue
        return full

    def full_of_apps(self) -> Queue | None:
        """The queue nearest to the root that may run no further application."""
        full = None
        for queue in self.lineage:
            limit = queue.spec.max_running_apps
            if limit is not None and queue.running_apps >= limit:
                full = queue
        return full

    def max_am_usage(self) -> Resources | None:
        """What masters in containers may use together: ceil(fair share × max AM share); None iff unlimited.

        A component of which the share is 0 (none worked out yet, or a resource nobody shares) counts as what the
        cluster has free, at most the max share (YARN's FSLeafQueue.computeMaxAMResource).
        """
        part = self.spec.max_am_share
        if part is None:
            return None
        total, used = self.cluster.total.frozen(), self.lineage[-1].usage
        limits = {}
        for name, whole in total.items():
            share = self.fair_share.get(name)
            if not share:
                share = max(whole - used.frozen().get(name), 0)
                share = share if self.max_share is None else min(share, self.max_share.frozen().get(name))
            limits[name] = math.ceil(share * part)
        return Resources.of(limits)

    def over_max_with(self, amounts: Amounts) -> Queue | None:
        """The first queue of the lineage, from here up, that ``amounts`` more would bring over its max share."""
        for queue in self.limited:
            if queue.max_share is not None and not queue.usage.stays_within(amounts, queue.max_share):
                return queue
        return None


def _move(line: list[Key], entry: Key, key: Key) -> None:
    """Replace ``entry`` by ``key``, in the right place."""
    if line[0] is entry:
        # Mostly: who comes first is served.
        if len(line) == 1 or key < line[1]:
            line[0] = key
        else:
            del line[0]
            insort(line, key)
        return
    position = bisect_left(line, entry)
    # It often stays where it is.
    if line[position - 1] < key and (position + 1 == len(line) or key < line[position + 1]):
        line[position] = key
        return
    del line[position]
    insort(line, key)


def _take_out(line: list[Key], entry: Key) -> None:
    del line[bisect_left(line, entry)]


def _count_up(counts: dict[Shape, int], shape: Shape) -> bool:
    """True iff it is the first."""
    counts[shape] = count = counts.get(shape, 0) + 1
    return count == 1


def _count_down(counts: dict[Shape, int], shape: Shape) -> bool:
    """True iff it was the last."""
    counts[shape] = count = counts[shape] - 1
    if not count:
        del counts[shape]
    return not count
