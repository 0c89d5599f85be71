"""How queues are declared. A queue's path is written without the root (``research.vision``); the root is ``root``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hrm.model.access import EVERYBODY, NOBODY, AccessList
from hrm.model.errors import InvalidInput
from hrm.model.inventory import EVERY_LABEL, check_label
from hrm.model.resources import BUILT_IN, ZERO, Resources

ROOT = "root"
DEFAULT_QUEUE = "default"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,127}")
MAX_DEPTH = 16


class Policy(StrEnum):
    """How a queue orders its children (YARN's SchedulingPolicy)."""

    FIFO = "fifo"  #: by priority, then submission time
    FAIR = "fair"  #: max-min fair in memory
    DRF = "drf"  #: dominant resource fairness


class QueueType(StrEnum):
    """What a queue is for, where that is not plain from its children."""

    LEAF = "leaf"  #: applications
    PARENT = "parent"  #: queues, though it may have none yet


class Order(StrEnum):
    """What a fair or drf queue compares of children that have their minimum."""

    RATIO = "ratio"  #: usage over weight, least first, as YARN
    DEFICIT = "deficit"  #: fair share minus usage, largest first


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareOfCluster:
    """A share as a part of whatever the cluster has (YARN's percentages): 1.0 is all of it."""

    #: Of resources that are not named below.
    default: float
    #: (name of a resource, part).
    parts: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        for name, part in (("default", self.default), *self.parts):
            if not (math.isfinite(part) and 0 <= part <= 1):
                raise InvalidInput(f"must be between 0 and 1: {part}", field=name)

    def of(self, total: Resources) -> Resources:
        """The same in amounts, truncated to whole units."""
        parts = dict(self.parts)
        return Resources.of({name: int(amount * parts.get(name, self.default)) for name, amount in total.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSpec:
    """One queue as declared, with its children."""

    #: Last component of the path.
    name: str
    weight: float = 1.0
    min_share: Resources = ZERO
    #: None iff unlimited.
    max_share: Resources | None = None
    #: Instead of ``min_share`` or ``max_share``.
    min_share_of_cluster: ShareOfCluster | None = None
    max_share_of_cluster: ShareOfCluster | None = None
    #: Applications that may run at once in this queue and below; None iff unlimited.
    max_running_apps: int | None = None
    #: The same for those of one user; on the root it is YARN's userMaxAppsDefault.
    max_running_apps_per_user: int | None = None
    #: (user, limit) instead of the above.
    max_running_apps_of_users: tuple[tuple[str, int], ...] = ()
    #: Part of a leaf's fair share that masters in containers may use together; None iff unlimited (YARN's -1).
    max_am_share: float | None = 0.5
    #: How long its applications bear less than threshold × fair share, or it less than its minimum share, before
    #: containers of others end for them. None of any of these: as the queue above; at the top never, 0.5 and 0 s.
    fair_share_preemption_timeout_s: float | None = None
    fair_share_preemption_threshold: float | None = None
    min_share_preemption_timeout_s: float | None = None
    #: How long a container runs at least before it may be asked to end for others.
    min_run_before_preemption_s: float | None = None
    #: False iff nothing here and below ends for others.
    preemptable: bool = True
    #: Of queues below that nobody declared (YARN's maxChildResources); None of both: as QueueDefaults says.
    max_child_share: Resources | None = None
    max_child_share_of_cluster: ShareOfCluster | None = None
    #: No request may be larger than this; None iff as the queue above, at the top not limited.
    max_container: Resources | None = None
    #: Node labels that requests here may name ("*": all), and that of requests that name none ("": none).
    #: None of either: as the queue above; at the top all, and none.
    accessible_node_labels: tuple[str, ...] | None = None
    default_node_label: str | None = None
    #: Who may submit here and below, and who may also end, move and change what is here and below. None: nobody besides
    #: those that a queue above names; see `access_to`.
    submit_acl: AccessList | None = None
    admin_acl: AccessList | None = None
    policy: Policy = Policy.FAIR
    order: Order = Order.RATIO
    #: None iff plain from the children.
    type: QueueType | None = None
    #: True iff it is in no file: a rule made it for an application, and it goes with the last one.
    undeclared: bool = False
    children: tuple[QueueSpec, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(
                f"not a queue name: {self.name!r:.80}", field="name", next_step="use letters, digits, '_' and '-'"
            )
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise InvalidInput(f"must be zero or more: {self.weight}", field="weight")
        if self.max_running_apps is not None and self.max_running_apps < 0:
            raise InvalidInput(f"must be zero or more: {self.max_running_apps}", field="max_running_apps")
        for field, share in (
            ("min_share", self.min_share),
            ("max_share", self.max_share),
            ("max_child_share", self.max_child_share),
            ("max_container", self.max_container),
        ):
            if share is not None and (below := ZERO.exceeding(share)):
                raise InvalidInput(f"cannot be negative: {', '.join(below)}", field=field)
        for label in self.accessible_node_labels or ():
            if label != EVERY_LABEL:
                check_label(label, "accessible_node_labels")
        if self.default_node_label:
            check_label(self.default_node_label, "default_node_label")
        for user, most in (("", self.max_running_apps_per_user), *self.max_running_apps_of_users):
            if most is not None and most < 0:
                field = f"max_running_apps_of_users.{user}" if user else "max_running_apps_per_user"
                raise InvalidInput(f"must be zero or more: {most}", field=field)
        if self.max_am_share is not None and not 0 <= self.max_am_share <= 1:
            raise InvalidInput(f"must be between 0 and 1: {self.max_am_share}", field="max_am_share")
        threshold = self.fair_share_preemption_threshold
        if threshold is not None and not 0 <= threshold <= 1:
            raise InvalidInput(f"must be between 0 and 1: {threshold}", field="fair_share_preemption_threshold")
        for field, after_s in (
            ("fair_share_preemption_timeout_s", self.fair_share_preemption_timeout_s),
            ("min_share_preemption_timeout_s", self.min_share_preemption_timeout_s),
            ("min_run_before_preemption_s", self.min_run_before_preemption_s),
        ):
            if after_s is not None and not after_s >= 0:
                raise InvalidInput(f"must be zero or more: {after_s}", field=field)
        if self.min_share and self.min_share_of_cluster:
            raise InvalidInput("given as amounts and as a part of the cluster", field="min_share")
        if self.max_share is not None and self.max_share_of_cluster:
            raise InvalidInput("given as amounts and as a part of the cluster", field="max_share")
        if self.max_child_share is not None and self.max_child_share_of_cluster:
            raise InvalidInput("given as amounts and as a part of the cluster", field="max_child_share")
        maximum = self.max_share_of_cluster or self.max_share
        if maximum is not None and (over := above(self.min_share_of_cluster or self.min_share, maximum)):
            raise InvalidInput(f"above max_share in {', '.join(over)}", field="min_share")
        if self.children and self.type is QueueType.LEAF:
            raise InvalidInput("a leaf has no queues below it", field="type", next_step="leave `type` out")
        if self.is_parent and self.policy is Policy.FIFO:
            # As YARN: FIFO orders applications, it says nothing about queues (SchedulingPolicy.isChildPolicyAllowed).
            raise InvalidInput("fifo orders applications; a queue with children is fair or drf", field="policy")
        if self.policy is Policy.FIFO and self.order is not Order.RATIO:
            raise InvalidInput("fifo has an order of its own", field="order")
        if self.depth > MAX_DEPTH:
            raise InvalidInput(f"more than {MAX_DEPTH} levels of queues", field="queues")
        seen: set[str] = set()
        for child in self.children:
            if child.name == ROOT:
                raise InvalidInput(f"only the whole tree is called {ROOT}", field="name", next_step="rename it")
            if child.name in seen:
                raise InvalidInput(f"declared twice: {child.name}", field="queues")
            if self.policy is Policy.FAIR and child.policy is Policy.DRF:
                raise InvalidInput(
                    f"{child.name} is drf, which is not allowed below a fair queue",
                    field="policy",
                    next_step="make the parent drf",
                )
            seen.add(child.name)

    @property
    def is_parent(self) -> bool:
        """True iff it is for queues, not for applications."""
        return bool(self.children) or self.type is QueueType.PARENT

    @property
    def depth(self) -> int:
        """Levels of queues from this one down, itself included."""
        return 1 + max((child.depth for child in self.children), default=0)

    def walk(self, path: str = "") -> Iterator[tuple[str, QueueSpec]]:
        """This queue and all below it as (path, spec), parents first, children as declared."""
        here = path or self.name
        yield here, self
        for child in self.children:
            yield from child.walk(child.name if here == ROOT else f"{here}.{child.name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDefaults:
    """What holds for queues that do not say it themselves, undeclared ones too; not for the root."""

    max_running_apps: int | None = None
    max_share: Resources | None = None
    max_share_of_cluster: ShareOfCluster | None = None
    max_am_share: float | None = 0.5
    #: Not fifo: it is no policy for queues that have queues below (YARN's defaultQueueSchedulingPolicy).
    policy: Policy = Policy.FAIR

    def undeclared(self, name: str, above: QueueSpec, *, children: tuple[QueueSpec, ...] = ()) -> QueueSpec:
        """A queue that nobody declared, directly below ``above``.

        Its maximum is ``above``'s for children, else the default; the policy gives way where it is not allowed there.
        """
        maximum: dict[str, Any] = {
            "max_share": self.max_share,
            "max_share_of_cluster": self.max_share_of_cluster,
        }
        if above.max_child_share is not None or above.max_child_share_of_cluster is not None:
            maximum = {
                "max_share": above.max_child_share,
                "max_share_of_cluster": above.max_child_share_of_cluster,
            }
        return QueueSpec(
            name=name,
            max_running_apps=self.max_running_apps,
            max_am_share=self.max_am_share,
            policy=Policy.FAIR if above.policy is Policy.FAIR else self.policy,
            undeclared=True,
            children=children,
            **maximum,
        )


def access_to(lineage: Iterable[QueueSpec], *, admin: bool) -> AccessList:
    """Who may submit to a queue, or administer it: whom it or a queue above names (YARN's AllocationConfiguration).

    Without a word everybody may submit, and nobody administers: YARN lets everybody do both, but only where its ACLs
    are switched on, which here they always are.
    """
    lists = [spec.admin_acl if admin else spec.submit_acl for spec in lineage]
    root = NOBODY if admin else EVERYBODY
    named = [found for found in (*lists[:-1], lists[-1] if lists[-1] is not None else root) if found is not None]
    return AccessList(
        users=tuple(dict.fromkeys(user for found in named for user in found.users)),
        groups=tuple(dict.fromkeys(group for found in named for group in found.groups)),
        everybody=any(found.everybody for found in named),
    )


def labels_of(lineage: Sequence[QueueSpec]) -> tuple[str, ...]:
    """Node labels that requests may name in a queue, given with those above it, the root last."""
    said = (spec.accessible_node_labels for spec in lineage)
    return next((labels for labels in said if labels is not None), (EVERY_LABEL,))


def may_use(labels: Sequence[str], label: str) -> bool:
    """True iff these allow the label; nodes without one are everybody's."""
    return not label or label in labels or EVERY_LABEL in labels


def default_label_of(lineage: Sequence[QueueSpec]) -> str:
    """The label of requests that name none; one of a queue above counts only where it may be used here."""
    label = next((spec.default_node_label for spec in lineage if spec.default_node_label is not None), "")
    return label if may_use(labels_of(lineage), label) else ""


def above(minimum: Resources | ShareOfCluster, maximum: Resources | ShareOfCluster) -> tuple[str, ...]:
    """Names of the resources of which the minimum is more, where that does not depend on the cluster's size."""
    if isinstance(minimum, Resources) and isinstance(maximum, Resources):
        return minimum.exceeding(maximum)
    if isinstance(minimum, ShareOfCluster) and isinstance(maximum, ShareOfCluster):
        lower, upper = dict(minimum.parts), dict(maximum.parts)
        names = dict.fromkeys((*BUILT_IN, *lower, *upper))
        return tuple(n for n in names if lower.get(n, minimum.default) > upper.get(n, maximum.default))
    return ()


def canonical_path(text: str) -> str:
    """``root.research`` and ``research`` name the same queue; the canonical form has no root."""
    return text.removeprefix(f"{ROOT}.") if text != ROOT else text
