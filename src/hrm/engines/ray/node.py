"""One node as its agent tells of it, put into the words of the engine's listener."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hrm.engines.base import EngineListener
from hrm.engines.ray.cluster import Machine
from hrm.engines.ray.messages import Report, unpack
from hrm.model.containers import ContainerUsage, ExitRecord, NodeUsage, StartRecord
from hrm.model.findings import DoctorReport
from hrm.model.isolation import Isolation
from hrm.model.nodes import DeviceSpec, NodeSpec
from hrm.model.resources import Resources
from hrm.model.units import format_duration

if TYPE_CHECKING:
    from hrm.engines.ray.link import Link

#: A clock that is off by more is told of. What is less is set right in silence.
CLOCK_TOLERANCE_S = 5.0


class RemoteNode:
    """See the module (`hrm.engines.ray.link.LinkListener`).

    ``claim`` gives the node its name, or says why not; ``listener`` is asked for each time, None once the engine is
    closed. ``send_contents`` is told of those of uploads that the node wants: number, user, hashes.
    """

    link: Link

    def __init__(
        self,
        machine: Machine,
        claim: Callable[[RemoteNode], str],
        tell_refused: Callable[[str], None],
        listener: Callable[[], EngineListener | None],
        send_contents: Callable[[RemoteNode, int, str, Sequence[str]], None],
    ) -> None:
        self.machine = machine
        self.node_id = ""
        #: True while the ResourceManager counts on it.
        self.up = False
        #: By how much its clock is ahead of ours.
        self.clock_offset_s = 0.0
        self._claim = claim
        self._tell_refused = tell_refused
        self._listener = listener
        self._send_contents = send_contents
        self._isolation = Isolation()
        self._devices: tuple[DeviceSpec, ...] = ()
        #: What is wrong with its GPUs, and with all else.
        self._gpu_message = ""
        self._message = ""
        self._offers: tuple[str, ...] = ()
        self._attributes: dict[str, str] = {}
        self._offers_message = ""

    def welcomed(self, welcome: dict[str, Any], clock_offset_s: float) -> str:
        self.node_id = welcome["node_id"]
        if refused := self._claim(self):
            return refused
        self._tell_refused("")
        self.clock_offset_s = clock_offset_s
        self._isolation = unpack(welcome["isolation"])
        self._devices, self._gpu_message = unpack(welcome["gpus"])
        self._offers, self._offers_message = welcome["offers"]
        self._attributes = welcome["attributes"]
        self._message = "; ".join(filter(None, (welcome["message"], _about_clock(clock_offset_s))))
        return ""

    def refused(self, reason: str) -> None:
        self._tell_refused(reason)

    def silent(self, reason: str) -> None:
        if self.up:
            self.up = False
            if listener := self._listener():
                listener.node_lost(self.node_id, reason)

    def left(self) -> None:
        """Ray says that the machine is no more in the cluster."""
        self.link.lose("it left the cluster")

    def reported(self, report: Report) -> None:
        if self._listener() is not None:
            getattr(self, f"_{report.what}")(*report.arguments)

    # What an agent reports, by `Report.what`

    def _registered(self, running: Sequence[StartRecord], finished: Sequence[ExitRecord]) -> None:
        self.up = True
        self._heard().node_registered(
            self._spec, self._on_our_clock(running), self._on_our_clock(finished), self._isolation
        )
        if message := self._whole_message:
            self._heard().node_changed(self._spec, message, {})

    def _lost(self, reason: str) -> None:
        self.up = False
        self._heard().node_lost(self.node_id, reason)

    def _heartbeat(self, usage: NodeUsage, containers: Sequence[ContainerUsage]) -> None:
        ours = [
            replace(one, saved_at=one.saved_at - self.clock_offset_s) if one.saved_at is not None else one
            for one in containers
        ]
        self._heard().heartbeat(self.node_id, usage, ours if self.clock_offset_s else containers)

    def _started(self, started: Sequence[StartRecord]) -> None:
        self._heard().containers_started(self.node_id, self._on_our_clock(started))

    def _finished(self, finished: Sequence[ExitRecord]) -> None:
        self._heard().containers_finished(self.node_id, self._on_our_clock(finished))

    def _gpus_changed(self, devices: tuple[DeviceSpec, ...], message: str, lost: Mapping[str, str]) -> None:
        self._devices, self._gpu_message = devices, message
        self._heard().node_changed(self._spec, self._whole_message, lost)

    def _wanted(self, number: int, user: str, digests: Sequence[str]) -> None:
        self._send_contents(self, number, user, digests)

    def _offers_changed(self, offers: tuple[str, ...], message: str) -> None:
        self._offers, self._offers_message = offers, message
        self._heard().node_changed(self._spec, self._whole_message, {})

    def _examined(self, report: DoctorReport) -> None:
        self._heard().node_examined(self.node_id, report)

    def _heard(self) -> EngineListener:
        listener = self._listener()
        assert listener is not None, "asked before each report"
        return listener

    @property
    def _spec(self) -> NodeSpec:
        machine = self.machine
        total = Resources(memory_mib=machine.memory_mib, vcores_milli=int(machine.cpus * 1000))
        spec = NodeSpec(node_id=self.node_id, total=total, host=machine.address, offers=self._offers)
        return spec.with_devices(self._devices).with_attributes(self._attributes)

    @property
    def _whole_message(self) -> str:
        return "; ".join(filter(None, (self._gpu_message, self._offers_message, self._message)))

    def _on_our_clock(self, records: Sequence[Any]) -> list[Any]:
        offset_s = self.clock_offset_s
        if not offset_s:
            return [*records]
        moved = []
        for record in records:
            times = {
                name: at - offset_s
                for name in ("started_at", "ended_at")
                if (at := getattr(record, name, None)) is not None
            }
            moved.append(replace(record, **times))
        return moved


def _about_clock(offset_s: float) -> str:
    if abs(offset_s) <= CLOCK_TOLERANCE_S:
        return ""
    way = "ahead" if offset_s > 0 else "behind"
    return f"its clock is {format_duration(abs(offset_s))} {way}: times that it tells are set right; let NTP set it"
