"""Configuration: ``hrm.yaml``, job files, and the home directory.

What is heavy (PyYAML, pydantic) is imported when a file is read, not with this package: the command line imports it.
"""

from __future__ import annotations

from pathlib import Path

from hrm.config.values import HrmConfig, NodeConfig, SchedulerConfig, ServerConfig

__all__ = ["HrmConfig", "NodeConfig", "SchedulerConfig", "ServerConfig", "load_config"]


def load_config(path: Path | None = None) -> HrmConfig:
    """See `hrm.config.loader.load_config`."""
    from hrm.config import loader

    return loader.load_config(path)
