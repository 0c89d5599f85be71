"""What every container finds in its environment."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping

from hrm.model.containers import LaunchSpec
from hrm.model.units import format_milli
from hrm.nm.shepherd import records

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def base_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the node gives to all: who and where one is, and nothing of the server's own settings or secrets."""
    account = pwd.getpwuid(os.getuid())
    env = {
        "PATH": environ.get("PATH") or _DEFAULT_PATH,
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "LOGNAME": account.pw_name,
        "SHELL": account.pw_shell or "/bin/sh",
        "LANG": environ.get("LANG") or "C.UTF-8",
        # CUDA by itself numbers the fastest first; nvidia-smi, and so people, by the bus.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
    if "TZ" in environ:
        env["TZ"] = environ["TZ"]
    return env


def container_environment(
    base: Mapping[str, str], spec: LaunchSpec, *, node_id: str, work_dir: str, visible_devices: str = ""
) -> dict[str, str]:
    """The base, then what the spec says, then what HRM alone may say.

    ``visible_devices`` is for CUDA_VISIBLE_DEVICES.
    """
    return {
        **base,
        **spec.env,
        "HRM_NODE_ID": node_id,
        "HRM_APPLICATION_ID": spec.application_id,
        "HRM_CONTAINER_ID": spec.container_id,
        "HRM_CONTAINER_DIR": work_dir,
        "HRM_PROGRESS_FILE": f"{work_dir}/{records.PROGRESS}",
        "HRM_PREEMPTION_FILE": f"{work_dir}/{records.PREEMPTION}",
        "HRM_CHECKPOINT_FILE": f"{work_dir}/{records.CHECKPOINT}",
        # Set and empty where no device was granted: a program that finds the variable unset takes every GPU.
        "CUDA_VISIBLE_DEVICES": visible_devices,
        # The shepherd says which, where it has some for it alone.
        "HRM_CPUS": "",
        "HRM_GPUS": _granted(spec),
        "HRM_GPUS_ON_NODE": str(len(spec.device_ids)),
    }


def _granted(spec: LaunchSpec) -> str:
    """``GPU-20fb…:0.5``: each device with how much of it, a comma between them; "" for none."""
    if not spec.device_ids:
        return ""
    share = format_milli(spec.resources.gpus_milli // len(spec.device_ids))
    return ",".join(f"{device_id}:{share}" for device_id in spec.device_ids)
