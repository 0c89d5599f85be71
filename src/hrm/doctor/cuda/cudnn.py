"""cuDNN: its headers, its libraries and their links, and the CUDA that it was built for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hrm.doctor.checks import Unseen, check, fact
from hrm.doctor.cuda.toolkits import DEFAULT, Toolkit, default_toolkit, library_dir, toolkits
from hrm.doctor.evidence import matching_lines
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.places import numbers, real_path
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import System
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text

#: Since 8 versions stand in a header of their own.
HEADERS = ("cudnn_version.h", "cudnn.h")
_SYSTEM_INCLUDE = "/usr/include"
_SYSTEM_LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64")
_DPKG = "/var/lib/dpkg/status"
_PACKAGE = r"^(?:Version: ([\d.]+)-\d+\+cuda(\d+\.\d+)|Package: libcudnn\d+-cuda-(\d+)$)"
_LIBRARY = re.compile(r"(libcudnn[a-z_]*)\.so((?:\.\d+)*)")
#: Archives keep both versions in their names: ``cudnn-10.0-linux-x64-v7.6.4.38.tgz``.
_ARCHIVE = re.compile(r"cudnn-(\d+\.\d+)-linux-\w+-v([\d.]+?)\.(?:tgz|tar\.\w+|solitairetheme8)")
_NEW_ARCHIVE = re.compile(r"cudnn-linux-\w+-(\d+\.\d+\.\d+)[\d.]*_cuda(\d+(?:\.\d+)?)-archive")
_ARCHIVE_DIRS = ("/usr/local", "/root", "/soft", "/opt")
#: The library says itself which CUDA it was built for; it needs no GPU to say it.
ASK = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).cudnnGetCudartVersion())"

HEADER_AND_LIBRARY_DIFFER = Fault(
    code="HRM-CUDNN-001",
    severity=Severity.WARNING,
    title=Text(
        "cuDNN's header in {include} is {header}, its library in {directory} is {library}",
        "{include} 中 cuDNN 头文件是 {header},{directory} 中的库是 {library}",
    ),
    why=Text(
        "Programs that are compiled here call the library wrongly, or refuse it: loaded runtime CuDNN library, "
        "but source was compiled with another.",
        "在此编译的程序会错误调用该库或拒绝它：loaded runtime CuDNN library, but source was compiled with another。",
    ),
    cure=Text("Install header and libraries of one archive or package.", "安装同一压缩包或软件包的头文件和库。"),
)
UNREADABLE = Fault(
    code="HRM-CUDNN-002",
    severity=Severity.ERROR,
    title=Text("Others than root cannot read {files}", "非 root 用户无法读取 {files}"),
    why=Text(
        "Users' programs do not compile, or do not start: cannot open shared object file: Permission denied.",
        "用户的程序无法编译或启动：cannot open shared object file: Permission denied。",
    ),
    cure=Text("chmod a+r the header and the libraries.", "对头文件和库执行 chmod a+r。"),
)
COPIED_LINKS = Fault(
    code="HRM-CUDNN-003",
    severity=Severity.WARNING,
    title=Text("{files} in {directory} are copies and no links", "{directory} 中的 {files} 是副本而不是链接"),
    why=Text(
        "They were copied by cp without -P. ldconfig says they are not symbolic links, and the next update changes "
        "only some of them: programs get the old library.",
        "它们是用不带 -P 的 cp 复制的。ldconfig 会提示不是符号链接，下次更新只会替换其中一部分：程序仍会加载旧库。",
    ),
    cure=Text("Make them links to the library of their version.", "将其改为指向对应版本库的链接。"),
)
LINK_MISSING = Fault(
    code="HRM-CUDNN-004",
    severity=Severity.ERROR,
    title=Text(
        "{directory} has {library}, but no {link} that leads to it", "{directory} 中有 {library}，但没有指向它的 {link}"
    ),
    why=Text(
        "Programs look for the name of the link: cannot open shared object file: No such file or directory.",
        "程序按链接名查找：cannot open shared object file: No such file or directory。",
    ),
    cure=Text("Make the link, and run ldconfig.", "创建链接并执行 ldconfig。"),
)
BUILT_FOR_OTHER_CUDA = Fault(
    code="HRM-CUDNN-005",
    severity=Severity.ERROR,
    title=Text(
        "cuDNN {version} in {directory} was built for CUDA {built_for}, the toolkit is {toolkit}",
        "{directory} 中的 cuDNN {version} 面向 CUDA {built_for}，而工具包是 {toolkit}",
    ),
    why=Text(
        "Programs fail when they first use it: CUDNN_STATUS_NOT_INITIALIZED, or another libcublas missing.",
        "程序首次使用时失败：CUDNN_STATUS_NOT_INITIALIZED，或缺少另一版本的 libcublas。",
    ),
    cure=Text("Install the cuDNN that is built for this toolkit.", "安装面向此工具包的 cuDNN。"),
)
NOT_THE_WANTED = Fault(
    code="HRM-CUDNN-006",
    severity=Severity.ERROR,
    title=Text("cuDNN is {found}, wanted is {wanted}", "cuDNN 是 {found}，应为 {wanted}"),
    why=Text(
        "Programs that are built for the wanted one do not start here, or run otherwise than on other nodes.",
        "为所需版本构建的程序在此无法启动，或与其他节点表现不同。",
    ),
    cure=Text("Install the wanted cuDNN into the toolkit.", "将所需 cuDNN 安装到工具包中。"),
)


@dataclass(frozen=True, slots=True)
class Cudnn:
    """One cuDNN, as far as it is there."""

    include: str
    directory: str
    #: Of the header; "" where there is none.
    header: str
    header_line: Evidence | None
    #: Of ``libcudnn.so.X.Y.Z``; "" where there is none.
    library: str
    #: The toolkit it is used with.
    toolkit: Toolkit | None

    @property
    def version(self) -> str:
        """Of the library, else of the header."""
        return self.library or self.header


def installed(system: System) -> list[Cudnn]:
    """That of each toolkit, and that of the system. Raises CannotSee."""
    found = []
    places = [
        (f"{one.path}/include", library_dir(system, one.path) or f"{one.path}/lib64", one) for one in toolkits(system)
    ]
    default = default_toolkit(system)
    for include, directory, toolkit in [*places, *((_SYSTEM_INCLUDE, place, default) for place in _SYSTEM_LIBRARIES)]:
        library = _library_version(system, directory)
        header, line = _header_version(system, include)
        # The system's headers are beside all its library directories.
        if library or (header and directory not in _SYSTEM_LIBRARIES):
            found.append(Cudnn(include, directory, header, line, library, toolkit))
    return found


@fact("cuda.cudnn")
def default_version(system: System) -> str | None:
    """Version of the cuDNN that programs find: the default toolkit's, else the system's."""
    one = _default(system)
    return one.version if one else None


@check("cuda.cudnn-version", HEADER_AND_LIBRARY_DIFFER, NOT_THE_WANTED, quick=True)
def versions_agree(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """cuDNN's header and library are of one version, and of the wanted one."""
    for one in installed(system):
        if one.header and one.library and numbers(one.header)[:3] != numbers(one.library)[:3]:
            shown = Evidence(f"{one.directory}/libcudnn.so.{one.library}", f"libcudnn.so.{one.library}")
            yield HEADER_AND_LIBRARY_DIFFER.found(
                include=one.include,
                header=one.header,
                directory=one.directory,
                library=one.library,
                evidence=(*((one.header_line,) if one.header_line else ()), shown),
                cure=(_install(expected.cuda.cudnn or one.library, one.toolkit),),
            )
    wanted, default = expected.cuda.cudnn, _default(system)
    toolkit = default_toolkit(system)
    if wanted is not None and toolkit is not None:
        asked = numbers(wanted)
        if default is None or numbers(default.version)[: len(asked)] != asked[:3]:
            line = default.header_line if default else None
            yield NOT_THE_WANTED.found(
                found=default.version if default else "—",
                wanted=wanted,
                evidence=(line or Evidence(f"{DEFAULT}/include", "no cuDNN" if default is None else default.version),),
                cure=(_install(wanted, toolkit),),
            )


@check("cuda.cudnn-files", UNREADABLE, COPIED_LINKS, LINK_MISSING, quick=True)
def files_are_as_installed(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """cuDNN's files are readable, and its links are links."""
    for one in installed(system):
        paths = [f"{one.include}/{name}" for name in HEADERS]
        paths += [f"{one.directory}/{name}" for name in system.list(one.directory) if _LIBRARY.fullmatch(name)]
        about = {path: system.stat(path) for path in paths}
        modes = {path: file.mode & 0o7777 for path, file in about.items() if file is not None}
        closed = [path for path, mode in modes.items() if not mode & 0o004]
        if closed:
            yield UNREADABLE.found(
                files=", ".join(closed[:4]) + (" …" if len(closed) > 4 else ""),
                evidence=tuple(Evidence(path, f"mode {modes[path]:o}") for path in closed[:4]),
                cure=(run("chmod", "a+r", *closed, about=Text("Let all read them.", "允许所有人读取。")),),
            )
        yield from _links(system, one)


@check("cuda.cudnn-built-for", BUILT_FOR_OTHER_CUDA)
def built_for_its_toolkit(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """cuDNN was built for the toolkit that it is used with."""
    for one in installed(system):
        if one.toolkit is None or not one.library:
            continue
        known = _by_package(system, one) or _by_itself(system, one) or _by_archive(system, one)
        if known is None:
            yield Unseen(f"which CUDA the cuDNN in {one.directory} was built for")
            continue
        built_for, line = known
        if _fits(built_for, one.toolkit.release):
            continue
        yield BUILT_FOR_OTHER_CUDA.found(
            version=one.library,
            directory=one.directory,
            built_for=built_for,
            toolkit=one.toolkit.release,
            evidence=(line, one.toolkit.evidence),
            cure=(_install(expected.cuda.cudnn or one.library, one.toolkit),),
        )


def _fits(built_for: str, release: str) -> bool:
    """Since 11 a library for one release runs with all of the same major number."""
    built, used = numbers(built_for), numbers(release)
    return built[:1] == used[:1] if built[0] >= 11 or len(built) == 1 else built[:2] == used[:2]


def _by_package(system: System, one: Cudnn) -> tuple[str, Evidence] | None:
    """Packages have it in their versions: ``7.6.4.38-1+cuda10.1``, or in their names: ``libcudnn9-cuda-12``."""
    if one.directory not in _SYSTEM_LIBRARIES:
        return None
    for line, found in matching_lines(system, _DPKG, _PACKAGE):
        if found[3] or numbers(found[1])[:2] == numbers(one.library)[:2]:
            return found[3] or found[2], line
    return None


def _by_itself(system: System, one: Cudnn) -> tuple[str, Evidence] | None:
    path = f"{one.directory}/libcudnn.so.{one.library}"
    output = system.run("python3", "-c", ASK, path)
    number = int(output.stdout) if output.ok and output.stdout.strip().isdecimal() else 0
    if number < 1000:
        return None
    return f"{number // 1000}.{number % 1000 // 10}", Evidence(path, f"cudnnGetCudartVersion() gives {number}")


def _by_archive(system: System, one: Cudnn) -> tuple[str, Evidence] | None:
    """What lies about of the same version was probably what it was installed from."""
    for place in _ARCHIVE_DIRS:
        for name in system.list(place):
            old, new = _ARCHIVE.match(name), _NEW_ARCHIVE.match(name)
            version, cuda = (old[2], old[1]) if old else (new[1], new[2]) if new else ("", "")
            if version and numbers(version)[:3] == numbers(one.library)[:3]:
                return cuda, Evidence(f"{place}/{name}", name)
    return None


def _links(system: System, one: Cudnn) -> Iterator[Finding]:
    """``libcudnn.so`` and ``libcudnn.so.7`` lead to ``libcudnn.so.7.6.4``; the same for its parts since 8."""
    names = [name for name in system.list(one.directory) if _LIBRARY.fullmatch(name)]
    whole = {name: found for name in names if (found := _LIBRARY.fullmatch(name)) and found[2].count(".") >= 3}
    copied: list[tuple[str, str]] = []
    for real, found in whole.items():
        major = f"{found[1]}.so.{numbers(found[2][1:])[0]}"
        if major not in names:
            yield LINK_MISSING.found(
                directory=one.directory,
                library=real,
                link=major,
                evidence=(Evidence(one.directory, " ".join(names)[:200]),),
                cure=(_link(one.directory, real, major), run("ldconfig")),
            )
        for name in (major, f"{found[1]}.so"):
            path = f"{one.directory}/{name}"
            if name in names and system.link(path) is None and real_path(system, path) == path:
                copied.append((name, real))
    if copied:
        yield COPIED_LINKS.found(
            files=", ".join(name for name, _ in copied),
            directory=one.directory,
            evidence=tuple(Evidence(f"{one.directory}/{name}", "is a file of its own") for name, _ in copied[:4]),
            cure=(*(_link(one.directory, real, name) for name, real in copied), run("ldconfig")),
        )


def _link(directory: str, real: str, name: str) -> Step:
    about = Text(f"Let {name} lead to {real}.", f"将 {name} 指向 {real}。")
    return run("ln", "-sfn", real, f"{directory}/{name}", about=about, risk=Risk.DISRUPTIVE)


def _install(wanted: str, toolkit: Toolkit | None) -> Step:
    cuda = toolkit.release if toolkit else "…"
    place = toolkit.path if toolkit else DEFAULT
    return by_hand(
        f"Install cuDNN {wanted} for CUDA {cuda}: tar xf its archive; cp -P include/cudnn*.h {place}/include/; "
        f"cp -P lib*/libcudnn* {place}/lib64/; chmod a+r {place}/include/cudnn*.h {place}/lib64/libcudnn*; ldconfig.",
        f"安装面向 CUDA {cuda} 的 cuDNN {wanted}：解压后 cp -P include/cudnn*.h {place}/include/;"
        f"cp -P lib*/libcudnn* {place}/lib64/;chmod a+r {place}/include/cudnn*.h {place}/lib64/libcudnn*;ldconfig。",
        risk=Risk.DISRUPTIVE,
    )


def _default(system: System) -> Cudnn | None:
    default = default_toolkit(system)
    found = installed(system)
    own = [one for one in found if default and one.include == f"{default.path}/include"]
    return next(iter(own or [one for one in found if one.directory in _SYSTEM_LIBRARIES]), None)


def _header_version(system: System, include: str) -> tuple[str, Evidence | None]:
    for name in HEADERS:
        parts = {}
        first: Evidence | None = None
        pattern = r"^\s*#define\s+CUDNN_(MAJOR|MINOR|PATCHLEVEL)\s+(\d+)"
        for line, found in matching_lines(system, f"{include}/{name}", pattern):
            parts[found[1]] = found[2]
            first = first or line
        if len(parts) == 3:
            return ".".join(parts[part] for part in ("MAJOR", "MINOR", "PATCHLEVEL")), first
    return "", None


def _library_version(system: System, directory: str) -> str:
    versions = [
        found[2][1:]
        for name in system.list(directory)
        if (found := _LIBRARY.fullmatch(name)) and found[1] == "libcudnn" and found[2].count(".") >= 3
    ]
    # Of several that one counts to which the link leads.
    for name in ("libcudnn.so", *(f"libcudnn.so.{numbers(version)[0]}" for version in versions)):
        target = _LIBRARY.fullmatch(real_path(system, f"{directory}/{name}").rpartition("/")[2])
        if target and target[2][1:] in versions:
            return target[2][1:]
    return max(versions, key=numbers, default="")
