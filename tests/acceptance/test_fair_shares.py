"""Two queues under constant demand get their shares, measured from the history as a user would."""

from __future__ import annotations

from hrm.demo import measured_percent
from hrm.model.reports import TaskAttemptReport
from hrm.testing import eventually
from tests.acceptance.conftest import Hrm

WINDOW_S = 6.0


def test_queues_of_weights_3_and_1_get_75_and_25_percent_of_4_vcores(hrm: Hrm) -> None:
    hrm("up", "--detach")
    ids = [
        hrm("submit", "--queue", queue, "--tasks", 400, "--memory", "16M", "-o", "json", "--", "sleep", "0.2").json[
            "application_id"
        ]
        for queue in ("batch", "research")
    ]

    def attempts() -> list[TaskAttemptReport]:
        return [TaskAttemptReport(**line) for line in hrm("history", "-o", "json").json]

    def begun() -> list[float]:
        return [line.started_at for line in attempts() if line.queue == "research" and line.started_at]

    eventually(begun)
    begin = min(begun()) + 0.5
    eventually(lambda: max(begun()) > begin + WINDOW_S)
    queues = {queue["name"]: queue for queue in hrm("queues", "-o", "json").json}
    shares = measured_percent(attempts(), begin, begin + WINDOW_S)
    hrm("kill", *ids)

    assert all(queues[queue]["demand"]["vcores_milli"] >= 4000 for queue in ("research", "batch"))
    assert abs(shares["research"] - 75) < 5
    assert abs(shares["batch"] - 25) < 5
    assert queues["research"]["fair_share"]["vcores_milli"] == 3000
    assert queues["batch"]["fair_share"]["vcores_milli"] == 1000
