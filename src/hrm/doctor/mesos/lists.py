"""The lists of masters and agents that Mesos' start scripts go through: one host a line.

``grep -v '^#'`` is all that the scripts know of comments: what stands behind a name is taken for more names
(``mesos-start-agents.sh``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hrm.doctor.addresses import as_ip, hostname, lookup, own_ips
from hrm.doctor.checks import Unseen, check
from hrm.doctor.evidence import line_of
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.mesos.settings import AGENT, MASTER, Mesos, mesos
from hrm.doctor.steps import by_hand
from hrm.doctor.system import CannotSee, Reached, System
from hrm.model.findings import Evidence, Finding, Severity, Text

LISTS = {"masters": MASTER, "slaves": AGENT, "agents": AGENT}
_SSH_PORT = 22
_AT_ONCE = 16

REMARK = Fault(
    code="HRM-MESOS-020",
    severity=Severity.ERROR,
    title=Text("{list} has words behind a host: {words}", "{list} 中主机名后面还有别的词：{words}"),
    why=Text(
        "Only a # at the beginning of a line makes a comment. The start scripts take every other word for a host, and "
        "try to reach it by ssh.",
        "只有行首的 # 才是注释。启动脚本把其余每个词都当作主机名，并尝试用 ssh 连接。",
    ),
    cure=Text("Leave one host on each line; comments get a line of their own.", "每行只写一个主机名，注释单独成行。"),
)
TWICE = Fault(
    code="HRM-MESOS-021",
    severity=Severity.WARNING,
    title=Text("{host} stands twice in {list}", "{host} 在 {list} 中出现了两次"),
    why=Text(
        "It is started twice there; the second cannot bind its port, or holds up the first.",
        "会在那台机器上启动两次；第二个绑定不了端口，或影响第一个。",
    ),
    cure=Text("Remove one of the lines.", "删除其中一行。"),
)
UNREACHABLE = Fault(
    code="HRM-MESOS-022",
    severity=Severity.WARNING,
    title=Text("{host} is listed in {list}, but cannot be reached ({how})", "{host} 在 {list} 中，但无法连接（{how}）"),
    why=Text(
        "Starting and stopping the cluster waits for its ssh, and Mesos has a machine less than is listed.",
        "启动和停止集群时会等待它的 ssh,Mesos 实际的机器比列表少。",
    ),
    cure=Text(
        "Bring the machine back, mend its name, or comment its line out.", "恢复该机器、改正名字，或注释掉该行。"
    ),
)
NOT_RUNNING = Fault(
    code="HRM-MESOS-023",
    severity=Severity.WARNING,
    title=Text(
        "{host} is listed in {list} and is up, but no Mesos {role} listens there",
        "{host} 在 {list} 中并且在线，但没有 Mesos {role} 在监听",
    ),
    why=Text("Mesos has a machine less than is listed.", "Mesos 实际的机器比列表少。"),
    cure=Text(
        "Start it there (mesos-daemon.sh), and look at its log where it ends.",
        "在那台机器上用 mesos-daemon.sh 启动；若退出则查看日志。",
    ),
)
NAMELESS = Fault(
    code="HRM-MESOS-024",
    severity=Severity.ERROR,
    title=Text("{host} in {list} is the name of no machine", "{list} 中的 {host} 不是任何机器的名字"),
    why=Text("The start scripts cannot reach it, and print an error of ssh's.", "启动脚本连不上它，ssh 会报错。"),
    cure=Text("Mend the name, or add it to /etc/hosts.", "改正名字，或加入 /etc/hosts。"),
)
MASTER_ON_SLAVE = Fault(
    code="HRM-MESOS-025",
    severity=Severity.WARNING,
    title=Text(
        "This machine ({host}) is an agent and no master, but has settings of a master",
        "本机（{host}）是 agent 而不是 master，却带有 master 的设置",
    ),
    why=Text(
        "Started here by mistake, a second master runs beside the real one, and agents that find it are lost to the "
        "cluster.",
        "若在此误启动，就会有第二个 master 与真正的并存；连到它的 agent 就脱离了集群。",
    ),
    cure=Text("Move the file of master settings away on agents.", "在 agent 上移走 master 的设置文件。"),
)
UNLISTED_MASTER = Fault(
    code="HRM-MESOS-026",
    severity=Severity.WARNING,
    title=Text(
        "Agents look for the master {master}, but {list} has {listed}",
        "agent 要找的 master 是 {master}，而 {list} 中是 {listed}",
    ),
    why=Text(
        "The start scripts start another master than the one that agents wait for.",
        "启动脚本启动的 master 与 agent 等待的不是同一台。",
    ),
    cure=Text("Name the same machine in both.", "两处写同一台机器。"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One host of a list."""

    #: Path of the file.
    path: str
    role: str
    host: str
    #: What stands behind it, and should not.
    rest: str
    evidence: Evidence


def entries(system: System, directory: str) -> list[Entry]:
    """Of all lists in a directory, what is commented out left out."""
    found = []
    for name, role in LISTS.items():
        path = f"{directory}/{name}"
        for number, line in enumerate((system.read(path) or "").splitlines(), 1):
            words = line.split()
            if words and not line.startswith("#"):
                found.append(Entry(path, role, words[0], " ".join(words[1:]), line_of(path, number, line)))
    return found


@check("mesos.lists", REMARK, TWICE, MASTER_ON_SLAVE, UNLISTED_MASTER)
def lists_name_each_host_once(system: System, expected: Expected) -> Iterator[Finding]:
    """Lists have one host a line, each once, and agree with the settings beside them."""
    told = mesos(system, expected)
    for directory in told.directories:
        listed = entries(system, directory)
        first: dict[tuple[str, str], Entry] = {}
        for entry in listed:
            if entry.rest or entry.host.startswith("#"):
                words = entry.rest or entry.host
                step = by_hand(
                    f"In {entry.path} leave one host on the line.", f"在 {entry.path} 的该行只留一个主机名。"
                )
                yield REMARK.found(list=entry.path, words=words, evidence=[entry.evidence], cure=[step])
            before = first.setdefault((entry.path, entry.host), entry)
            if before is not entry:
                step = by_hand(
                    f"Remove the second {entry.host} from {entry.path}.", f"删除 {entry.path} 中重复的 {entry.host}。"
                )
                evidence = [before.evidence, entry.evidence]
                yield TWICE.found(host=entry.host, list=entry.path, evidence=evidence, cure=[step])
        yield from _master_on_slave(system, told, directory, listed)
        yield from _unlisted_master(system, told, listed)


@check("mesos.members", UNREACHABLE, NOT_RUNNING, NAMELESS, timeout_s=12.0)
def listed_hosts_are_there(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """On a master: every listed host can be reached, and runs what it is listed for."""
    # Here, not above: it brings logging along, which no quick round needs.
    from concurrent.futures import ThreadPoolExecutor

    told = mesos(system, expected)
    for directory in told.directories:
        listed = list({(entry.role, entry.host): entry for entry in entries(system, directory)}.values())
        if not told.runs(MASTER) and not _names_this(system, [one for one in listed if one.role == MASTER]):
            continue
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for entry, how in zip(listed, pool.map(lambda entry: _look(system, told, entry), listed), strict=True):
                yield from _of_member(entry, how)


def _look(system: System, told: Mesos, entry: Entry) -> Reached | str:
    """What came of its port; "up" where only its ssh answers, "nameless", or why it cannot be said."""
    try:
        if not lookup(system, entry.host):
            return "nameless"
    except CannotSee as error:
        return f"unseen {error}"
    reached = system.connect(entry.host, told.port(entry.role))
    if reached is Reached.REFUSED or (reached is not Reached.OPEN and entry.host in own_ips(system)):
        return "up"
    if reached is not Reached.OPEN and system.connect(entry.host, _SSH_PORT) in (Reached.OPEN, Reached.REFUSED):
        return "up"
    return reached


def _of_member(entry: Entry, how: Reached | str) -> Iterator[Finding | Unseen]:
    if how is Reached.OPEN:
        return
    if how == "nameless":
        step = by_hand(
            f"Mend {entry.host} in {entry.path}, or add it to /etc/hosts.",
            f"改正 {entry.path} 中的 {entry.host}，或加入 /etc/hosts。",
        )
        yield NAMELESS.found(host=entry.host, list=entry.path, evidence=[entry.evidence], cure=[step])
    elif isinstance(how, Reached):
        step = by_hand(
            f"Bring {entry.host} back, or write # before its line in {entry.path}.",
            f"恢复 {entry.host}，或在 {entry.path} 中该行行首加 #。",
        )
        yield UNREACHABLE.found(host=entry.host, list=entry.path, how=str(how), evidence=[entry.evidence], cure=[step])
    elif how == "up":
        step = by_hand(
            f"On {entry.host}: mesos-daemon.sh mesos-{entry.role}; where it ends at once, look at its log.",
            f"在 {entry.host} 上执行 mesos-daemon.sh mesos-{entry.role}；若立即退出，查看它的日志。",
        )
        yield NOT_RUNNING.found(
            host=entry.host, list=entry.path, role=entry.role, evidence=[entry.evidence], cure=[step]
        )
    else:
        yield Unseen(how.removeprefix("unseen "))


def _master_on_slave(system: System, told: Mesos, directory: str, listed: list[Entry]) -> Iterator[Finding]:
    masters = [entry for entry in listed if entry.role == MASTER]
    agents = [entry for entry in listed if entry.role == AGENT]
    if not masters or not _names_this(system, agents) or _names_this(system, masters) or told.runs(MASTER):
        return
    settings = [one for one in told.settings if one.role == MASTER and one.evidence.source.startswith(f"{directory}/")]
    if settings:
        path = settings[0].evidence.source
        step = by_hand(f"mv {path} {path}.unused", f"mv {path} {path}.unused")
        evidence = [settings[0].evidence, *(entry.evidence for entry in masters[:1])]
        yield MASTER_ON_SLAVE.found(host=hostname(system), evidence=evidence, cure=[step])


def _unlisted_master(system: System, told: Mesos, listed: list[Entry]) -> Iterator[Finding]:
    setting = told.get(AGENT, "master")
    masters = [entry for entry in listed if entry.role == MASTER and entry.host.strip("#")]
    if setting is None or not masters or setting.value.startswith(("zk://", "file://", "=")):
        return
    host = setting.value.partition(":")[0]
    try:
        wanted = {host, *lookup(system, host)}
        known = {address for entry in masters for address in (entry.host, *lookup(system, entry.host))}
    except CannotSee:
        return
    # Names that lead nowhere are told by the checks of names; nothing can be compared with them.
    if wanted & known or not any(as_ip(address) for address in known) or all(one.startswith("127.") for one in known):
        return
    yield UNLISTED_MASTER.found(
        master=host,
        list=masters[0].path,
        listed=", ".join(entry.host for entry in masters),
        evidence=[setting.evidence, *(entry.evidence for entry in masters)],
        cure=[by_hand("Name the same machine in both files.", "在两个文件中写同一台机器。")],
    )


def _names_this(system: System, listed: list[Entry]) -> bool:
    """Whether one of them is this machine."""
    mine = hostname(system)
    own = own_ips(system) if listed else frozenset()
    return any(
        entry.host in (mine, mine.partition(".")[0]) or (entry.host in own and not entry.host.startswith("127."))
        for entry in listed
    )
