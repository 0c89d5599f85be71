"""Tags that containers bear on a node, and whether a node meets a constraint on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hrm.model.tag_placements import AllOf, AnyOf, TagConstraint, TagCount, TagPlacement, Whose

if TYPE_CHECKING:
    from hrm.core.applications import App, Container


class TagsOfNode:
    """How many containers bear which tag, by application."""

    __slots__ = ("_by_tag",)

    def __init__(self) -> None:
        self._by_tag: dict[str, dict[App, int]] = {}

    def add(self, container: Container, by: int) -> None:
        """``by`` is 1 where it comes and -1 where it goes."""
        for tag in container.tags:
            by_app = self._by_tag.setdefault(tag, {})
            count = by_app.get(container.app, 0) + by
            if count:
                by_app[container.app] = count
            else:
                del by_app[container.app]
                if not by_app:
                    del self._by_tag[tag]

    def count(self, tag: str, whose: Whose, app: App) -> int:
        by_app = self._by_tag.get(tag)
        if by_app is None:
            return 0
        if whose is Whose.SELF:
            return by_app.get(app, 0)
        everybody = sum(by_app.values())
        return everybody if whose is Whose.ALL else everybody - by_app.get(app, 0)

    def as_dict(self) -> dict[str, dict[App, int]]:
        """For checks."""
        return {tag: dict(by_app) for tag, by_app in self._by_tag.items()}

    def meets(self, placement: TagPlacement, app: App) -> bool:
        """True iff another container of ``app`` may come here (PlacementConstraintsUtil.canSatisfyConstraints)."""
        return placement.constraint is None or self._meets(placement.constraint, placement, app)

    def _meets(self, constraint: TagConstraint, placement: TagPlacement, app: App) -> bool:
        match constraint:
            case AllOf(parts):
                return all(self._meets(part, placement, app) for part in parts)
            case AnyOf(parts):
                return any(self._meets(part, placement, app) for part in parts)
            case TagCount(tags=tags, whose=whose, least=least, most=most):
                counts = [self.count(tag, whose, app) for tag in tags]
                if most is not None and max(counts) >= max(most, 1):
                    return False
                return min(counts) >= least or _is_the_first(constraint, placement, app)


def _is_the_first(constraint: TagCount, placement: TagPlacement, app: App) -> bool:
    """True iff it is to lie beside its like, of which there is none yet: somebody has to begin."""
    tags = set(constraint.tags)
    if constraint.whose is Whose.OTHERS or not tags <= placement.tags:
        return False
    return not any(tags & container.tags for container in app.containers.values())
