"""Which nodes and GPUs are out because the doctor found them sick: when they go, and when they come back.

A machine of states without a clock: it counts rounds. What is done about its decisions is `hrm.rm.health`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hrm.doctor.expected.rounds import Rounds
from hrm.model.findings import Finding


@dataclass(frozen=True, slots=True)
class Place:
    """A node, or one GPU of it."""

    node_id: str
    device_id: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """It is out from now on for these findings; or, without any, it is back."""

    place: Place
    findings: tuple[Finding, ...] = ()

    @property
    def out(self) -> bool:
        """False iff it comes back."""
        return bool(self.findings)


@dataclass(slots=True)
class _Patient:
    """A place that is sick, or was until a few rounds ago."""

    findings: tuple[Finding, ...] = ()
    sick_rounds: int = 0
    well_rounds: int = 0
    out: bool = False
    #: Codes that an operator does not care about, until they are gone.
    overruled: set[str] = field(default_factory=set)


class Patients:
    """Goes out after `Rounds.sick` rounds in a row, or in a node's first round, and comes back after `Rounds.well`.

    Never more than `Rounds.max_drained_part` of all nodes, and of all GPUs, are out at once; one always may be.
    """

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds
        self._patients: dict[Place, _Patient] = {}
        #: Nodes that were looked at since the server began.
        self._seen: set[str] = set()

    def hear(
        self, node_id: str, sick: Mapping[str | None, Sequence[Finding]], *, nodes: int, devices: int
    ) -> list[Decision]:
        """One round of a node: what makes it (None), or a device of it, unfit for work.

        ``nodes`` and ``devices``: how many there are of all.
        """
        first = node_id not in self._seen
        self._seen.add(node_id)
        known = [place.device_id for place in self._patients if place.node_id == node_id]
        decisions = []
        for device_id in dict.fromkeys([*known, *sick]):
            place = Place(node_id, device_id)
            total = nodes if device_id is None else devices
            decision = self._round(place, tuple(sick.get(device_id, ())), total, at_once=first)
            if decision is not None:
                decisions.append(decision)
        return decisions

    def adopt(self, node_id: str) -> None:
        """A drain of an earlier server's doctor: it ends when the node is found well."""
        self._patients.setdefault(Place(node_id), _Patient()).out = True

    def overrule(self, node_id: str) -> None:
        """An operator uses the node whatever is found: until that is gone."""
        patient = self._patients.get(Place(node_id))
        if patient is not None:
            patient.overruled = {finding.code for finding in patient.findings}
            patient.out = False

    def is_out(self, place: Place) -> bool:
        """Whether it is out by a decision of ours."""
        patient = self._patients.get(place)
        return patient is not None and patient.out

    def _round(self, place: Place, found: tuple[Finding, ...], total: int, *, at_once: bool) -> Decision | None:
        patient = self._patients.setdefault(place, _Patient())
        patient.overruled &= {finding.code for finding in found}
        found = tuple(finding for finding in found if finding.code not in patient.overruled)
        patient.findings = found
        if found and self._rounds.drain:
            patient.sick_rounds, patient.well_rounds = patient.sick_rounds + 1, 0
            due = at_once or patient.sick_rounds >= self._rounds.sick
            if due and not patient.out and self._may_go(place, total):
                patient.out = True
                return Decision(place, found)
            return None
        patient.sick_rounds, patient.well_rounds = 0, patient.well_rounds + 1
        if patient.out and patient.well_rounds < self._rounds.well and self._rounds.drain:
            return None
        was_out = patient.out
        if not patient.overruled:
            del self._patients[place]
        patient.out = False
        return Decision(place) if was_out else None

    def _may_go(self, place: Place, total: int) -> bool:
        of_nodes = place.device_id is None
        out = sum(one.out and (where.device_id is None) == of_nodes for where, one in self._patients.items())
        return out < max(1, int(total * self._rounds.max_drained_part))
