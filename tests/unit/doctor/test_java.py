"""Java: versions, JAVA_HOME, and native libraries."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.environment import settings
from hrm.doctor.expected import Expected
from hrm.doctor.expected.java import JavaExpected
from hrm.doctor.java import native, versions
from hrm.doctor.java.jdks import jdks, major_of
from hrm.testing.machines import Machine

JDK8 = "/usr/lib/jvm/java-8-openjdk-amd64"
JDK11 = "/usr/lib/jvm/java-11-openjdk-amd64"
LIBRARY = "/usr/lib/libjdetection.so"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def install(machine: Machine, home: str, version: str, *, full: bool = True) -> Machine:
    machine.file(f"{home}/release", f'IMPLEMENTOR="Debian"\nJAVA_VERSION="{version}"\nOS_ARCH="x86_64"\n')
    if full:
        machine.file(f"{home}/bin/javac")
    return machine.file(f"{home}/bin/java")


def choose(machine: Machine, home: str, *, name: str = "java") -> Machine:
    machine.link(f"/usr/bin/{name}", f"/etc/alternatives/{name}")
    return machine.link(f"/etc/alternatives/{name}", f"{home}/bin/{name}")


def expecting(**said: object) -> Expected:
    return Expected(java=JavaExpected(**said))  # type: ignore[arg-type]


def test_installations_are_found_where_packages_vendors_and_people_put_them(machine: Machine) -> None:
    install(machine, JDK11, "11.0.11")
    install(machine, "/opt/jvm/jdk1.8.0_201", "1.8.0_201")
    machine.file("/opt/jdk1.7.0_80/bin/java").directory("/usr/lib/jvm/openjdk-17")
    machine.link("/usr/lib/jvm/default-java", "java-11-openjdk-amd64")

    found = [(one.home, one.version, one.major) for one in jdks(machine.system())]

    assert found == [
        ("/opt/jdk1.7.0_80", "1.7.0_80", 7),
        ("/opt/jvm/jdk1.8.0_201", "1.8.0_201", 8),
        (JDK11, "11.0.11", 11),
    ]


@pytest.mark.parametrize(("version", "major"), [("1.8.0_201", 8), ("8", 8), ("17.0.9", 17), ("25", 25), ("x", None)])
def test_majors_are_the_numbers_that_people_say(version: str, major: int | None) -> None:
    assert major_of(version) == major


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("1.8.0_201", "8", True),
        ("1.8.0_201", "1.8", True),
        ("1.8.0_201", "1.8.0_201", True),
        ("1.8.0_292", "1.8.0_201", False),
        ("11.0.11", "8", False),
        ("11.0.11", "8+", True),
        ("1.8.0_201", "11+", False),
        ("17.0.9", "17.0", True),
        ("", "8", False),
    ],
)
def test_a_version_fits_what_is_wanted_or_not(version: str, wanted: str, fits: bool) -> None:
    assert versions.fits(version, wanted) is fits


def test_a_wanted_java_that_is_not_installed_is_found(machine: Machine) -> None:
    choose(install(machine, JDK11, "11.0.11"), JDK11).file("/usr/bin/apt-get")

    (found,) = machine.findings(versions.the_wanted_one_is_the_default, expecting(version="8"))

    assert found.code == "HRM-JAVA-001"
    assert [step.command for step in found.cure] == ["apt-get install -y openjdk-8-jdk-headless"]


def test_another_default_than_the_wanted_java_is_found_and_chosen_by_the_alternatives(machine: Machine) -> None:
    choose(install(install(machine, JDK8, "1.8.0_292"), JDK11, "11.0.11"), JDK11)

    (found,) = machine.findings(versions.the_wanted_one_is_the_default, expecting(version="8"))

    assert found.title.en == "java is 11.0.11, programs need 8"
    assert [step.command for step in found.cure] == [
        f"update-alternatives --install /usr/bin/java java {JDK8}/bin/java 1",
        f"update-alternatives --set java {JDK8}/bin/java",
        f"update-alternatives --install /usr/bin/javac javac {JDK8}/bin/javac 1",
        f"update-alternatives --set javac {JDK8}/bin/javac",
    ]


def test_a_compiler_of_another_java_than_the_runtime_is_found(machine: Machine) -> None:
    choose(install(install(machine, JDK8, "1.8.0_292"), JDK11, "11.0.11"), JDK8)
    choose(machine, JDK11, name="javac")

    (found,) = machine.findings(versions.the_wanted_one_is_the_default)

    assert found.title.en == "javac is of Java 11.0.11, java is 1.8.0_292"


def test_the_runtime_within_a_kit_of_java_8_is_of_that_kit(machine: Machine) -> None:
    install(machine, JDK8, "1.8.0_292").file(f"{JDK8}/jre/bin/java")
    choose(machine, f"{JDK8}/jre")
    choose(machine, JDK8, name="javac")

    assert machine.findings(versions.the_wanted_one_is_the_default, expecting(version="8")) == []
    assert versions.default_version.tell(machine.system()) == "1.8.0_292"


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("/etc/environment", 'JAVA_HOME="/opt/jvm/jdk1.8.0_201"'),
        ("/etc/profile", "export JAVA_HOME=/opt/jvm/jdk1.8.0_201 # for Hadoop"),
        ("/etc/profile.d/java.sh", "export JAVA_HOME='/opt/jvm/jdk1.8.0_201';"),
        ("/soft/hadoop/hadoop-env.sh", "export JAVA_HOME=/opt/jvm/jdk1.8.0_201"),
    ],
)
def test_a_java_home_that_leads_nowhere_is_found_at_its_line(machine: Machine, file: str, line: str) -> None:
    install(machine, JDK8, "1.8.0_292").file(file, f"# system\n{line}\n")

    (found,) = machine.findings(versions.home_is_right, expecting(files=("/soft/hadoop/hadoop-env.sh",)))

    assert found.title.en == f"{file} sets JAVA_HOME to /opt/jvm/jdk1.8.0_201, where no Java is"
    assert (found.evidence[0].line, found.evidence[0].text) == (2, line)
    assert found.cure[0].about.en == f"Write JAVA_HOME={JDK8} into {file}."


def test_a_java_home_of_another_version_than_the_wanted_is_found(machine: Machine) -> None:
    install(install(machine, JDK8, "1.8.0_292"), JDK11, "11.0.11").file("/etc/environment", f"JAVA_HOME={JDK11}\n")

    (found,) = machine.findings(versions.home_is_right, expecting(version="8"))

    assert (found.code, found.cure[0].about.en) == ("HRM-JAVA-011", f"Write JAVA_HOME={JDK8} into /etc/environment.")


def test_two_java_homes_are_found(machine: Machine) -> None:
    install(install(machine, JDK8, "1.8.0_292"), JDK11, "11.0.11").file("/etc/environment", f"JAVA_HOME={JDK11}\n")
    machine.file("/etc/profile.d/jdk.sh", f"export JAVA_HOME={JDK8}\n")

    (found,) = machine.findings(versions.home_is_right)

    assert found.code == "HRM-JAVA-013"


def test_a_java_home_that_is_wanted_and_not_set_is_set_for_all_users(machine: Machine) -> None:
    install(machine, JDK8, "1.8.0_292")

    (found,) = machine.findings(versions.home_is_right, expecting(home=JDK8))

    assert found.code == "HRM-JAVA-012"
    assert found.cure[0].writes is not None
    assert found.cure[0].writes.content == f"export JAVA_HOME={JDK8}\n"


def test_a_java_that_is_as_wanted_is_well(machine: Machine) -> None:
    choose(install(install(machine, JDK8, "1.8.0_292"), JDK11, "11.0.11"), JDK8)
    choose(machine, JDK8, name="javac").link("/opt/java", JDK8)
    machine.file("/etc/environment", "JAVA_HOME=/opt/java\n").file("/etc/profile.d/a.sh", f"export JAVA_HOME={JDK8}\n")
    expected = expecting(version="8", home=JDK8)

    assert machine.report([versions.the_wanted_one_is_the_default, versions.home_is_right], expected).findings == ()


def test_a_machine_without_java_or_of_which_nothing_is_expected_is_well(machine: Machine) -> None:
    machine.file("/etc/profile", "export JAVA_HOME=$(readlink -f /usr/bin/java)\n")

    checks = [versions.the_wanted_one_is_the_default, versions.home_is_right, native.libraries_can_be_loaded]
    assert machine.report(checks).findings == ()


def test_values_end_where_the_shell_ends_them(machine: Machine) -> None:
    machine.file("/etc/profile", "A=\"x y\" # z\nexport A='q'\nA=u; B=v\nAA=no\n# A=no\n")

    assert [one.value for one in settings(machine.system(), "A")] == ["x y", "q", "u"]


def ldd(machine: Machine, *lines: str, path: str = "", status: int = 0, stderr: str = "") -> Machine:
    told = ("env", f"LD_LIBRARY_PATH={path}") if path else ()
    stdout = "".join(f"\t{line}\n" for line in lines)
    return machine.command(*told, "ldd", LIBRARY, stdout=stdout, status=status, stderr=stderr)


def test_a_library_that_finds_all_that_it_needs_is_well(machine: Machine) -> None:
    machine.file(LIBRARY)
    ldd(machine, "libdetection.so => /usr/lib/libdetection.so (0x00007f)", "libc.so.6 => /lib/libc.so.6 (0x00007f)")

    assert machine.findings(native.libraries_can_be_loaded, expecting(libraries=(LIBRARY,))) == []


def test_a_library_that_is_not_there_is_found(machine: Machine) -> None:
    (found,) = machine.findings(native.libraries_can_be_loaded, expecting(libraries=(LIBRARY,)))

    assert (found.code, found.title.en) == ("HRM-JAVA-020", f"The native library {LIBRARY} is not there")


def test_a_missing_dependency_that_lies_elsewhere_is_made_known_to_the_linker(machine: Machine) -> None:
    place = "/home/user/test_java_detector_v3.1"
    ldd(machine.file(LIBRARY), "libdetection.so => not found", path=f"/usr/lib:{place}")
    machine.file(f"{place}/libdetection.so")
    expected = expecting(libraries=(LIBRARY,), library_path=("/usr/lib", place))

    (found,) = machine.findings(native.libraries_can_be_loaded, expected)

    assert found.title.en == f"{LIBRARY} needs libdetection.so, which is not found"
    assert [evidence.text for evidence in found.evidence] == ["libdetection.so => not found", "is there"]
    assert found.cure[0].writes is not None
    assert (found.cure[0].writes.path, found.cure[0].writes.content) == (
        "/etc/ld.so.conf.d/libdetection.conf",
        f"{place}\n",
    )
    assert found.cure[1].command == "ldconfig"


def test_a_dependency_on_another_release_of_cuda_than_is_installed_is_told_as_such(machine: Machine) -> None:
    cuda = "/usr/local/cuda-10.1"
    machine.file(f"{cuda}/version.txt", "CUDA Version 10.1.105\n").file(f"{cuda}/lib64/libcudart.so.10.1.105")
    machine.link("/usr/local/cuda", cuda)
    ldd(machine.file(LIBRARY), "libcudart.so.10.0 => not found", "libcublas.so.10.0 => not found")

    found = machine.findings(native.libraries_can_be_loaded, expecting(libraries=(LIBRARY,)))

    assert [one.code for one in found] == ["HRM-JAVA-021", "HRM-JAVA-021"]
    assert str(found[0].evidence[1]) == f"{cuda}/lib64/libcudart.so.10.1.105: another release than libcudart.so.10.0"
    assert f"Build {LIBRARY} for CUDA 10.1 (-L{cuda}/lib64)" in found[0].cure[0].about.en


@pytest.mark.parametrize(
    ("stderr", "code"),
    [
        ("\tnot a dynamic executable\n", "HRM-JAVA-022"),
        (f"{LIBRARY}: wrong ELF class: ELFCLASS32\n", "HRM-JAVA-022"),
        (
            f"{LIBRARY}: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (required by {LIBRARY})\n",
            "HRM-JAVA-023",
        ),
    ],
)
def test_a_library_for_another_system_is_found(machine: Machine, stderr: str, code: str) -> None:
    ldd(machine.file(LIBRARY), status=1, stderr=stderr)

    assert [one.code for one in machine.findings(native.libraries_can_be_loaded, expecting(libraries=(LIBRARY,)))] == [
        code
    ]


def test_two_copies_that_are_alike_or_one_by_a_link_are_well(machine: Machine) -> None:
    ldd(machine.file(LIBRARY, "build"), path="/opt/a:/opt/b")
    machine.file("/opt/a/libjdetection.so", "build").link("/opt/b/libjdetection.so", LIBRARY)
    expected = expecting(libraries=(LIBRARY,), library_path=("/opt/a", "/opt/b"))

    assert machine.findings(native.libraries_can_be_loaded, expected) == []


def test_two_copies_that_differ_are_found(machine: Machine) -> None:
    ldd(machine.file(LIBRARY, "new build"), path="/opt/runtime")
    machine.file("/opt/runtime/libjdetection.so", "old")
    expected = expecting(libraries=(LIBRARY,), library_path=("/opt/runtime",))

    (found,) = machine.findings(native.libraries_can_be_loaded, expected)

    assert found.title.en == "libjdetection.so lies in /usr/lib and, different, in /opt/runtime"


def test_a_library_where_java_does_not_look_is_found(machine: Machine) -> None:
    library = "/srv/detection/libjdetection.so"
    machine.file(library).command("ldd", library, stdout="\tlibc.so.6 => /lib/libc.so.6 (0x7f)\n")

    (found,) = machine.findings(native.libraries_can_be_loaded, expecting(libraries=(library,)))

    assert (found.code, found.cure[-1].command) == ("HRM-JAVA-025", f"ln -sfn {library} /usr/lib/jni/libjdetection.so")


def test_where_there_is_no_ldd_it_is_unseen(machine: Machine) -> None:
    report = machine.file(LIBRARY).report([native.libraries_can_be_loaded], expecting(libraries=(LIBRARY,)))

    assert report.checks_run[0].unseen == (f"what {LIBRARY} needs: ldd is missing",)
