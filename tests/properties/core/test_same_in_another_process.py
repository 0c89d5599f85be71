"""The same events make the same commands in another process, whose hashes and addresses are others."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import hashlib, random
from hrm.core.events import NodeRemoved
from hrm.testing.builders import Scenario, node, queue, queues
from hrm.model.scheduling import SchedulerOptions

draw = random.Random(7)
hungry = {"fair_share_preemption_timeout_s": 2, "fair_share_preemption_threshold": 1.0}
leaves = [queue(name, weight=draw.choice((1, 2)), policy="drf", **hungry) for name in "abcd"]
s = Scenario(queues(*leaves, policy="drf"), options=SchedulerOptions(
    wait_before_kill_s=0, reservable_nodes=0.3, node_locality_threshold=0.5, rack_locality_threshold=0.5))
for n in range(6):
    s.add_node(f"n{n}", cpus=8, memory="16G", gpus=2, rack=f"/r{n % 2}", others={"licences": 4})
apps, told = [], []
for step in range(80):
    if step % 3 == 0:
        apps.append(s.submit(draw.choice("abcd")))
    for where in draw.choice((("*",), ("n1", "/r1", "*"))):
        s.ask(draw.choice(apps), draw.randint(1, 6), cpus=draw.choice((1, 2)), memory=draw.choice(("1G", "3G")),
              gpus=draw.choice((0, 0, 0.3, 1)), where=where, priority=draw.randint(0, 2))
    told.append(s.settle())
    told.append(s.preempt(after_s=1))
    for one in draw.sample(list(s.granted), min(3, len(s.granted))):
        s.finish(one)
    told.append([s.explain(app) for app in draw.sample(apps, min(2, len(apps)))])
print(len(s.events), hashlib.sha256(repr(told).encode()).hexdigest())
"""


def told_by(seed: int) -> str:
    environment = os.environ | {"PYTHONHASHSEED": str(seed)}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=120
    ).stdout


def test_the_same_events_make_the_same_commands_whatever_the_hashes() -> None:
    first, second = told_by(1), told_by(2)

    assert int(first.split()[0]) > 500
    assert first == second
