"""What a machine that joins says of itself to the agents that Ray will start on it.

Ray's workers inherit the environment of their raylet, which is the one way that needs no further file or port.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hrm.model.errors import InvalidInput
from hrm.model.ids import parse_node_id

VARIABLE = "HRM_RAY_MEMBER"
#: What is usual stands in the node's directory itself.
USUAL_NAMESPACE = "hrm"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberOptions:
    """One machine."""

    node_id: str
    state_dir: str
    gpu_devices: tuple[int | str, ...] | None = None
    virtual_gpus: int = 0
    #: A service manager starts the shepherd of ``state_dir``, where that outlives Ray's processes: it is waited for.
    external_shepherd: bool = False

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] = os.environ) -> MemberOptions:
        """What `hrm join` left there; of a machine that joined without it, its host name and ``~/.hrm``."""
        home = environ.get("HRM_HOME") or os.path.expanduser("~/.hrm")
        options = cls(node_id=_host_name(), state_dir=str(Path(home) / "node"))
        if text := environ.get(VARIABLE):
            fields = json.loads(text)
            if (devices := fields.get("gpu_devices")) is not None:
                fields["gpu_devices"] = tuple(devices)
            options = replace(options, **fields)
        return options

    def as_environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}

    def state_dir_of(self, namespace: str) -> Path:
        """Two servers that share a machine have two NodeManagers, and so two directories."""
        usual = namespace == USUAL_NAMESPACE
        return Path(self.state_dir if usual else f"{self.state_dir}-{namespace}")


def _host_name() -> str:
    name = socket.gethostname()
    try:
        return parse_node_id(name)
    except InvalidInput:
        return "localhost"
