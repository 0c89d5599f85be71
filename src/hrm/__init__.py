"""HRM, a heterogeneous resource manager: it shares machines with CPUs and GPUs fairly.

``hrm.Client`` is the door for programs; everything else is reached through it or through the ``hrm`` command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]

if TYPE_CHECKING:
    from hrm.sdk.client import Client


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562), so that the shepherd and `hrm --help` do not pay for the HTTP client.
    if name == "Client":
        from hrm.sdk.client import Client

        return Client
    raise AttributeError(f"module 'hrm' has no attribute {name!r}")
