"""A distributed shell: a master of its own that runs one command on several containers.

    hrm submit --master --wait -- python examples/own_master.py --containers 3 -- hostname

Each container's output is shown by `hrm logs APP --task N`, N from 1 on; task 0 is the master. The master ends well iff
all containers did. One that is lost (its node died) or that ended for others (was preempted) is asked for again.
"""

from __future__ import annotations

import argparse

from hrm.model.masters import FinalStatus
from hrm.model.requests import ResourceRequest
from hrm.model.resources import Resources
from hrm.model.states import TaskState
from hrm.sdk import ApplicationMaster


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--containers", type=int, default=2, help="how many run the command (default: 2)")
    parser.add_argument("--memory-mib", type=int, default=128, help="memory of each")
    parser.add_argument("command", nargs="+", help="a program and its arguments")
    options = parser.parse_args()

    size = Resources(memory_mib=options.memory_mib, vcores_milli=500)
    waiting, begun, failed = options.containers, 0, 0
    running: set[str] = set()
    with ApplicationMaster() as master:
        asks = [ResourceRequest(resources=size, count=waiting)]
        while waiting or running:
            over = begun - len(running)
            news = master.allocate(asks, progress=over / options.containers, wait_s=5)
            asks = []
            for container in news.allocated:
                if not waiting:
                    master.stop(container)
                    continue
                task = master.launch(container, *options.command, env={"SHELL_NUMBER": str(begun)})
                print(f"task {task} runs on {container.node_id}", flush=True)
                running.add(container.container_id)
                waiting, begun = waiting - 1, begun + 1
            for ended in news.ended:
                if ended.state in (TaskState.LOST, TaskState.PREEMPTED):
                    begun -= ended.container_id in running
                    waiting += 1
                    asks = [ResourceRequest(resources=size, count=waiting)]
                elif ended.container_id in running and ended.exit_code:
                    failed += 1
                running.discard(ended.container_id)
        status = FinalStatus.FAILED if failed else FinalStatus.SUCCEEDED
        master.finish(status, f"{failed} of {options.containers} failed" if failed else "")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
