"""Services of systemd: whether one is installed, starts by itself, and runs.

What files say is there also for a machine that does not run (`installed`, `enabled`, `masked`); what runs is asked of
``systemctl show``, which never waits for a service.
"""

from __future__ import annotations

from dataclasses import dataclass

from hrm.doctor.system import CannotSee, Output, System
from hrm.model.findings import Evidence

#: Where unit files lie; the first that has one counts.
DIRECTORIES = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_OWN = "/etc/systemd/system"
_PROPERTIES = "LoadState,ActiveState,SubState,UnitFileState,Result,ExecMainStatus,NRestarts,NeedDaemonReload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One service as it is now. Words are systemd's own."""

    #: With its ending: ``docker.service``.
    name: str
    #: Whether it has a unit file.
    installed: bool
    #: Whether it starts with the machine.
    enabled: bool
    #: Whether it is forbidden to start at all.
    masked: bool
    #: ``active``, ``inactive``, ``failed``, ``activating``…; "" where systemd does not run, or knows no such unit.
    active: str = ""
    #: ``running``, ``dead``, ``auto-restart``…
    sub: str = ""
    #: How it ended last: ``success``, ``exit-code``, ``signal``, ``oom-kill``, ``start-limit-hit``…
    result: str = ""
    #: Exit status of its main process, or the number of the signal that ended it.
    exit_status: int = 0
    restarts: int = 0
    #: Whether files of it were changed since systemd read them.
    needs_reload: bool = False

    @property
    def runs(self) -> bool:
        """Whether it does its work."""
        return self.active in ("active", "reloading", "refreshing")

    @property
    def fails(self) -> bool:
        """Whether it has failed, or fails and is started again and again."""
        return self.active == "failed" or (self.active == "activating" and self.sub == "auto-restart")

    @property
    def stopped(self) -> bool:
        """Whether systemd runs and it does not. Not so while it starts."""
        return self.fails or self.active in ("inactive", "deactivating")

    @property
    def evidence(self) -> Evidence:
        """What systemd says of it."""
        said = f"ActiveState={self.active} SubState={self.sub} Result={self.result} ExecMainStatus={self.exit_status}"
        return Evidence(f"systemctl show {self.name}", said)


def systemd_runs(system: System) -> bool:
    """Whether this machine was started by systemd: in most containers it was not."""
    return system.stat("/run/systemd/system") is not None


def unit_file(system: System, name: str) -> str | None:
    """Where the file of a unit lies; None where it is not installed. Raises CannotSee."""
    full = _full(name)
    for directory in DIRECTORIES:
        path = f"{directory}/{full}"
        if system.link(path) is not None or system.stat(path) is not None:
            return path
    return None


def drop_ins(system: System, name: str) -> list[str]:
    """Files that change a unit (``docker.service.d/*.conf``), in the order in which they count. Raises CannotSee."""
    found: dict[str, str] = {}
    for directory in reversed(DIRECTORIES):
        place = f"{directory}/{_full(name)}.d"
        found.update({file: f"{place}/{file}" for file in system.list(place) if file.endswith(".conf")})
    return [found[file] for file in sorted(found)]


def is_enabled(system: System, name: str) -> bool:
    """Whether it starts with the machine, by the links that ``systemctl enable`` makes. Raises CannotSee."""
    full = _full(name)
    return any(
        system.link(f"{_OWN}/{target}/{full}") is not None
        for target in system.list(_OWN)
        if target.endswith((".wants", ".requires"))
    )


def unit(system: System, name: str) -> Unit:
    """All of it. Raises CannotSee where systemd runs and does not answer."""
    full = _full(name)
    path = unit_file(system, full)
    known = Unit(
        name=full,
        installed=path is not None,
        enabled=path is not None and is_enabled(system, full),
        masked=path is not None and system.link(path) == "/dev/null",
    )
    if path is None or not systemd_runs(system):
        return known
    output = system.run(*show_command(full))
    if output.timed_out or not output.ok:
        raise CannotSee(f"{full}: systemctl says {_reason(output)}")
    said = dict(line.split("=", 1) for line in output.lines if "=" in line)
    loaded = said.get("LoadState", "loaded") == "loaded"
    return Unit(
        name=full,
        installed=True,
        enabled=known.enabled or said.get("UnitFileState") in ("enabled", "enabled-runtime", "generated"),
        masked=known.masked or said.get("LoadState") == "masked",
        active=said.get("ActiveState", "") if loaded else "",
        sub=said.get("SubState", ""),
        result=said.get("Result", ""),
        exit_status=_number(said.get("ExecMainStatus", "")),
        restarts=_number(said.get("NRestarts", "")),
        needs_reload=said.get("NeedDaemonReload") == "yes",
    )


def show_command(name: str) -> tuple[str, ...]:
    """How systemd is asked, for whoever records what a machine says."""
    return ("systemctl", "show", f"--property={_PROPERTIES}", "--", _full(name))


def _full(name: str) -> str:
    return name if "." in name else f"{name}.service"


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _reason(output: Output) -> str:
    return "nothing in time" if output.timed_out else (output.text.strip() or f"exit status {output.status}")
