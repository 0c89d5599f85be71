"""What is mounted on a machine, and what is to be mounted when it starts: fstab, systemd's mount units, rc.local."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hrm.doctor.evidence import line_of
from hrm.doctor.system import System
from hrm.doctor.units import DIRECTORIES, is_enabled
from hrm.model.findings import Evidence
from hrm.model.mounts import Mount, is_network_kind, parse_mounts, unescaped

MOUNTINFO = "/proc/self/mountinfo"
FSTAB = "/etc/fstab"
RC_LOCAL = "/etc/rc.local"
#: Places where a filesystem is that no disk and no server has.
_VIRTUAL = ("/proc", "/sys", "/dev", "/run")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMount:
    """A mount that some file of the machine asks for."""

    source: str
    #: "" where the file does not say (it is left to fstab).
    point: str
    #: ``nfs``, ``ext4``, ``auto`` …
    kind: str
    options: tuple[str, ...]
    #: The very line, or the file.
    evidence: Evidence
    #: Whether it is mounted when the machine starts; for mount units: they are enabled.
    at_boot: bool = True
    #: Whether systemd mounts it when it is first looked at.
    on_demand: bool = False

    @property
    def nfs(self) -> bool:
        """Whether it is NFS of any version."""
        return self.kind in ("nfs", "nfs4") or (self.kind in ("", "auto") and split_nfs(self.source) is not None)

    @property
    def network(self) -> bool:
        """Whether its files live on another machine."""
        return self.nfs or is_network_kind(self.kind)


def mounts(system: System) -> list[Mount]:
    """All that is mounted, in the order in which it was; none where the system does not say. Raises CannotSee."""
    return parse_mounts(system.read(MOUNTINFO) or "")


def topmost(found: Sequence[Mount]) -> dict[str, Mount]:
    """By mount point: of several at one point the last hides the others."""
    return {mount.point: mount for mount in found}


def evidence_of(mount: Mount) -> Evidence:
    """The line of a mount."""
    return Evidence(MOUNTINFO, mount.line)


def split_nfs(source: str) -> tuple[str, str] | None:
    """(server, path) of ``server:/path``, also of ``[fe80::1]:/path``; None where it is no such thing."""
    found = re.fullmatch(r"(\[[^\]]+\]|[^/\[\]:\s]+):(/\S*)", source)
    return None if found is None else (found[1].strip("[]"), found[2])


def device_of(system: System, source: str) -> str:
    """The device that ``UUID=…``, ``LABEL=…`` or a link below ``/dev`` means; ``source`` as it is where none is known.

    Raises CannotSee.
    """
    tag, equals, value = source.partition("=")
    places = {"UUID": "by-uuid", "LABEL": "by-label", "PARTUUID": "by-partuuid", "PARTLABEL": "by-partlabel"}
    path = f"/dev/disk/{places[tag]}/" + value.strip('"') if equals and tag in places else source
    if not path.startswith("/dev/"):
        return source
    target = system.link(path)
    if target is None:
        return source
    parts: list[str] = []
    for part in (target if target.startswith("/") else f"{path.rpartition('/')[0]}/{target}").split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def fstab(system: System) -> list[PlannedMount]:
    """Lines of ``/etc/fstab`` but those of swap. Raises CannotSee."""
    found = []
    for number, line in enumerate((system.read(FSTAB) or "").splitlines(), 1):
        fields = line.split()
        if len(fields) < 3 or fields[0].startswith("#") or fields[2] == "swap" or fields[1] in ("none", "swap"):
            continue
        options = tuple(fields[3].split(",")) if len(fields) > 3 else ("defaults",)
        found.append(
            PlannedMount(
                source=unescaped(fields[0]),
                point=_plain(unescaped(fields[1])),
                kind=fields[2],
                options=options,
                evidence=line_of(FSTAB, number, line.strip()),
                at_boot="noauto" not in options,
                on_demand="x-systemd.automount" in options,
            )
        )
    return found


def mount_units(system: System) -> list[PlannedMount]:
    """Those that somebody wrote (``/etc/systemd/system/*.mount``). Raises CannotSee."""
    found = []
    for name in system.list(DIRECTORIES[0]):
        path = f"{DIRECTORIES[0]}/{name}"
        if not name.endswith(".mount") or not (text := system.read(path)):
            continue
        said = dict(_assignments(text))
        on_demand = is_enabled(system, name.removesuffix(".mount") + ".automount")
        found.append(
            PlannedMount(
                source=said.get("What", ""),
                point=_plain(said.get("Where", "")),
                kind=said.get("Type", "auto"),
                options=tuple(said.get("Options", "defaults").split(",")),
                evidence=_unit_evidence(path, text),
                at_boot=on_demand or is_enabled(system, name),
                on_demand=on_demand,
            )
        )
    return found


def rc_local_mounts(system: System) -> list[PlannedMount]:
    """Commands ``mount`` of ``/etc/rc.local``. Raises CannotSee."""
    found = []
    for number, line in enumerate((system.read(RC_LOCAL) or "").splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        # A shell may have more of them on one line; the first is what people write.
        if words and words[0].rpartition("/")[2].lower() == "mount" and len(words) > 1:
            found.append(_from_command(words, line_of(RC_LOCAL, number, line.strip())))
    return found


def planned(system: System) -> list[PlannedMount]:
    """All of these. Raises CannotSee."""
    return [*fstab(system), *mount_units(system), *rc_local_mounts(system)]


def unit_name(point: str) -> str:
    """What the mount unit of a mount point must be called (``systemd-escape --path``): ``data-set\\x2d1.mount``."""
    inside = _plain(point).strip("/")
    if not inside:
        return "-.mount"
    escaped = "".join(_escaped(char, first=index == 0) for index, char in enumerate(inside))
    return f"{escaped}.mount"


def is_real(mount: Mount) -> bool:
    """Whether a disk or a server has its files; not so of ``proc``, ``tmpfs`` and their like, nor of images."""
    if any(mount.point == place or mount.point.startswith(f"{place}/") for place in _VIRTUAL):
        return False
    return mount.network or (mount.source.startswith("/dev/") and mount.kind not in ("squashfs", "iso9660", "erofs"))


def _from_command(words: Sequence[str], evidence: Evidence) -> PlannedMount:
    kind, options, rest = "auto", "", []
    waiting = iter(words[1:])
    for word in waiting:
        if word in ("-t", "--types"):
            kind = next(waiting, "")
        elif word in ("-o", "--options"):
            options = next(waiting, "")
        elif word.startswith("-t") and len(word) > 2:
            kind = word[2:]
        elif word.startswith("-o") and len(word) > 2:
            options = word[2:]
        elif word in ("&", "&&", "||", ";", "|"):
            break
        elif not word.startswith("-"):
            rest.append(word)
    return PlannedMount(
        source=rest[0] if rest else "",
        point=_plain(rest[1]) if len(rest) > 1 else "",
        kind=kind,
        options=tuple(options.split(",")) if options else ("defaults",),
        evidence=evidence,
    )


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith(("#", ";")):
            yield key.strip(), value.strip()


def _unit_evidence(path: str, text: str) -> Evidence:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip().startswith("What"):
            return line_of(path, number, line.strip())
    return line_of(path, 1, text.splitlines()[0])


def _escaped(char: str, *, first: bool) -> str:
    if char == "/":
        return "-"
    if (char.isascii() and char.isalnum()) or char in ":_" or (char == "." and not first):
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode(errors="surrogateescape"))


def _plain(path: str) -> str:
    """Without slashes that say nothing."""
    return re.sub(r"/+", "/", path).rstrip("/") or ("/" if path.startswith("/") else "")
