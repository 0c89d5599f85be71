from __future__ import annotations

import structlog

from hrm.yarn.rpc.refusals import Refusals


def test_a_flood_of_refusals_is_some_lines_and_a_number() -> None:
    now = 0.0
    refusals = Refusals(lambda: now)
    with structlog.testing.capture_logs() as logged:
        for _ in range(1000):
            refusals.note("yarn_token_refused", host="10.0.0.1")
        assert len(logged) == 10

        now = 10.0
        refusals.note("yarn_token_refused", host="10.0.0.2")

    assert [line["event"] for line in logged[10:]] == ["yarn_more_refused", "yarn_token_refused"]
    assert logged[10]["count"] == 990
