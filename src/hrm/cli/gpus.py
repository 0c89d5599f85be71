"""`hrm nodes gpus`: every GPU, how it does, and who is on it."""

from __future__ import annotations

from dataclasses import dataclass

from hrm.cli.output import Column, Output, OutputOption, show_list
from hrm.model.devices import DeviceProcess
from hrm.model.reports import DeviceReport, NodeReport
from hrm.model.units import format_milli, short_memory


@dataclass(frozen=True, slots=True)
class GpuRow:
    """One line: a device with its node's name."""

    node_id: str
    device: DeviceReport


def gpus(output: OutputOption = Output.TABLE) -> None:
    """List GPUs: how each does and who is on it.

    Those that the node does not lend are listed, too. FOREIGN are processes that are not HRM's, with what they hold
    of the GPU's memory.

    \b
    Examples:
      hrm nodes gpus
      hrm nodes gpus -o json | jq '.[] | select(.device.state != "lent")'
    """
    from hrm.cli.connect import client

    with client() as server:
        rows = [GpuRow(report.node_id, device) for report in server.nodes() for device in report.devices]
    show_list(rows, _COLUMNS, output)


def show_models(report: NodeReport) -> str:
    """``GeForce RTX 2080 Ti``, ``virtual``: what a node's GPUs are, each model once."""
    models = {"virtual" if device.virtual else device.model for device in report.devices if device.state == "lent"}
    return ", ".join(sorted(models))


def _model(device: DeviceReport) -> str:
    return "virtual" if device.virtual else device.model or "-"


def _memory(device: DeviceReport) -> str:
    if not device.memory_mib:
        return "-"
    used = "?" if device.memory_used_mib is None else short_memory(device.memory_used_mib)
    return f"{used}/{short_memory(device.memory_mib)}"


def _foreign(device: DeviceReport) -> str:
    return ", ".join(_process(process) for process in device.processes if process.container_id is None) or "-"


def _process(process: DeviceProcess) -> str:
    """``python 4321 of ada in docker 534917b1443a: 1.2G``."""
    words = f"{process.name} {process.pid}".strip()
    words += f" of {process.user}" if process.user else ""
    words += f" in {process.within}" if process.within else ""
    return words if process.memory_mib is None else f"{words}: {short_memory(process.memory_mib)}"


_COLUMNS = (
    Column("NODE", lambda r: r.node_id, shrinks=True),
    Column("GPU", lambda r: str(r.device.index), right=True),
    Column("MODEL", lambda r: _model(r.device), shrinks=True),
    Column("STATE", lambda r: r.device.state),
    Column("FREE", lambda r: format_milli(r.device.free_milli), right=True),
    Column("MEMORY", lambda r: _memory(r.device), right=True),
    Column("BUSY", lambda r: _or_dash(r.device.utilisation_percent, "%"), right=True),
    Column("TEMP", lambda r: _or_dash(r.device.temperature_c, " °C"), right=True),
    Column("ID", lambda r: r.device.device_id, shrinks=True),
    Column("FOREIGN", lambda r: _foreign(r.device), shrinks=True),
    Column("MESSAGE", lambda r: r.device.message, shrinks=True),
)


def _or_dash(figure: int | None, unit: str) -> str:
    return "-" if figure is None else f"{figure}{unit}"
