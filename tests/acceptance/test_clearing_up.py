"""`hrm clean` with a real server, real logs and real directories."""

from __future__ import annotations

import os
from pathlib import Path

from hrm.testing import eventually
from tests.acceptance.conftest import Hrm


def entries(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_clean_clears_away_what_is_over_and_nothing_else(hrm: Hrm) -> None:
    hrm("up", "--detach")
    node = hrm.home / "node"
    hrm("submit", "--wait", "--", "sh", "-c", "echo first; ln -s /etc $HRM_CONTAINER_DIR/link")
    hrm("submit", "--", "sh", "-c", "echo second; sleep 600")
    eventually(lambda: hrm("logs", "2").out == "second\n")
    over, runs = (hrm("history", app, "-o", "json").json[0]["container_id"] for app in ("1", "2"))

    told = hrm("clean", "--older-than", "0", "--dry-run", "-o", "json").json
    refused = hrm("clean", "--older-than", "0")
    done = hrm("clean", "--logs", "--scratch", "--older-than", "0", "--yes", "-o", "json").json
    kept = hrm("ps", "1")
    apps = hrm("clean", "--apps", "--older-than", "0", "--yes")
    again = hrm("submit", "--", "true")

    assert (told["applications"], told["logs"], told["scratch"]) == (1, 1, 1)
    assert refused.code == 2
    assert (done["applications"], done["logs"], done["scratch"], done["problems"]) == (0, 1, 1, [])
    assert kept.code == 0
    assert apps.out == "gone: 1 applications with their history\n"
    assert hrm("ps", "1").code == 2
    assert "3" in again.out + again.err
    assert over not in entries(node / "containers") and runs in entries(node / "containers")
    assert f"{over}.stdout" not in entries(node / "logs") and f"{runs}.stdout" in entries(node / "logs")
    assert os.path.exists("/etc/passwd")
    assert hrm.state("2") == "RUNNING"


def test_what_the_configuration_does_not_keep_goes_by_itself(hrm: Hrm) -> None:
    hrm.configure(
        "server: {port: 0}\nretention: {applications: 1, applications_age: 1h, scratch_age: 0, logs_age: 1h}\n"
    )
    hrm("up", "--detach")
    for number in range(3):
        hrm("submit", "--wait", "--", "echo", number)

    eventually(lambda: len(hrm.apps()) == 1)
    eventually(lambda: entries(hrm.home / "node" / "containers") == [])
    assert hrm("logs", "3").out == "2\n"
