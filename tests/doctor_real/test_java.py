"""Java and native libraries, by this machine's own JDK, compiler and linker."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from hrm.doctor.cuda import cudnn
from hrm.doctor.expected import Expected
from hrm.doctor.expected.java import JavaExpected
from hrm.doctor.java import native, versions
from hrm.doctor.java.jdks import default_jdk
from hrm.doctor.runner import examine
from hrm.doctor.system import LocalSystem
from hrm.model.findings import Finding

pytestmark = [pytest.mark.real, pytest.mark.doctor_real]

DETECTION = "int detect(void) { return 7; }\n"
JNI = """
#include <jni.h>
int detect(void);
JNIEXPORT jint JNICALL Java_Detector_detect(JNIEnv *env, jclass kind) { return detect(); }
"""
JAVA = """
public class Detector {
    static { System.loadLibrary("jdetection"); }
    private static native int detect();
    public static void main(String[] words) { System.out.println("found " + detect()); }
}
"""


@pytest.fixture
def home() -> str:
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    jdk = default_jdk(LocalSystem())
    if jdk is None or not jdk.full:
        pytest.skip("there is no JDK")
    return jdk.home


@pytest.fixture
def program(home: str, tmp_path: Path) -> Path:
    """A Java program whose native library is linked to a second one, in a directory of its own."""
    run = {"check": True, "cwd": tmp_path, "capture_output": True, "timeout": 300}
    (tmp_path / "second").mkdir()
    for name, text in (("detection.c", DETECTION), ("jdetection.c", JNI), ("Detector.java", JAVA)):
        (tmp_path / name).write_text(text)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", "second/libdetection.so", "detection.c"], **run)  # type: ignore[call-overload]
    subprocess.run(
        [
            *("gcc", "-shared", "-fPIC", f"-I{home}/include", f"-I{home}/include/linux", "-o", "libjdetection.so"),
            *("jdetection.c", "-Lsecond", "-ldetection"),
        ],
        **run,
    )  # type: ignore[call-overload]
    subprocess.run([f"{home}/bin/javac", "Detector.java"], **run)  # type: ignore[call-overload]
    return tmp_path


def run_java(home: str, program: Path, *path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [f"{home}/bin/java", f"-Djava.library.path={program}", "-cp", str(program), "Detector"],
        env={"LD_LIBRARY_PATH": ":".join(path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def found_of(expected: JavaExpected) -> list[Finding]:
    checks = [native.libraries_can_be_loaded, versions.the_wanted_one_is_the_default, versions.home_is_right]
    report = examine("here", LocalSystem(), Expected(java=expected), checks)
    assert [what for run in report.checks_run for what in run.unseen] == []
    return list(report.findings)


def test_a_missing_library_is_found_where_java_fails_and_not_where_it_runs(home: str, program: Path) -> None:
    expected = JavaExpected(libraries=(f"{program}/libjdetection.so",), library_path=(str(program),))

    (found,) = found_of(expected)

    failed = run_java(home, program, str(program))
    assert "UnsatisfiedLinkError" in failed.stderr
    assert "libdetection.so: cannot open shared object file" in failed.stderr
    assert (found.code, found.evidence[0].text) == ("HRM-JAVA-021", "libdetection.so => not found")

    whole = replace(expected, library_path=(str(program), f"{program}/second"))

    assert found_of(whole) == []
    assert run_java(home, program, *whole.library_path).stdout == "found 7\n"


def test_where_the_missing_library_lies_is_found_too(program: Path) -> None:
    (program / "libdetection.so").write_bytes((program / "second" / "libdetection.so").read_bytes())
    library = f"{program}/libjdetection.so"

    found = {one.code: one for one in found_of(JavaExpected(libraries=(library,)))}

    assert set(found) == {"HRM-JAVA-021", "HRM-JAVA-025"}
    assert found["HRM-JAVA-021"].evidence[1].source == f"{program}/libdetection.so"


def test_a_file_that_is_no_library_is_found(home: str, tmp_path: Path) -> None:
    library = tmp_path / "libbroken.so"
    library.write_text("\x7fELF and no more")

    (found,) = found_of(JavaExpected(libraries=(str(library),), library_path=(str(tmp_path),)))

    assert found.code == "HRM-JAVA-022"


def test_this_machines_own_java_fits_its_own_version_and_no_other(home: str) -> None:
    jdk = default_jdk(LocalSystem())
    assert jdk is not None

    assert found_of(JavaExpected(version=str(jdk.major))) == []
    assert [one.code for one in found_of(JavaExpected(version="6"))] == ["HRM-JAVA-001"]


def test_a_library_says_itself_which_cuda_it_was_built_for(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    source, library = tmp_path / "cudnn.c", tmp_path / "libcudnn.so.7.6.4"
    source.write_text("#include <stddef.h>\nsize_t cudnnGetCudartVersion(void) { return 10010; }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=300)

    output = LocalSystem().run("python3", "-c", cudnn.ASK, str(library), timeout_s=120)

    assert output.stdout == "10010\n", output.text
