"""What always holds of an import of YARN's files, whatever stands in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.sax.saxutils import escape, quoteattr

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm.config.documents import BadDocument, Document
from hrm.config.loader import parse_config
from hrm.config.plain import plain_config
from hrm.config.yarn.importer import import_fair_scheduler
from hrm.config.yarn.properties import Place, properties_of
from hrm.model.queues import Policy, QueueSpec
from hrm.model.resources import Resources
from hrm.model.units import LARGEST

numbers = st.sampled_from(["0", "1", "-1", "3", "0.5", "1.5f", "NaN", "9" * 30, "true", "false", "yes", ""])
amounts = st.sampled_from(
    [
        "1024 mb, 2 vcores",
        "memory-mb=512",
        "vcores=1, yarn.io/gpu=1",
        "50%",
        "200%",
        "50% memory, 20% cpu",
        "fpga=1",
        "x",
    ]
)
words = st.sampled_from(
    ["fair", "drf", "FIFO", "none", "*", "ada,ben staff", " ", "a.b", "no", "~", "[a]", "x: y", "é"]
)
texts = st.one_of(numbers, amounts, words)
names = st.sampled_from(["a", "b", "default", "root", "a.b", "", "no", "x y", "a[0]", "-", "A" * 200])


def element(name: str, attributes: dict[str, str], inside: str) -> str:
    return f"<{name}{''.join(f' {key}={quoteattr(value)}' for key, value in attributes.items())}>{inside}</{name}>"


leaves = st.builds(
    lambda name, text: element(name, {}, escape(text)),
    st.sampled_from([*properties_of(Place.QUEUE), *properties_of(Place.ALLOCATIONS), "maxRuningApps"]).filter(
        lambda name: name not in ("queue", "pool", "user", "queuePlacementPolicy")
    ),
    texts,
)
rules = st.recursive(
    st.builds(
        lambda name, create, queue: element("rule", {"name": name, **create, **queue}, ""),
        st.sampled_from(["specified", "user", "primaryGroup", "secondaryGroupExistingQueue", "default", "reject", "x"]),
        st.sampled_from([{}, {"create": "true"}, {"create": "false"}]),
        st.one_of(st.just({}), names.map(lambda queue: {"queue": queue})),
    ),
    lambda inner: inner.map(lambda rule: element("rule", {"name": "nestedUserQueue"}, rule)),
    max_leaves=3,
)
policies = st.lists(rules, max_size=4).map(lambda found: element("queuePlacementPolicy", {}, "\n".join(found)))
users = st.builds(
    lambda name, text: element("user", {"name": name}, element("maxRunningApps", {}, escape(text))), names, numbers
)
queues = st.recursive(
    st.builds(
        lambda name, kind, inside: element("queue", {"name": name, **kind}, "\n".join(inside)),
        names,
        st.sampled_from([{}, {}, {"type": "parent"}, {"type": "x"}]),
        st.lists(leaves, max_size=3),
    ),
    lambda inner: st.builds(
        lambda name, inside: element("queue", {"name": name}, "\n".join(inside)), names, st.lists(inner, max_size=3)
    ),
    max_leaves=6,
)
allocations = st.lists(st.one_of(leaves, queues, users, policies), max_size=6).map(
    lambda inside: element("allocations", {}, "\n".join(["", *inside, ""]))
)
sites = st.dictionaries(st.sampled_from(list(properties_of(Place.SITE))), texts, max_size=4).map(
    lambda found: element(
        "configuration",
        {},
        "\n".join(
            element("property", {}, element("name", {}, name) + element("value", {}, escape(value)))
            for name, value in found.items()
        ),
    )
)


@given(allocations, sites)
@settings(max_examples=150)
def test_an_import_is_a_configuration_or_a_list_of_lines(allocations: str, site: str) -> None:
    with TemporaryDirectory() as folder:
        fair_scheduler, yarn_site = Path(folder, "fair-scheduler.xml"), Path(folder, "yarn-site.xml")
        fair_scheduler.write_text(allocations)
        yarn_site.write_text(site)
        try:
            made = import_fair_scheduler(fair_scheduler, yarn_site)
        except BadDocument as refused:
            for finding in refused.findings:
                assert finding.source in (str(fair_scheduler), str(yarn_site)), str(finding)
                assert finding.line >= 1
        else:
            assert parse_config(Document(made.text, "hrm.yaml")) == made.config
            shown = yaml.safe_dump(plain_config(made.config), sort_keys=False)
            assert parse_config(Document(shown, "shown.yaml")) == made.config


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> list[QueueSpec]:
    """Queues of which everything may be said in YARN's words."""
    found = []
    for name in draw(st.lists(st.sampled_from(["a", "b", "no", "x-1"]), unique=True, max_size=3)):
        children = tuple(draw(trees(depth=depth - 1))) if depth > 1 and draw(st.booleans()) else ()
        low = Resources(draw(st.integers(0, 4096)), draw(st.integers(0, 8)) * 1000)
        more = Resources(draw(st.integers(0, 4096)), draw(st.integers(0, 8)) * 1000)
        found.append(
            QueueSpec(
                name=name,
                weight=draw(st.integers(0, 2000)) / 8,
                min_share=low,
                max_share=draw(st.sampled_from([None, low + more])),
                max_running_apps=draw(st.one_of(st.none(), st.integers(0, 10**6))),
                max_am_share=0.5 if children else draw(st.sampled_from([None, 0.0, 0.25, 1.0])),
                fair_share_preemption_timeout_s=draw(st.one_of(st.none(), st.integers(0, 10**6).map(float))),
                fair_share_preemption_threshold=draw(st.sampled_from([None, 0.0, 0.3, 1.0])),
                preemptable=draw(st.booleans()),
                policy=Policy.DRF if children else draw(st.sampled_from(list(Policy))),
                children=children,
            )
        )
    return found


def amounts_of(share: Resources) -> str:
    return f"{share.vcores_milli // 1000} vcores, {share.memory_mib} mb"


def written(spec: QueueSpec) -> str:
    """The queue in YARN's words; what is as by default is left out."""
    said = {
        "weight": spec.weight,
        "minResources": amounts_of(spec.min_share),
        "maxResources": None if spec.max_share is None else amounts_of(spec.max_share),
        "maxRunningApps": spec.max_running_apps,
        "maxAMShare": None if spec.children else -1 if spec.max_am_share is None else spec.max_am_share,
        "fairSharePreemptionTimeout": None
        if spec.fair_share_preemption_timeout_s is None
        else int(spec.fair_share_preemption_timeout_s),
        "fairSharePreemptionThreshold": spec.fair_share_preemption_threshold,
        "allowPreemptionFrom": str(spec.preemptable).lower(),
        "schedulingPolicy": spec.policy,
    }
    inside = [element(name, {}, str(value)) for name, value in said.items() if value is not None]
    return element("queue", {"name": spec.name}, "".join([*inside, *map(written, spec.children)]))


def open_where_unnamed(spec: QueueSpec) -> QueueSpec:
    """A maximum without GPUs limits none in an ``hrm.yaml``."""
    children = tuple(map(open_where_unnamed, spec.children))
    maximum = None if spec.max_share is None else replace(spec.max_share, gpus_milli=LARGEST)
    return replace(spec, children=children, max_share=maximum)


@given(trees())
@settings(max_examples=100)
def test_every_queue_is_imported_with_what_was_said_of_it(tree: list[QueueSpec]) -> None:
    root = element("queue", {"name": "root"}, element("schedulingPolicy", {}, "drf") + "".join(map(written, tree)))

    with TemporaryDirectory() as folder:
        path = Path(folder, "fair-scheduler.xml")
        path.write_text(element("allocations", {}, root))
        made = import_fair_scheduler(path)

    shown = yaml.safe_dump(plain_config(made.config), sort_keys=False)
    assert parse_config(Document(shown, "shown.yaml")) == made.config
    imported = {spec.name: spec for spec in made.config.queues.children if spec.name != "default"}
    assert imported == {spec.name: open_where_unnamed(spec) for spec in tree}
