"""CUDA's toolkits, the driver that they need, and the link /usr/local/cuda."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hrm.doctor.cuda import linking, toolkit_checks
from hrm.doctor.cuda.toolkits import least_driver, own_driver, toolkits
from hrm.doctor.expected import Expected
from hrm.doctor.expected.cuda import CudaExpected
from hrm.doctor.gpu import driver
from hrm.model.findings import Severity
from hrm.testing.machines import Machine

#: As nvcc of 10.1 says in the operator's notes.
NVCC_10_1 = (
    "nvcc: NVIDIA (R) Cuda compiler driver\nCopyright (c) 2005-2019 NVIDIA Corporation\n"
    "Built on Fri Feb  8 19:08:17 PST 2019\nCuda compilation tools, release 10.1, V10.1.105\n"
)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def loads(machine: Machine, version: str) -> Machine:
    line = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Sat Feb  9 19:19:37 CST 2019\n"
    return machine.file(driver.VERSION, line)


def install(machine: Machine, version: str, *, by: str = "txt") -> str:
    release = ".".join(version.split(".")[:2])
    place = f"/usr/local/cuda-{release}"
    if by == "txt":
        machine.file(f"{place}/version.txt", f"CUDA Version {version}\n")
    elif by == "json":
        machine.file(f"{place}/version.json", json.dumps({"cuda": {"name": "CUDA SDK", "version": version}}))
    machine.file(f"{place}/targets/x86_64-linux/lib/libcudart.so.{version}")
    machine.link(f"{place}/lib64", "targets/x86_64-linux/lib").file(f"{place}/bin/nvcc")
    return place


def wanting(toolkit: str) -> Expected:
    return Expected(cuda=CudaExpected(toolkit=toolkit))


@pytest.mark.parametrize(
    ("version", "least", "own"),
    [
        ("10.0.130", "410.48", "410.48"),
        ("10.1.105", "418.39", "418.39"),
        ("10.1.243", "418.39", "418.39"),
        ("10.1", "418.39", "418.39"),
        ("9.2.148", "396.37", "396.37"),
        ("11.8.0", "450.80.02", "520.61.05"),
        ("12.2.2", "525.60.13", "535.104.05"),
        ("13.0.1", "580.65.06", "580.82.07"),
        ("13.2.2", "580.65.06", "595.71.05"),
        ("14.0.0", None, None),
    ],
)
def test_what_a_release_needs_is_known(version: str, least: str | None, own: str | None) -> None:
    assert (least_driver(version), own_driver(version)) == (least, own)


@pytest.mark.parametrize("by", ["txt", "json", "name"])
def test_a_toolkit_is_found_by_what_it_says_or_by_its_name(machine: Machine, by: str) -> None:
    install(machine, "11.4.2", by=by)

    (found,) = toolkits(machine.system())

    assert (found.path, found.release) == ("/usr/local/cuda-11.4", "11.4")


def test_a_day_in_place_of_the_build_says_nothing_of_updates(machine: Machine) -> None:
    install(machine, "12.4.20240215", by="json")

    assert [one.version for one in toolkits(machine.system())] == ["12.4"]


def test_what_an_uninstaller_left_behind_is_no_toolkit(machine: Machine) -> None:
    machine.directory("/usr/local/cuda-10.0/doc")

    assert toolkits(machine.system()) == []


@pytest.mark.parametrize(
    ("loaded", "toolkit", "code", "severity"),
    [
        ("410.48", "10.1.105", "HRM-CUDA-001", Severity.ERROR),
        ("418.39", "10.2.89", "HRM-CUDA-001", Severity.ERROR),
        ("470.82.01", "12.2.0", "HRM-CUDA-001", Severity.ERROR),
        ("575.51.03", "13.0.0", "HRM-CUDA-001", Severity.ERROR),
        ("460.32.03", "11.8.0", "HRM-CUDA-002", Severity.INFO),
        ("580.65.06", "13.2.0", "HRM-CUDA-002", Severity.INFO),
    ],
)
def test_a_driver_that_is_too_old_for_the_default_toolkit_is_found(
    machine: Machine, loaded: str, toolkit: str, code: str, severity: Severity
) -> None:
    loads(machine, loaded).link("/usr/local/cuda", install(machine, toolkit))

    (found,) = machine.findings(toolkit_checks.driver_suffices)

    assert (found.code, found.severity) == (code, severity)
    assert found.title.en.endswith(f"{loaded} is loaded")


def test_a_runfile_that_brought_its_older_driver_is_told_with_the_toolkit_that_fits_it(machine: Machine) -> None:
    install(machine, "10.0.130")
    loads(machine, "410.48").link("/usr/local/cuda", install(machine, "10.1.105"))

    (found,) = machine.findings(toolkit_checks.driver_suffices)

    assert found.title.en == "CUDA 10.1.105 needs driver 418.39 or newer, 410.48 is loaded"
    assert "or use CUDA 10.0.130 (/usr/local/cuda-10.0)" in found.cure[0].about.en


def test_a_toolkit_beside_the_default_one_is_a_lesser_matter(machine: Machine) -> None:
    install(machine, "12.2.0")
    loads(machine, "418.39").link("/usr/local/cuda", install(machine, "10.1.105"))

    assert [one.severity for one in machine.findings(toolkit_checks.driver_suffices)] == [Severity.WARNING]


def test_libraries_that_stand_in_for_the_drivers_make_it_worth_knowing(machine: Machine) -> None:
    place = install(machine, "12.2.0")
    loads(machine, "470.82.01").link("/usr/local/cuda", place).file(f"{place}/compat/libcuda.so.1")

    assert [one.severity for one in machine.findings(toolkit_checks.driver_suffices)] == [Severity.INFO]


def test_a_link_that_leads_nowhere_is_led_to_the_newest_toolkit(machine: Machine) -> None:
    install(machine, "10.0.130")
    install(machine, "10.1.105")
    machine.link("/usr/local/cuda", "/usr/local/cuda-9.0")

    (found,) = machine.findings(toolkit_checks.link_is_right)

    assert found.code == "HRM-CUDA-003"
    assert [step.command for step in found.cure] == ["ln -sfn /usr/local/cuda-10.1 /usr/local/cuda"]


def test_a_link_through_another_link_is_well(machine: Machine) -> None:
    install(machine, "12.2.0", by="json")
    machine.link("/usr/local/cuda-12", "/usr/local/cuda-12.2").link("/usr/local/cuda", "/etc/alternatives/cuda")
    machine.link("/etc/alternatives/cuda", "/usr/local/cuda-12.2")

    assert machine.findings(toolkit_checks.link_is_right, wanting("12")) == []


def test_a_directory_in_place_of_the_link_is_found(machine: Machine) -> None:
    install(machine, "10.1.105")
    machine.file("/usr/local/cuda/version.txt", "CUDA Version 10.0.130\n")

    (found,) = machine.findings(toolkit_checks.link_is_right)

    assert found.code == "HRM-CUDA-004"
    assert [step.command for step in found.cure] == [
        "mv -T /usr/local/cuda /usr/local/cuda-10.0.moved",
        "ln -sfn /usr/local/cuda-10.1 /usr/local/cuda",
    ]


def test_another_toolkit_than_the_wanted_one_is_found_and_led_to_where_it_is_installed(machine: Machine) -> None:
    install(machine, "10.1.105")
    machine.link("/usr/local/cuda", install(machine, "10.0.130"))

    (found,) = machine.findings(toolkit_checks.link_is_right, wanting("10.1.105"))

    assert found.title.en == "/usr/local/cuda is CUDA 10.0.130, wanted is CUDA 10.1.105"
    assert found.cure[0].command == "ln -sfn /usr/local/cuda-10.1 /usr/local/cuda"


def test_where_the_wanted_one_is_not_installed_it_is_installed_without_its_driver(machine: Machine) -> None:
    (found,) = loads(machine, "418.39").findings(toolkit_checks.link_is_right, wanting("10.1"))

    assert found.title.en == "/usr/local/cuda is —, wanted is CUDA 10.1"
    assert "without --driver" in found.cure[0].about.en


@pytest.mark.parametrize("wanted", ["10.1", "10.1.105", "10"])
def test_fewer_numbers_stand_for_all_that_follow(machine: Machine, wanted: str) -> None:
    machine.link("/usr/local/cuda", install(machine, "10.1.105"))

    assert machine.findings(toolkit_checks.link_is_right, wanting(wanted)) == []


def test_a_node_without_gpus_needs_no_toolkit(machine: Machine) -> None:
    assert machine.findings(toolkit_checks.link_is_right, wanting("10.1")) == []


def test_two_releases_in_one_directory_are_found_by_the_library(machine: Machine) -> None:
    place = install(machine, "10.1.105")
    machine.file(f"{place}/targets/x86_64-linux/lib/libcudart.so.10.0.130")
    machine.file(f"{place}/targets/x86_64-linux/lib/libcudart.so.10.1")

    (found,) = machine.findings(toolkit_checks.parts_are_of_one_release)

    assert found.title.en == "/usr/local/cuda-10.1 is CUDA 10.1.105, but its libcudart is of 10.0"


def test_two_releases_in_one_directory_are_found_by_the_compiler(machine: Machine) -> None:
    machine.link("/usr/local/cuda", install(machine, "10.0.130"))
    machine.command("/usr/local/cuda/bin/nvcc", "-V", stdout=NVCC_10_1)

    (found,) = machine.findings(toolkit_checks.compiler_is_the_toolkits)

    assert found.title.en == "/usr/local/cuda-10.0 is CUDA 10.0.130, but its nvcc is of 10.1"
    assert found.evidence[0].text == "Cuda compilation tools, release 10.1, V10.1.105"


def test_a_compiler_from_elsewhere_that_comes_first_is_found(machine: Machine) -> None:
    machine.link("/usr/local/cuda", install(machine, "10.1.105")).file("/usr/bin/nvcc")
    machine.command("/usr/local/cuda/bin/nvcc", "-V", stdout=NVCC_10_1)
    machine.command("/usr/bin/nvcc", "-V", stdout="Cuda compilation tools, release 9.1, V9.1.85\n")

    (found,) = machine.findings(toolkit_checks.compiler_is_the_toolkits)

    assert found.title.en == "/usr/bin/nvcc is of CUDA 9.1, /usr/local/cuda of 10.1"
    assert found.cure[0].command == "apt-get remove -y nvidia-cuda-toolkit"


def test_a_toolkit_that_agrees_with_itself_and_the_driver_is_well(machine: Machine) -> None:
    place = install(machine, "10.1.105")
    loads(machine, "418.39").link("/usr/local/cuda", place)
    machine.command("/usr/local/cuda/bin/nvcc", "-V", stdout=NVCC_10_1)
    machine.file("/etc/ld.so.conf.d/cuda-10-1.conf", "/usr/local/cuda-10.1/targets/x86_64-linux/lib\n")
    machine.command(
        *linking.CACHE,
        stdout="1 libs found in cache `/etc/ld.so.cache'\n"
        "\tlibcudart.so.10.1 (libc6,x86-64) => /usr/local/cuda-10.1/lib64/libcudart.so.10.1.105\n",
    )

    checks = (
        toolkit_checks.driver_suffices,
        toolkit_checks.link_is_right,
        toolkit_checks.parts_are_of_one_release,
        toolkit_checks.compiler_is_the_toolkits,
        linking.configuration_names_what_is_there,
        linking.cache_has_what_is_named,
    )
    report = machine.report(checks, wanting("10.1"))

    assert (report.findings, [run.unseen for run in report.checks_run if run.unseen]) == ((), [])


def test_a_machine_without_cuda_is_well(machine: Machine) -> None:
    machine.file("/etc/ld.so.conf.d/libc.conf", "/usr/local/lib\n")

    assert machine.findings(linking.configuration_names_what_is_there) == []
    assert machine.findings(linking.cache_has_what_is_named) == []
    assert machine.findings(toolkit_checks.compiler_is_the_toolkits) == []


def test_a_directory_that_the_linker_is_told_of_and_that_has_gone_is_found(machine: Machine) -> None:
    machine.file("/etc/ld.so.conf.d/cuda-10-0.conf", "# by an installer\n/usr/local/cuda-10.0/lib64\n")

    (found,) = machine.findings(linking.configuration_names_what_is_there)

    assert found.code == "HRM-CUDA-010"
    assert (found.evidence[0].source, found.evidence[0].line) == ("/etc/ld.so.conf.d/cuda-10-0.conf", 2)
    assert [step.argv[0] for step in found.cure] == ["sed", "ldconfig"]


def test_a_linker_that_is_told_of_another_toolkit_only_is_found(machine: Machine) -> None:
    old = install(machine, "10.0.130")
    machine.link("/usr/local/cuda", install(machine, "10.1.105"))
    machine.file("/etc/ld.so.conf.d/cuda.conf", f"{old}/lib64\n")

    (found,) = machine.findings(linking.configuration_names_what_is_there)

    assert found.code == "HRM-CUDA-011"
    assert found.cure[0].writes is not None
    assert found.cure[0].writes.path == "/etc/ld.so.conf.d/cuda-10-1.conf"
    assert found.cure[0].writes.content == "/usr/local/cuda-10.1/targets/x86_64-linux/lib\n"


def test_a_cache_from_before_the_toolkit_was_installed_is_found(machine: Machine) -> None:
    place = install(machine, "10.1.105")
    machine.link("/usr/local/cuda", place).file("/etc/ld.so.conf.d/cuda-10-1.conf", f"{place}/lib64\n")
    machine.command(*linking.CACHE, stdout="\tlibc.so.6 (libc6,x86-64) => /lib/x86_64-linux-gnu/libc.so.6\n")

    (found,) = machine.findings(linking.cache_has_what_is_named)

    assert found.code == "HRM-CUDA-012"
    assert [step.command for step in found.cure] == ["ldconfig"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("export LD_LIBRARY_PATH=/usr/local/cuda-9.0/lib64:$LD_LIBRARY_PATH", "HRM-CUDA-013"),
        ("export LD_LIBRARY_PATH=/usr/lib:/usr/local/cuda-10.0/lib64", "HRM-CUDA-014"),
        ("export LD_LIBRARY_PATH=/usr/local/cuda/lib64:/usr/local/cuda-10.1/lib64", None),
        ("export LD_LIBRARY_PATH=/usr/lib:$LD_LIBRARY_PATH", None),
        ("export LD_LIBRARY_PATH=$CUDA_HOME/lib64", None),
    ],
)
def test_what_everybody_has_in_their_library_path_is_held_to_the_default_toolkit(
    machine: Machine, line: str, code: str | None
) -> None:
    install(machine, "10.0.130")
    machine.link("/usr/local/cuda", install(machine, "10.1.105")).file("/etc/profile.d/cuda.sh", f"{line}\n")

    found = machine.findings(linking.library_path_leads_to_the_toolkit)

    assert [one.code for one in found] == ([code] if code else [])
    assert all(str(one.evidence[0]) == f"/etc/profile.d/cuda.sh:1: {line}" for one in found)


def test_nodes_are_compared_by_their_toolkit_and_the_linkers_configuration(machine: Machine) -> None:
    machine.link("/usr/local/cuda", install(machine, "10.1.105"))
    machine.file("/etc/ld.so.conf.d/cuda-10-1.conf", "/usr/local/cuda-10.1/lib64\n")

    assert toolkit_checks.default_release.tell(machine.system()) == "10.1.105"
    assert linking.search_path.tell(machine.system()) == "/usr/local/cuda-10.1/lib64"
