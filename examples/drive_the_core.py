"""Drive the scheduler alone, in memory: no server, no processes, and a clock that this program moves.

Shows: queues from YAML or YARN's XML, nodes, applications that ask, visits, fair shares, preemption (which YARN's files
must switch on) and the reasons why something waits. Leaves out: delay scheduling and reservations (keys of `scheduler:`
in the YAML), faults of nodes.

    python examples/drive_the_core.py [hrm.yaml|fair-scheduler.xml QUEUE QUEUE]
"""

from __future__ import annotations

import sys
from pathlib import Path

from hrm.config.documents import Document
from hrm.config.loader import parse_config
from hrm.config.yarn import read_fair_scheduler
from hrm.core.commands import KillContainer, PreemptContainer
from hrm.core.driver import Driver
from hrm.model.ids import AttemptId
from hrm.model.nodes import DeviceSpec, NodeSpec
from hrm.model.queues import QueueSpec
from hrm.model.requests import ResourceRequest
from hrm.model.resources import Resources
from hrm.model.scheduling import SchedulerOptions

QUEUES = """
queues:
  research:
    weight: 3
    fair_share_preemption_timeout: 30s
    fair_share_preemption_threshold: 1.0
  batch:
    max_share: {cpus: 12, memory: 48G, gpus: 4}
scheduler:
  policy: drf
  wait_before_kill: 15s
"""


def show(core: Driver, **apps: AttemptId) -> None:
    print(f"{core.now:4.0f} s")
    for name, app in apps.items():
        view = core.application(app)
        print(f"  {name:8} runs {view.containers}, waits for {view.pending}; uses {view.used}; fair: {view.fair_share}")
        if view.pending:
            print(f"    {core.explain(app).message}")


def read_queues(path: Path | None) -> tuple[QueueSpec, SchedulerOptions]:
    if path is not None and path.suffix == ".xml":
        return read_fair_scheduler(path)
    config = parse_config(Document(QUEUES, "queues.yaml") if path is None else Document.load(path))
    return config.queues, config.scheduler.options


def main(arguments: list[str]) -> int:
    queues, options = read_queues(Path(arguments[0]) if arguments else None)
    core = Driver(queues, options=options)
    batch_queue, research_queue = arguments[1:3] or ("batch", "research")
    for name in ("n1", "n2"):
        devices = tuple(DeviceSpec(device_id=f"{name}/{i}", index=i, model="RTX 2080 Ti") for i in range(2))
        core.join(NodeSpec(node_id=name, total=Resources.parse(cpus=8, memory="32G", gpus=2), devices=devices))

    # One application alone takes all that its queue may have.
    small = ResourceRequest(resources=Resources.parse(cpus=1, memory="2G"), count=100)
    batch = core.submit(batch_queue, user="ada")
    core.request(batch, small)
    core.update_nodes()
    core.update_shares()
    show(core, batch=batch)

    # Another comes, and finds two nodes that are nearly full.
    research = core.submit(research_queue, user="bob")
    core.request(research, ResourceRequest(resources=Resources.parse(cpus=2, memory="4G", gpus=1), count=4))
    core.update_nodes()
    core.preempt()
    show(core, batch=batch, research=research)

    # After its timeout containers of the first are warned, and some time later killed.
    for seconds in (30, 15):
        core.advance(seconds)
        for command in core.preempt():
            match command:
                case PreemptContainer(container_id=one, kill_at=kill_at):
                    print(f"{core.now:4.0f} s  warned until {kill_at:.0f} s: {one}")
                case KillContainer(container_id=one):
                    print(f"{core.now:4.0f} s  killed: {one}")
                    core.finish(one)
    core.update_nodes()
    core.update_shares()
    show(core, batch=batch, research=research)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
