"""What a limit kept out begins where there is room as soon as the limit lets it in, and waits for no heartbeat."""

from __future__ import annotations

from pathlib import Path

from hrm.testing.builders import amounts, node, queue, queues
from hrm.testing.lives import Life, Lives, tasks

LIMITED = queues(queue("default"), queue("p", queue("a"), queue("b"), max_share=amounts(2, "8G")))


async def run(life: Life, in_queue: str, *, cpus: float) -> str:
    app = await life.submit(tasks(cpus=cpus), queue=in_queue)
    await life.settle()
    return app


async def test_a_task_begins_on_another_node_once_its_queue_is_below_its_max_share(tmp_path: Path) -> None:
    nodes = [node("small", cpus=1, memory="8G"), node("large", cpus=2, memory="8G")]
    async with Lives(tmp_path, nodes, root=LIMITED) as lives:
        life = await lives.begin()
        first = await run(life, "default", cpus=2)
        short = await run(life, "p.a", cpus=1)
        await life.finish(life.containers(first)[0])
        waiting = await run(life, "p.b", cpus=2)
        assert life.containers(waiting) == []

        await life.finish(life.containers(short)[0])

        (container,) = life.containers(waiting)
        assert life.manager.containers[container].row.node_id == "large"
