"""Limits of queues that make an ask or an application wait: max share, masters' share, running applications."""

from __future__ import annotations

from hrm.core.applications import App, Ask
from hrm.core.explain.finding import Finding, has_to
from hrm.core.queues import Queue
from hrm.core.reasons import Reason
from hrm.core.visit import is_over_am_share
from hrm.core.wording import MAX_NAMES, say_amount, say_of, say_resources
from hrm.model.errors import InvariantBroken
from hrm.model.evidence import QueueAmShareFact, QueueMaxRunningAppsFact, QueueMaxShareFact, UserMaxRunningAppsFact
from hrm.model.explanations import Change
from hrm.model.phrases import phrase


def at_max_share(ask: Ask) -> Finding | None:
    """The queue, or one above it, would pass its max share."""
    amounts = ask.shape if ask.gang is None else ask.gang.amounts()
    queue = ask.app.queue.over_max_with(amounts)
    if queue is None or queue.max_share is None:
        return None
    asked = amounts.frozen()
    used, limit = queue.usage.frozen(), queue.max_share.frozen()
    alone = asked.exceeding(limit)
    over = alone or (used + asked).exceeding(limit)
    name = over[0]
    wanted = say_amount(name, asked.get(name))
    if alone:
        most = say_amount(name, limit.get(name))
        said = phrase(
            "max_share.alone", asked=wanted, at_once=int(ask.gang is not None), queue=queue.path, max_share=most
        )
    else:
        of = say_of(name, used.get(name), limit.get(name))
        said = phrase("max_share.full", queue=queue.path, used=of, asked=wanted)
    ends = [] if alone else [has_to("end_something", phrase("change.end_in_queue", queue=queue.path))]
    larger = say_resources((used + asked).largest(limit))
    return Finding(
        Reason.QUEUE_MAX_SHARE,
        said,
        [
            QueueMaxShareFact(
                queue=queue.path,
                used=used.as_dict(),
                max_share=limit.as_dict(),
                asked=asked.as_dict(),
                over=list(over),
            )
        ],
        [*ends, has_to("raise_limit", phrase("change.raise_max_share", queue=queue.path, amount=larger))],
    )


def at_am_share(ask: Ask) -> Finding | None:
    """Masters in containers would use more of the queue than they may."""
    queue = ask.app.queue
    limit = queue.max_am_usage()
    if not ask.for_master or limit is None or not is_over_am_share(ask):
        return None
    used, asked = queue.am_usage.frozen(), ask.shape.resources
    name = (used + asked).exceeding(limit)[0]
    return Finding(
        Reason.QUEUE_AM_SHARE,
        phrase(
            "am_share",
            queue=queue.path,
            used=say_amount(name, used.get(name)),
            limit=say_amount(name, limit.get(name)),
            asked=say_amount(name, asked.get(name)),
        ),
        [QueueAmShareFact(queue=queue.path, used=used.as_dict(), limit=limit.as_dict(), asked=asked.as_dict())],
        [
            has_to("end_something", phrase("change.end_application_in_queue", queue=queue.path)),
            _raise("max_am_share", queue),
        ],
    )


def limiting_queue(app: App) -> Queue:
    """The queue whose limit on running applications makes it wait. Only for one that may not run."""
    queue = app.queue.full_of_apps() or app.queue.full_of_apps_of(app.user)
    if queue is None:
        raise InvariantBroken(f"{app.application_id} waits to run, and no limit of a queue says why")
    return queue


def by_user(app: App) -> bool:
    """True iff the limit is that of its user."""
    return app.queue.full_of_apps() is None


def running_beside(app: App) -> list[App]:
    """Those that run under the limit that makes it wait."""
    queue, of_user = limiting_queue(app), by_user(app)
    return [one for leaf in queue.walk() for one in leaf.apps if one.runnable and (not of_user or one.user == app.user)]


def waiting_before(app: App) -> list[App]:
    """Older ones that wait for the same limit."""
    queue, of_user = limiting_queue(app), by_user(app)
    return [
        one
        for leaf in queue.walk()
        for one in leaf.waiting_apps
        if one.age < app.age and (not of_user or one.user == app.user)
    ]


def not_runnable(app: App) -> Finding:
    """As many applications run as may: in a queue, or of its user in one."""
    queue = limiting_queue(app)
    running, older = running_beside(app), waiting_before(app)
    names = [str(one.application_id) for one in running[:MAX_NAMES]]
    waits = phrase("apps.wait_before", count=len(older)) if older else phrase("apps.none_waits_before")
    ends = has_to("end_something", phrase("change.end_of_them", count=len(older) + 1))
    if by_user(app):
        limit = queue.max_running_apps_of(app.user)
        return Finding(
            Reason.USER_MAX_RUNNING_APPS,
            phrase("apps.of_user", user=app.user, count=len(running), queue=queue.path, limit=limit, waits=waits),
            [
                UserMaxRunningAppsFact(
                    user=app.user,
                    queue=queue.path,
                    running=len(running),
                    limit=limit,
                    ahead=len(older),
                    running_applications=names,
                )
            ],
            [ends, _raise("max_running_apps_per_user", queue)],
        )
    limit = queue.spec.max_running_apps
    return Finding(
        Reason.QUEUE_MAX_RUNNING_APPS,
        phrase("apps.of_queue", queue=queue.path, count=len(running), limit=limit, waits=waits),
        [
            QueueMaxRunningAppsFact(
                queue=queue.path,
                running=len(running),
                limit=limit,
                ahead=len(older),
                running_applications=names,
            )
        ],
        [ends, _raise("max_running_apps", queue)],
    )


def _raise(key: str, queue: Queue) -> Change:
    return has_to("raise_limit", phrase("change.raise_limit", key=key, queue=queue.path))
