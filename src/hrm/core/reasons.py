"""Why something is not placed now. "Not now" is a value, never an error.

The hot path keeps one code where it turns something down; `hrm.core.explain` works the sentence and the evidence out
by a dry run when somebody asks.
"""

from __future__ import annotations

from enum import IntEnum

from hrm.model.phrases import Phrase, say


class Reason(IntEnum):
    """Codes by severity: what passes by itself first, what needs somebody to act last.

    People and programs see the lower-case name (`str`); the numbers are only an order and may change.
    """

    #: Nothing is waiting: all that was asked for runs.
    NOTHING_PENDING = 0
    #: No node has been visited since it was asked for.
    NOT_YET_SCHEDULED = 10
    #: There is room, but others are further below their share (or came first in a fifo queue).
    BEHIND_OTHERS = 20
    #: There is room, but it waits for a place that it would like more.
    WAITS_FOR_LOCALITY = 21
    #: There is room, but on nodes that are reserved for others.
    RESERVED_FOR_OTHERS = 22
    #: Nodes that could hold it have too little free memory now.
    INSUFFICIENT_MEMORY = 30
    #: Nodes that could hold it have too few free vcores now.
    INSUFFICIENT_VCORES = 31
    #: Nodes that could hold it have too few free GPUs now.
    INSUFFICIENT_GPUS = 32
    #: Nodes that could hold it have too little of another resource now.
    INSUFFICIENT_OTHER = 33
    #: Enough GPU is free on the node, but in pieces on several devices.
    GPU_FRAGMENTED = 34
    #: Containers of others were told to end for it.
    WAITS_FOR_PREEMPTION = 35
    #: It has had too little for too long, and no container of others may end for it.
    NOTHING_TO_PREEMPT = 36
    #: Enough would be free, but it is kept for others, for whom it was freed.
    KEPT_FOR_OTHERS = 37
    #: Of a gang, fewer containers fit now than it needs at once.
    INSUFFICIENT_FOR_GANG = 38
    #: There is room, but not with what runs there: its constraint on tags is not met.
    PLACEMENT_CONSTRAINT = 39
    #: The queue, or one above it, would pass its max share.
    QUEUE_MAX_SHARE = 40
    #: The queue, or one above it, has as many running applications as it may.
    QUEUE_MAX_RUNNING_APPS = 41
    #: The user has as many applications running, in the queue or one above it, as allowed.
    USER_MAX_RUNNING_APPS = 42
    #: Masters in containers would use more of the queue's fair share than they may.
    QUEUE_AM_SHARE = 43
    #: The place it insists on is not this node.
    WRONG_PLACE = 50
    #: The nodes are unhealthy or draining.
    NODES_NOT_SCHEDULABLE = 51
    #: The application has blacklisted the nodes.
    BLACKLISTED = 52
    #: The node or rack it insists on is not in the cluster.
    PLACE_NOT_FOUND = 53
    #: No device in the cluster is of the model asked for.
    NO_SUCH_GPU_MODEL = 54
    #: What it needs of a node besides amounts (a shared path) none has now.
    NOT_OFFERED = 55
    #: No node would hold it even if it were empty.
    NEVER_FITS = 56
    #: There are no nodes.
    NO_NODES = 57

    def __str__(self) -> str:
        """The stable code that people and programs see."""
        return self.name.lower()

    @property
    def sentence(self) -> str:
        """In words, without numbers, for lists; an explanation has the numbers."""
        return say(self.said)

    @property
    def said(self) -> Phrase:
        """The same for every language."""
        return _SAID[self]


_SAID = {reason: Phrase(f"reason.{reason}") for reason in Reason}
