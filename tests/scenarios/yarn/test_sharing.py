"""Applications of YARN's and jobs of HRM's own share one cluster by the same rules."""

from __future__ import annotations

from pathlib import Path

from hrm.model.resources import Resources
from hrm.testing.builders import node, queue, queues
from hrm.testing.lives import Lives, tasks
from hrm.testing.played_masters import ask
from hrm.yarn.proto import records_pb2 as records
from tests.scenarios.yarn.client_door import Door

ONE = Resources(memory_mib=1024, vcores_milli=1000)


async def test_a_yarn_application_and_a_job_get_the_shares_of_their_queues(tmp_path: Path) -> None:
    root = queues(queue("default"), queue("research", weight=3), queue("batch", weight=1))
    async with Lives(tmp_path, [node("n1", cpus=8, memory="64G")], root=root) as lives:
        door = Door(await lives.begin())
        life = door.life
        app = await door.submit(queue="root.research", resource=records.ResourceProto(memory=1024, virtual_cores=1))
        master = door.master(app)
        await master.register()
        job = await life.submit(tasks("sleep", "1000", count=20, cpus=1, memory="1G"), queue="batch")
        # The job came to an idle cluster and has all but the master's CPU. What ends from now on is shared.
        await master.beat(ask(20, ONE))
        await life.settle()
        for _ in range(7):
            (first, *_) = life.containers(job)
            await life.finish(first)
            for granted in (await master.beat()).allocated:
                await master.launch(granted)
        assert (len(life.containers(app)), len(life.containers(job))) == (6, 2)

        used = (await door.report(app)).app_resource_Usage.used_resources
        assert used.virtual_cores == 6
