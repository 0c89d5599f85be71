"""What YARN's front door is given: its section of the configuration, complete and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hrm.config.addresses import is_loopback
from hrm.model.auxiliary import AuxiliaryService
from hrm.model.resources import Resources

DEFAULT_LEAST = Resources(memory_mib=128, vcores_milli=1000)
#: Profiles that are there wherever there are any, as what requests are raised to and what they may not exceed.
DERIVED_PROFILES = ("minimum", "maximum")


@dataclass(frozen=True, slots=True, kw_only=True)
class YarnConfig:
    """Where clients, masters and browsers of YARN come in, and what they may ask for."""

    enabled: bool = False
    host: str = "127.0.0.1"
    #: 0 iff any free one. YARN's own numbers, so that clients need no word about them.
    client_port: int = 8032
    master_port: int = 8030
    web_port: int = 8088
    #: Of the NodeManagers' door.
    node_port: int = 8041
    #: Of the NodeManagers' pages.
    node_web_port: int = 8042
    #: Requests are raised to the least, then to a multiple of the increment (yarn.scheduler.…-allocation-mb).
    minimum: Resources = DEFAULT_LEAST
    increment: Resources = DEFAULT_LEAST
    #: More is refused; None iff only nodes and queues limit it.
    maximum: Resources | None = None
    #: Amounts by names of their own, by which clients may ask; none iff profiles are switched off.
    resource_profiles: Mapping[str, Resources] = field(default_factory=dict)
    #: How often a master is started at most, and if its submission does not say how often (yarn.resourcemanager.am.
    #: max-attempts).
    max_attempts: int = 2
    #: Where containers find Hadoop's classes, for programs that bring none; "" iff nowhere.
    classpath: str = ""
    #: Programs that every node runs beside containers, for those that ask for them (yarn.nodemanager.aux-services).
    auxiliary_services: tuple[AuxiliaryService, ...] = ()
    #: Who may come in from where nothing proves who it is, and from which addresses.
    users: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    @property
    def node_services(self) -> tuple[AuxiliaryService, ...]:
        """Those that nodes are to run: none while the door is shut."""
        return self.auxiliary_services if self.enabled else ()

    @property
    def is_open_to_others(self) -> bool:
        """True iff other machines reach it."""
        return not is_loopback(self.host)
