"""`hrm nodes reboot --plan`: in which order nodes are restarted, with the exact commands. It restarts nothing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hrm.cli.output import Output, clean, note, show
from hrm.model.errors import InvalidInput
from hrm.model.reports import NodeReport

if TYPE_CHECKING:
    from hrm.doctor.expected.storage import StorageExpected

#: A machine that has been up for less has restarted since the plan began with it.
_FRESH_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class RebootStep:
    """One command of the plan."""

    #: ``drain``, ``restart slaves``, ``restart masters``, ``undrain``.
    phase: str
    about: str
    command: str


def masters_of(node_ids: Sequence[str], storage: StorageExpected) -> list[str]:
    """Those that others hang without: they hold a disk of the array, or export or serve a directory over NFS."""
    named = {disk.node for disk in storage.iscsi} | {export.node for export in storage.exports}
    named |= {mount.source.partition(":/")[0] for mount in storage.mounts if mount.source and ":/" in mount.source}
    short = {name if _is_address(name) else name.partition(".")[0] for name in named}
    return [node for node in node_ids if node in named or node.partition(".")[0] in short]


def plan_reboot(
    nodes: Sequence[NodeReport], chosen: Sequence[str], storage: StorageExpected, here: str
) -> list[RebootStep]:
    """Drain, restart slaves, then masters, the server's own machine (``here``) last of all, and undrain.

    A master whose NFS goes first leaves its slaves hanging at their mounts, where they do not even shut down. What was
    drained before stays drained. Raises InvalidInput for a node that there is not.
    """
    known = [node.node_id for node in nodes]
    for name in chosen:
        if name not in known:
            raise InvalidInput(f"no node {name!r}", next_step=f"there are: {', '.join(known)}")
    wanted = [name for name in known if not chosen or name in chosen]
    masters = [name for name in masters_of(known, storage) if name in wanted]
    own = here.partition(".")[0]
    last = [name for name in wanted if name.partition(".")[0] == own]
    slaves = [name for name in wanted if name not in masters and name not in last]
    # Masters are used by all, also by those that are not restarted: nothing may run while they are away.
    to_drain = known if masters else wanted
    to_drain = [node.node_id for node in nodes if node.node_id in to_drain and node.drained_at is None]
    steps = _drain(to_drain)
    for name in slaves:
        steps += _restart("restart slaves", name)
    for name in [*(name for name in masters if name not in last), *last]:
        phase = "restart masters" if name in masters else "restart the server"
        steps += _restart(phase, name, server=name in last)
        if any(export.node.partition(".")[0] == name.partition(".")[0] for export in storage.exports):
            steps.append(
                RebootStep(
                    phase=phase,
                    about="wait until it exports again",
                    command=f"until timeout 5 showmount -e {shlex.quote(name)}; do sleep 5; done",
                )
            )
    if masters:
        for name in known:
            if name not in masters:
                command = f"ssh {shlex.quote(name)} hrm doctor --only nfs,disk"
                steps.append(RebootStep(phase="undrain", about="see that its mounts answer", command=command))
    if to_drain:
        command = shlex.join(["hrm", "nodes", "undrain", *to_drain])
        steps.append(RebootStep(phase="undrain", about="place containers there again", command=command))
    return steps


def show_plan(chosen: Sequence[str], *, plan: bool, output: Output) -> None:
    """Print it. Raises InvalidInput without ``plan``."""
    import os

    from hrm.cli.connect import client, home_directory
    from hrm.config.loader import load_config

    if not plan:
        raise InvalidInput("nodes are not restarted from here", next_step="hrm nodes reboot --plan prints the commands")
    file = home_directory().config_file
    storage = load_config(file if file.exists() else None).doctor.storage
    with client() as server:
        steps = plan_reboot(server.nodes(), chosen, storage, os.uname().nodename)
    if output is not Output.TABLE:
        show(steps, output)
        return
    if not (storage.iscsi or storage.exports or storage.mounts):
        note(
            "hrm.yaml names no node under doctor.storage that serves NFS or holds a disk of the array: all are slaves."
        )
    phase = ""
    for number, step in enumerate(steps, 1):
        if step.phase != phase:
            phase = step.phase
            print(f"# {phase}")
        print(clean(f"{step.command}   # {number}. {step.about}"))


def _drain(nodes: Sequence[str]) -> list[RebootStep]:
    if not nodes:
        return []
    drain = shlex.join(["hrm", "nodes", "drain", *nodes, "--reason", "restart"])
    names = "|".join(nodes)
    count = f'[.[] | select(.node_id | test("^({names})$")) | .containers] | add'
    wait = f'until [ "$(hrm nodes -o json | jq {shlex.quote(count)})" = 0 ]; do sleep 10; done'
    return [
        RebootStep(phase="drain", about="place nothing new there", command=drain),
        RebootStep(phase="drain", about="wait until nothing runs there", command=wait),
    ]


def _restart(phase: str, node: str, *, server: bool = False) -> list[RebootStep]:
    name = shlex.quote(node)
    if server:
        return [
            RebootStep(phase=phase, about="end the server; it runs on this machine", command="hrm down"),
            RebootStep(phase=phase, about=f"restart {node}, this machine", command="systemctl reboot"),
            RebootStep(phase=phase, about="when it is back, unless a service starts it", command="hrm up --detach"),
        ]
    fresh = f'test "$(cut -d. -f1 /proc/uptime)" -lt {_FRESH_S}'
    return [
        RebootStep(phase=phase, about=f"restart {node}", command=f"ssh {name} systemctl reboot"),
        RebootStep(
            phase=phase,
            about="wait until it is back",
            command=f"until ssh -o ConnectTimeout=5 {name} {shlex.quote(fresh)}; do sleep 10; done",
        ),
    ]


def _is_address(name: str) -> bool:
    return name.replace(".", "").isdigit() or ":" in name
