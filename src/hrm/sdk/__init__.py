"""What programs use: `hrm.Client` to submit and look, `ApplicationMaster` to master an application of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["ApplicationMaster"]

if TYPE_CHECKING:
    from hrm.sdk.application_master import ApplicationMaster


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562): the command line comes through here for the client alone.
    if name == "ApplicationMaster":
        from hrm.sdk.application_master import ApplicationMaster

        return ApplicationMaster
    raise AttributeError(f"module 'hrm.sdk' has no attribute {name!r}")
