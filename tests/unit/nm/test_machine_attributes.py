"""What a machine says of itself."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from hrm.model.attributes import as_value, check_value
from hrm.nm.attributes import machine_attributes


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n', "debian12"),
        ("ID='ubuntu'\nVERSION_ID='22.04'\n", "ubuntu22.04"),
        ("ID=arch\nBUILD_ID=rolling\n", "arch"),
    ],
)
def test_its_system_is_what_os_release_calls_it(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "os-release").write_text(text)

    assert machine_attributes(tmp_path / "os-release")["os"] == name


def test_what_is_not_to_be_found_out_is_left_out(tmp_path: Path) -> None:
    found = machine_attributes(tmp_path / "missing")

    assert "os" not in found
    assert found["host"] == as_value(socket.gethostname())
    assert found["arch"] == os.uname().machine
    assert all(check_value(value, name) for name, value in found.items())
