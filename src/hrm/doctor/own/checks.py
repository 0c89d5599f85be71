"""Checks that a site makes in its configuration: lines of `doctor.checks`, and a health script as YARN runs one."""

from __future__ import annotations

from collections.abc import Iterator

from hrm.doctor.addresses import hostname
from hrm.doctor.checks import Unseen, check
from hrm.doctor.evidence import said
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.own.lines import OwnLine, parse_line
from hrm.doctor.own.probes import matches
from hrm.doctor.steps import by_hand
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence, Finding, Severity, Text

_SOURCE = "hrm.yaml: doctor.checks"
#: Checks have to end within 15 s.
MAX_SCRIPT_S = 12.0
_SICK = "ERROR"

FAILED = Fault(
    code="HRM-OWN-001",
    severity=Severity.CRITICAL,
    title=Text("{line}: {problem}", "检查 {line}:{problem}"),
    why=Text(
        "The configuration of this site says that a node without it takes no jobs.",
        "按本站点的配置，不满足该条件的节点不接受作业。",
    ),
    cure=Text("Mend what the line asks for.", "修复该行所检查的内容。"),
)
NOT_UNDERSTOOD = Fault(
    code="HRM-OWN-002",
    severity=Severity.WARNING,
    title=Text("The check {line} is not understood: {problem}", "无法理解检查 {line}:{problem}"),
    why=Text("It checks nothing.", "它没有起任何作用。"),
    cure=Text("Mend the line in doctor.checks of hrm.yaml.", "改正 hrm.yaml 中 doctor.checks 的这一行。"),
)
SCRIPT_SAYS_ERROR = Fault(
    code="HRM-OWN-003",
    severity=Severity.CRITICAL,
    title=Text("The health script says: {said}", "健康检查脚本报告：{said}"),
    why=Text(
        "By YARN's rule a node whose health script prints a line that begins with ERROR takes no jobs.",
        "按 YARN 的规则，健康检查脚本输出以 ERROR 开头的行时，该节点不接受作业。",
    ),
    cure=Text("Mend what the script complains of.", "修复脚本所报告的问题。"),
)
SCRIPT_HANGS = Fault(
    code="HRM-OWN-004",
    severity=Severity.CRITICAL,
    title=Text("The health script {path} does not end within {limit} s", "健康检查脚本 {path} 在 {limit} 秒内没有结束"),
    why=Text(
        "By YARN's rule such a node takes no jobs: what the script waits for, jobs would wait for too.",
        "按 YARN 的规则，这样的节点不接受作业：脚本在等的东西，作业也会等。",
    ),
    cure=Text("Find what it waits for, or give it more time.", "查明它在等什么，或延长时限。"),
)
SCRIPT_MISSING = Fault(
    code="HRM-OWN-005",
    severity=Severity.WARNING,
    title=Text("The health script {path} cannot be run", "健康检查脚本 {path} 无法运行"),
    why=Text("The node counts as well without being looked at.", "节点未经检查就被当作健康。"),
    cure=Text("Put the script there on every node, and make it executable.", "在每个节点上放好脚本并赋予执行权限。"),
)
SCRIPT_BROKEN = Fault(
    code="HRM-OWN-006",
    severity=Severity.INFO,
    title=Text(
        "The health script {path} ended with {status}, and said no ERROR",
        "健康检查脚本 {path} 以 {status} 退出，但没有报告 ERROR",
    ),
    why=Text(
        "As with YARN the node counts as well: a typing error in the script must not drain all nodes.",
        "与 YARN 一样，节点算健康：脚本里的笔误不应排空所有节点。",
    ),
    cure=Text("Mend the script.", "修正脚本。"),
)


@check("own.lines", FAILED, NOT_UNDERSTOOD, quick=True, timeout_s=15.0)
def own_lines_hold(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """What lines of `doctor.checks` say holds on this node."""
    understood: list[OwnLine] = []
    for text in expected.checks:
        try:
            understood.append(parse_line(text))
        except ValueError as error:
            step = by_hand("Mend the line; docs/doctor.md has all words.", "改正该行；所有写法见 docs/doctor.md。")
            yield NOT_UNDERSTOOD.found(line=text, problem=error, evidence=[Evidence(_SOURCE, text)], cure=[step])
    name = hostname(system) if understood else ""
    # What may take its time comes last: it is what is left behind if all takes too long.
    for line in sorted(understood, key=lambda line: line.slow):
        if not (matches(name, line.target) or matches(name.partition(".")[0], line.target)):
            continue
        for probe in line.probes:
            try:
                problem = probe(system)
            except CannotSee as error:
                yield Unseen(f"{line.text}: {error}")
                continue
            if problem:
                yield FAILED.found(
                    line=line.text,
                    problem=problem,
                    severity=line.severity,
                    gpu=line.gpu,
                    evidence=[Evidence(_SOURCE, line.text)],
                    cure=[by_hand(f"Mend it: {problem}.", f"修复：{problem}。")],
                )


@check("own.health-script", SCRIPT_SAYS_ERROR, SCRIPT_HANGS, SCRIPT_MISSING, SCRIPT_BROKEN, quick=True, timeout_s=15.0)
def health_script_says_nothing(system: System, expected: Expected) -> Iterator[Finding]:
    """The site's health script says no ERROR (YARN's NodeHealthScriptRunner)."""
    script = expected.health_script
    path = script.path
    if path is None:
        return
    timeout_s = min(script.timeout_s, MAX_SCRIPT_S)
    if not path.startswith("/"):
        problem = "it is no absolute path"
    elif (about := system.stat(path)) is None:
        problem = "it is not there"
    elif about.is_dir or not about.executable:
        problem = f"mode {about.mode:o}"
    else:
        output = system.run(path, *script.arguments, timeout_s=timeout_s)
        mend = by_hand(f"Run {path} by hand and mend what it complains of.", f"手动运行 {path} 并修复它报告的问题。")
        errors = [line for line in output.stdout.splitlines() if line.startswith(_SICK)]
        if output.timed_out:
            evidence = [said(output)]
            yield SCRIPT_HANGS.found(path=path, limit=f"{timeout_s:g}", evidence=evidence, cure=[mend])
        elif errors:
            evidence = [Evidence(path, line) for line in errors[:3]]
            yield SCRIPT_SAYS_ERROR.found(said=errors[0][:200], evidence=evidence, cure=[mend])
        elif not output.ok:
            yield SCRIPT_BROKEN.found(path=path, status=output.status, evidence=[said(output)], cure=[mend])
        return
    yield SCRIPT_MISSING.found(
        path=path,
        evidence=[Evidence(path, problem)],
        cure=[by_hand(f"Put it there and chmod 755 {path}.", f"放好脚本并执行 chmod 755 {path}。")],
    )
