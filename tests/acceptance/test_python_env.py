"""A job in a Python environment of its own, built by pip from a directory of packages, without any network."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from tests.acceptance.conftest import Hrm

#: A virtual environment with pip in it takes seconds.
pytestmark = pytest.mark.real


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """With one package in it, whose only function says which it is."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny_for_hrm-1.0-py3-none-any.whl", "w") as wheel:
        info = "tiny_for_hrm-1.0.dist-info"
        wheel.writestr("tiny_for_hrm.py", "def which():\n    return 'tiny 1.0'\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-for-hrm\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return folder


@pytest.fixture
def hrm_offline(hrm: Hrm, wheels: Path) -> Hrm:
    hrm.configure(f"files: {{python_no_index: true, python_find_links: {wheels}}}\nserver: {{port: 0}}\n")
    hrm.env["PATH"] = f"{Path(sys.executable).parent}:{hrm.env['PATH']}"
    return hrm


SAY = "import sys, tiny_for_hrm; print(tiny_for_hrm.which(), sys.prefix != sys.base_prefix)"


def test_a_job_runs_in_the_environment_that_it_names_which_is_built_once(hrm_offline: Hrm, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("tiny-for-hrm==1.0\n")
    (tmp_path / "job.yaml").write_text(f"command: [python, -c, '{SAY}']\npython_env: requirements.txt\n")

    first = hrm_offline("run", "--python-env", tmp_path / "requirements.txt", "--", "python", "-c", SAY)
    again = hrm_offline("submit", "--wait", tmp_path / "job.yaml")

    assert (first.code, first.out) == (0, "tiny 1.0 True\n"), first.err
    assert "building a Python environment with pip" in first.err
    assert again.code == 0
    assert hrm_offline("logs", "last").out == "tiny 1.0 True\n"
    assert hrm_offline("logs", "--stderr", "last").out == ""


def test_dependencies_of_a_project_are_taken_and_the_project_is_not(hrm_offline: Hrm, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[project]\nname = 'mine'\nversion = '1'\ndependencies = ['tiny-for-hrm']\n"
    )

    done = hrm_offline("run", "--python-env", tmp_path / "pyproject.toml", "--", "python", "-c", SAY)

    assert (done.code, done.out) == (0, "tiny 1.0 True\n"), done.err


def test_what_cannot_be_built_fails_the_job_with_the_last_words_of_pip(hrm_offline: Hrm, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("no-such-package-for-hrm\n")

    done = hrm_offline("run", "--python-env", tmp_path / "requirements.txt", "--", "true")
    missing = hrm_offline("run", "--python-env", tmp_path / "nowhere.txt", "--", "true")
    report = hrm_offline("ps", "last", "-o", "json").json[0]

    assert done.code == 126
    assert "No matching distribution found for no-such-package-for-hrm" in done.err
    assert "its Python environment could not be built" in report["message"]
    assert "No matching distribution found" in report["message"]
    assert missing.code == 2 and "nowhere.txt cannot be read" in missing.err


def test_a_command_that_is_not_in_it_is_not_found_as_elsewhere(hrm_offline: Hrm, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("")

    done = hrm_offline("run", "--python-env", tmp_path / "requirements.txt", "--", "no-such-program")

    assert done.code == 127
    assert "command not found: no-such-program" in done.err
