"""Tags that containers bear on a node, or in a rack, counted by application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hrm.model.tag_placements import Namespace, OfApplication, OfTagged, Whose

if TYPE_CHECKING:
    from hrm.core.applications import App, Container


class Tags:
    """How many containers bear which tag, by application."""

    __slots__ = ("_by_tag",)

    def __init__(self) -> None:
        self._by_tag: dict[str, dict[App, int]] = {}

    def add(self, container: Container, by: int) -> None:
        """``by`` is 1 where it comes and -1 where it goes."""
        for tag in container.tags:
            by_app = self._by_tag.setdefault(tag, {})
            app = container.app.owner
            count = by_app.get(app, 0) + by
            if count:
                by_app[app] = count
            else:
                del by_app[app]
                if not by_app:
                    del self._by_tag[tag]

    def count(self, tag: str, whose: Namespace, app: App) -> int:
        """As an ask of ``app`` means ``whose``."""
        by_app = self._by_tag.get(tag)
        if by_app is None:
            return 0
        app = app.owner
        if whose is Whose.SELF:
            return by_app.get(app, 0)
        return sum(count for owner, count in by_app.items() if counts(whose, owner, app))

    def as_dict(self) -> dict[str, dict[App, int]]:
        """For checks."""
        return {tag: dict(by_app) for tag, by_app in self._by_tag.items()}


def counts(whose: Namespace, owner: App, app: App) -> bool:
    """True iff containers of ``owner`` count for an ask of ``app``."""
    match whose:
        case Whose.SELF:
            return owner is app
        case Whose.OTHERS:
            return owner is not app
        case Whose.ALL:
            return True
        case OfApplication(application_id):
            return owner.application_id == application_id
        case OfTagged(tag):
            return tag in owner.tags
