"""How much of a cluster's GPUs each placement strategy fills, and how long a run takes.

    python benches/fgd.py                                  a drawn cluster of 200 nodes, one seed: seconds
    python benches/fgd.py --traces DIR [--seeds 10] [--save benches/results/fgd.json]

DIR has the node list and the task lists of Alibaba's GPU cluster trace v2023 (``data/csv`` of
github.com/hkust-adsl/kubernetes-scheduler-simulator). With them it is the experiment of Weng et al., "Beware of
Fragmentation" (ATC'23), about 4 minutes with ten seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
from dataclasses import asdict
from pathlib import Path

from hrm.model.nodes import DeviceSpec, NodeSpec
from hrm.model.resources import Resources
from hrm.sim.comparison import Line, compare
from hrm.sim.published import PUBLISHED_LOAD
from hrm.sim.traces.openb import Pod, read_nodes, read_pods

NODES = "openb_node_list_gpu_node.csv"
LISTS = ("openb_pod_list_default", "openb_pod_list_gpushare100", "openb_pod_list_multigpu50")
#: vcores, GiB, GPUs.
SIZES = ((96, 384, 8), (104, 512, 2), (16, 120, 2), (32, 128, 4))
#: vcores, GPUs, how often.
TASKS = (
    (3, 0.8, 13),
    (11, 1.0, 30),
    (4, 1.0, 9),
    (12, 0.5, 12),
    (8, 0.5, 5),
    (4, 0.3, 5),
    (16, 1.0, 8),
    (24, 0, 13),
    (88, 8.0, 1),
)
FIRST_SEED = 42


def drawn() -> tuple[list[NodeSpec], list[Pod]]:
    """A cluster and a list of tasks that are like those of the trace."""
    chance = random.Random(1)
    nodes = []
    for number in range(200):
        vcores, memory, gpus = chance.choice(SIZES)
        name = f"node{number}"
        devices = tuple(DeviceSpec(device_id=f"{name}/{index}", index=index, model="GPU") for index in range(gpus))
        total = Resources(memory * 1024, vcores * 1000, gpus * 1000)
        nodes.append(NodeSpec(node_id=name, total=total, devices=devices))
    shapes = chance.choices(TASKS, [often for _, _, often in TASKS], k=1000)
    return nodes, [
        Pod(name=f"task{number}", resources=Resources(4096, vcores * 1000, round(gpus * 1000)))
        for number, (vcores, gpus, _) in enumerate(shapes)
    ]


def print_lines(lines: list[Line]) -> None:
    """As `hrm simulate fgd --all-policies` has them, in brief."""
    for line in lines:
        published = "" if line.published_percent is None else f" (published {line.published_percent:.2f})"
        print(
            f"{line.pods:27} {line.placement:12} {line.gpu_allocation_percent:6.2f} % ± {line.deviation:.2f}{published}"
            f"  fragmented {line.fragmented_percent:5.2f} %  {line.cpu_s:.2f} s of one core a run"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, help="directory of the trace's CSV files")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--save", type=Path, help="write the figures there as JSON, with the machine")
    options = parser.parse_args()
    if options.traces is None:
        nodes, tasks = drawn()
        lists = {"drawn": tasks}
    else:
        nodes = read_nodes(options.traces / NODES)
        lists = {name: read_pods(options.traces / f"{name}.csv") for name in LISTS}
    lines = compare(nodes, lists, load=PUBLISHED_LOAD, seeds=range(FIRST_SEED, FIRST_SEED + options.seeds))
    print_lines(lines)
    if options.save:
        machine = {"cpu": cpu_model(), "cores": os.cpu_count(), "python": platform.python_version()}
        figures = [asdict(line) for line in lines]
        kept = {"machine": machine, "first_seed": FIRST_SEED, "lines": figures}
        options.save.write_text(json.dumps(kept, indent=2) + "\n")


def cpu_model() -> str:
    """As Linux names it; else what the platform says."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("model name")), "")


if __name__ == "__main__":
    main()
