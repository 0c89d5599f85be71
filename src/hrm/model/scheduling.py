"""How the scheduler as a whole goes about its work: what is no matter of one queue."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hrm.model.resources import Resources

#: YARN's default: twice its increments of memory and vcores.
RESERVATION_THRESHOLD = Resources(2048, 2000)


class Victims(StrEnum):
    """Where containers end for the starved."""

    FIRST_NODE = "first_node"  #: on the first node where that is enough, as YARN
    LEAST_WORK_LOST = "least_work_lost"  #: where they have run least since their start or last checkpoint


class Strategy(StrEnum):
    """Strategies that choose the node for a container (`hrm.core.strategies`)."""

    PACK = "pack"  #: the fullest node
    SPREAD = "spread"  #: the one with fewest containers
    BEST_FIT = "best_fit"  #: where least would be left
    DOT_PRODUCT = "dot_product"  #: where what is free is least like what is asked for
    FGD = "fgd"  #: where GPUs become least fragmented for the tasks that are usual
    LOOKAHEAD = "lookahead"  #: the same, looking at all that a node could still take
    RANDOM = "random"  #: any


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerOptions:
    """How visits are made."""

    #: More than one container may be placed in one visit.
    assign_multiple: bool = True
    #: Stop once more than half is assigned of what was free at the start of the visit: spreads work over nodes.
    dynamic_max_assign: bool = False
    #: Most containers placed in one visit; None iff unlimited. Only without ``dynamic_max_assign``.
    max_assign: int | None = None
    #: How many opportunities, as a part of the number of nodes, an ask lets pass before it leaves its nodes for their
    #: racks, and then the racks. A negative one of the two: nothing waits for its place.
    node_locality_threshold: float = -1.0
    rack_locality_threshold: float = -1.0
    #: Count time instead of opportunities, by the following two, which may be negative alike.
    continuous_scheduling: bool = False
    node_locality_delay_s: float = -1.0
    rack_locality_delay_s: float = -1.0
    #: Part of the nodes that one application may reserve for requests that do not fit yet (YARN: 0.05); 0 for none.
    #: Off here, because a reserved node takes nothing else: on one node all would wait for a single request.
    reservable_nodes: float = 0.0
    #: Only a request of at least this much reserves: of memory, under drf of what is dominant.
    reservation_threshold: Resources = RESERVATION_THRESHOLD

    #: How long a gang below its share may keep nodes from others while it waits for the rest of them; 0 for never.
    gang_gather_timeout_s: float = 600.0

    #: False: nobody's containers end for others, whatever timeouts the queues have.
    preemption: bool = True
    #: Nobody is warned unless of some resource a larger part of the cluster than this is used (0 to 1; YARN's
    #: cluster-utilization-threshold): below it there is room, and a visit will find it.
    preemption_utilization_threshold: float = 0.8
    #: Between the warning and the end of a container that is to end for others (YARN's waitTimeBeforeKill).
    wait_before_kill_s: float = 15.0
    victims: Victims = Victims.FIRST_NODE

    #: Who chooses the node for a container: one of `Strategy`, or the name of one's own; None iff nobody does, and
    #: what fits on the node that is visited is placed there.
    placement_strategy: str | None = None

    @property
    def assigns_all(self) -> bool:
        """True iff a visit places whatever it can: it need not count."""
        return self.assign_multiple and not self.dynamic_max_assign and self.max_assign is None

    @property
    def delays(self) -> bool:
        """True iff asks wait for places they would like."""
        if self.continuous_scheduling:
            return self.node_locality_delay_s >= 0 and self.rack_locality_delay_s >= 0
        return self.node_locality_threshold >= 0 and self.rack_locality_threshold >= 0
