"""What the doctor finds on nodes, and what follows: sick nodes are drained, sick GPUs are taken out, both come back."""

from __future__ import annotations

from collections.abc import Sequence

from hrm.core.events import NodeResourceUpdate
from hrm.doctor.expected.rounds import Rounds
from hrm.model.findings import DoctorReport, Finding, Severity
from hrm.model.nodes import DeviceSpec, NodeSpec
from hrm.rm.draining import Drains
from hrm.rm.manager import ResourceManager
from hrm.rm.nodes import Drain, LiveNode
from hrm.rm.patients import Decision, Patients
from hrm.rm.turn import Turn

#: Who drains, as `hrm nodes` and the event log say it.
DOCTOR = "doctor"


class Health:
    """Hears each round of each node, in a turn.

    Which GPUs are out is kept here, for a node that comes back is another `LiveNode`.
    """

    def __init__(self, manager: ResourceManager, drains: Drains, rounds: Rounds | None = None) -> None:
        self._manager = manager
        self.drains = drains
        self._patients = Patients(rounds or Rounds())
        #: By node, GPUs that are out, each with a sentence for those who wait for it.
        self._out: dict[str, dict[str, str]] = {}
        drains.on_undrained = self._patients.overrule

    def lent(self, spec: NodeSpec) -> NodeSpec:
        """What a node says that it lends, without what is out."""
        out = self._out.get(spec.node_id, {})
        return spec.with_devices(tuple(one for one in spec.devices if one.device_id not in out)) if out else spec

    def greet(self, node: LiveNode) -> None:
        """A node has registered: what is known of it holds on."""
        node.out = self._out.get(node.spec.node_id, {})
        if node.drain is not None and node.drain.by == DOCTOR:
            self._patients.adopt(node.spec.node_id)

    def examined(self, turn: Turn, node_id: str, report: DoctorReport) -> None:
        """One round of a node. Findings that are new, and those that are gone, are events."""
        node = self._manager.nodes.get(node_id)
        if node is None:
            return
        before = {finding.subject: finding for finding in node.findings}
        now = {finding.subject: finding for finding in report.findings}
        node.findings, node.examined_at = report.findings, turn.now
        for subject, finding in now.items():
            if subject not in before and finding.severity is not Severity.INFO:
                self._tell(turn, "fault_found", node_id, finding)
        for subject, finding in before.items():
            if subject not in now and finding.severity is not Severity.INFO:
                self._tell(turn, "fault_gone", node_id, finding)
        nodes = self._manager.nodes
        devices = sum(len(one.whole.devices) for one in nodes)
        sick = _sick(report.findings, node.whole.devices)
        for decision in self._patients.hear(node_id, sick, nodes=len(nodes), devices=devices):
            if decision.place.device_id is None:
                self._drain(turn, node, decision)
            else:
                self._take_out(turn, node, decision.place.device_id, decision)

    def _drain(self, turn: Turn, node: LiveNode, decision: Decision) -> None:
        if decision.out:
            # What an operator has drained is his.
            if node.drain is None:
                self.drains.begin(turn, node, Drain(at=turn.now, by=DOCTOR, reason=_reason(decision.findings)))
        elif node.drain is not None and node.drain.by == DOCTOR:
            self.drains.end(turn, node, by=DOCTOR)

    def _take_out(self, turn: Turn, node: LiveNode, device_id: str, decision: Decision) -> None:
        node_id, manager = node.spec.node_id, self._manager
        out = self._out.setdefault(node_id, {})
        if decision.out:
            out[device_id] = _reason(decision.findings)
        else:
            out.pop(device_id, None)
        node.out = out
        node.spec = self.lent(node.whole)
        turn.touch(node)
        what = "gpu_out" if decision.out else "gpu_back"
        manager.record(turn, what, node_id=node_id, device_id=device_id, reason=out.get(device_id, ""))
        manager.tell(turn, NodeResourceUpdate(node.spec))
        if any(finding.severity is Severity.CRITICAL for finding in decision.findings):
            manager.containers.lose_devices(turn, node_id, {device_id: out[device_id]})
        manager.places_changed()
        manager.pacer.room(node_id)

    def _tell(self, turn: Turn, what: str, node_id: str, finding: Finding) -> None:
        self._manager.record(
            turn,
            what,
            node_id=node_id,
            code=finding.code,
            severity=str(finding.severity),
            gpu=finding.gpu or "",
            title=finding.title.en,
        )


def _sick(findings: Sequence[Finding], devices: Sequence[DeviceSpec]) -> dict[str | None, list[Finding]]:
    """What puts the node (None), or a device of it, out of work."""
    sick: dict[str | None, list[Finding]] = {}
    for finding in findings:
        if finding.gpu is None:
            if finding.severity is Severity.CRITICAL:
                sick.setdefault(None, []).append(finding)
        elif finding.severity.rank >= Severity.ERROR.rank and (device := _device(finding.gpu, devices)):
            sick.setdefault(device.device_id, []).append(finding)
    return sick


def _device(named: str, devices: Sequence[DeviceSpec]) -> DeviceSpec | None:
    """By its id, its index, or its address on the PCI bus; None where the node lends no such device."""
    # The kernel writes domains of the bus with four digits, NVML with eight.
    address = named.upper().lstrip("0")
    for one in devices:
        by_address = ":" in address and one.pci_bus_id.upper().lstrip("0") == address
        if by_address or named in (one.device_id, str(one.index)):
            return one
    return None


def _reason(findings: Sequence[Finding]) -> str:
    worst = max(findings, key=lambda finding: finding.severity.rank)
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return f"{worst.code}: {worst.title.en}{more}"
