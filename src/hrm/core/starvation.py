"""Who has less than their share for too long, and who has more than it.

Theory of operation. A round of preemption asks every leaf. What it answers depends on the leaf alone (what its
applications use, ask for and are due) and on time limits that run out, so it is worked out again only when the leaf has
changed or the next limit is over. Of a thousand applications that wait, none is looked at in vain.
"""

from __future__ import annotations

import math

from hrm.core.amounts import Amounts
from hrm.core.applications import App, Ask
from hrm.core.commands import Starvation
from hrm.core.ordering import is_below
from hrm.core.queues import Queue
from hrm.core.watch import Starving, Watch
from hrm.model.queues import Policy
from hrm.model.resources import Resources

#: `App.fair_since` and `Queue.min_since` of who had the share when last looked at.
SATISFIED = math.inf
#: What is left of a time limit when it is looked again, seconds: limits are compared as differences, which round.
_EARLY_S = 0.01


def starving_in(leaf: Queue, now: float) -> list[Starving]:
    """Those that lack enough for one of their requests at least; who comes first by policy first."""
    if not leaf.shapes:
        # Whoever waits for nothing lacks nothing.
        leaf.min_since, leaf.watch = None, None
        return []
    watch = watch_of(leaf, now)
    if now >= watch.due_at:
        _look(leaf, watch, now)
    watch.looked_at = now
    return watch.starving


def watch_of(leaf: Queue, now: float) -> Watch:
    """The leaf's, renewed where it has changed: then it is due."""
    basis = (leaf.changes, leaf.cluster.epoch, leaf.fair_share, leaf.app_share, leaf.first_app)
    watch = leaf.watch
    if watch is None or watch.basis != basis:
        watch = leaf.watch = Watch(basis, now if watch is None else watch.looked_at, -math.inf)
    return watch


def surplus_in(leaf: Queue, now: float) -> list[App]:
    """Applications that hold something and keep their share if what is marked of it ends: the others lose nothing."""
    if not all(queue.spec.preemptable for queue in leaf.lineage):
        return []
    watch = watch_of(leaf, now)
    if watch.surplus is None:
        watch.surplus = [app for app in leaf.apps if app.containers and keeps_share(app, app.usage.less(app.marked))]
    return watch.surplus


def keeps_share(app: App, left: Amounts) -> bool:
    """True iff that is its fair share or more."""
    return not is_below(app.queue.spec.policy, left, app.fair_share, app.queue.cluster.total)


def times(unmet: Amounts, ask: Ask, policy: Policy) -> int:
    """How many such containers what is lacking is enough for; under fair and fifo only memory counts."""
    if policy is not Policy.DRF and ask.shape.memory:
        return unmet.memory // ask.shape.memory
    shape = ask.shape
    parts = [(unmet.memory, shape.memory), (unmet.vcores, shape.vcores), (unmet.gpus, shape.gpus)]
    if shape.others:
        parts += [(unmet.other(name), amount) for name, amount in shape.others.items()]
    return min([lacking // amount for lacking, amount in parts if amount], default=0)


def _look(leaf: Queue, watch: Watch, now: float) -> None:
    watch.due_at, watch.starving = math.inf, []
    fair_timeout_s = leaf.inherited("fair_share_preemption_timeout_s", math.inf)
    min_timeout_s = leaf.inherited("min_share_preemption_timeout_s", math.inf)
    if math.isinf(fair_timeout_s) and math.isinf(min_timeout_s):
        return
    found: dict[App, tuple[Amounts, Starvation]] = {}
    lacking = _lacking_minimum(leaf, watch, now, min_timeout_s)
    leaf.bring_up_to_date()
    waiting = [member for member in leaf.waiting_members() if isinstance(member, App)]
    threshold = leaf.inherited("fair_share_preemption_threshold", 0.5)
    shares: dict[Resources, Amounts] = {}
    for app in waiting:
        app.nothing_to_preempt = False
        due = app.fair_share
        if due not in shares:
            shares[due] = Amounts.of(Resources.of({name: int(part * threshold) for name, part in due.items()}))
        wanted = shares[due].smallest(app.demand)
        below = _is_below(leaf, app.usage, wanted)
        app.fair_since = since = _since(app.fair_since, watch, now, below)
        if below and _is_late(watch, now, since, fair_timeout_s):
            unmet = wanted.less(app.usage)
            if not unmet.empty:
                found[app] = unmet, Starvation.FAIR_SHARE
                lacking = lacking.less(unmet)
    if not lacking.empty:
        for app in waiting:
            # What the minimum share lacks beyond that goes to those that wait, as far as they ask for it.
            pending = app.demand.less(app.usage).less(found[app][0] if app in found else Amounts())
            more = pending.smallest(lacking)
            if not more.empty:
                lacking = lacking.less(more)
                unmet, why = found.get(app, (Amounts(), Starvation.MIN_SHARE))
                unmet.add(more)
                found[app] = unmet, why
    for app, (unmet, why) in found.items():
        for hold in app.holds:
            unmet = unmet.less(hold.ask.shape)
        began_at = leaf.min_since if why is Starvation.MIN_SHARE else app.fair_since
        if any(times(unmet, ask, leaf.spec.policy) > 0 for ask in app.asks):
            watch.starving.append(Starving(app, unmet, why, now if began_at is None else began_at))


def _lacking_minimum(leaf: Queue, watch: Watch, now: float, timeout_s: float) -> Amounts:
    """What the queue lacks of min(min share, demand), once that has lasted for the timeout."""
    lacking = leaf.min_share.smallest(leaf.demand).less(leaf.usage)
    leaf.min_since = since = _since(leaf.min_since, watch, now, not lacking.empty)
    return lacking if not lacking.empty and _is_late(watch, now, since, timeout_s) else Amounts()


def _since(before: float | None, watch: Watch, now: float, below: bool) -> float:
    """Since when somebody is below a share: since the last round that saw it there, or it is new."""
    if not below:
        return SATISFIED
    if before is None:
        return now
    return watch.looked_at if before == SATISFIED else before


def _is_late(watch: Watch, now: float, since: float, timeout_s: float) -> bool:
    if now - since >= timeout_s:
        return True
    watch.due_at = min(watch.due_at, since + timeout_s - _EARLY_S)
    return False


def _is_below(leaf: Queue, usage: Amounts, wanted: Amounts) -> bool:
    """`hrm.core.ordering.is_below`, for amounts that are at hand."""
    if leaf.spec.policy is not Policy.DRF:
        return usage.memory < wanted.memory
    total = leaf.cluster.total
    return usage.dominant_share(total) < wanted.dominant_share(total)
