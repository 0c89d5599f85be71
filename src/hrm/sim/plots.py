"""Pictures of a simulation: PNG files, or one HTML file that needs nothing else.

Drawn by matplotlib (extra `sim`), which is imported when it is asked for a picture.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm.model.errors import ClusterError, InvalidInput
from hrm.model.queues import canonical_path
from hrm.model.units import format_duration
from hrm.sim.report import SimulationReport, mean_shares
from hrm.sim.simulation import Simulation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Queues that are drawn by themselves, the largest; the others are one.
MAX_QUEUES = 9
MAX_DEVICES = 64
MAX_BARS = 20_000
_SIZE_INCHES = (9.0, 4.0)
_UNITS = ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


def draw(simulation: Simulation) -> dict[str, Figure]:
    """Each picture by its name. Nothing that has no time or no GPUs in it is drawn.

    Raises InvalidInput where matplotlib is not there.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise InvalidInput("pictures need matplotlib", next_step="pip install 'hrm[sim]'") from None
    # Equal runs make equal files.
    matplotlib.rcParams["svg.hashsalt"] = "hrm"
    matplotlib.rcParams["svg.fonttype"] = "none"
    drawn: dict[str, Callable[[Simulation, Any], bool]] = {
        "allocation": _allocation,
        "queues": _queues,
        "waits": _waits,
        "fragmentation": _fragmentation,
        "gpus": _gantt,
    }
    figures = {}
    for name, picture in drawn.items():
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        if picture(simulation, figure.subplots()):
            figures[name] = figure
    return figures


def write_pngs(simulation: Simulation, folder: Path) -> list[Path]:
    """One file for each picture. Raises ClusterError where they cannot be written."""
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in draw(simulation).items():
            file = folder / f"{name}.png"
            figure.savefig(file, dpi=150, metadata={"Software": None})
            written.append(file)
    except OSError as error:
        raise ClusterError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return written


def write_page(simulation: Simulation, report: SimulationReport, file: Path) -> None:
    """All pictures and the figures in one page. Raises ClusterError where it cannot be written."""
    pictures = []
    for name, figure in draw(simulation).items():
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        pictures.append(f'<figure id="{name}">{_within_a_page(stream.getvalue())}</figure>')
    rows = "".join(f"<tr><th>{name}</th><td>{html.escape(fact)}</td></tr>" for name, fact in _facts(report))
    title = html.escape(report.workload)
    partial = "<p>Broken off: what follows is what had happened until then.</p>" if report.partial else ""
    page = (
        f"<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>{title}</title><style>"
        "body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em}th{text-align:left;padding-right:2em}"
        "svg{max-width:100%;height:auto}figure{margin:2em 0}</style></head><body>"
        f"<h1>{title}</h1>{partial}<table>{rows}</table>{''.join(pictures)}</body></html>\n"
    )
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ClusterError(f"{file}: cannot be written: {error.strerror or error}") from error


def _within_a_page(svg: str) -> str:
    """Without its preamble and the addresses that name its vocabularies, which a page of HTML needs none of."""
    return re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg[svg.index("<svg") :])


def _facts(report: SimulationReport) -> list[tuple[str, str]]:
    def time(seconds: float) -> str:
        return "-" if math.isnan(seconds) else format_duration(seconds)

    fairness = report.finish_time_fairness
    return [
        ("nodes", str(report.nodes)),
        ("jobs", f"{report.finished} of {report.jobs} finished, {report.refused} refused"),
        ("containers", f"{report.allocations} granted, {report.preempted} preempted, {report.lost} lost"),
        ("makespan", time(report.makespan_s)),
        ("utilisation", ", ".join(f"{name} {part:.1%}" for name, part in report.utilisation.items())),
        ("wait", f"mean {time(report.wait_s.mean)}, p99 {time(report.wait_s.p99)}"),
        ("completion", f"mean {time(report.completion_s.mean)}, p99 {time(report.completion_s.p99)}"),
        ("finish-time fairness", f"mean {fairness.mean:.2f}, p99 {fairness.p99:.2f}"),
        ("Jain index", f"{report.jain_index:.3f}"),
        ("digest", report.digest),
    ]


def _scale(axes: Any, end_s: float) -> float:
    """Label the axis of time in a unit that suits; returns its seconds."""
    unit_s, name = next(((size, name) for size, name in _UNITS if end_s >= 2 * size), _UNITS[-1])
    axes.set_xlabel(name)
    axes.set_xlim(0, end_s / unit_s)
    return unit_s


def _percent(axes: Any, title: str, label: str) -> None:
    axes.set_title(title)
    axes.set_ylabel(label)
    axes.set_ylim(0, 100)


def _allocation(simulation: Simulation, axes: Any) -> bool:
    recorder = simulation.recorder
    if not recorder.now:
        return False
    unit_s = _scale(axes, recorder.now)
    at = [sample.at / unit_s for sample in recorder.samples]
    total = simulation.workload.total
    for name, amount in (("memory", total.memory_mib), ("vcores", total.vcores_milli), ("gpus", total.gpus_milli)):
        if amount:
            axes.step(at, [getattr(s, name) * 100 for s in recorder.samples], where="post", label=name, linewidth=1.2)
    _percent(axes, "Allocation", "% of the cluster")
    axes.legend(loc="upper right")
    return True


def _queues(simulation: Simulation, axes: Any) -> bool:
    recorder = simulation.recorder
    if not recorder.now:
        return False
    unit_s = _scale(axes, recorder.now)
    largest = _largest(simulation)
    at = [sample.at / unit_s for sample in recorder.samples]
    layers = [[sample.queue_shares[number] * 100 for sample in recorder.samples] for number in largest]
    labels = [recorder.queues[number] for number in largest]
    if len(recorder.queues) > len(largest):
        chosen = set(largest)
        others = [
            sum(share for number, share in enumerate(sample.queue_shares) if number not in chosen) * 100
            for sample in recorder.samples
        ]
        layers, labels = [*layers, others], [*labels, "others"]
    axes.stackplot(at, layers, labels=labels, step="post")
    _percent(axes, "Shares of queues", "dominant share, %")
    axes.set_ylim(0, None)
    axes.legend(loc="upper right", fontsize="small")
    return True


def _largest(simulation: Simulation) -> list[int]:
    """The queues that are drawn by themselves, in the order of their colours in every picture; others share one."""
    means, _ = mean_shares(simulation.recorder.samples, simulation.recorder.now)
    return sorted(range(len(means)), key=lambda number: -means[number])[:MAX_QUEUES]


def _waits(simulation: Simulation, axes: Any) -> bool:
    waits = sorted(simulation.recorder.grants.waited_s)
    if not waits:
        return False
    # What began within a second is drawn at one: the axis has no zero.
    axes.step([max(wait, 1.0) for wait in waits], [100 * (n + 1) / len(waits) for n in range(len(waits))], where="post")
    axes.set_xscale("log")
    axes.set_xlabel("seconds until a task began")
    _percent(axes, "Waiting times", "% of tasks")
    return True


def _fragmentation(simulation: Simulation, axes: Any) -> bool:
    recorder = simulation.recorder
    if not recorder.now or not simulation.workload.total.gpus_milli:
        return False
    unit_s = _scale(axes, recorder.now)
    at = [sample.at / unit_s for sample in recorder.samples]
    used = [sample.gpus * 100 for sample in recorder.samples]
    lost = [sample.fragmented * 100 for sample in recorder.samples]
    axes.stackplot(at, used, lost, labels=["in use", "idle, of no use to usual tasks"], step="post")
    _percent(axes, "GPUs in use, and fragmented", "% of all GPUs")
    axes.legend(loc="upper right")
    return True


def _gantt(simulation: Simulation, axes: Any) -> bool:
    recorder, grants = simulation.recorder, simulation.recorder.grants
    devices = [device.device_id for node in simulation.workload.nodes for device in node.devices][:MAX_DEVICES]
    if not recorder.now or not devices:
        return False
    unit_s = _scale(axes, recorder.now)
    lines = {device_id: line for line, device_id in enumerate(devices)}
    bars: dict[tuple[int, int], list[tuple[float, float]]] = {}
    colours = {recorder.queues[number]: colour for colour, number in enumerate(_largest(simulation))}
    drawn = 0
    for number, ids in enumerate(grants.device_ids):
        shown = [lines[device_id] for device_id in ids if device_id in lines]
        if not shown or drawn >= MAX_BARS:
            continue
        began, ended = grants.started_at[number], grants.ended_at[number]
        queue = canonical_path(simulation.apps[grants.app[number]].job.queue)
        length = ((recorder.now if math.isnan(ended) else ended) - began) / unit_s
        for line in shown:
            bars.setdefault((line, colours.get(queue, MAX_QUEUES)), []).append((began / unit_s, length))
            drawn += 1
    if not bars:
        return False
    for (line, colour), spans in bars.items():
        axes.broken_barh(spans, (line - 0.4, 0.8), facecolors=f"C{colour}", edgecolor="white", linewidth=0.2)
    names = {**{colour: queue for queue, colour in colours.items()}, MAX_QUEUES: "others"}
    for colour in sorted({colour for _, colour in bars}):
        axes.barh(0, 0, color=f"C{colour}", label=names[colour])
    axes.legend(loc="upper right", fontsize="small")
    axes.set_title("What ran on GPUs, coloured by queue" + _left_out(simulation, devices))
    axes.set_ylabel("GPU")
    axes.set_ylim(-0.6, len(devices) - 0.4)
    return True


def _left_out(simulation: Simulation, devices: Sequence[str]) -> str:
    total = simulation.workload.total.gpus_milli // 1000
    return f" (the first {len(devices)} of {total})" if total > len(devices) else ""
