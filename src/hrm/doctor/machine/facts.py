"""What nodes of one cluster have alike, of the machine itself."""

from __future__ import annotations

import re

from hrm.doctor.addresses import name_servers, own_addresses, routes
from hrm.doctor.checks import fact
from hrm.doctor.system import System


@fact("machine.os")
def distribution(system: System) -> str | None:
    """As it calls itself: ``Debian GNU/Linux 12 (bookworm)``."""
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', system.read("/etc/os-release") or "", re.MULTILINE)
    return found[1] if found else None


@fact("machine.kernel")
def kernel(system: System) -> str | None:
    """Its version: ``4.15.0-122-generic``."""
    return (system.read("/proc/sys/kernel/osrelease") or "").strip() or None


@fact("net.gateway")
def gateway(system: System) -> str | None:
    """Of the default route."""
    found = (route.gateway for route in routes(system) if route.to.prefixlen == 0)
    return next((str(one) for one in found if one is not None), None)


@fact("net.network")
def network(system: System) -> str | None:
    """That of the interface with the default route, with its netmask."""
    default = next((route.interface for route in routes(system) if route.to.prefixlen == 0), None)
    found = (one.at.network for one in own_addresses(system) if one.interface == default and one.at.version == 4)
    return next((str(one) for one in found), None)


@fact("net.name-servers")
def servers(system: System) -> str | None:
    """In their order."""
    return ", ".join(str(address) for address, _ in name_servers(system)) or None


@fact("clock.time-zone")
def time_zone(system: System) -> str | None:
    """``Asia/Shanghai``."""
    target = system.link("/etc/localtime") or ""
    return target.partition("zoneinfo/")[2] or (system.read("/etc/timezone") or "").strip() or None
