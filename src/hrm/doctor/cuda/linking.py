"""Whether the dynamic linker finds CUDA's libraries: ``/etc/ld.so.conf.d`` and its cache."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check, fact
from hrm.doctor.cuda.toolkits import DEFAULT, default_toolkit, library_dir, toolkits
from hrm.doctor.environment import settings
from hrm.doctor.evidence import line_of
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.places import real_path
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import System
from hrm.model.findings import Evidence, FileContent, Finding, Risk, Severity, Step, Text

CONF = "/etc/ld.so.conf"
CONF_DIR = "/etc/ld.so.conf.d"
CACHE = ("ldconfig", "-p")
_TOOLKIT = re.compile(r"/cuda(-\d+(\.\d+)?)?(/|$)")

NAMES_NOTHING = Fault(
    code="HRM-CUDA-010",
    severity=Severity.WARNING,
    title=Text("{file} names {directory}, which is not there", "{file} 指定的 {directory} 不存在"),
    why=Text(
        "It was written for a toolkit that has gone. Libraries of the one that is there may not be found instead.",
        "它属于已卸载的工具包，而现有工具包的库可能因此找不到。",
    ),
    cure=Text(
        "Remove the line, name the directory of the installed toolkit, and run ldconfig.",
        "删除该行，写入现有工具包的目录，再执行 ldconfig。",
    ),
)
DEFAULT_NOT_NAMED = Fault(
    code="HRM-CUDA-011",
    severity=Severity.WARNING,
    title=Text(
        "ld.so.conf.d names other toolkits, but not CUDA {release} of /usr/local/cuda",
        "ld.so.conf.d 指定了其他工具包，但没有 /usr/local/cuda 的 CUDA {release}",
    ),
    why=Text(
        "Programs that are built with it start only where LD_LIBRARY_PATH is set: "
        "error while loading shared libraries: libcudart.so.",
        "用它构建的程序只有设置了 LD_LIBRARY_PATH 才能启动：error while loading shared libraries: libcudart.so。",
    ),
    cure=Text(
        "Name its library directory in a file of ld.so.conf.d, and run ldconfig.",
        "在 ld.so.conf.d 的文件中写入其库目录，再执行 ldconfig。",
    ),
)
NOT_IN_CACHE = Fault(
    code="HRM-CUDA-012",
    severity=Severity.WARNING,
    title=Text("The linker's cache lacks {library} of {directory}", "链接器缓存中没有 {directory} 的 {library}"),
    why=Text(
        "ldconfig was not run since it was installed. Programs do not start: error while loading shared libraries.",
        "安装后未执行 ldconfig。程序无法启动：error while loading shared libraries。",
    ),
    cure=Text("Run ldconfig.", "执行 ldconfig。"),
)

PATH_NAMES_NOTHING = Fault(
    code="HRM-CUDA-013",
    severity=Severity.WARNING,
    title=Text(
        "{file} puts {directory} into LD_LIBRARY_PATH, which is not there",
        "{file} 将不存在的 {directory} 加入 LD_LIBRARY_PATH",
    ),
    why=Text(
        "It was written for a toolkit that has gone: error while loading shared libraries, unless ld.so.conf.d helps.",
        "它属于已卸载的工具包：除非 ld.so.conf.d 中另有设置，否则报 error while loading shared libraries。",
    ),
    cure=Text("Name the library directory of the toolkit that is there.", "改为现有工具包的库目录。"),
)
PATH_PREFERS_ANOTHER = Fault(
    code="HRM-CUDA-014",
    severity=Severity.WARNING,
    title=Text(
        "{file} puts CUDA {other} into LD_LIBRARY_PATH, /usr/local/cuda is {release}",
        "{file} 将 CUDA {other} 加入 LD_LIBRARY_PATH，而 /usr/local/cuda 是 {release}",
    ),
    why=Text(
        "Libraries of the one are loaded by programs that were built with the other: cuDNN has the same name in both.",
        "用一个版本构建的程序会加载另一版本的库：cuDNN 在两者中同名。",
    ),
    cure=Text("Name /usr/local/cuda/lib64 instead.", "改为 /usr/local/cuda/lib64。"),
)


@fact("cuda.ld-so-conf")
def search_path(system: System) -> str | None:
    """Where the dynamic linker looks, as configured."""
    return " ".join(directory for _, _, directory in _entries(system)) or None


@check("cuda.linker", NAMES_NOTHING, DEFAULT_NOT_NAMED, quick=True)
def configuration_names_what_is_there(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """What ``/etc/ld.so.conf.d`` says of CUDA is there, and the default toolkit is among it."""
    named = [(file, number, place) for file, number, place in _entries(system) if _TOOLKIT.search(place)]
    for file, number, place in named:
        if system.stat(real_path(system, place)) is None:
            yield NAMES_NOTHING.found(
                file=file,
                directory=place,
                evidence=(line_of(file, number, place),),
                cure=(
                    run(
                        *("sed", "-i", f"\\|^[[:space:]]*{re.escape(place)}[[:space:]]*$|d", file),
                        about=Text(f"Remove the line from {file}.", f"从 {file} 删除该行。"),
                    ),
                    _ldconfig(),
                ),
            )
    toolkit = default_toolkit(system)
    directory = library_dir(system, toolkit.path) if toolkit else None
    if toolkit is None or directory is None or not named:
        return
    if directory not in {real_path(system, place) for _, _, place in named}:
        yield DEFAULT_NOT_NAMED.found(
            release=toolkit.release,
            evidence=(*(line_of(file, number, place) for file, number, place in named[:3]), toolkit.evidence),
            cure=(
                Step(
                    about=Text("Name its library directory.", "写入其库目录。"),
                    risk=Risk.DISRUPTIVE,
                    writes=FileContent(f"{CONF_DIR}/cuda-{toolkit.release.replace('.', '-')}.conf", f"{directory}\n"),
                ),
                _ldconfig(),
            ),
        )


@check("cuda.linker-cache", NOT_IN_CACHE)
def cache_has_what_is_named(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """The dynamic linker's cache has the runtime library of each toolkit that its configuration names."""
    named = {real_path(system, place) for _, _, place in _entries(system)}
    directories = [place for one in toolkits(system) if (place := library_dir(system, one.path)) in named]
    if not directories:
        return
    output = system.run(*CACHE)
    if not output.ok:
        yield Unseen("what ldconfig -p says")
        return
    cached = {real_path(system, line.rpartition(" => ")[2].strip()) for line in output.lines if "libcudart" in line}
    for directory in directories:
        if directory is not None and not any(path.startswith(f"{directory}/") for path in cached):
            library = next(name for name in system.list(directory) if name.startswith("libcudart.so"))
            yield NOT_IN_CACHE.found(
                library=library,
                directory=directory,
                evidence=(Evidence("ldconfig -p", f"{len(output.lines)} lines, without {directory}/{library}"),),
                cure=(_ldconfig(),),
            )


@check("cuda.library-path", PATH_NAMES_NOTHING, PATH_PREFERS_ANOTHER, quick=True)
def library_path_leads_to_the_toolkit(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """What LD_LIBRARY_PATH names of CUDA, where files set it for everybody, is the default toolkit's."""
    default = default_toolkit(system)
    for setting in settings(system, "LD_LIBRARY_PATH"):
        for place in setting.value.split(":"):
            if not place.startswith("/") or "$" in place or not _TOOLKIT.search(place):
                continue
            real = real_path(system, place)
            advice = by_hand(
                f"In {setting.file} write {DEFAULT}/lib64 for {place}.",
                f"在 {setting.file} 中将 {place} 改为 {DEFAULT}/lib64。",
            )
            if system.stat(real) is None:
                yield PATH_NAMES_NOTHING.found(
                    file=setting.file, directory=place, evidence=(setting.evidence,), cure=(advice,)
                )
                continue
            owner = next((one for one in toolkits(system) if real.startswith(f"{one.path}/")), None)
            if owner is not None and default is not None and owner.release != default.release:
                yield PATH_PREFERS_ANOTHER.found(
                    file=setting.file,
                    other=owner.release,
                    release=default.release,
                    evidence=(setting.evidence, default.evidence),
                    cure=(advice,),
                )


def _entries(system: System) -> Iterator[tuple[str, int, str]]:
    """File, number of the line and directory, in the order in which they are looked through."""
    files = [f"{CONF_DIR}/{name}" for name in system.list(CONF_DIR) if name.endswith(".conf")]
    for file in [CONF, *files]:
        for number, line in enumerate((system.read(file) or "").splitlines(), 1):
            place = line.partition("#")[0].strip()
            if place.startswith("/"):
                yield file, number, place


def _ldconfig() -> Step:
    return run("ldconfig", about=Text("Have libraries found anew.", "重建库缓存。"))
