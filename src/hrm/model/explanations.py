"""Why an application waits, runs where it runs, or ended: what `hrm explain`, the API and the page show.

From the key reason down: one sentence, the funnel of conditions over all nodes, each node. Fields are only ever
added. Times are epoch seconds where named ``_at``; amounts are exact integers by name of resource.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hrm.model.phrases import Phrase

Amounts = dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One step of the funnel: what a node must be or have for the request."""

    #: From 1.
    number: int
    code: str
    #: ``has 2 GPUs free``.
    text: str
    #: Nodes of which it is true, and those of which all up to here is true.
    passing: int
    remaining: int
    #: ``text`` for other languages, here and below; None iff an older server said it.
    said: Phrase | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeVerdict:
    """One node against the request."""

    node_id: str
    rack: str
    #: ``fits``, or the code of the first condition's reason that it does not meet.
    verdict: str
    free: Amounts
    total: Amounts
    #: Of the devices that may serve the request.
    device_free_milli: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReason:
    """Containers of one kind that an application waits for, and why."""

    asked: Amounts
    gpu_model: str | None
    #: Containers.
    pending: int
    priority: int
    #: Nodes and racks named; [] iff anywhere.
    places: list[str]
    reason: str
    message: str
    #: The master's own number of the request.
    allocation_request_id: int = 0
    said: Phrase | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuUse:
    """Devices of one model in the cluster, in thousandths."""

    model: str
    total_milli: int
    used_milli: int
    free_milli: int
    #: Of the free ones, those on nodes that take nothing new or are kept or reserved for somebody.
    unavailable_milli: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStanding:
    """The queue against its shares, in the resource of which it uses the largest part of the cluster."""

    queue: str
    policy: str
    resource: str
    used: int
    fair_share: int
    #: The lowest max share of the queue and those above it; None iff unlimited.
    max_share: int | None
    #: Among those of the queue that wait, in its order, from 1; 0 iff it does not wait.
    position: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """Somebody who comes first: an application of the same queue, or a queue beside its own."""

    #: ``application`` or ``queue``.
    kind: str
    name: str
    #: "" for a queue.
    user: str
    #: The queue within which it comes first.
    within: str
    policy: str
    weight: float
    used: Amounts
    #: What it still asks for.
    asks: Amounts
    containers: int
    pending: int
    #: When its last container is expected to end; None iff not known, or more is to come.
    ends_at: float | None


class EndBasis(StrEnum):
    """What an expected end is known from."""

    TIME_LIMIT = "time_limit"  #: at the latest
    PROGRESS = "progress"  #: it says how far it is
    EARLIER_TASKS = "earlier_tasks"  #: others of its kind took so long
    KILL = "kill"  #: it was told to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """When there is room, or a limit lets it run. Others who come first may take it."""

    #: None iff nothing says.
    at: float | None
    in_s: float | None
    node_id: str | None
    #: Applications of which something has to end before.
    waits_for: list[str]
    basis: list[EndBasis]
    #: In words, also that it is not known and why.
    text: str
    said: Phrase | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What would change it."""

    kind: str
    text: str
    #: True iff a dry run has found that it would start at once.
    starts_now: bool
    #: One line to copy; "" where there is none.
    command: str = ""
    #: What one container would ask for instead, and the queue; None iff the same.
    asked: Amounts | None = None
    queue: str | None = None
    said: Phrase | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Why a container that runs was given, and why it is where it is."""

    container_id: str
    node_id: str
    device_ids: list[str]
    #: Since when it is granted.
    granted_at: float
    #: order, reservation, preemption or recovery.
    way: str
    #: node, rack or anywhere; None iff no place was asked for.
    locality: str | None
    text: str
    #: For whom it is to end, and when it is killed at the latest.
    ends_for: str | None = None
    kill_at: float | None = None
    said: Phrase | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preempted:
    """One of its containers was told to end for somebody, or was ended."""

    at: float
    container_id: str
    node_id: str
    text: str
    beneficiary: str | None
    said: Phrase | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonSpan:
    """For how long it waited for what."""

    reason: str
    text: str
    since: float
    #: None iff until now.
    until: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The first attempt of a task that did not succeed."""

    task_index: int
    attempt: int
    node_id: str
    container_id: str
    at: float | None
    exit_code: int | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How an application that is over ended."""

    state: str
    started_at: float | None
    ended_at: float | None
    exit_code: int | None
    #: Attempts of tasks by exit code; ``none`` for those that have none.
    exit_codes: dict[str, int]
    #: True iff there were more attempts than were counted.
    more: bool
    first_failure: Failure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why an application waits, runs or ended: one dominant reason, and the evidence behind it."""

    application_id: str
    #: Stable code, see `hrm.core.reasons`; of one that is over its state: finished, failed or killed.
    reason: str
    #: One plain sentence with its numbers.
    message: str
    #: Facts behind the sentence as `hrm.model.evidence` has them, worst first.
    evidence: list[dict[str, Any]]
    #: What would change it, in words; empty where nothing but time would.
    remedies: list[str] = field(default_factory=list)
    #: The same with what is known of each.
    changes: list[Change] = field(default_factory=list)
    #: When this was worked out; None iff nobody said what time it is.
    at: float | None = None
    #: The state of the application; "" iff only the scheduler was asked.
    state: str = ""
    queue: QueueStanding | None = None
    #: All that it waits for; the first is what the reason is about.
    requests: list[RequestReason] = field(default_factory=list)
    #: Further kinds of requests, which were not looked at.
    requests_left_out: int = 0
    conditions: list[Condition] = field(default_factory=list)
    gpus: list[GpuUse] = field(default_factory=list)
    ahead: list[Ahead] = field(default_factory=list)
    forecast: Forecast | None = None
    #: Only if asked for: node by node, those that fit first.
    nodes: list[NodeVerdict] = field(default_factory=list)
    #: Of what runs, the newest.
    running: list[Decision] = field(default_factory=list)
    preempted: list[Preempted] = field(default_factory=list)
    #: Since it was submitted, or as far as that is kept.
    history: list[ReasonSpan] = field(default_factory=list)
    ended: Ended | None = None
    #: The sentence of ``message``.
    said: Phrase | None = None
