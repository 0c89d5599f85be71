"""Input of Hadoop's Scheduler Load Simulator (hadoop-sls): one JSON object after another, each a job.

Keys are those of its SLSConfiguration: ``job.start.ms``, ``job.queue.name``, ``job.id``, ``job.user``, ``job.count``
and ``job.tasks``, and of each task ``container.start.ms``, ``container.end.ms`` or ``duration.ms``, ``container.host``,
``container.priority``, ``container.memory``, ``container.vcores`` and ``count``. Its masters are not played.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hrm.config.documents import BadDocument, Finding
from hrm.model.errors import InvalidInput
from hrm.model.queues import DEFAULT_QUEUE
from hrm.model.resources import Resources
from hrm.sim.workload import Job, TaskGroup, in_order

#: As SLS where a task does not say.
_MEMORY_MIB, _VCORES = 1024, 1
_MAX_BYTES = 1 << 30
_MAX_COUNT = 1_000_000


class _Object:
    """One JSON object of the file, and where it begins."""

    def __init__(self, source: str, line: int, data: dict[str, Any], where: str) -> None:
        self._source, self._line, self._data, self._where = source, line, data, where

    def wrong(self, key: str, problem: str) -> BadDocument:
        return BadDocument([Finding(self._source, self._line, f"{self._where}{key}", problem)])

    def number(self, key: str, default: float | None = None, *, least: float = 0) -> float:
        value = self._data.get(key, default)
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise self.wrong(key, "is missing" if value is None else f"not a number: {value!r:.40}") from None
        if not least <= number < float("inf"):
            raise self.wrong(key, f"must be at least {least:g}: {number:g}")
        return number

    def text(self, key: str, default: str) -> str:
        return str(self._data.get(key, default))

    def objects(self, key: str) -> Iterator[_Object]:
        found = self._data.get(key)
        if not isinstance(found, list) or not found:
            raise self.wrong(key, "must be a list of tasks")
        for number, item in enumerate(found):
            if not isinstance(item, dict):
                raise self.wrong(f"{key}[{number}]", "must be an object")
            yield _Object(self._source, self._line, item, f"{key}[{number}].")


def read_sls(path: Path) -> tuple[Job, ...]:
    """In order of submission, the first at 0. Raises BadDocument with line and key, InvalidInput."""
    jobs = [job for number, found in enumerate(_objects(path), 1) for job in _jobs(found, number)]
    if not jobs:
        raise InvalidInput(f"{path} has no jobs", next_step="is it whole?")
    first = min(job.submit_s for job in jobs)
    return in_order(
        Job(name=job.name, submit_s=job.submit_s - first, groups=job.groups, queue=job.queue, user=job.user)
        for job in jobs
    )


def _jobs(found: _Object, number: int) -> Iterator[Job]:
    groups = tuple(_group(task) for task in found.objects("job.tasks"))
    name = found.text("job.id", f"job{number}")
    count = int(found.number("job.count", 1, least=1))
    if count > _MAX_COUNT:
        raise found.wrong("job.count", f"more than {_MAX_COUNT}: {count}")
    for copy in range(count):
        yield Job(
            name=name if count == 1 else f"{name}.{copy}",
            submit_s=found.number("job.start.ms", 0) / 1000,
            groups=groups,
            queue=found.text("job.queue.name", DEFAULT_QUEUE),
            user=found.text("job.user", "default"),
        )


def _group(task: _Object) -> TaskGroup:
    if "duration.ms" in task._data:
        run_ms = task.number("duration.ms")
    else:
        begin, end = task.number("container.start.ms"), task.number("container.end.ms")
        if end < begin:
            raise task.wrong("container.end.ms", f"is before container.start.ms: {end:g} < {begin:g}")
        run_ms = end - begin
    return TaskGroup(
        resources=Resources(
            int(task.number("container.memory", _MEMORY_MIB, least=1)),
            int(task.number("container.vcores", _VCORES, least=1) * 1000),
        ),
        run_s=(run_ms / 1000,),
        tasks=int(task.number("count", 1, least=1)),
        priority=int(task.number("container.priority", 20)),
        host=task.text("container.host", "").rpartition("/")[2],
    )


def _objects(path: Path) -> Iterator[_Object]:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_BYTES + 1)
        text = raw.decode()
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}", next_step="name another file") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is no text in UTF-8") from None
    if len(raw) > _MAX_BYTES:
        raise InvalidInput(f"{path} is larger than {_MAX_BYTES >> 30} GiB", next_step="cut it into parts")
    decoder, at = json.JSONDecoder(), 0
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if at == len(text):
            return
        line = text.count("\n", 0, at) + 1
        try:
            data, at = decoder.raw_decode(text, at)
        except ValueError as error:
            broken = text.count("\n", 0, getattr(error, "pos", at)) + 1
            raise BadDocument([Finding(str(path), broken, "", "no JSON: is the file whole?")]) from None
        if not isinstance(data, dict):
            raise BadDocument([Finding(str(path), line, "", "must be an object, one for each job")])
        if "job.tasks" in data or "num.nodes" not in data:
            yield _Object(str(path), line, data, "")
