"""cuDNN: version, files, links, and the CUDA that it was built for."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.cuda import cudnn
from hrm.doctor.expected import Expected
from hrm.doctor.expected.cuda import CudaExpected
from hrm.testing.machines import Machine

CUDA = "/usr/local/cuda-10.1"
INCLUDE, LIBRARIES = f"{CUDA}/include", f"{CUDA}/targets/x86_64-linux/lib"
ALL = (cudnn.versions_agree, cudnn.files_are_as_installed, cudnn.built_for_its_toolkit)


def header(version: str) -> str:
    major, minor, patch = version.split(".")
    return f"/* … */\n#define CUDNN_MAJOR {major}\n#define CUDNN_MINOR {minor}\n#define CUDNN_PATCHLEVEL {patch}\n"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """CUDA 10.1, without cuDNN."""
    machine = Machine(tmp_path).file(f"{CUDA}/version.txt", "CUDA Version 10.1.105\n")
    machine.file(f"{LIBRARIES}/libcudart.so.10.1.105").link(f"{CUDA}/lib64", "targets/x86_64-linux/lib")
    return machine.link("/usr/local/cuda", CUDA)


def install(machine: Machine, version: str, *, by: str = "cudnn.h", name: str = "libcudnn") -> Machine:
    major = version.partition(".")[0]
    machine.file(f"{INCLUDE}/{by}", header(version)).file(f"{LIBRARIES}/{name}.so.{version}", "library")
    machine.link(f"{LIBRARIES}/{name}.so.{major}", f"{name}.so.{version}")
    return machine.link(f"{LIBRARIES}/{name}.so", f"{name}.so.{major}")


def answers(machine: Machine, number: str, version: str = "7.6.4") -> Machine:
    path = f"{LIBRARIES}/libcudnn.so.{version}"
    return machine.command("python3", "-c", cudnn.ASK, path, stdout=f"{number}\n")


@pytest.mark.parametrize(("version", "by"), [("7.6.4", "cudnn.h"), ("8.9.7", "cudnn_version.h")])
def test_a_cudnn_that_is_installed_as_it_should_be_is_well(machine: Machine, version: str, by: str) -> None:
    answers(install(machine, version, by=by), "10010", version)
    expected = Expected(cuda=CudaExpected(cudnn=version))

    report = machine.report(ALL, expected)

    assert (report.findings, [run.unseen for run in report.checks_run if run.unseen]) == ((), [])
    assert cudnn.default_version.tell(machine.system()) == version


def test_a_machine_without_cudnn_is_well(machine: Machine) -> None:
    assert machine.report(ALL).findings == ()


@pytest.mark.parametrize("by", ["cudnn.h", "cudnn_version.h"])
def test_a_header_of_another_version_than_the_library_is_found_at_its_line(machine: Machine, by: str) -> None:
    install(machine, "7.6.4").file(f"{INCLUDE}/{by}", header("7.6.5"))

    (found,) = machine.findings(cudnn.versions_agree)

    assert found.code == "HRM-CUDNN-001"
    assert str(found.evidence[0]) == f"{INCLUDE}/{by}:2: #define CUDNN_MAJOR 7"


@pytest.mark.parametrize(
    ("wanted", "codes"), [("7.6", []), ("7.6.4", []), ("7.6.5", ["HRM-CUDNN-006"]), ("8", ["HRM-CUDNN-006"])]
)
def test_it_is_compared_with_the_wanted_one(machine: Machine, wanted: str, codes: list[str]) -> None:
    install(machine, "7.6.4")

    found = machine.findings(cudnn.versions_agree, Expected(cuda=CudaExpected(cudnn=wanted)))

    assert [one.code for one in found] == codes


def test_a_wanted_one_that_is_missing_is_found_where_there_is_a_toolkit(machine: Machine, tmp_path: Path) -> None:
    expected = Expected(cuda=CudaExpected(cudnn="7.6.4"))

    (found,) = machine.findings(cudnn.versions_agree, expected)

    assert "chmod a+r /usr/local/cuda-10.1/include/cudnn*.h" in found.cure[0].about.en
    assert Machine(tmp_path / "other").findings(cudnn.versions_agree, expected) == []


def test_files_that_only_root_can_read_are_found(machine: Machine) -> None:
    install(machine, "7.6.4").file(f"{INCLUDE}/cudnn.h", header("7.6.4"), mode=0o640)

    (found,) = machine.findings(cudnn.files_are_as_installed)

    assert found.code == "HRM-CUDNN-002"
    assert [step.command for step in found.cure] == [f"chmod a+r {INCLUDE}/cudnn.h"]


def test_links_that_were_copied_are_found_and_made_links_again(machine: Machine) -> None:
    for name in ("libcudnn.so", "libcudnn.so.7", "libcudnn.so.7.6.4"):
        machine.file(f"{LIBRARIES}/{name}", "library")

    (found,) = machine.findings(cudnn.files_are_as_installed)

    assert found.title.en == f"libcudnn.so.7, libcudnn.so in {LIBRARIES} are copies and no links"
    assert [step.command for step in found.cure] == [
        f"ln -sfn libcudnn.so.7.6.4 {LIBRARIES}/libcudnn.so.7",
        f"ln -sfn libcudnn.so.7.6.4 {LIBRARIES}/libcudnn.so",
        "ldconfig",
    ]


def test_a_missing_link_is_found_also_of_the_parts_that_cudnn_has_since_8(machine: Machine) -> None:
    install(machine, "8.9.7").file(f"{LIBRARIES}/libcudnn_ops_infer.so.8.9.7")

    (found,) = machine.findings(cudnn.files_are_as_installed)

    assert (found.code, found.cure[0].command) == (
        "HRM-CUDNN-004",
        f"ln -sfn libcudnn_ops_infer.so.8.9.7 {LIBRARIES}/libcudnn_ops_infer.so.8",
    )


def test_a_library_that_says_it_was_built_for_another_release_is_found(machine: Machine) -> None:
    answers(install(machine, "7.6.4"), "10000")

    (found,) = machine.findings(cudnn.built_for_its_toolkit)

    assert found.title.en == f"cuDNN 7.6.4 in {LIBRARIES} was built for CUDA 10.0, the toolkit is 10.1"
    assert found.evidence[0].text == "cudnnGetCudartVersion() gives 10000"


@pytest.mark.parametrize(
    "archive", ["cudnn-10.0-linux-x64-v7.6.4.38.tgz", "cudnn-linux-x86_64-7.6.4.38_cuda10.0-archive.tar.xz"]
)
def test_an_archive_that_it_was_installed_from_tells_it_where_the_library_does_not(
    machine: Machine, archive: str
) -> None:
    install(machine, "7.6.4").file(f"/usr/local/{archive}").file("/usr/local/cudnn-10.1-linux-x64-v7.5.0.56.tgz")

    (found,) = machine.findings(cudnn.built_for_its_toolkit)

    assert (found.code, found.evidence[0].text) == ("HRM-CUDNN-005", archive)


@pytest.mark.parametrize(
    ("status", "codes"),
    [
        ("Package: libcudnn7\nVersion: 7.6.4.38-1+cuda10.0\n", ["HRM-CUDNN-005"]),
        ("Package: libcudnn7\nVersion: 7.6.4.38-1+cuda10.1\n", []),
        ("Package: libcudnn9-cuda-12\nVersion: 7.6.4.38-1\n", ["HRM-CUDNN-005"]),
    ],
)
def test_packages_tell_it_by_their_versions_or_names(machine: Machine, status: str, codes: list[str]) -> None:
    machine.file("/usr/lib/x86_64-linux-gnu/libcudnn.so.7.6.4").file("/var/lib/dpkg/status", status)

    assert [one.code for one in machine.findings(cudnn.built_for_its_toolkit)] == codes


def test_since_11_a_library_runs_with_all_releases_of_its_major_number(machine: Machine) -> None:
    place = "/usr/local/cuda-11.8"
    machine.file(f"{place}/version.txt", "CUDA Version 11.8.0\n").file(f"{place}/lib64/libcudart.so.11.8.89")
    machine.file(f"{place}/lib64/libcudnn.so.8.9.7")
    machine.command("python3", "-c", cudnn.ASK, f"{place}/lib64/libcudnn.so.8.9.7", stdout="11040\n")

    assert machine.findings(cudnn.built_for_its_toolkit) == []


def test_what_it_was_built_for_is_unseen_where_nothing_tells_it(machine: Machine) -> None:
    (run,) = install(machine, "7.6.4").report([cudnn.built_for_its_toolkit]).checks_run

    assert run.unseen == (f"which CUDA the cuDNN in {LIBRARIES} was built for",)
