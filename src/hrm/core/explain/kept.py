"""The reason without a dry run: what the last visits left behind, for every line of a list."""

from __future__ import annotations

from hrm.core.applications import App, Ask
from hrm.core.books import Books
from hrm.core.reasons import Reason

#: Asks of one application that are looked at.
MAX_ASKS = 8


def kept_reason(books: Books, app: App) -> Reason:
    """The worst of the codes that the last visits left at the application's asks. Looks at no node but one."""
    if not app.runnable:
        return Reason.USER_MAX_RUNNING_APPS if app.queue.full_of_apps() is None else Reason.QUEUE_MAX_RUNNING_APPS
    if not app.asks:
        return Reason.NOTHING_PENDING
    if not books.nodes:
        return Reason.NO_NODES
    if books.index.empty:
        return Reason.NODES_NOT_SCHEDULABLE
    return max(_kept(books, ask) for ask in app.asks[:MAX_ASKS])


def _kept(books: Books, ask: Ask) -> Reason:
    if ask.app.queue.over_max_with(ask.shape) is not None:
        return Reason.QUEUE_MAX_SHARE
    kept = ask.reason
    if kept is Reason.NOT_YET_SCHEDULED:
        # A full node is passed over before any ask is looked at.
        node = next(iter(books.nodes.values()))
        if not node.fits(ask.shape):
            return node.why_not(ask.shape)
    return kept
