"""Native libraries of Java programs (JNI): whether all that they need is found when they are loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hrm.doctor.checks import Unseen, check
from hrm.doctor.cuda.toolkits import default_toolkit, library_dir, toolkits
from hrm.doctor.evidence import said
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.places import real_path
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import CannotSee, Output, System
from hrm.model.findings import Evidence, FileContent, Finding, Risk, Severity, Step, Text

#: Where Java and the dynamic linker look without being told.
_STANDARD = (
    "/usr/java/packages/lib",
    "/usr/lib/x86_64-linux-gnu/jni",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/jni",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
)
_NOT_FOUND = re.compile(r"^\s*(\S+) => not found")
_NO_VERSION = re.compile(r"version [`']([\w.]+)' not found")

LIBRARY_MISSING = Fault(
    code="HRM-JAVA-020",
    severity=Severity.ERROR,
    title=Text("The native library {library} is not there", "本地库 {library} 不存在"),
    why=Text(
        "Java programs that load it fail: java.lang.UnsatisfiedLinkError: no … in java.library.path.",
        "加载它的 Java 程序会失败：java.lang.UnsatisfiedLinkError: no … in java.library.path。",
    ),
    cure=Text("Copy it from a node that has it, or build it.", "从有该库的节点复制，或重新构建。"),
)
NEEDS_WHAT_IS_MISSING = Fault(
    code="HRM-JAVA-021",
    severity=Severity.ERROR,
    title=Text("{library} needs {missing}, which is not found", "{library} 需要 {missing}，但找不到"),
    why=Text(
        "Java programs that load it fail: java.lang.UnsatisfiedLinkError: {missing}: cannot open shared object file.",
        "加载它的 Java 程序会失败：java.lang.UnsatisfiedLinkError: {missing}: cannot open shared object file。",
    ),
    cure=Text(
        "Tell the dynamic linker where it lies (ld.so.conf.d, or LD_LIBRARY_PATH), or install it. One of another "
        "release of CUDA: build the library for the release that is here.",
        "告诉动态链接器它的位置（ld.so.conf.d 或 LD_LIBRARY_PATH），或安装它。若属于另一 CUDA 版本，请重新构建。",
    ),
)
NOT_LOADABLE = Fault(
    code="HRM-JAVA-022",
    severity=Severity.ERROR,
    title=Text("{library} is no library for this machine", "{library} 不是可在本机加载的库"),
    why=Text(
        "It was built for another kind of processor, or broken on its way: wrong ELF class, invalid ELF header.",
        "它面向其他处理器构建，或传输中损坏：wrong ELF class、invalid ELF header。",
    ),
    cure=Text("Build it on a machine like this one, and copy it whole.", "在同类机器上构建并完整复制。"),
)
SYSTEM_TOO_OLD = Fault(
    code="HRM-JAVA-023",
    severity=Severity.ERROR,
    title=Text("{library} needs {symbols} of a newer system", "{library} 需要较新系统的 {symbols}"),
    why=Text(
        "It was built on a newer system than this one, and cannot be loaded here.",
        "它在比本机更新的系统上构建，无法在此加载。",
    ),
    cure=Text("Build it on the oldest system that it is to run on.", "在需要运行的最旧系统上构建。"),
)
COPIES_DIFFER = Fault(
    code="HRM-JAVA-024",
    severity=Severity.WARNING,
    title=Text(
        "{name} lies in {first} and, different, in {second}", "{name} 在 {first} 和 {second} 中各有一份，内容不同"
    ),
    why=Text(
        "The first one that is found counts. After a build that was copied to one only, programs run the old one.",
        "先找到的生效。若构建后只复制到其中一处，程序会运行旧的那份。",
    ),
    cure=Text("Keep one, and make the other a link to it.", "保留一份，将另一份改为指向它的链接。"),
)
OUT_OF_SIGHT = Fault(
    code="HRM-JAVA-025",
    severity=Severity.WARNING,
    title=Text("{library} lies where Java does not look", "{library} 所在目录不在 Java 的查找路径中"),
    why=Text(
        "System.loadLibrary fails unless each program says -Djava.library.path: UnsatisfiedLinkError: no … in "
        "java.library.path.",
        "除非每个程序都指定 -Djava.library.path，否则 System.loadLibrary 会失败："
        "UnsatisfiedLinkError: no … in java.library.path。",
    ),
    cure=Text(
        "Link it into /usr/lib/jni, or name its directory in doctor.java.library_path.",
        "将其复制或链接到 /usr/lib/jni，或在 doctor.java.library_path 中写入其目录。",
    ),
)


@check(
    "java.native",
    LIBRARY_MISSING,
    NEEDS_WHAT_IS_MISSING,
    NOT_LOADABLE,
    SYSTEM_TOO_OLD,
    COPIES_DIFFER,
    OUT_OF_SIGHT,
)
def libraries_can_be_loaded(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """The native libraries that are named in doctor.java.libraries find all that they need."""
    path = expected.java.library_path
    for library in expected.java.libraries:
        if system.stat(library) is None:
            lines = (Evidence(library, "No such file or directory"),)
            yield LIBRARY_MISSING.found(library=library, evidence=lines, cure=_fetch(library))
            continue
        yield from _placed(system, library, path)
        told = ("env", f"LD_LIBRARY_PATH={':'.join(path)}") if path else ()
        output = system.run(*told, "ldd", library)
        if output.timed_out or output.missing:
            yield Unseen(f"what {library} needs: ldd {'did not answer in time' if output.timed_out else 'is missing'}")
            continue
        yield from _needs(system, library, output, path)


def _needs(system: System, library: str, output: Output, path: Sequence[str]) -> Iterator[Finding]:
    if re.search(r"not a dynamic executable|wrong ELF class|invalid ELF header|not regular file", output.text):
        yield NOT_LOADABLE.found(
            library=library,
            evidence=(said(output, "not a dynamic|wrong ELF|invalid ELF|not regular"),),
            cure=(by_hand("Build it on a machine like this one.", "在同类机器上构建。"),),
        )
        return
    symbols = list(dict.fromkeys(found[1] for found in _NO_VERSION.finditer(output.text)))
    if symbols:
        yield SYSTEM_TOO_OLD.found(
            library=library,
            symbols=", ".join(symbols),
            evidence=(said(output, _NO_VERSION.pattern),),
            cure=(by_hand("Build it on the oldest system that it is to run on.", "在需要运行的最旧系统上构建。"),),
        )
    for missing in dict.fromkeys(found[1] for line in output.lines if (found := _NOT_FOUND.match(line))):
        where, more, cure = _search(system, library, missing, path)
        evidence = (said(output, re.escape(missing)), *([Evidence(where, more)] if where else []))
        yield NEEDS_WHAT_IS_MISSING.found(library=library, missing=missing, evidence=evidence, cure=cure)


def _search(system: System, library: str, missing: str, path: Sequence[str]) -> tuple[str, str, tuple[Step, ...]]:
    """Where the missing library lies after all, or one of another release; what that is; and the cure."""
    stem, _, wanted = missing.partition(".so")
    cuda = [place for one in toolkits(system) if (place := library_dir(system, one.path))]
    own = library.rpartition("/")[0]
    places = dict.fromkeys(real_path(system, place) for place in (own, *path, *_STANDARD, *cuda))
    for place in places:
        if missing in _names(system, place):
            conf = f"/etc/ld.so.conf.d/{re.sub(r'[^A-Za-z0-9]+', '-', stem)}.conf"
            about = Text(f"Have {place} looked through.", f"使链接器查找 {place}。")
            write = Step(about=about, risk=Risk.DISRUPTIVE, writes=FileContent(conf, f"{place}\n"))
            return f"{place}/{missing}", "is there", (write, run("ldconfig"))
    for place in places:
        others = [name for name in _names(system, place) if name.startswith(f"{stem}.so.")]
        if others and wanted:
            return f"{place}/{others[0]}", f"another release than {missing}", _rebuild(system, library, missing, place)
    return "", "", _fetch(missing)


def _rebuild(system: System, library: str, missing: str, place: str) -> tuple[Step, ...]:
    cuda = default_toolkit(system)
    if cuda is not None and place.startswith(f"{cuda.path}/"):
        return (
            by_hand(
                f"Build {library} for CUDA {cuda.release} (-L{cuda.path}/lib64), or install the toolkit that has "
                f"{missing} beside it, without its driver.",
                f"为 CUDA {cuda.release} 重新构建 {library}(-L{cuda.path}/lib64),"
                f"或另装含 {missing} 的工具包（不装其驱动）。",
                risk=Risk.DISRUPTIVE,
            ),
        )
    return (
        by_hand(
            f"Build {library} anew on this system, or install the release that has {missing}.",
            f"在本机重新构建 {library}，或安装含 {missing} 的版本。",
            risk=Risk.DISRUPTIVE,
        ),
    )


def _fetch(name: str) -> tuple[Step, ...]:
    base = name.rpartition("/")[2]
    return (
        by_hand(
            f"Copy {base} from a node that has it (find / -xdev -name {base}), or build it; then run ldconfig.",
            f"从有 {base} 的节点复制（find / -xdev -name {base}），或重新构建；然后执行 ldconfig。",
        ),
    )


def _placed(system: System, library: str, path: Sequence[str]) -> Iterator[Finding]:
    directory, _, name = library.rpartition("/")
    seen = {real_path(system, place) for place in (*path, *_STANDARD)}
    if real_path(system, directory) not in seen:
        yield OUT_OF_SIGHT.found(
            library=library,
            evidence=(Evidence("java.library.path", " ".join((*path, *_STANDARD))),),
            cure=(
                run("mkdir", "-p", "/usr/lib/jni"),
                run("ln", "-sfn", library, f"/usr/lib/jni/{name}", about=Text("Link it there.", "在该处创建链接。")),
            ),
        )
    own = system.stat(library)
    for place in dict.fromkeys((*path, *_STANDARD)):
        other = f"{place}/{name}"
        about = system.stat(other)
        if own is None or about is None or real_path(system, other) == real_path(system, library):
            continue
        if about.size_bytes != own.size_bytes:
            yield COPIES_DIFFER.found(
                name=name,
                first=directory,
                second=place,
                evidence=tuple(
                    Evidence(file, f"{size} bytes")
                    for file, size in ((library, own.size_bytes), (other, about.size_bytes))
                ),
                cure=(
                    by_hand(
                        f"See which one is newer, and make the other a link: ln -sfn {library} {other}",
                        f"确认哪份较新，将另一份改为链接：ln -sfn {library} {other}",
                        risk=Risk.DISRUPTIVE,
                    ),
                ),
            )
            return


def _names(system: System, directory: str) -> Sequence[str]:
    try:
        return system.list(directory)
    except CannotSee:
        return ()
