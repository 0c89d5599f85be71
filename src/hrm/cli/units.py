"""The units by which systemd runs HRM: the server, the shepherd with its containers, and their slice.

Containers must outlive the server. A unit's processes end with it (KillMode=control-group), so the shepherd is no child
of the server here but a unit of its own, in a slice of its own, whose cgroup is delegated to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SERVER = "hrm.service"
SHEPHERD = "hrm-shepherd.service"
#: Of a machine that has joined the cluster of another's server.
NODE = "hrm-node.service"
SLICE = "hrm.slice"
#: First line of each file: by it our own files are told from others'.
MARK = "# Made by `hrm service install`; run it again after an update. Changes belong into `systemctl edit`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What the units say: which program, whose, and for which home."""

    #: The Python that HRM is installed in.
    python: Path
    #: The folder of the shepherd's program.
    shepherd: Path
    home: Path
    #: None iff the units are a user's own (``systemctl --user``).
    user: str | None
    config: Path | None = None
    #: Arguments of `hrm join`, where this machine is a node of another's server; () where it has a server of its own.
    join: tuple[str, ...] = ()

    @property
    def main(self) -> str:
        """The unit that is started."""
        return NODE if self.join else SERVER

    def units(self) -> dict[str, str]:
        """The text of each unit, by its file name."""
        main = {NODE: self._node()} if self.join else {SERVER: self._server()}
        return {SLICE: self._slice(), SHEPHERD: self._shepherd(), **main}

    def _slice(self) -> str:
        return f"""\
{MARK}
[Unit]
Description=Containers of HRM
Documentation=man:systemd.resource-control(5)
Before=slices.target
"""

    def _shepherd(self) -> str:
        node_dir = self.home / "node"
        command = command_line(self.python, "-I", "-S", self.shepherd, node_dir, "--foreground", "--idle-s=inf")
        return f"""\
{MARK}
[Unit]
Description=HRM shepherd and containers ({_text(self.home)})
# To stop it is to stop its containers: they are sent TERM with it, and after a while KILL. It writes down how they end.
[Service]
Type=notify
{self._as_user()}ExecStart={command}
Slice={SLICE}
Delegate=yes
# One container that runs out of memory is not the end of the others.
OOMPolicy=continue
TasksMax=infinity
LimitNOFILE=524288
Restart=on-failure
RestartSec=1
TimeoutStopSec=35
"""

    def _server(self) -> str:
        options: list[str | Path] = [] if self.config is None else ["--config", self.config]
        command = command_line(
            self.python, "-P", "-m", "hrm.server", "--home", self.home, "--external-shepherd", *options
        )
        return f"""\
{MARK}
[Unit]
Description=HRM server ({_text(self.home)})
# Wants, not Requires: the server bears a shepherd that is started anew, and no restart of the one reaches the other.
Wants={SHEPHERD}
After={SHEPHERD}{"" if self.user is None else " network.target"}
# On Ray it ends with Ray's head (exit status 75), and is to be there again whenever that is back.
StartLimitIntervalSec=0
[Service]
Type=notify
{self._as_user()}ExecStart={command}
UMask=0077
NoNewPrivileges=yes
# Ray's head, where the server has started one, goes on without it as containers do.
KillMode=process
Restart=on-failure
RestartSec=2
# 2: the configuration is wrong or the home is taken, and a further try would find it so.
RestartPreventExitStatus=2
TimeoutStartSec=120
TimeoutStopSec=60
[Install]
WantedBy={"default.target" if self.user is None else "multi-user.target"}
"""

    def _node(self) -> str:
        command = command_line(
            *(self.python, "-P", "-m", "hrm.cli"),
            *("--home", self.home),
            *("join", *self.join),
            *("--token-file", self.home / "ray" / "token"),
            *("--foreground", "--external-shepherd"),
        )
        return f"""\
{MARK}
[Unit]
Description=HRM node ({_text(self.home)})
# Wants, not Requires: containers outlive Ray's processes here.
Wants={SHEPHERD} network-online.target
After={SHEPHERD} network-online.target
# The head may be away for long.
StartLimitIntervalSec=0
[Service]
Type=notify
{self._as_user()}ExecStart={command}
UMask=0077
# TERM to the one that ends Ray's processes in order; what does not end is killed.
KillMode=mixed
# 0 is `hrm leave`.
Restart=on-failure
RestartSec=5
# 2: an option is wrong; 4: the token is. A further try would find it so.
RestartPreventExitStatus=2 4
TimeoutStartSec=180
TimeoutStopSec=60
[Install]
WantedBy={"default.target" if self.user is None else "multi-user.target"}
"""

    def _as_user(self) -> str:
        return "" if self.user in (None, "root") else f"User={self.user}\n"


def command_line(*words: str | Path) -> str:
    """For ``ExecStart=``: every word quoted as systemd wants it, nothing expanded (see systemd.service(5))."""
    return " ".join(_word(str(word)) for word in words)


def _word(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    if escaped == word and not any(char.isspace() or char in "';" for char in word):
        return word
    return '"' + escaped.replace("\n", "\\n").replace("\t", "\\t") + '"'


def _text(path: Path) -> str:
    """For a description: one line, no specifiers."""
    return str(path).replace("%", "%%").replace("\n", " ")
