"""Checks the books: what must hold after every event, whatever came before.

Cheap enough for tests, simulations and a running server now and then: it looks once at every container.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

from hrm.core.amounts import Amounts
from hrm.core.applications import App, container_key
from hrm.core.books import Books
from hrm.core.nodes import WHOLE, Node
from hrm.core.queues import Queue
from hrm.core.reclaims import Shortage
from hrm.model.errors import InvariantBroken

if TYPE_CHECKING:
    from hrm.core.lending import Lending
    from hrm.core.scheduler import Scheduler


def check_invariants(scheduler: Scheduler) -> None:
    """Raises InvariantBroken with everything that is wrong; changes nothing."""
    books, lending = scheduler.books, scheduler.lending
    found = [
        *(line for node in books.nodes.values() for line in _check_node(node)),
        *_check_tags(books, lending),
        *([] if lending is None else check_lending(books, lending)),
        *(line for app in books.apps.values() for line in _check_app(app)),
        *(line for queue in books.tree.root.walk() for line in _check_queue(queue)),
        *_check_reservations(books),
        *_check_gangs(books),
        *_check_totals(books),
    ]
    if found:
        raise InvariantBroken("the scheduler's books do not balance:\n" + "\n".join(f"  {line}" for line in found))


def _differ(left: Amounts, right: Amounts) -> bool:
    return left.frozen() != right.frozen()


def _total(parts: Iterable[Amounts]) -> Amounts:
    total = Amounts()
    for part in parts:
        total.add(part)
    return total


def _check_node(node: Node) -> list[str]:
    found = []
    used = _total((*(container.shape for container in node.containers), *(hold.got for hold in node.holds)))
    for container in node.containers:
        # Devices that left the node while something ran on them are on nobody's books.
        used.gpus -= container.milli_per_device * sum(one not in node.positions for one in container.device_ids)
    accounted = _total((used, node.free))
    if _differ(accounted, node.total):
        found.append(f"node {node.node_id}: used {used!r} and free {node.free!r} are not its total {node.total!r}")
    held = dict.fromkeys(node.positions, 0)
    for hold in node.holds:
        for position, milli in hold.device_milli.items():
            held[node.devices[position].device_id] += milli
        if not hold.got.fits_in(hold.ask.shape) or hold.got.gpus != sum(hold.device_milli.values()):
            found.append(f"node {node.node_id}: keeps {hold.got!r} for {hold.ask.shape!r}")
    for container in node.containers:
        if container.node is not node or container.app.containers.get(container_key(container.container_id)) is None:
            found.append(f"node {node.node_id}: {container.container_id} is not on its application's books")
        for device_id in container.device_ids:
            if device_id in held:
                held[device_id] += container.milli_per_device
    for device, free in zip(node.devices, node.device_free, strict=True):
        if free != WHOLE - held[device.device_id]:
            found.append(f"device {device.device_id}: {free} milli free, {held[device.device_id]} held")
        if free < 0 and not node.overcommitted:
            found.append(f"device {device.device_id}: over its capacity by {-free} milli")
    if not node.overcommitted:
        found += [
            f"node {node.node_id}: over its {name} by {-amount}" for name, amount in node.free.items() if amount < 0
        ]
    if node.device_free and (max(node.device_free), node.device_free.count(WHOLE)) != (
        node.largest_free,
        node.whole_free,
    ):
        found.append(f"node {node.node_id}: the summary of its devices is out of date: {node.device_free}")
    return found


def _check_tags(books: Books, lending: Lending | None) -> list[str]:
    """Those of opportunistic containers count like the others."""
    nodes: dict[str, list[Node]] = {rack: [] for rack in books.tags_of_rack}
    for node in books.nodes.values():
        nodes.setdefault(node.rack, []).append(node)
    return [
        f"node {node.node_id}: the count of tags is not that of its containers"
        for node in books.nodes.values()
        if node.tags.as_dict() != _tags_on([node], lending)
    ] + [
        f"rack {rack}: the count of tags is not that of its containers"
        for rack, there in nodes.items()
        if any(node.rack_tags is not books.tags_of_rack.get(rack) for node in there)
        or books.tags_of_rack[rack].as_dict() != _tags_on(there, lending)
    ]


def _tags_on(nodes: Iterable[Node], lending: Lending | None) -> dict[str, dict[App, int]]:
    tagged: dict[str, Counter[App]] = {}
    for node in nodes:
        for container in (*node.containers, *([] if lending is None else lending.containers_on(node.node_id))):
            for tag in container.tags:
                tagged.setdefault(tag, Counter())[container.app.owner] += 1
    return {tag: dict(counts) for tag, counts in tagged.items()}


def check_lending(books: Books, lending: Lending) -> list[str]:
    """What holds between the books of guaranteed containers and those of who borrows."""
    found, borrowed = [], lending.books
    for app in borrowed.apps.values():
        found += _check_app(app)
        if books.apps.get(app.application_id) is not app.owner or app.queue.path != app.owner.queue.path:
            found.append(f"{app.application_id}: borrows in another queue than its own, or is gone")
        if app.runnable is not app.owner.runnable or app.attempt != app.owner.attempt:
            found.append(f"{app.application_id}: what it borrows does not go by what it is")
        if app.containers.keys() & app.owner.containers.keys():
            found.append(f"{app.application_id}: a container is guaranteed and borrows")
    for queue in borrowed.tree.root.walk():
        found += _check_queue(queue, limited=False)
    if books.nodes.keys() != borrowed.remainders.keys():
        found.append("not the same nodes are lent and there to be lent")
    for node in borrowed.remainders.values():
        used = _total(container.shape for container in node.containers)
        for container in node.containers:
            used.gpus -= container.milli_per_device * sum(one not in node.positions for one in container.device_ids)
        if _differ(_total((used, node.free)), node.host.free):
            found.append(f"node {node.node_id}: {used!r} lent and {node.free!r} left are not {node.host.free!r}")
        short = Shortage(node, [one for one in node.containers if one in lending.ending])
        staying = [one for one in node.containers if one not in lending.ending]
        if short and any(short.is_eased_by(one) for one in staying):
            found.append(f"node {node.node_id}: more is lent than there is, and somebody there need not end")
    unannounced = {c.container_id for app in books.apps.values() for c in app.containers.values() if not c.announced}
    grants = {one.container_id for delayed in lending.delayed for one in delayed.grants}
    if unannounced != grants:
        found.append("what is not announced is not what waits to be")
    if any(not delayed.waits_for or not delayed.waits_for.keys() <= set(lending.ending) for delayed in lending.delayed):
        found.append("a grant waits for what does not end")
    for app in books.apps.values():
        found += [
            f"{app.application_id}: something waits to be guaranteed that does not borrow"
            for ask in app.asks
            if ask.promotes and not (ask.grows is not None and lending.is_promoting(ask.grows))
        ]
    return found


def _check_app(app: App) -> list[str]:
    found = []
    name = app.application_id
    held = _total(container.shape for container in app.containers.values())
    if _differ(held, app.usage):
        found.append(f"{name}: uses {app.usage!r}, its containers hold {held!r}")
    demand = held.copy()
    for ask in app.asks:
        demand.add_times(ask.shape, ask.pending)
        if ask.pending <= 0:
            found.append(f"{name}: an ask for {ask.pending} containers waits")
    if _differ(demand, app.demand):
        found.append(f"{name}: demands {app.demand!r}, holds and waits for {demand!r}")
    if sorted(app.asks) != app.asks or len(app.asks) != len(app.asks_by_key):
        found.append(f"{name}: its asks are out of order")
    waiting = Counter(id(ask.shape) for ask in app.asks if app.runnable)
    if waiting != {id(shape): count for shape, count in app.shapes.items()}:
        found.append(f"{name}: its count of waiting shapes is wrong")
    if app not in app.queue.apps:
        found.append(f"{name}: not in its queue {app.queue.path}")
    if (app.entry is not None) != bool(app.runnable and app.asks):
        found.append(f"{name}: waits for {len(app.asks)} asks, runnable {app.runnable}, but entry is {app.entry!r}")
    return found


def _check_reservations(books: Books) -> list[str]:
    by_node = {id(node): node.reservation.app for node in books.nodes.values() if node.reservation is not None}
    by_app = {id(node): app for app in books.apps.values() for node in app.reserved}
    found = [] if by_node == by_app else ["nodes and applications do not agree on what is reserved"]
    of_nodes = {id(hold) for node in books.nodes.values() for hold in node.holds}
    of_apps = {id(hold) for app in books.apps.values() for hold in app.holds}
    if not of_nodes == of_apps == {id(hold) for hold in books.holds}:
        found.append("nodes and applications do not agree on what is kept")
    for app in books.apps.values():
        marked = [one for one in app.containers.values() if one.hold is not None or one.killed]
        if _differ(_total(one.shape for one in marked), app.marked):
            found.append(f"{app.application_id}: {app.marked!r} of it is marked, which is not what is to end")
        wanted = [(one, one.hold) for one in marked if one.hold is not None]
        if any(one not in hold.victims or hold not in books.holds for one, hold in wanted):
            found.append(f"{app.application_id}: a container is to end for what nobody waits for")
        found += [
            f"{app.application_id}: more is kept for it than it waits for"
            for ask in app.asks
            if sum(hold.ask is ask for hold in app.holds) > ask.pending
        ]
    return found


def _check_gangs(books: Books) -> list[str]:
    found = []
    waiting = [gang for app in books.apps.values() for gang in app.gangs.values()]
    if {id(gang) for gang in waiting} != {id(gang) for gang in books.gangs} or len(waiting) != len(books.gangs):
        found.append("the gangs of applications are not those that wait")
    for gang in waiting:
        asks = [ask for ask in gang.app.asks if ask.gang is gang]
        if not asks or sorted(asks) != sorted(gang.asks):
            found.append(f"{gang.app.application_id}: a gang waits for other asks than its own")
        if gang.gathered and gang is not books.gathering:
            found.append(f"{gang.app.application_id}: nodes are kept for a gang that does not gather")
    if {id(gang) for gang in waiting if gang.gathers_since is not None} != {id(books.gathering)} - {id(None)}:
        found.append("more or other gangs gather than the one that may")
    reserved = [(node, node.reservation.gang) for node in books.nodes.values() if node.reservation is not None]
    return found + [
        f"node {node.node_id}: is kept for a gang that does not gather"
        for node, gang in reserved
        if gang is not None and gang is not books.gathering
    ]


def _check_queue(queue: Queue, *, limited: bool = True) -> list[str]:
    """``limited``: its limits say who waits to run."""
    found = []
    members: list[App | Queue] = [*queue.apps, *queue.children.values()]
    if queue.apps and queue.children:
        found.append(f"queue {queue.path}: has both applications and queues")
    if queue.goes_when_empty and not members:
        found.append(f"queue {queue.path}: was to go with its last application, and is still there")
    usage = _total(member.usage for member in members)
    if _differ(usage, queue.usage):
        found.append(f"queue {queue.path}: uses {queue.usage!r}, what is in it {usage!r}")
    asked = _total(member.demand for member in members)
    if _differ(asked, queue.asked):
        found.append(f"queue {queue.path}: is asked for {queue.asked!r}, by what is in it for {asked!r}")
    limit = queue.max_share
    if _differ(queue.demand, asked if limit is None else asked.smallest(limit)):
        found.append(f"queue {queue.path}: demands {queue.demand!r} of {asked!r} asked")
    if queue.apps or not queue.children:
        running = sum(app.runnable for app in queue.apps)
        sharing = sum(app.runnable and app.shares for app in queue.apps)
        waiting = len(queue.apps) - running
        if _differ(_total(app.am_usage for app in queue.apps), queue.am_usage):
            found.append(f"queue {queue.path}: its masters use {queue.am_usage!r}, which is not the sum of theirs")
        if [app for app in queue.waiting_apps if app.runnable] or len(queue.waiting_apps) != waiting:
            found.append(f"queue {queue.path}: its list of waiting applications is wrong")
        if limited and any(queue.may_run(app.user) for app in queue.waiting_apps):
            found.append(f"queue {queue.path}: {waiting} applications wait to run though no limit says so")
    else:
        running = sum(child.running_apps for child in queue.children.values())
        sharing = sum(child.sharing_apps for child in queue.children.values())
        waiting = sum(child.waiting for child in queue.children.values())
    if sharing != queue.sharing_apps:
        found.append(f"queue {queue.path}: {queue.sharing_apps} applications share it, of which {sharing} are there")
    if (running, waiting) != (queue.running_apps, queue.waiting):
        found.append(
            f"queue {queue.path}: counts {queue.running_apps} running and {queue.waiting} waiting applications,"
            f" has {running} and {waiting}"
        )
    for line in (queue.order, *queue.lines.values()):
        if any(entry[-1].entry is not entry for entry in line):
            found.append(f"queue {queue.path}: an entry of its order is not its member's")
        if any(not left < right for left, right in pairwise(line)):
            found.append(f"queue {queue.path}: its order is not sorted")
        if queue.order_epoch == queue.cluster.epoch and any(
            entry != queue.key_of(entry[-1], queue.cluster.total) for entry in line
        ):
            found.append(f"queue {queue.path}: a key of its order is out of date")
    if {id(member) for member in members if member.entry is not None} != {id(m) for m in queue.waiting_members()}:
        found.append(f"queue {queue.path}: its order does not hold exactly the members that wait")
    stands_in: dict[int, set[int]] = {id(app): set() for app in queue.apps}
    for shape, line in queue.lines.items():
        for entry in line:
            stands_in.setdefault(id(entry[-1]), set()).add(id(shape))
    if stands_in != {id(app): {id(shape) for shape in app.shapes} for app in queue.apps}:
        found.append(f"queue {queue.path}: an application stands in the wrong line")
    shapes: Counter[int] = Counter()
    for member in members:
        shapes.update({id(shape): count for shape, count in member.shapes.items()})
    if shapes != {id(shape): count for shape, count in queue.shapes.items()}:
        found.append(f"queue {queue.path}: its count of waiting shapes is wrong")
    return found


def _check_totals(books: Books) -> list[str]:
    found = []
    nodes, apps, root = books.nodes.values(), books.apps.values(), books.tree.root
    total = _total(node.total for node in nodes)
    if _differ(total, root.cluster.total):
        found.append(f"the cluster's size is {root.cluster.total!r}, its nodes have {total!r}")
    on_nodes = sum(len(node.containers) for node in nodes)
    of_apps = sum(len(app.containers) for app in apps)
    if on_nodes != of_apps:
        found.append(f"{on_nodes} containers are on nodes, {of_apps} belong to applications")
    in_tree = sum(len(queue.apps) for queue in root.walk())
    if in_tree != len(apps):
        found.append(f"{len(apps)} applications are known, {in_tree} are in queues")
    found += [f"the floor {root.cluster.floor!r} is above {shape!r}" for shape in root.shapes if _above(root, shape)]
    return found


def _above(root: Queue, shape: Amounts) -> bool:
    return not root.cluster.floor.frozen().fits_in(shape.frozen())
