"""The disk with Docker's images, containers and volumes."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check, fact
from hrm.doctor.docker.engine import Engine, configuration, engine, installed
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text

DATA_ROOT = "/var/lib/docker"
#: From here on pulls and builds fail, and containers that write.
_FULL_PART = 0.97

DISK_FULL = Fault(
    code="HRM-DOCKER-040",
    severity=Severity.WARNING,
    title=Text(
        "The disk with Docker's data ({root}) is {used} full; {reclaimable} can be freed",
        "Docker 数据所在磁盘（{root}）已用 {used}；可释放 {reclaimable}",
    ),
    why=Text(
        "When it is full pulls fail, and containers and other programs that write: no space left on device.",
        "写满后，拉取镜像以及所有写文件的容器和程序都会失败：no space left on device。",
    ),
    cure=Text(
        "Remove the build cache and images without a name; containers and other images as somebody decides. Volumes "
        "are never touched: they hold data.",
        "清理构建缓存和无标签镜像；容器和其他镜像由人决定。绝不动数据卷。",
    ),
)


@fact("docker.data-root")
def data_root(system: System) -> str | None:
    """Where its data lies."""
    root = Engine(system).info().get("DockerRootDir")
    return str(root) if root else None


@check("docker.disk", DISK_FULL, timeout_s=12.0)
def disk_has_room(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """The disk with Docker's data is not nearly full."""
    if not installed(system, expected):
        return
    docker = engine(system, expected)
    root = str(docker.info().get("DockerRootDir") or configuration(system).get("data-root") or DATA_ROOT)
    # A command, and not a call: the data may lie on a server that does not answer.
    output = system.run("df", "--portability", "--block-size=1M", root)
    if output.timed_out:
        raise CannotSee(f"df {root}: no answer in time")
    words = output.lines[-1].split() if output.ok and len(output.lines) > 1 else []
    if len(words) < 5 or not words[4].rstrip("%").isdigit():
        return
    used_part = int(words[4].rstrip("%")) / 100
    if used_part < expected.docker.full_part:
        return
    usage = docker.run("system", "df", "--format", "{{json .}}", timeout_s=6.0)
    if usage.timed_out:
        yield Unseen("docker system df: no answer in time")
    kinds = list(_kinds(usage.stdout))
    yield DISK_FULL.found(
        root=root,
        used=f"{used_part:.0%}",
        reclaimable=", ".join(f"{kind} {freed}" for kind, freed in kinds if not freed.startswith("0B")) or "?",
        severity=Severity.ERROR if used_part >= _FULL_PART else None,
        evidence=[
            Evidence(f"df {root}", output.lines[-1]),
            *(Evidence("docker system df", f"{kind}: reclaimable {freed}") for kind, freed in kinds),
        ],
        cure=_prune(docker),
    )


def _kinds(text: str) -> Iterator[tuple[str, str]]:
    """Images, containers and build cache, with what can be freed of each."""
    for line in text.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and said.get("Type") != "Local Volumes":
            yield str(said.get("Type", "")), str(said.get("Reclaimable", ""))


def _prune(docker: Engine) -> list[Step]:
    """By itself only what can be made again: files in containers, and images built here alone, are somebody's."""
    cache = Text("Remove the build cache.", "清理构建缓存。")
    layers = Text("Remove images that no tag and no container names.", "移除没有标签也未被使用的镜像。")
    ended = " ".join(docker.command("ps", "--all", "--size", "--filter", "status=exited"))
    images = " ".join(docker.command("image", "prune", "--all", "--filter", "until=168h"))
    return [
        run(*docker.command("builder", "prune", "--force"), about=cache, risk=Risk.DISRUPTIVE),
        run(*docker.command("image", "prune", "--force"), about=layers, risk=Risk.DISRUPTIVE),
        by_hand(
            f"If that is not enough: see which ended containers are large ({ended}) and remove those whose files "
            f"nobody needs (docker rm); remove old images that no container uses ({images}): those that were "
            "built here and pushed nowhere are lost.",
            f"如仍不足：查看较大的已结束容器（{ended}），确认其中的文件无人需要后移除（docker rm）；"
            f"移除一周前且未被使用的镜像（{images}）：在本机构建且未推送的镜像会丢失。",
            risk=Risk.DISRUPTIVE,
        ),
    ]
