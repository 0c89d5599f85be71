"""What masters of YARN's hear when their containers are to end for another queue."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from hrm.testing.builders import queue, queues
from hrm.testing.lives import Lives, tasks
from hrm.yarn.exits import PREEMPTED
from tests.scenarios.yarn.wire_masters import WireMaster, opened

TIMEOUT_S, WAIT_S = 30.0, 15.0
#: The wire goes by the time of day; the cluster's clock lies a day off, so that there is much time left, or none.
DAY_S = 86_400.0


def numbers(contract: Any) -> list[int]:
    return [one.id.id & 0xFFFF for one in contract.container]


async def warned(master: WireMaster) -> Any:
    """What is heard after research has lacked its share for so long: its container of 3 GiB is due."""
    life = master.yarn.life
    for container in await master.get(2, memory=3072):
        await master.start(container)
    await life.submit(tasks(memory="3G"), queue="research")
    await life.settle()
    await life.pass_time(0)
    await life.pass_time(TIMEOUT_S + 1)
    heard = await master.allocate()
    await life.settle()
    return heard.preempt if heard.HasField("preempt") else (await master.allocate()).preempt


@pytest.mark.parametrize("strict", [False, True])
async def test_a_master_is_told_what_is_to_end_while_there_is_time_what_may_end_instead_and_then_that_it_has(
    tmp_path: Path, strict: bool
) -> None:
    hungry = queue("research", fair_share_preemption_timeout_s=TIMEOUT_S, fair_share_preemption_threshold=1.0)
    async with Lives(tmp_path, root=queues(queue("batch"), hungry)) as lives:
        lives.clock.advance(time.time() + (-DAY_S if strict else DAY_S) - lives.clock.now())
        async with opened(await lives.begin(), tmp_path) as yarn:
            master = await yarn.begun(queue="batch")
            message = await warned(master)
            if strict:
                (victim,) = numbers(message.strictContract)
                assert numbers(message.contract) == []
            else:
                (victim,) = numbers(message.contract)
                (needed,) = message.contract.resource
                assert (needed.resource.capability.memory, needed.resource.num_containers) == (3072, 1)

            await yarn.life.pass_time(WAIT_S)
            heard = await master.beat()

            ends = [(one.container_id.id & 0xFFFF, one.exit_status) for one in heard.completed_container_statuses]
            assert ends == [(victim, PREEMPTED)]
            assert not (await master.allocate()).HasField("preempt")
