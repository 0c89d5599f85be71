"""A large cluster that is played, with the real scheduler, store, API and page over it: to look at and to measure.

    python -m hrm.testing.large_site --nodes 500 --finished 100000

prints the address and a token as JSON, and serves until its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import sys
import tempfile
import time
from pathlib import Path

import uvicorn

from hrm.api.accounts import Accounts
from hrm.api.native import create_app
from hrm.api.settings import ApiSettings
from hrm.api.tokens import TokenAuthority
from hrm.model.nodes import NodeSpec
from hrm.model.reports import ReloadReport
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState
from hrm.rm.records import ApplicationRow
from hrm.rm.store import open_store
from hrm.testing.builders import node, queue, queues
from hrm.testing.lives import Life, Lives, tasks
from hrm.web.desk import Desk
from hrm.web.door import Door, create_site
from hrm.web.samples import PERIOD_S, Sample, Span, summed
from hrm.web.weights import Weights

_USERS = ("ada", "bob", "chen", "dora", "emil", "fatima", "grace", "hiro")
_NAMES = ("train", "evaluate", "sweep", "detect", "preprocess", "distill")
_QUEUES = ("research.vision", "research.speech", "batch", "teaching")
_MODELS = ("RTX 2080 Ti", "A100-SXM4-40GB", "H100 80GB HBM3")
_ROWS_AT_A_TIME = 5000
#: As YARN's nodes.
_BEAT_S = 1.0


def large_cluster(nodes: int) -> list[NodeSpec]:
    """Nodes of 64 CPUs, 256 GiB and two to eight GPUs of three models."""
    return [
        node(
            f"gpu{number:03d}",
            cpus=64,
            memory="256G",
            gpus=(2, 4, 8)[number % 3],
            model=_MODELS[number % 3],
            rack=f"/rack{number // 16}",
        )
        for number in range(nodes)
    ]


async def write_finished(database: Path, count: int, *, seed: int = 1) -> None:
    """Applications that are over, one a second until now, as rows of a new database."""
    chance, now = random.Random(seed), time.time()
    store = open_store(database, now=now - count)
    try:
        for first in range(1, count + 1, _ROWS_AT_A_TIME):
            last = min(count, first + _ROWS_AT_A_TIME - 1)
            await store.commit([_over(seq, chance, now - (count - seq)) for seq in range(first, last + 1)])
    finally:
        await store.close()


def _over(seq: int, chance: random.Random, ended_at: float) -> ApplicationRow:
    failed = chance.random() < 0.1
    took_s = chance.expovariate(1 / 600)
    return ApplicationRow(
        seq=seq,
        user=chance.choice(_USERS),
        name=f"{chance.choice(_NAMES)}-{seq % 97}",
        queue=chance.choice(_QUEUES),
        state=ApplicationState.FAILED if failed else ApplicationState.FINISHED,
        priority=0,
        submitted_at=ended_at - 1.5 * took_s,
        started_at=ended_at - took_s,
        ended_at=ended_at,
        tasks_total=1,
        tasks_succeeded=int(not failed),
        tasks_failed=int(failed),
        exit_code=int(failed),
        message="exit code 1" if failed else "",
    )


async def keep_busy(life: Life, part: float, *, seed: int = 1) -> None:
    """Submit what asks for this part of all GPUs, and let it begin."""
    chance = random.Random(seed)
    wanted = part * sum(len(report.devices) for report in life.service.nodes())
    while wanted > 0:
        gpus, count = chance.choice((0.5, 1, 1, 2)), chance.randint(1, 8)
        group = tasks(count=count, resources=Resources.parse(cpus=2, memory="8G", gpus=gpus))
        await life.submit(group, user=chance.choice(_USERS), name=chance.choice(_NAMES), queue=chance.choice(_QUEUES))
        wanted -= gpus * count
    await life.settle()


def made_up_day(desk: Desk, *, seed: int = 1) -> None:
    """Fill the rings of the pictures with a day that might have been, in which each queue's use wanders."""
    chance, now = random.Random(seed), desk.clock()
    total = summed(report.total for report in desk.facade.nodes())
    used = {queue.name: queue.used for queue in desk.facade.queues() if queue.type == "leaf"}
    day: list[Sample] = []
    for number in range(1, round(Span.DAY.seconds / PERIOD_S)):
        for name, amounts in used.items():
            for one, whole in total.items():
                now_used, usual = amounts.get(one, 0), 0.7 * whole / len(used)
                was = now_used + 0.002 * (usual - now_used) + chance.gauss(0, 0.002 * whole)
                used[name] = {**used[name], one: round(min(whole, max(0, was)))}
        day.append(Sample(at=now - number * PERIOD_S, used=summed(used.values()), total=total, queues=dict(used)))
    for sample in reversed(day):
        desk.usage.add(sample)


async def serve(*, nodes: int, finished: int, busy: float, port: int) -> None:
    """Until standard input ends."""
    with tempfile.TemporaryDirectory(prefix="hrm-large-") as directory:
        root = queues(
            queue("research", queue("vision", weight=2), queue("speech"), weight=3, policy="drf"),
            queue("batch"),
            queue("teaching", weight=0.5),
            policy="drf",
        )
        lives = Lives(Path(directory), large_cluster(nodes), root=root)
        await write_finished(lives.database, finished)
        lives.clock.advance(time.time() - lives.clock.now())
        async with lives:
            life = await lives.begin()
            await keep_busy(life, busy)
            await _serve(life, lives, Path(directory), port)


async def _serve(life: Life, lives: Lives, directory: Path, port: int) -> None:
    async def reload() -> ReloadReport:
        return ReloadReport(added=[], removed=[], changed=[])

    settings, accounts, tokens = ApiSettings(), Accounts(), TokenAuthority(os.urandom(32))
    api = create_app(
        life.service, tokens=tokens, settings=settings, reload=reload, configuration=dict, accounts=accounts
    )
    desk = Desk(facade=life.service, accounts=accounts, weights=Weights(None, directory, reload), clock=lives.clock.now)
    made_up_day(desk)
    gate = api.state.streams
    site = create_site(desk, tokens=tokens, settings=settings, accounts=accounts, gate=gate)
    listening = socket.create_server(("127.0.0.1", port))
    options = {**settings.uvicorn_options(), "log_config": None, "lifespan": "off"}
    server = uvicorn.Server(uvicorn.Config(Door(api, site), **options))
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    token = tokens.mint(accounts.own_name, admin=True)
    print(json.dumps({"address": address, "token": token, "pid": os.getpid()}), flush=True)  # noqa: T201
    work = [asyncio.create_task(server.serve(sockets=[listening])), asyncio.create_task(_beat(life, lives, desk))]
    await asyncio.to_thread(sys.stdin.read)
    gate.end_all()
    server.should_exit = True
    work[1].cancel()
    await asyncio.gather(*work, return_exceptions=True)


async def _beat(life: Life, lives: Lives, desk: Desk) -> None:
    """Time goes on, and each node is heard of once a second."""
    noted_at = 0.0
    while True:
        lives.clock.advance(_BEAT_S)
        for node_id in lives.cluster.nodes:
            life.engine.beat(node_id)
        if lives.clock.now() - noted_at >= PERIOD_S:
            noted_at = lives.clock.now()
            desk.usage.note(noted_at, life.service.nodes(), life.service.queues())
        await asyncio.sleep(_BEAT_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--finished", type=int, default=100_000, help="applications that are over")
    parser.add_argument("--busy", type=float, default=1.05, help="part of the GPUs that is asked for")
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
