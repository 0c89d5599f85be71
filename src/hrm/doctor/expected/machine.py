"""What is expected of the machine itself: network, clock, disks, memory, kernel log."""

from __future__ import annotations

from dataclasses import dataclass

from hrm.doctor.expected.about import about


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineExpected:
    """The section `doctor.machine` of ``hrm.yaml``."""

    memory_mib: int | None = about("Memory that every node is to have; a module that is missing is found.", None)
    cpus: int | None = about("CPUs that every node is to have online.", None)
    networks: tuple[str, ...] = about(
        "Networks of the cluster, for example 172.19.0.0/24: an address in one of them has to have its netmask.", ()
    )
    gateway: str | None = about("Gateway of the default route; none: nodes are to have none.", None)
    link_speed_mbit: int | None = about("Mbit/s that links of nodes are to have at least.", None)
    names: tuple[str, ...] = about("Host names that every node has to be able to look up.", ())
