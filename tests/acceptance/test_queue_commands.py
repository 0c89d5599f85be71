"""Queues from the command line: where a job goes, who may, moving, reload."""

from __future__ import annotations

from hrm.testing import eventually
from tests.acceptance.conftest import Hrm

RULES = """\
node: {vcores: 4, memory: 4G}
server: {port: 0}
scheduler:
  placement:
    - {rule: specified, create: false}
    - {rule: nested, parent: {rule: default, queue: users}}
queues:
  users: {type: parent, max_child_share: 50%}
  batch: {policy: fifo, max_running_apps: 1}
"""


def queues(hrm: Hrm) -> dict[str, tuple[int, int]]:
    """Applications that run and wait, by queue."""
    return {
        queue["name"]: (queue["applications_running"], queue["applications_pending"])
        for queue in hrm("queues", "-o", "json").json
    }


def test_a_job_goes_where_the_rules_say_moves_and_outlives_its_queue(hrm: Hrm) -> None:
    hrm.configure(RULES)
    hrm("up", "--detach")
    trial = hrm("submit", "--test-only", "--", "true")
    own = trial.out.split()[4]
    submitted = hrm("submit", "--", "sleep", "1000")
    hrm("submit", "--queue", "batch", "--", "sleep", "1000")
    eventually(lambda: (hrm.state("1"), hrm.state("2")) == ("RUNNING", "RUNNING"))

    assert trial.out == f"it would go to {own} (rule nested below default); it would be made: {own}\n"
    assert own.startswith("users.")
    assert f"goes to queue {own} (rule nested below default)" in submitted.err
    assert "undeclared" in hrm("queues").out

    refused = hrm("move", "1", "--queue", "batch")
    assert refused.code == 2
    assert "batch runs as many applications as it may (1)" in refused.err
    moved = hrm("move", "1", "--queue", "default")
    assert (moved.code, moved.out) == (0, "1 is in default\n")
    assert hrm("update", "2", "--priority", "7").out == "2 is in batch with priority 7\n"
    assert queues(hrm) == {"root": (2, 0), "default": (1, 0), "users": (0, 0), "batch": (1, 0)}

    hrm.configure(RULES.replace("  batch: {policy: fifo, max_running_apps: 1}\n", ""))
    assert hrm("queues", "reload").out == "removed: batch\n"
    assert "draining" in hrm("queues").out
    hrm("down")
    hrm("up", "--detach")
    eventually(lambda: queues(hrm).get("batch") == (1, 0))
    assert hrm("submit", "--queue", "batch", "--test-only", "--", "true").out.startswith(f"it would go to {own} ")
    hrm("kill", "2")
    eventually(lambda: "batch" not in queues(hrm))


def test_a_file_in_which_what_runs_has_no_place_is_refused_at_its_lines(hrm: Hrm) -> None:
    hrm.configure("server: {port: 0}\nqueues:\n  a: {}\n  b: {queues: {c: {}}}\n")
    hrm("up", "--detach")
    for queue in ("a", "b.c"):
        hrm("submit", "--queue", queue, "--", "sleep", "1000")
    before = queues(hrm)
    hrm.configure("server: {port: 0}\nqueues:\n  a:\n    queues: {c: {}}\n  b: {}\n")
    refused = hrm("queues", "reload")

    assert refused.code == 2
    assert "hrm.yaml:3: queues.a: cannot become a parent of queues while applications are in it" in refused.err
    assert "hrm.yaml:5: queues.b: cannot lose the queues below it while applications are in it" in refused.err
    assert queues(hrm) == before


def test_a_policy_that_is_not_allowed_under_its_parent_leaves_all_policies_as_they_were(hrm: Hrm) -> None:
    hrm.configure("server: {port: 0}\nqueues: {a: {policy: drf, queues: {b: {policy: drf}}}, c: {policy: fifo}}\n")
    hrm("up", "--detach")
    before = [(queue["name"], queue["policy"]) for queue in hrm("queues", "-o", "json").json]
    hrm.configure("server: {port: 0}\nqueues:\n  c: {policy: drf}\n  a: {queues: {b: {policy: drf}}}\n")
    refused = hrm("queues", "reload")

    assert refused.code == 2
    assert "hrm.yaml:4: queues.a.queues.b.policy: drf is not allowed below a, which is fair" in refused.err
    assert [(queue["name"], queue["policy"]) for queue in hrm("queues", "-o", "json").json] == before


def test_who_may_use_which_queue_is_shown(hrm: Hrm) -> None:
    hrm.configure(
        "server: {port: 0}\nscheduler: {root: {submit_acl: {}}}\n"
        "queues: {research: {submit_acl: {users: [ada], groups: [staff]}, admin_acl: {users: [grace]}}}\n"
    )
    hrm("up", "--detach")
    rows = {row["name"]: row for row in hrm("queues", "access", "-o", "json").json}

    assert rows["research"]["submitters"] == "ada, group staff"
    assert (rows["default"]["submitters"], rows["default"]["administers"]) == ("nobody", True)
    assert hrm("queues", "access", "--mine").out.split()[:4] == ["QUEUE", "ME", "SUBMIT", "ADMIN"]
