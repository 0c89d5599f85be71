"""Whether CUDA's toolkits fit the driver, the link ``/usr/local/cuda`` and each other."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check, fact
from hrm.doctor.cuda.toolkits import DEFAULT, Toolkit, default_toolkit, least_driver, library_dir, own_driver, toolkits
from hrm.doctor.evidence import said
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.gpu.driver import VERSION, loaded_driver
from hrm.doctor.places import numbers, real_path
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import System
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text

DRIVER_TOO_OLD = Fault(
    code="HRM-CUDA-001",
    severity=Severity.ERROR,
    title=Text(
        "CUDA {toolkit} needs driver {needed} or newer, {loaded} is loaded",
        "CUDA {toolkit} 需要驱动 {needed} 或更新，当前加载的是 {loaded}",
    ),
    why=Text(
        "Programs that are built with it fail: CUDA driver version is insufficient for CUDA runtime version. This "
        "comes of a runfile of an older toolkit that brought its own driver along.",
        "用它构建的程序会失败：CUDA driver version is insufficient for CUDA runtime version。"
        "常因旧版工具包的 runfile 安装了自带的驱动。",
    ),
    cure=Text(
        "Install a newer driver (never by the runfile of an older toolkit), or lead /usr/local/cuda to one that fits.",
        "安装更新的驱动（不要用旧版工具包的 runfile），或将 /usr/local/cuda 指向合适的工具包。",
    ),
)
DRIVER_OLDER_THAN_TOOLKIT = Fault(
    code="HRM-CUDA-002",
    severity=Severity.INFO,
    title=Text(
        "CUDA {toolkit} is made for driver {needed}, {loaded} is loaded",
        "CUDA {toolkit} 面向驱动 {needed}，当前加载的是 {loaded}",
    ),
    why=Text(
        "Programs run, but for what is new in this release and for code that is compiled when it is loaded (PTX).",
        "程序可以运行，但该版本的新功能和加载时编译的代码（PTX）除外。",
    ),
    cure=Text("Nothing has to be done. A newer driver would do.", "无需处理。可升级驱动。"),
)
LINK_BROKEN = Fault(
    code="HRM-CUDA-003",
    severity=Severity.ERROR,
    title=Text(
        "/usr/local/cuda leads to {target}, where no toolkit is", "/usr/local/cuda 指向 {target}，那里没有工具包"
    ),
    why=Text(
        "nvcc is not found, and programs that look for libraries there do not start.",
        "找不到 nvcc，在该处查找库的程序无法启动。",
    ),
    cure=Text("Let it lead to a toolkit that is installed.", "将它指向已安装的工具包。"),
)
LINK_IS_NO_LINK = Fault(
    code="HRM-CUDA-004",
    severity=Severity.WARNING,
    title=Text(
        "/usr/local/cuda is a directory of its own beside {others}", "/usr/local/cuda 是独立目录，旁边另有 {others}"
    ),
    why=Text(
        "Nobody can tell which release it is, and what is installed into the others does not reach it.",
        "无法分辨它是哪个版本，安装到其他目录的内容也不会进入其中。",
    ),
    cure=Text(
        "Move it away, and make it a link to the wanted toolkit.", "移走该目录，并将其改为指向所需工具包的链接。"
    ),
)
NOT_THE_WANTED = Fault(
    code="HRM-CUDA-005",
    severity=Severity.ERROR,
    title=Text("/usr/local/cuda is {found}, wanted is CUDA {wanted}", "/usr/local/cuda 是 {found}，应为 CUDA {wanted}"),
    why=Text(
        "Programs are built and started with another release than on the other nodes.",
        "程序会用与其他节点不同的版本构建和运行。",
    ),
    cure=Text(
        "Install the wanted toolkit without its driver, and let the link lead to it.",
        "安装所需工具包（不装其驱动），并更新链接。",
    ),
)
MIXED_TOOLKIT = Fault(
    code="HRM-CUDA-006",
    severity=Severity.WARNING,
    title=Text(
        "{path} is CUDA {version}, but its {part} is of {other}",
        "{path} 是 CUDA {version}，但其中的 {part} 属于 {other}",
    ),
    why=Text(
        "Two releases were installed into one directory: programs are compiled by one and linked to the other.",
        "两个版本被装进了同一目录：程序由一个版本编译却链接另一个版本。",
    ),
    cure=Text(
        "Uninstall it (cuda-uninstaller in its bin), and install the wanted release anew.",
        "卸载它（其 bin 中的 cuda-uninstaller），重新安装所需版本。",
    ),
)
OTHER_COMPILER = Fault(
    code="HRM-CUDA-007",
    severity=Severity.WARNING,
    title=Text(
        "{nvcc} is of CUDA {found}, /usr/local/cuda of {default}",
        "{nvcc} 属于 CUDA {found}，而 /usr/local/cuda 是 {default}",
    ),
    why=Text(
        "What is compiled by the one is linked to libraries of the other.",
        "由前者编译的程序会链接后者的库。",
    ),
    cure=Text(
        "Put /usr/local/cuda/bin first in PATH, or remove the other nvcc (Debian's package nvidia-cuda-toolkit).",
        "将 /usr/local/cuda/bin 放在 PATH 最前，或卸载另一个 nvcc（Debian 包 nvidia-cuda-toolkit）。",
    ),
)


@fact("cuda.toolkit")
def default_release(system: System) -> str | None:
    """Version of the toolkit that ``/usr/local/cuda`` leads to."""
    toolkit = default_toolkit(system)
    return toolkit.version if toolkit else None


@check("cuda.driver", DRIVER_TOO_OLD, DRIVER_OLDER_THAN_TOOLKIT, quick=True)
def driver_suffices(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """The driver that is loaded is new enough for the toolkits that are installed."""
    loaded = loaded_driver.tell(system)
    if loaded is None:
        return
    default = default_toolkit(system)
    all_of_them = toolkits(system)
    for toolkit in all_of_them:
        least, own = least_driver(toolkit.version), own_driver(toolkit.version)
        evidence = (toolkit.evidence, Evidence(VERSION, (system.read(VERSION) or "").partition("\n")[0], 1))
        if least and numbers(loaded) < numbers(least):
            is_default = default is not None and toolkit.path == default.path
            # A package of libraries (cuda-compat) may stand in for the driver's; whether programs find it is theirs.
            stands_in = system.stat(f"{toolkit.path}/compat/libcuda.so.1") is not None
            severity = Severity.INFO if stands_in else None if is_default else Severity.WARNING
            yield DRIVER_TOO_OLD.found(
                toolkit=toolkit.version,
                needed=least,
                loaded=loaded,
                severity=severity,
                evidence=evidence,
                cure=_newer_driver(loaded, least, all_of_them),
            )
        elif own and numbers(loaded) < numbers(own):
            yield DRIVER_OLDER_THAN_TOOLKIT.found(toolkit=toolkit.version, needed=own, loaded=loaded, evidence=evidence)


@check("cuda.link", LINK_BROKEN, LINK_IS_NO_LINK, NOT_THE_WANTED, quick=True)
def link_is_right(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """``/usr/local/cuda`` leads to the wanted toolkit."""
    installed = toolkits(system)
    target = system.link(DEFAULT)
    wanted = expected.cuda.toolkit
    default = default_toolkit(system)
    # Nodes without GPUs need no toolkit.
    if wanted is not None and (installed or loaded_driver.tell(system)) and not _is(default, wanted):
        found = f"CUDA {default.version}" if default else "—"
        line = default.evidence if default else Evidence(DEFAULT, f"leads to {target}" if target else "is not there")
        yield NOT_THE_WANTED.found(found=found, wanted=wanted, evidence=(line,), cure=_wanted(installed, wanted))
    elif target is not None and default is None:
        fitting = [one for one in installed if _is(one, wanted)] if wanted else installed
        yield LINK_BROKEN.found(
            target=target,
            evidence=(Evidence(DEFAULT, f"-> {target}"),),
            cure=(_lead_to(fitting[-1]),) if fitting else (_install(wanted),),
        )
    others = [one for one in installed if one.path != DEFAULT]
    about = system.stat(DEFAULT)
    if target is None and others and about is not None and about.is_dir and default is not None:
        names = ", ".join(one.path for one in others)
        yield LINK_IS_NO_LINK.found(
            others=names,
            evidence=(default.evidence,),
            cure=(
                run(
                    *("mv", "-T", DEFAULT, f"{DEFAULT}-{default.release}.moved"),
                    about=Text("Move the directory away.", "移走该目录。"),
                    risk=Risk.DISRUPTIVE,
                ),
                _lead_to(next((one for one in others if wanted and _is(one, wanted)), others[-1])),
            ),
        )


@check("cuda.parts", MIXED_TOOLKIT, quick=True)
def parts_are_of_one_release(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """The libraries of a toolkit are of its release."""
    for toolkit in toolkits(system):
        directory = library_dir(system, toolkit.path)
        for name in system.list(directory) if directory else ():
            # 10.1.105, 11.4.108: two numbers are the release, three the build. One or two alone are a name for linking.
            found = re.fullmatch(r"libcudart\.so\.(\d+\.\d+)\.\d+", name)
            if found and found[1] != toolkit.release:
                yield MIXED_TOOLKIT.found(
                    path=toolkit.path,
                    version=toolkit.version,
                    part="libcudart",
                    other=found[1],
                    evidence=(toolkit.evidence, Evidence(f"{directory}/{name}", name)),
                    cure=(_install(expected.cuda.toolkit or toolkit.release),),
                )


@check("cuda.compiler", MIXED_TOOLKIT, OTHER_COMPILER)
def compiler_is_the_toolkits(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """nvcc, as found by PATH and in ``/usr/local/cuda``, is of the toolkit there."""
    toolkit = default_toolkit(system)
    if toolkit is None:
        return
    own = f"{DEFAULT}/bin/nvcc"
    places = [own] if system.stat(own) is not None else []
    first = system.which("nvcc")
    if first is not None and real_path(system, first) != real_path(system, own):
        places.append(first)
    for place in places:
        output = system.run(place, "-V")
        found = re.search(r"release (\d+\.\d+)", output.stdout)
        if output.timed_out or not found:
            yield Unseen(f"{place} -V tells no release")
            continue
        if found[1] == toolkit.release:
            continue
        evidence = (said(output, "release"), toolkit.evidence)
        if place == own:
            yield MIXED_TOOLKIT.found(
                path=toolkit.path,
                version=toolkit.version,
                part="nvcc",
                other=found[1],
                evidence=evidence,
                cure=(_install(expected.cuda.toolkit or toolkit.release),),
            )
        else:
            yield OTHER_COMPILER.found(
                nvcc=place, found=found[1], default=toolkit.release, evidence=evidence, cure=_own_compiler(place)
            )


def _is(toolkit: Toolkit | None, wanted: str) -> bool:
    """Whether it is ``wanted``, of which fewer numbers stand for all that follow."""
    asked = numbers(wanted)
    if toolkit is None:
        return False
    # What says only its release cannot be held against a build.
    has = numbers(toolkit.version)
    return has[: len(asked)] == asked[: len(has)]


def _lead_to(toolkit: Toolkit) -> Step:
    about = Text(f"Let {DEFAULT} lead to CUDA {toolkit.version}.", f"将 {DEFAULT} 指向 CUDA {toolkit.version}。")
    return run("ln", "-sfn", toolkit.path, DEFAULT, about=about, risk=Risk.DISRUPTIVE)


def _install(wanted: str | None) -> Step:
    release = wanted or "…"
    return by_hand(
        f"Install the toolkit of CUDA {release} alone: its runfile with --silent --toolkit, without --driver.",
        f"只安装 CUDA {release} 的工具包：runfile 加 --silent --toolkit，不加 --driver。",
        risk=Risk.DISRUPTIVE,
    )


def _wanted(installed: list[Toolkit], wanted: str) -> tuple[Step, ...]:
    there = [toolkit for toolkit in installed if _is(toolkit, wanted)]
    if there:
        return (_lead_to(there[-1]), run("ldconfig", about=Text("Have libraries found anew.", "重建库缓存。")))
    return (_install(wanted), by_hand(f"Let {DEFAULT} lead to it.", f"将 {DEFAULT} 指向它。", risk=Risk.DISRUPTIVE))


def _newer_driver(loaded: str, least: str, installed: list[Toolkit]) -> tuple[Step, ...]:
    fitting = [one for one in installed if (need := least_driver(one.version)) and numbers(need) <= numbers(loaded)]
    instead = f", or use CUDA {fitting[-1].version} ({fitting[-1].path})" if fitting else ""
    instead_zh = f"，或改用 CUDA {fitting[-1].version}({fitting[-1].path})" if fitting else ""
    return (
        by_hand(
            f"Install driver {least} or newer, from one source (packages or runfile, not both){instead}.",
            f"安装驱动 {least} 或更新（软件包或 runfile 二选一）{instead_zh}。",
            risk=Risk.REBOOT,
        ),
    )


def _own_compiler(place: str) -> tuple[Step, ...]:
    if place == "/usr/bin/nvcc":
        return (
            run(
                *("apt-get", "remove", "-y", "nvidia-cuda-toolkit"),
                about=Text("Remove Debian's toolkit.", "卸载 Debian 自带的工具包。"),
                risk=Risk.DISRUPTIVE,
            ),
        )
    return (
        by_hand(
            f"Put {DEFAULT}/bin before {place.rpartition('/')[0]} in PATH (/etc/profile.d, /etc/environment).",
            f"在 PATH 中将 {DEFAULT}/bin 放到 {place.rpartition('/')[0]} 之前（/etc/profile.d、/etc/environment）。",
        ),
    )
