"""Images that a cluster is set up from: whether they are here under the right name, or can be pulled.

A mirror may lack a tag that ``kubeadm`` asks for: coredns was tagged 1.8.3 and before, and v1.8.4 since, and mirrors
kept the old form. Such an image is pulled from elsewhere and given the name that is asked for, which begins with the
very registry that ``--image-repository`` names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hrm.doctor.checks import Unseen, check
from hrm.doctor.docker.engine import Engine, engine
from hrm.doctor.evidence import matching_lines, said
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.kubelet import kubelet
from hrm.doctor.kubernetes.setup import MANIFESTS
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import Output, System
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text

#: So many are asked for at their registry.
_MAX_ASKED = 8
_ASK_TIMEOUT_S = 4.0
_NOT_FOUND = r"no such manifest|manifest unknown|not found"

OTHER_NAME = Fault(
    code="HRM-K8S-009",
    severity=Severity.WARNING,
    title=Text("Image {wanted} is here only as {have}", "镜像 {wanted} 在本机只有 {have}"),
    why=Text(
        "kubeadm and kubelet look for the very name: an image that was tagged for another registry than "
        "--image-repository names, or with another form of its version, is pulled again, or not found.",
        "kubeadm 和 kubelet 按完整名称查找：标签的仓库与 --image-repository 不一致，或版本写法不同，"
        "都会重新拉取或找不到。",
    ),
    cure=Text("Give it the name that is asked for.", "为镜像打上所需的标签。"),
)
TAG_NOT_FOUND = Fault(
    code="HRM-K8S-010",
    severity=Severity.ERROR,
    title=Text("Registry {registry} has no image {wanted}", "镜像仓库 {registry} 中没有 {wanted}"),
    why=Text(
        "kubeadm init fails: [ERROR ImagePull]: failed to pull image {wanted}: manifest unknown. Mirrors keep some "
        "tags in another form (1.8.4 for v1.8.4).",
        "kubeadm init 失败：[ERROR ImagePull]: failed to pull image {wanted}: manifest unknown。"
        "有些镜像站的标签写法不同（1.8.4 而不是 v1.8.4）。",
    ),
    cure=Text(
        "Pull it from elsewhere, or by its other tag, and give it the name that is asked for.",
        "从其他仓库或用另一种标签拉取，再打上所需的标签。",
    ),
)
REGISTRY_UNREACHABLE = Fault(
    code="HRM-K8S-011",
    severity=Severity.WARNING,
    title=Text(
        "Registry {registry} does not answer, and image {wanted} is not here",
        "镜像仓库 {registry} 无响应，且本机没有镜像 {wanted}",
    ),
    why=Text(
        "kubeadm init and pods that need it wait and fail: ImagePullBackOff. Some registries cannot be reached from "
        "everywhere.",
        "kubeadm init 和需要该镜像的 Pod 会等待并失败：ImagePullBackOff。部分仓库在某些网络中无法访问。",
    ),
    cure=Text(
        "Use a mirror by --image-repository, or load the image from a file.",
        "用 --image-repository 指定镜像站，或从文件导入镜像。",
    ),
)


@dataclass(frozen=True, slots=True)
class Image:
    """A name of an image, taken apart."""

    #: ``docker.io`` where the name says none.
    registry: str
    #: ``google_containers/coredns``.
    path: str
    tag: str

    @property
    def name(self) -> str:
        """Without where it comes from: ``coredns``."""
        return self.path.rpartition("/")[2]

    @property
    def version(self) -> str:
        """The tag without the v that some have before it."""
        return re.sub(r"^v(?=\d)", "", self.tag)

    def __str__(self) -> str:
        return f"{'' if self.registry == 'docker.io' else self.registry + '/'}{self.path}:{self.tag}"


@check("kubernetes.images", OTHER_NAME, TAG_NOT_FOUND, REGISTRY_UNREACHABLE, timeout_s=14.0)
def images_are_to_be_had(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Images that the cluster needs are here, or their registry has them."""
    wanted = _wanted(system, expected)
    if not wanted:
        return
    docker = engine(system, expected)
    have = _have(system, docker)
    if have is None:
        yield Unseen("which images are here: neither docker, crictl nor ctr tells")
        return
    silent: set[str] = set()
    asked = 0
    for image in wanted:
        if image in have or image.registry in silent or asked >= _MAX_ASKED:
            continue
        like = _like(image, have)
        if like is not None:
            yield OTHER_NAME.found(
                wanted=image,
                have=like,
                evidence=[Evidence("docker images", str(like))],
                cure=[_tag(docker, like, image)],
            )
            continue
        asked += 1
        answer = _ask(docker, image)
        if answer.missing:
            yield Unseen(f"whether {image} can be pulled: there is no docker command")
            return
        if answer.ok:
            continue
        if re.search(_NOT_FOUND, answer.text) and "no such host" not in answer.text:
            yield TAG_NOT_FOUND.found(
                registry=image.registry,
                wanted=image,
                evidence=[said(answer, _NOT_FOUND)],
                cure=_from_elsewhere(docker, image),
            )
        else:
            silent.add(image.registry)
            yield REGISTRY_UNREACHABLE.found(
                registry=image.registry, wanted=image, evidence=[said(answer)], cure=[_mirror(image)]
            )


def parse_image(text: str) -> Image | None:
    """Of a name as it is written; None for one by its digest or without a tag."""
    found = re.fullmatch(r"(?:([^/]*[.:][^/]*|localhost)/)?([a-z0-9][\w./-]*):([\w][\w.-]*)", text.strip())
    if found is None:
        return None
    return Image(found[1] or "docker.io", found[2].removeprefix("library/"), found[3])


def _images(names: Sequence[str]) -> list[Image]:
    found = (parse_image(name) for name in names)
    return list(dict.fromkeys(image for image in found if image is not None))


def _wanted(system: System, expected: Expected) -> list[Image]:
    """Those that are expected; of a control plane here its own; before there is one what kubeadm would pull."""
    asked = expected.kubernetes
    names = list(asked.images)
    manifests = [name for name in system.list(MANIFESTS) if name.endswith(".yaml")]
    for name in manifests:
        names += [
            found[1]
            for _, found in matching_lines(system, f"{MANIFESTS}/{name}", r"^\s*-?\s*image:\s*[\"']?(\S+?)[\"']?$")
        ]
    if not manifests and asked.image_repository and system.which("kubeadm") is not None:
        version = system.run("kubeadm", "version", "--output", "short")
        said_version = ("--kubernetes-version", version.stdout.strip()) if version.ok else ()
        # Without a version kubeadm asks the internet for the newest.
        listed = system.run(
            "kubeadm", "config", "images", "list", "--image-repository", asked.image_repository, *said_version
        )
        names += listed.lines if listed.ok else []
    return _images(names)


def _have(system: System, docker: Engine) -> set[Image] | None:
    """Images of whatever runs kubelet's containers; None where nothing tells."""
    found = kubelet(system)
    if found is None or found.uses_docker:
        output = docker.run("images", "--format", "{{.Repository}}:{{.Tag}}")
        return set(_images(output.lines)) if output.ok else None
    output = system.run("crictl", "images", "--output", "json")
    if output.ok:
        return set(_images(_tags(output.stdout)))
    output = system.run("ctr", "--namespace", "k8s.io", "images", "list", "--quiet")
    return set(_images(output.lines)) if output.ok else None


def _tags(text: str) -> list[str]:
    try:
        listed = json.loads(text).get("images", [])
    except (ValueError, AttributeError):
        return []
    return [tag for image in listed for tag in image.get("repoTags") or ()]


def _like(image: Image, have: set[Image]) -> Image | None:
    """The same image under another name: of another registry, or with its version in the other form."""
    same = [other for other in have if other.name == image.name and other.version == image.version]
    return min(same, key=str, default=None)


def _ask(docker: Engine, image: Image) -> Output:
    """Its registry, without pulling it. ``--insecure`` lets it be one without a certificate, as within a cluster."""
    return docker.run("manifest", "inspect", "--insecure", str(image), timeout_s=_ASK_TIMEOUT_S)


def _from_elsewhere(docker: Engine, image: Image) -> list[Step]:
    source = _source(docker, image)
    pull = Text(f"Pull it as {source}.", f"以 {source} 拉取。")
    remove = Text("Remove the name that it was pulled by; the image stays.", "删除拉取时的标签，镜像本身保留。")
    return [
        run(*docker.command("pull", str(source)), about=pull),
        _tag(docker, source, image),
        run(*docker.command("rmi", str(source)), about=remove, done_if=("No such image",)),
    ]


def _source(docker: Engine, image: Image) -> Image:
    """Where it is to be had: by its other tag in the same registry, or where its makers put it."""
    other = Image(image.registry, image.path, image.version if image.version != image.tag else f"v{image.tag}")
    if _ask(docker, other).ok:
        return other
    if image.name == "coredns":
        return Image("docker.io", "coredns/coredns", image.version)
    return Image("registry.k8s.io", image.name, image.tag)


def _tag(docker: Engine, have: Image, wanted: Image) -> Step:
    about = Text("Give it the name that is asked for, its registry too.", "打上所需的完整标签，包括仓库地址。")
    return run(*docker.command("tag", str(have), str(wanted)), about=about)


def _mirror(image: Image) -> Step:
    return by_hand(
        f"Try kubeadm config images pull --image-repository REGISTRY with a mirror that answers, and name the same one "
        f"for kubeadm init; or on a machine that reaches it: docker pull {image}, docker save, and here docker load.",
        f"换用可访问的镜像站：kubeadm config images pull --image-repository 镜像站，kubeadm init 也指定同一个；"
        f"或在能访问的机器上 docker pull {image} 并 docker save，再到本机 docker load。",
        risk=Risk.SAFE,
    )
