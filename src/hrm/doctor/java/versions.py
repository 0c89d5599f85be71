"""Whether the Java that programs need is there, and is the one that they get."""

from __future__ import annotations

from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check, fact
from hrm.doctor.environment import settings
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.java.jdks import JAVA, Jdk, default_compiler, default_jdk, jdk_at, jdks, major_of
from hrm.doctor.places import numbers, real_path
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import System
from hrm.model.findings import Evidence, FileContent, Finding, Risk, Severity, Step, Text

WANTED_MISSING = Fault(
    code="HRM-JAVA-001",
    severity=Severity.ERROR,
    title=Text("Java {wanted} is not installed", "未安装 Java {wanted}"),
    why=Text(
        "Programs that need it do not start: UnsupportedClassVersionError with an older one, classes lack in a newer.",
        "需要它的程序无法启动：旧版会报 UnsupportedClassVersionError，新版会缺少类。",
    ),
    cure=Text("Install it; others may stay beside it.", "安装它，其他版本可并存。"),
)
DEFAULT_IS_ANOTHER = Fault(
    code="HRM-JAVA-002",
    severity=Severity.ERROR,
    title=Text("java is {found}, programs need {wanted}", "java 是 {found}，程序需要 {wanted}"),
    why=Text(
        "Whoever starts java without a path gets the other one. It happens when a package brings a newer Java along.",
        "不带路径启动 java 时会得到另一版本。常因某软件包带来了更新的 Java。",
    ),
    cure=Text(
        "Let the alternatives lead java and javac to the wanted one.", "用 alternatives 将 java 和 javac 指向所需版本。"
    ),
)
COMPILER_IS_ANOTHER = Fault(
    code="HRM-JAVA-003",
    severity=Severity.WARNING,
    title=Text("javac is of Java {compiler}, java is {runtime}", "javac 属于 Java {compiler},java 是 {runtime}"),
    why=Text(
        "What is compiled here does not run here: UnsupportedClassVersionError.",
        "在此编译的程序无法在此运行：UnsupportedClassVersionError。",
    ),
    cure=Text("Let the alternatives lead both to one installation.", "用 alternatives 将两者指向同一安装。"),
)
HOME_LEADS_NOWHERE = Fault(
    code="HRM-JAVA-010",
    severity=Severity.ERROR,
    title=Text("{file} sets JAVA_HOME to {home}, where no Java is", "{file} 将 JAVA_HOME 设为 {home}，那里没有 Java"),
    why=Text(
        "Hadoop, Spark and Maven do not start: JAVA_HOME is not set correctly.",
        "Hadoop、Spark、Maven 无法启动：JAVA_HOME is not set correctly。",
    ),
    cure=Text("Set it to an installation that is there.", "将其设为存在的安装目录。"),
)
HOME_IS_ANOTHER = Fault(
    code="HRM-JAVA-011",
    severity=Severity.WARNING,
    title=Text(
        "{file} sets JAVA_HOME to Java {found}, wanted is {wanted}",
        "{file} 将 JAVA_HOME 设为 Java {found}，应为 {wanted}",
    ),
    why=Text(
        "Programs that go by JAVA_HOME use another Java than those that go by PATH, or than on other nodes.",
        "按 JAVA_HOME 启动的程序会与按 PATH 启动的程序或其他节点使用不同的 Java。",
    ),
    cure=Text("Set it to the wanted installation.", "将其设为所需的安装目录。"),
)
HOME_IS_NOT_SET = Fault(
    code="HRM-JAVA-012",
    severity=Severity.WARNING,
    title=Text("JAVA_HOME is not set, and is to be {wanted}", "未设置 JAVA_HOME，应为 {wanted}"),
    why=Text(
        "Hadoop and others do not start on this node: JAVA_HOME is not set and could not be found.",
        "Hadoop 等在此节点无法启动：JAVA_HOME is not set and could not be found。",
    ),
    cure=Text("Set it for all users in /etc/profile.d.", "在 /etc/profile.d 中为所有用户设置。"),
)
HOMES_DIFFER = Fault(
    code="HRM-JAVA-013",
    severity=Severity.WARNING,
    title=Text("JAVA_HOME is set to {one} and to {other}", "JAVA_HOME 同时被设为 {one} 和 {other}"),
    why=Text(
        "Which one counts depends on how somebody logs in: shells, services and cron read different files.",
        "生效的值取决于登录方式：shell、服务和 cron 读取不同的文件。",
    ),
    cure=Text("Set it in one place only.", "只在一处设置。"),
)
_PROFILE = "/etc/profile.d/java.sh"


@fact("java.version")
def default_version(system: System) -> str | None:
    """Version of the Java that all users get."""
    default = default_jdk(system)
    return default.version or None if default else None


@check("java.default", WANTED_MISSING, DEFAULT_IS_ANOTHER, COMPILER_IS_ANOTHER, quick=True)
def the_wanted_one_is_the_default(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """The Java that programs need is installed, and java and javac are of it."""
    wanted = expected.java.version
    default, compiler = default_jdk(system), default_compiler(system)
    if wanted is not None:
        there = [one for one in jdks(system) if fits(one.version, wanted)]
        if not there:
            seen = tuple(one.evidence for one in jdks(system)) or (Evidence("/usr/lib/jvm", "no Java"),)
            yield WANTED_MISSING.found(wanted=wanted, evidence=seen, cure=_install(system, wanted))
        elif default is None or not fits(default.version, wanted):
            line = default.evidence if default else Evidence(JAVA, "leads to no Java that is known")
            yield DEFAULT_IS_ANOTHER.found(
                found=default.version if default else "—", wanted=wanted, evidence=(line,), cure=_choose(there[-1])
            )
    if default and compiler and default.major and compiler.major and default.major != compiler.major:
        yield COMPILER_IS_ANOTHER.found(
            compiler=compiler.version,
            runtime=default.version,
            evidence=(
                Evidence("/usr/bin/javac", f"-> {real_path(system, '/usr/bin/javac')}"),
                Evidence(JAVA, f"-> {real_path(system, JAVA)}"),
            ),
            cure=_choose(default if default.full else compiler),
        )


@check("java.home", HOME_LEADS_NOWHERE, HOME_IS_ANOTHER, HOME_IS_NOT_SET, HOMES_DIFFER, quick=True)
def home_is_right(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """JAVA_HOME, where files set it, leads to the Java that programs need."""
    # What is worked out by commands or other variables cannot be known from here.
    said = [one for one in settings(system, "JAVA_HOME", expected.java.files) if one.value and "$" not in one.value]
    wanted_home, wanted = expected.java.home, expected.java.version
    homes: dict[str, str] = {}
    for one in said:
        jdk = jdk_at(system, one.value)
        if jdk is None:
            yield HOME_LEADS_NOWHERE.found(
                file=one.file, home=one.value, evidence=(one.evidence,), cure=_set_home(system, expected, one.file)
            )
            continue
        homes.setdefault(jdk.home.removesuffix("/jre"), one.value)
        other_home = wanted_home is not None and real_path(system, wanted_home) != real_path(system, one.value)
        if other_home or (wanted is not None and not fits(jdk.version, wanted)):
            yield HOME_IS_ANOTHER.found(
                file=one.file,
                found=jdk.version or one.value,
                wanted=wanted_home if other_home else wanted,
                evidence=(one.evidence, jdk.evidence),
                cure=_set_home(system, expected, one.file),
            )
    if len(homes) > 1:
        first, second = list(homes.values())[:2]
        yield HOMES_DIFFER.found(
            one=first,
            other=second,
            evidence=tuple(one.evidence for one in said),
            cure=(by_hand("Leave it in one of these files only.", "只在其中一个文件中保留。"),),
        )
    if not said and wanted_home is not None:
        yield HOME_IS_NOT_SET.found(
            wanted=wanted_home,
            evidence=(Evidence("/etc/environment, /etc/profile, /etc/profile.d", "none sets JAVA_HOME"),),
            cure=_set_home(system, expected, _PROFILE),
        )


def fits(version: str, wanted: str) -> bool:
    """``8`` wants 8, ``11+`` 11 or newer, ``1.8.0_201`` exactly this. What has no version fits nothing."""
    major = major_of(version)
    if major is None:
        return False
    if wanted.endswith("+"):
        return major >= (major_of(wanted) or 0)
    if len(numbers(wanted)) <= 1 or wanted in ("1.8", "1.7"):
        return major == major_of(wanted)
    return version == wanted or version.startswith((f"{wanted}.", f"{wanted}_", f"{wanted}+"))


def _install(system: System, wanted: str) -> tuple[Step, ...]:
    major = major_of(wanted)
    if system.which("apt-get"):
        about = Text(f"Install Java {major}.", f"安装 Java {major}。")
        return (run("apt-get", "install", "-y", f"openjdk-{major}-jdk-headless", about=about),)
    return (by_hand(f"Install Java {wanted}.", f"安装 Java {wanted}。"),)


def _choose(jdk: Jdk) -> tuple[Step, ...]:
    """Registered once more it changes nothing."""
    steps = []
    for name in ("java", "javac") if jdk.full else ("java",):
        home = jdk.home.removesuffix("/jre") if name == "javac" else jdk.home
        path = f"{home}/bin/{name}"
        steps += [
            run(
                *("update-alternatives", "--install", f"/usr/bin/{name}", name, path, "1"),
                about=Text(f"Make {path} known.", f"登记 {path}。"),
            ),
            run(
                *("update-alternatives", "--set", name, path),
                about=Text(f"Let {name} be that of Java {jdk.version}.", f"使 {name} 为 Java {jdk.version}。"),
                risk=Risk.DISRUPTIVE,
            ),
        ]
    return tuple(steps)


def _set_home(system: System, expected: Expected, file: str) -> tuple[Step, ...]:
    home = expected.java.home
    if home is None:
        wanted = expected.java.version
        there = [one for one in jdks(system) if wanted is None or fits(one.version, wanted)]
        default = default_jdk(system)
        best = default if default is not None and default in there else (there[-1] if there else None)
        home = best.home if best else None
    if home is None:
        return (by_hand("Install the Java that is needed, and set JAVA_HOME.", "安装所需的 Java 并设置 JAVA_HOME。"),)
    # A file that is there has other things in it too.
    if file == _PROFILE and system.stat(_PROFILE) is None:
        return (
            Step(
                about=Text("Set it for all users who log in.", "为所有登录用户设置。"),
                risk=Risk.SAFE,
                writes=FileContent(_PROFILE, f"export JAVA_HOME={home}\n"),
            ),
        )
    return (by_hand(f"Write JAVA_HOME={home} into {file}.", f"在 {file} 中写入 JAVA_HOME={home}。"),)
