"""The units by which systemd runs HRM: the server, the shepherd with its containers, and their slice.

Containers must outlive the server. A unit's processes end with it (KillMode=control-group), so the shepherd is no child
of the server here but a unit of its own, in a slice of its own, whose cgroup is delegated to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SERVER = "hrm.service"
SHEPHERD = "hrm-shepherd.service"
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

    def units(self) -> dict[str, str]:
        """The text of each unit, by its file name."""
        return {SLICE: self._slice(), SHEPHERD: self._shepherd(), SERVER: self._server()}

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
[Service]
Type=notify
{self._as_user()}ExecStart={command}
UMask=0077
NoNewPrivileges=yes
Restart=on-failure
RestartSec=1
# 2: the configuration is wrong or the home is taken, and a further try would find it so.
RestartPreventExitStatus=2
TimeoutStartSec=120
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
