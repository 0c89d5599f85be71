"""``hrm.yaml``: shape, rules and values."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import pytest

from hrm.config import load_config
from hrm.config.documents import BadDocument, Document, walk_keys
from hrm.config.loader import default_text, parse_config
from hrm.config.machine import usable_memory_mib, usable_vcores_milli
from hrm.config.plain import changed_keys
from hrm.config.schema import ConfigShape, SchedulerShape
from hrm.model.access import EVERYBODY, NOBODY, AccessList
from hrm.model.cleaning import RetentionPolicy
from hrm.model.isolation import IsolationMode, IsolationSettings
from hrm.model.placement import PlacementPolicy, PlacementRule, Rule
from hrm.model.queues import MAX_DEPTH, Order, Policy, QueueSpec, ShareOfCluster
from hrm.model.resources import MEMORY, VCORES, Resources
from hrm.model.scheduling import SchedulerOptions, Victims
from hrm.model.units import LARGEST

DOCS = Path(__file__).parents[3] / "docs" / "configuration.md"


def findings(text: str) -> list[str]:
    with pytest.raises(BadDocument) as caught:
        parse_config(Document(text, "hrm.yaml"))
    return [str(finding) for finding in caught.value.findings]


def config(text: str):
    return parse_config(Document(text, "hrm.yaml"))


# --- defaults


def test_the_commented_default_file_means_the_defaults() -> None:
    assert config(default_text()) == load_config(None)


def test_an_empty_file_means_the_defaults() -> None:
    assert config("") == config("queues:\nnode:\n") == load_config(None)


def test_without_a_word_there_is_one_queue_under_a_drf_root_and_the_whole_machine() -> None:
    found = load_config(None)

    assert [(path, queue.policy) for path, queue in found.queues.walk()] == [
        ("root", Policy.DRF),
        ("default", Policy.FAIR),
    ]
    assert found.node.total == Resources(memory_mib=usable_memory_mib(), vcores_milli=usable_vcores_milli())
    assert (found.server.host, found.server.port) == ("127.0.0.1", 8765)


def test_every_key_is_in_the_default_file_and_in_the_documentation() -> None:
    keys = {".".join(map(str, path)) for path, _ in walk_keys(ConfigShape)}
    default, docs = default_text(), DOCS.read_text(encoding="utf-8")

    assert [key for key in keys if not re.search(rf"^\s*(# )?\s*(- )?{key.rpartition('.')[2]}:", default, re.M)] == []
    assert [key for key in keys if f"`{key}`" not in docs] == []


def test_the_documentation_names_no_key_that_is_not_there() -> None:
    keys = {".".join(map(str, path)) for path, _ in walk_keys(ConfigShape)}
    named = re.findall(r"^\| `([a-z_.*]+)`", DOCS.read_text(encoding="utf-8").partition("## Job files")[0], re.M)

    assert named
    assert set(named) == keys


def test_every_key_says_what_it_is_for() -> None:
    assert [path for path, description in walk_keys(ConfigShape) if not description] == []


# --- values


def test_queues_become_a_tree_in_the_order_written() -> None:
    root = config("queues: {b: {weight: 3, queues: {y: , x: {policy: fifo}}}, a: {max_running_apps: 2}}").queues

    assert [path for path, _ in root.walk()] == ["root", "default", "b", "b.y", "b.x", "a"]
    assert root.children[1].weight == 3
    assert root.children[1].children[1].policy is Policy.FIFO
    assert root.children[2].max_running_apps == 2


@pytest.mark.parametrize("share", ["4 vcores, 8G", "8G, 4 cores", "{cpus: 4, memory: 8G}", "{memory: 8192, cpus: 4.0}"])
def test_shares_are_written_as_text_or_by_name(share: str) -> None:
    quoted = share if share.startswith("{") else f"'{share}'"

    queue = config(f"queues: {{a: {{min_share: {quoted}}}}}").queues.children[1]

    assert queue.min_share == Resources(memory_mib=8192, vcores_milli=4000)


def test_a_max_share_does_not_limit_what_it_does_not_name() -> None:
    queue = config("queues: {a: {max_share: 8G}}").queues.children[1]

    assert queue.max_share == Resources(memory_mib=8192, vcores_milli=LARGEST, gpus_milli=LARGEST)


@pytest.mark.parametrize(
    ("share", "part"),
    [
        ("50%", ShareOfCluster(default=0.5)),
        ("{cpus: 20%, memory: 33.3%}", ShareOfCluster(default=1.0, parts=((MEMORY, 0.333), (VCORES, 0.2)))),
        ("'20% cpus, 50% memory'", ShareOfCluster(default=1.0, parts=((MEMORY, 0.5), (VCORES, 0.2)))),
    ],
)
def test_a_share_may_be_a_part_of_the_cluster(share: str, part: ShareOfCluster) -> None:
    queue = config(f"queues: {{a: {{max_share: {share}}}}}").queues.children[1]

    assert (queue.max_share, queue.max_share_of_cluster) == (None, part)


def test_what_a_minimum_in_percent_does_not_name_is_not_guaranteed() -> None:
    queue = config("queues: {a: {min_share: {memory: 10%}}}").queues.children[1]

    assert queue.min_share_of_cluster == ShareOfCluster(default=0.0, parts=((MEMORY, 0.1),))


def test_a_queue_has_every_key_that_yarn_has_for_one() -> None:
    text = """\
queues:
  a:
    max_running_apps_per_user: 2
    max_running_apps_of_users: {eve: 0, ada: 5}
    max_am_share: none
    policy: drf
    order: deficit
    preemptable: false
    fair_share_preemption_timeout: 30s
    fair_share_preemption_threshold: 0.8
    min_share_preemption_timeout: never
    min_run_before_preemption: 0
"""

    assert config(text).queues.children[1] == QueueSpec(
        name="a",
        max_running_apps_per_user=2,
        max_running_apps_of_users=(("ada", 5), ("eve", 0)),
        max_am_share=None,
        policy=Policy.DRF,
        order=Order.DEFICIT,
        preemptable=False,
        fair_share_preemption_timeout_s=30.0,
        fair_share_preemption_threshold=0.8,
        min_share_preemption_timeout_s=math.inf,
        min_run_before_preemption_s=0.0,
    )


def test_acls_name_users_and_groups_or_everybody_or_nobody() -> None:
    root = config(
        "queues: {a: {submit_acl: {users: [ada], groups: [staff]}, admin_acl: '*'}, b: {submit_acl: {}}, c: }"
    ).queues

    assert [(queue.submit_acl, queue.admin_acl) for queue in root.children[1:]] == [
        (AccessList(users=("ada",), groups=("staff",)), EVERYBODY),
        (NOBODY, None),
        (None, None),
    ]


def test_a_largest_container_does_not_limit_what_it_does_not_name() -> None:
    queue = config("queues: {a: {max_container: {cpus: 2}}}").queues.children[1]

    assert queue.max_container == Resources(memory_mib=LARGEST, vcores_milli=2000, gpus_milli=LARGEST)


def test_defaults_hold_for_every_queue_that_says_nothing_and_not_for_the_root() -> None:
    root = config(
        "scheduler: {queue_defaults: {max_running_apps: 5, max_share: 50%, max_am_share: none, policy: drf}}\n"
        "queues: {a: {max_running_apps: 9, max_share: 1G, max_am_share: 0.5, policy: fair}}"
    ).queues
    default, a = root.children

    assert (root.max_running_apps, root.max_share_of_cluster) == (None, None)
    assert (default.max_running_apps, default.max_am_share, default.policy) == (5, None, Policy.DRF)
    assert default.max_share_of_cluster == ShareOfCluster(default=0.5)
    assert (a.max_running_apps, a.max_share_of_cluster, a.max_am_share, a.policy) == (9, None, 0.5, Policy.FAIR)


def test_placement_rules_come_in_order_with_their_parents() -> None:
    text = """\
scheduler:
  default_queue: guests
  placement:
    - {rule: specified, create: false}
    - {rule: nested, parent: {rule: primary_group, create: false}}
    - rule: reject
queues: {guests: }
"""
    policy = config(text).scheduler.placement

    assert policy == PlacementPolicy(
        rules=(
            PlacementRule(rule=Rule.SPECIFIED, create=False),
            PlacementRule(rule=Rule.NESTED, parent=PlacementRule(rule=Rule.PRIMARY_GROUP, create=False)),
            PlacementRule(rule=Rule.REJECT),
        ),
        default_queue="guests",
        undeclared_queues=True,
    )


@pytest.mark.parametrize(
    ("scheduler", "may_make"),
    [
        ("{}", False),
        ("{undeclared_queues: true}", True),
        ("{placement: [{rule: user}]}", True),
        ("{placement: [{rule: default}], undeclared_queues: false}", False),
    ],
)
def test_queues_are_made_only_where_there_are_rules_unless_told_otherwise(scheduler: str, may_make: bool) -> None:
    assert config(f"scheduler: {scheduler}").scheduler.placement.undeclared_queues is may_make


def test_the_root_has_limits_and_an_order_of_its_own() -> None:
    root = config("scheduler: {order: deficit, root: {max_share: 50%, max_running_apps_per_user: 3}}").queues

    assert (root.order, root.max_share_of_cluster) == (Order.DEFICIT, ShareOfCluster(default=0.5))
    assert root.max_running_apps_per_user == 3


def test_options_of_the_scheduler_come_in_their_units() -> None:
    text = """\
scheduler:
  assign_multiple: false
  max_assign: 4
  node_locality_threshold: 0.5
  continuous_scheduling: true
  rack_locality_delay: 1m
  reservable_nodes: 0.05
  reservation_threshold: 4 vcores, 1G
  gang_gather_timeout: 2m
  wait_before_kill: 0
  victims: least_work_lost
  placement_strategy: spread
"""

    assert config(text).scheduler.options == SchedulerOptions(
        assign_multiple=False,
        max_assign=4,
        node_locality_threshold=0.5,
        continuous_scheduling=True,
        rack_locality_delay_s=60.0,
        reservable_nodes=0.05,
        reservation_threshold=Resources(memory_mib=1024, vcores_milli=4000),
        gang_gather_timeout_s=120.0,
        wait_before_kill_s=0.0,
        victims=Victims.LEAST_WORK_LOST,
        placement_strategy="spread",
    )


def test_every_option_of_the_scheduler_has_its_key() -> None:
    keys = {field.name.removesuffix("_s") for field in dataclasses.fields(SchedulerOptions)}

    assert keys - SchedulerShape.model_fields.keys() == set()


def test_keys_that_differ_are_named() -> None:
    before, after = config(""), config("scheduler: {victims: least_work_lost}\nnode: {memory: 1G}\nqueues: {a: }")

    assert changed_keys(before, after) == ["scheduler.victims", "node.memory"]


def test_a_node_lends_what_the_file_says() -> None:
    node = config("node: {node_id: box, vcores: 4.5, memory: 8G, log_limit: 1G}").node

    assert node.total == Resources(memory_mib=8192, vcores_milli=4500)
    assert (node.node_id, node.log_limit_bytes) == ("box", 1 << 30)


def test_a_node_lends_the_gpus_that_are_listed_or_all_or_virtual_ones() -> None:
    uuid = "GPU-20fbec52-8c31-118f-52a7-8678af956128"

    assert load_config(None).node.gpu_devices is None
    assert config(f"node: {{gpu_devices: [0, {uuid}]}}").node.gpu_devices == (0, uuid)
    assert config("node: {gpu_devices: []}").node.gpu_devices == ()
    assert config("node: {virtual_gpus: 2}").node.virtual_gpus == 2


def test_a_node_holds_containers_to_what_the_file_says() -> None:
    held = config("node: {isolation: full, strict_cpus: true, max_processes: 100, disk_quota: 1G, umask: 077}").node
    assert held.isolation == IsolationSettings(
        mode=IsolationMode.FULL, strict_cpus=True, max_processes=100, disk_quota_mib=1024, umask=0o077
    )
    assert config("node: {pin_cpus: true}").node.isolation == IsolationSettings(pin_cpus=True)
    assert config("node: {umask: '0022'}").node.isolation == IsolationSettings(umask=0o022)


def test_server_settings_come_in_their_units() -> None:
    server = config(
        "server: {port: 0, max_body: 1M, idle_exit: 2m, allowed_hosts: [a.example], check_socket_owner: false}"
    ).server

    assert (server.port, server.max_body_bytes, server.idle_exit_s) == (0, 1 << 20, 120.0)
    assert (server.allowed_hosts, server.check_socket_owner) == (("a.example",), False)


def test_retention_comes_in_seconds_and_bytes_and_0_keeps_nothing() -> None:
    kept = config("retention: {applications_age: 12h, applications: 0, scratch_age: 0, logs_age: 0s, logs_size: 1G}")

    assert kept.retention == RetentionPolicy(
        applications_age_s=43_200.0, applications=0, scratch_age_s=0.0, logs_age_s=0.0, logs_bytes=1 << 30
    )


# --- findings


def test_every_finding_comes_at_once_with_file_line_and_key() -> None:
    text = """\
schedular: {policy: drf}
scheduler: {policy: drff}
queues:
  research:
    wieght: 3
    min_share: 4 vcores, 8G
    max_share: 2 vcores
  batch: {weight: -1, max_running_apps: lots}
node: {memory: 12Q}
server: {port: 99999}
"""

    assert findings(text) == [
        "hrm.yaml:1: schedular: unknown key (did you mean 'scheduler'?)",
        "hrm.yaml:2: scheduler.policy: not known: 'drff' (did you mean 'drf'?)",
        "hrm.yaml:5: queues.research.wieght: unknown key (did you mean 'weight'?)",
        "hrm.yaml:6: queues.research.min_share: above max_share in vcores_milli (lower it)",
        "hrm.yaml:8: queues.batch.max_running_apps: must be a whole number, not 'lots'",
        "hrm.yaml:8: queues.batch.weight: must be at least 0.0, not -1",
        "hrm.yaml:9: node.memory: not an amount of memory: '12Q' (write for example 512M or 4G)",
        "hrm.yaml:10: server.port: must be at most 65535, not 99999",
    ]


def test_every_finding_about_queues_and_placement_comes_at_once_with_its_line() -> None:
    text = """\
scheduler:
  policy: fair
  default_queue: nowhere
  placement:
    - rule: reject
    - {rule: primary_group, queue: a}
queues:
  a:
    min_share: 60%
    max_share: 50%
    weight: -1
    queues:
      b: {policy: lifo}
      b: {}
  c:
    policy: drf
    submit_acl: [ada]
"""

    assert findings(text) == [
        "hrm.yaml:3: scheduler.default_queue: no such queue: 'nowhere' (declare it)",
        "hrm.yaml:6: scheduler.placement[1]: is never asked: reject before it places every job (leave it out, or move "
        "it up)",
        "hrm.yaml:6: scheduler.placement[1].queue: primary_group finds its queue by itself (leave it out)",
        "hrm.yaml:9: queues.a.min_share: above max_share in memory_mib, vcores_milli, gpus_milli (lower it)",
        "hrm.yaml:11: queues.a.weight: must be at least 0.0, not -1",
        "hrm.yaml:13: queues.a.queues.b.policy: not known: 'lifo' (did you mean 'fifo'?)",
        "hrm.yaml:14: queues.a.queues.b: given twice, first on line 13 (keep one)",
        "hrm.yaml:16: queues.c.policy: drf is not allowed below the root, which is fair (set scheduler.policy: drf)",
        "hrm.yaml:17: queues.c.submit_acl: names neither users nor groups (write {users: [ada], groups: [staff]}, {} "
        "for nobody or '*' for everybody)",
    ]


def test_the_message_is_the_findings_one_per_line() -> None:
    with pytest.raises(BadDocument) as caught:
        config("a: 1\nb: 2")

    assert len(str(caught.value).splitlines()) == 2
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("queues: [a, b]", "queues: must be a mapping of keys to values, not a list"),
        ("just text", "must be a mapping of keys to values, not 'just text'"),
        ("queues: {a: 3}", "queues.a: must be a mapping of keys to values, not 3"),
        ("queues: {a: {weight: .inf}}", "queues.a.weight: must be a finite number, not inf"),
        ("queues: {a: {weight: true}}", "queues.a.weight: must be a number, not True"),
        ("queues: {a: {min_share: 4 vcores and 8G}}", "a.min_share: memory: not an amount of memory: '4 vcores and"),
        ("queues: {a: {min_share: '1G, 2G'}}", "queues.a.min_share: names memory twice: '1G, 2G'"),
        ("queues: {a: {min_share: 101%}}", "a.min_share: not a percentage from 0% to 100%: '101%'"),
        ("queues: {a: {max_share: {cpus: -1%}}}", "a.max_share: cpus: not a percentage from 0% to 100%: '-1%'"),
        ("queues: {a: {max_share: {cpus: 50%, memory: 1G}}}", "a.max_share: mixes amounts and percentages"),
        ("queues: {a: {max_am_share: 2}}", "a.max_am_share: neither from 0 to 1 nor 'none': 2"),
        ("queues: {a: {order: age}}", "a.order: not known: 'age' (one of ratio, deficit)"),
        ("queues: {a: {fair_share_preemption_threshold: 2}}", "must be at most 1.0, not 2"),
        ("queues: {a: {fair_share_preemption_timeout: ever}}", "not a duration: 'ever'"),
        ("queues: {a: {max_running_apps_of_users: {ada: -1}}}", "max_running_apps_of_users.ada: must be at least 0"),
        ("queues: {a: {submit_acl: ada}}", "a.submit_acl: names neither users nor groups"),
        ("queues: {a: {submit_acl: {user: [ada]}}}", "a.submit_acl: names neither users nor groups"),
        ("queues: {a: {admin_acl: {users: ada}}}", "a.admin_acl: users: must be a list of names"),
        ("queues: {a: {max_container: 50%}}", "a.max_container: cannot be a percentage"),
        ("queues: {a: {type: branch}}", "a.type: not known: 'branch' (one of leaf, parent)"),
        ("scheduler: {placement: [{create: true}]}", "scheduler.placement[0].rule: is missing"),
        ("scheduler: {placement: [{rule: users}]}", "placement[0].rule: not known: 'users' (did you mean 'user'?)"),
        ("scheduler: {root: {weight: 2}}", "scheduler.root.weight: unknown key"),
        ("scheduler: {reservation_threshold: 10%}", "scheduler.reservation_threshold: cannot be a percentage"),
        ("scheduler: {max_assign: 0}", "scheduler.max_assign: must be at least 1, not 0"),
        ("queues: {a: {max_share: {gpu: 1}}}", "queues.a.max_share: unknown resource 'gpu'"),
        ("queues: {a: {max_share: -1G}}", "queues.a.max_share: memory: not an amount of memory: '-1G'"),
        ("queues: {a: {policy: 3}}", "queues.a.policy: not known: 3 (one of fifo, fair, drf)"),
        ("server: {idle_exit: soon}", "server.idle_exit: not a duration: 'soon'"),
        ("server: {max_body: 0}", "server.max_body: must be above zero"),
        ("node: {vcores: 0}", "node.vcores: must be above zero"),
        ("node: {node_id: 'a b'}", "node.node_id: not a node id: 'a b'"),
        ("node: {gpu_devices: 0}", "node.gpu_devices: must be a list, not 0"),
        ("node: {gpu_devices: [0, -1]}", "node.gpu_devices[1]: neither an index nor a UUID of a GPU: -1"),
        ("node: {gpu_devices: [true]}", "node.gpu_devices[0]: neither an index nor a UUID of a GPU: True"),
        ("node: {gpu_devices: [RTX 2080]}", "node.gpu_devices[0]: neither an index nor a UUID of a GPU: 'RTX 2080'"),
        ("node: {isolation: complete}", "node.isolation: not known: 'complete' (one of auto, full, none)"),
        ("node: {max_processes: 0}", "node.max_processes: must be at least 1, not 0"),
        ("node: {disk_quota: 0}", "node.disk_quota: must be above zero"),
        ("node: {umask: 0o22}", "node.umask: not a umask: "),
        ("node: {umask: 99}", "node.umask: not a umask: 99"),
        ("node: {virtual_gpus: 257}", "node.virtual_gpus: must be at most 256, not 257"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_wanted(text: str, problem: str) -> None:
    (finding,) = findings(text)

    assert problem in finding


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("queues: {a.b: }", "queues.a.b: a queue's own name has no dot"),
        ("queues: {root: }", "queues.root: the root is always there"),
        ("queues: {'x y': }", "queues.x y: not a queue name: 'x y'"),
        ("queues: {a: {policy: fifo, queues: {b: }}}", "queues.a.policy: fifo orders applications"),
        ("queues: {a: {queues: {b: {policy: drf}}}}", "queues.a.queues.b.policy: drf is not allowed below a"),
        ("scheduler: {policy: fair}\nqueues: {a: {policy: drf}}", "queues.a.policy: drf is not allowed below the root"),
        ("queues: {a: {policy: fifo, order: deficit}}", "queues.a.order: fifo has an order of its own"),
        ("queues: {a: {min_share: 50%, max_share: {cpus: 20%}}}", "queues.a.min_share: above max_share in vcores"),
        ("queues: {a: {type: leaf, queues: {b: }}}", "queues.a.type: a leaf has no queues below it"),
        ("queues: {a: {type: parent, policy: fifo}}", "queues.a.policy: fifo orders applications"),
        ("queues: {default: {type: parent}}", "queues.default: default is for queues below it"),
        ("scheduler: {queue_defaults: {policy: fifo}}", "scheduler.queue_defaults.policy: fifo orders applications"),
        (
            "scheduler: {policy: fair, queue_defaults: {policy: drf}}\nqueues: {default: {policy: fair}, a: }",
            "hrm.yaml:1: scheduler.queue_defaults.policy: a gets it: drf is not allowed below the root, which is fair",
        ),
        ("scheduler: {placement: []}", "scheduler.placement: has no rules"),
        ("scheduler: {placement: [{rule: specified}]}", "placement[0]: a job for which specified finds nothing"),
        ("scheduler: {placement: [{rule: user, create: false}]}", "placement[0]: a job for which user finds nothing"),
        (
            "scheduler: {undeclared_queues: false, placement: [{rule: user}]}",
            "placement[0]: a job for which user finds nothing",
        ),
        (
            "scheduler: {placement: [{rule: user}, {rule: default}]}",
            "placement[1]: is never asked: user before it places every job",
        ),
        ("scheduler: {placement: [{rule: nested}, {rule: reject}]}", "placement[0]: nested needs a parent"),
        (
            "scheduler: {placement: [{rule: specified, parent: {rule: user}}, {rule: reject}]}",
            "placement[0].parent: specified has no parent",
        ),
        (
            "scheduler: {placement: [{rule: nested, parent: {rule: reject}}]}",
            "placement[0].parent.rule: reject cannot be a parent",
        ),
        ("scheduler: {placement: [{rule: default, queue: defualt}]}", "placement[0].queue: no such queue: 'defualt'"),
        ("scheduler: {placement: [{rule: user, queue: a}]}", "placement[0].queue: user finds its queue by itself"),
        (
            "scheduler: {placement: [{rule: nested, parent: {rule: default, queue: default}}]}",
            "placement[0].parent.queue: default: jobs go into it; queues cannot lie below it",
        ),
        (
            "scheduler: {placement: [{rule: nested, parent: {rule: default}}]}",
            "placement[0].parent: the default queue is a leaf, below which no queue can lie",
        ),
        ("scheduler: {placement: [{rule: reject, create: true}]}", "placement[0].create: reject never makes a queue"),
        ("scheduler: {policy: fifo}", "scheduler.policy: fifo orders applications"),
        ("scheduler: {default_queue: batsch}\nqueues: {batch: }", "no such queue: 'batsch' (did you mean 'batch'?)"),
        ("queues: {default: {queues: {a: }}}", "queues.default: default is for queues below it"),
        (
            "scheduler: {placement_strategy: best_fitt}",
            "scheduler.placement_strategy: no such placement strategy: 'best_fitt' (did you mean 'best_fit'?)",
        ),
        ("scheduler: {placement_strategy: x}", "(one of pack, spread, best_fit, dot_product, fgd, lookahead, random)"),
        ("server: {host: 0.0.0.0}", "server.host: '0.0.0.0' is not a loopback address"),
        ("node: {isolation: none, pin_cpus: true}", "node.pin_cpus: isolation is none: containers run where they like"),
        ("node: {gpu_devices: [0], virtual_gpus: 1}", "node.virtual_gpus: virtual GPUs stand in for the machine's own"),
        ("node: {gpu_devices: [1, 0, 1]}", "node.gpu_devices[2]: 1 is given twice"),
    ],
)
def test_a_rule_over_several_keys_is_found_at_its_key(text: str, problem: str) -> None:
    (finding,) = findings(text)

    assert problem in finding


def test_queues_that_are_below_themselves_are_found() -> None:
    (finding,) = findings("queues: &all\n  a:\n    weight: 1\n    queues: *all\n")

    assert finding.startswith("hrm.yaml:4: queues.a.queues: an alias of what it stands in, which would never end")


def test_a_tree_that_is_too_deep_is_found_once() -> None:
    text = "".join(f"{'  ' * level}{'queues:' if level % 2 == 0 else 'q:'}\n" for level in range(2 * (MAX_DEPTH + 3)))

    (finding,) = findings(text)

    assert f"nested deeper than {MAX_DEPTH} queues" in finding


def test_a_queue_with_a_drf_parent_may_be_drf() -> None:
    assert config("queues: {a: {policy: drf, queues: {b: {policy: drf}}}}").queues.children[1].policy is Policy.DRF


# --- the machine


def test_a_cgroup_limit_is_what_the_machine_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text(f"{1 << 30}\n")
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    monkeypatch.setattr("hrm.config.machine._cgroup_directories", lambda root, controller: iter([tmp_path]))

    assert usable_memory_mib(tmp_path) == 1024 - 128
    assert usable_vcores_milli(tmp_path) == 500


def test_a_cgroup_without_limits_limits_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hrm.config.machine._cgroup_directories", lambda root, controller: iter(()))
    free = (usable_memory_mib(tmp_path), usable_vcores_milli(tmp_path))
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    monkeypatch.setattr("hrm.config.machine._cgroup_directories", lambda root, controller: iter([tmp_path]))

    assert (usable_memory_mib(tmp_path), usable_vcores_milli(tmp_path)) == free
