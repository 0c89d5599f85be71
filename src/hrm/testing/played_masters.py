"""Masters in containers of their own, played by a test against a live ResourceManager (`hrm.testing.lives`)."""

from __future__ import annotations

from typing import Any

from hrm.model.jobs import MasterSpec
from hrm.model.masters import FinalStatus, GrantedContainer, Heartbeat, Registration
from hrm.model.queues import DEFAULT_QUEUE
from hrm.model.requests import ResourceRequest
from hrm.model.resources import Resources
from hrm.testing.lives import Life, tasks

SMALL = Resources(memory_mib=512, vcores_milli=500)


def ask(count: int, resources: Resources = SMALL) -> ResourceRequest:
    """For so many, anywhere."""
    return ResourceRequest(resources=resources, count=count)


class Master:
    """Plays the process of one attempt of a master."""

    def __init__(self, life: Life, application_id: str, attempt: int = 1) -> None:
        self.application_id = application_id
        self.attempt_id = application_id.replace("application", "appattempt") + f"_{attempt:06d}"
        self.response_id = 0
        self.moves_to(life)

    def moves_to(self, life: Life) -> None:
        """Its server lives again."""
        self.life, self.calls = life, life.service.masters

    async def register(self) -> Registration:
        self.response_id = 0
        return await self.calls.register(self.attempt_id)

    async def beat(self, *asks: ResourceRequest, releases: tuple[str, ...] = ()) -> Heartbeat:
        heard = await self.calls.allocate(self.attempt_id, self.response_id, asks=asks, releases=releases)
        self.response_id = heard.response_id
        await self.life.settle()
        return heard

    async def get(self, count: int) -> list[GrantedContainer]:
        """So many containers."""
        first = await self.beat(ask(count))
        second = await self.beat()
        return [*first.allocated, *second.allocated]

    async def launch(self, container: GrantedContainer, *command: str) -> int:
        launched = await self.calls.launch(
            self.attempt_id, container.container_id, command or ("sleep", "1000000"), {}, None
        )
        await self.life.settle()
        return launched.task_index

    async def finish(self, status: FinalStatus = FinalStatus.SUCCEEDED, message: str = "") -> None:
        await self.calls.finish(self.attempt_id, status, message)
        await self.life.settle()

    async def exit(self, code: int = 0) -> None:
        """Its process ends."""
        name = (await self.life.service.tasks(self.application_id))[0].container_id
        assert name is not None
        await self.life.finish(name, code)


async def submit(life: Life, *, queue: str = DEFAULT_QUEUE, **spec: Any) -> str:
    """The id of an application with a master of its own, which has been started."""
    app = await life.submit(tasks(), master=MasterSpec(**spec), queue=queue)
    await life.settle()
    return app


async def begun(life: Life, **spec: Any) -> Master:
    """A master that has registered."""
    master = Master(life, await submit(life, **spec))
    await master.register()
    return master
