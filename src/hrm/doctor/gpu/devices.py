"""Which GPUs are there: on the bus, to the driver, to nvidia-smi, and as they are expected."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Iterator

from hrm.doctor.checks import Unseen, check, fact
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.gpu.cards import BUS, DRIVER_GPUS, Card, bus_address, cards, gpus_on_bus
from hrm.doctor.gpu.smi import run_smi
from hrm.doctor.steps import by_hand, reboot, run
from hrm.doctor.system import Output, System
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text

LIST = ("nvidia-smi", "-L")
LSPCI = ("lspci", "-D", "-d", "10de:")
_HOSTNAME = "/proc/sys/kernel/hostname"
_LISTED = re.compile(r"^GPU (\d+): (.+) \(UUID: (GPU-[0-9a-f-]+)\)")
#: ``GPU 0000:3D:00.0``, ``GPU0000:25:00.0``, ``GPU3: 0000:5F:00.0``, and the number alone: ``GPU2: Unknown Error``.
_NO_HANDLE = re.compile(
    r"Unable to determine the device handle for GPU ?(?:(\d{1,2}): ?)?"
    r"(?:([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]))?",
    re.I,
)
#: What configuration space reads as when nothing answers any more: bytes FF, which are no text.
_NOTHING_ANSWERS = "\ufffd" * 16

OFF_THE_BUS = Fault(
    code="HRM-GPU-101",
    severity=Severity.ERROR,
    title=Text("GPU {card} has fallen off the bus", "GPU {card} 已从总线上掉线"),
    why=Text(
        "The device answers nothing but ones (revision ff): programs on it are lost, and with some drivers new "
        "programs on the node's other GPUs cannot start either.",
        "该设备不再响应（读出全为 1,rev ff）：其上的程序已丢失，某些驱动下其他 GPU 上的新程序也无法启动。",
    ),
    cure=Text(
        "Restart the node, best by power off and on. If it comes again: power cables, cooling, seat; then replace it.",
        "重启节点，最好断电再上电。若再次出现：检查供电线、散热、插槽，然后更换。",
    ),
)
NOT_DRIVEN = Fault(
    code="HRM-GPU-102",
    severity=Severity.ERROR,
    title=Text(
        "A GPU at {address} is on the bus, and the driver did not take it", "总线上有 GPU {address}，但驱动未接管它"
    ),
    why=Text(
        "nvidia-smi does not show the GPU. The driver may be too old for it, or it came up in a bad state.",
        "nvidia-smi 不显示该 GPU。可能驱动太旧不支持它，或它启动时状态异常。",
    ),
    cure=Text(
        "Look at what the kernel's log says of the address; restart the node; install a driver that knows the GPU.",
        "查看内核日志中该地址的信息，重启节点，安装支持该 GPU 的驱动。",
    ),
)
NOT_LISTED = Fault(
    code="HRM-GPU-103",
    severity=Severity.ERROR,
    title=Text("nvidia-smi cannot reach GPU {card}", "nvidia-smi 无法访问 GPU {card}"),
    why=Text(
        "The driver has the GPU, and it does not answer: no program can use it.",
        "驱动有该 GPU 但它不响应：任何程序都无法使用。",
    ),
    cure=Text(
        "Restart the node. If it stays so, check power cables and seat, then replace it.",
        "重启节点。若仍然如此，检查供电线和插槽，然后更换。",
    ),
)
FEWER_THAN_EXPECTED = Fault(
    code="HRM-GPU-104",
    severity=Severity.ERROR,
    title=Text("{found} GPUs are there, {expected} are expected", "有 {found} 个 GPU，应有 {expected} 个"),
    why=Text(
        "Jobs that need all GPUs of the node wait for ever, and numbers of GPUs mean other devices than before.",
        "需要该节点全部 GPU 的作业将一直等待，且 GPU 编号对应的设备会改变。",
    ),
    cure=Text(
        "Find the missing one on the bus (lspci), restart the node, check power and seat; or correct doctor.gpu.",
        "在总线上查找缺少的 GPU(lspci)，重启节点，检查供电和插槽；或更正 doctor.gpu。",
    ),
)
MORE_THAN_EXPECTED = Fault(
    code="HRM-GPU-105",
    severity=Severity.WARNING,
    title=Text("{found} GPUs are there, {expected} are expected", "有 {found} 个 GPU，只应有 {expected} 个"),
    why=Text(
        "Something was built in that nobody wrote down, and numbers of GPUs may mean other devices than before.",
        "装入了未登记的设备，GPU 编号可能对应不同的设备。",
    ),
    cure=Text("Correct doctor.gpu in hrm.yaml.", "更正 hrm.yaml 中的 doctor.gpu。"),
)
EXPECTED_MISSING = Fault(
    code="HRM-GPU-106",
    severity=Severity.ERROR,
    title=Text("GPU {uuid} is expected here and is missing", "应有的 GPU {uuid} 不在此节点"),
    why=Text(
        "It was exchanged, moved to another machine, or does not answer.",
        "它已被更换、移到别的机器，或不再响应。",
    ),
    cure=Text(
        "Find it with `nvidia-smi -L` and lspci; restart the node; or correct doctor.gpu.uuids.",
        "用 `nvidia-smi -L` 和 lspci 查找；重启节点；或更正 doctor.gpu.uuids。",
    ),
)


@fact("gpu.devices")
def devices(system: System) -> str | None:
    """How many GPUs of which models the driver has."""
    models = Counter(card.model or "unknown" for card in cards(system).all)
    return ", ".join(f"{count} x {model}" for model, count in sorted(models.items())) or None


@check("gpu.on-bus", OFF_THE_BUS, NOT_DRIVEN, quick=True)
def on_bus(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Every GPU answers on the bus, and the driver has taken it."""
    known = cards(system)
    for address in gpus_on_bus(system):
        card = known.at(address)
        config = f"{BUS}/{address}/config"
        if (system.read(config) or "").startswith(_NOTHING_ANSWERS):
            line = Evidence(config, "ff ff ff ff ff ff ff ff")
            yield OFF_THE_BUS.found(
                card=card.shown if card else address,
                gpu=card.id if card else address,
                evidence=(line,),
                cure=(reboot(),),
            )
        elif card is None and system.list(DRIVER_GPUS) and system.link(f"{BUS}/{address}/driver") is None:
            yield NOT_DRIVEN.found(
                address=address,
                evidence=(Evidence(DRIVER_GPUS, " ".join(system.list(DRIVER_GPUS))),),
                cure=(
                    by_hand(
                        f"See what the kernel says of it: dmesg | grep -i {address.removesuffix('.0')}",
                        f"查看内核日志：dmesg | grep -i {address.removesuffix('.0')}",
                    ),
                    reboot(),
                ),
            )


@check("gpu.listed", OFF_THE_BUS, NOT_LISTED)
def listed(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """nvidia-smi and lspci show every GPU that the driver has."""
    known = cards(system)
    if not known.all:
        return
    off_bus = yield from _off_bus_by_lspci(system)
    output = run_smi(system, *LIST)
    if output.missing:
        return
    uuids = {found[3] for line in output.lines if (found := _LISTED.match(line))}
    unreachable = dict(_unreachable(output))
    nodes = {name for name in system.list("/dev") if re.fullmatch(r"nvidia\d+", name)}
    # Where it lists nothing at all it is the driver that does not work, and other checks say how.
    for card in known.all if uuids or unreachable else ():
        said_of_it = unreachable.get(card.address) or unreachable.get(str(card.index))
        if card.address in off_bus or (card.uuid in uuids and not said_of_it) or not (card.uuid or said_of_it):
            continue
        # In a container that was given some of the GPUs, the others have no node, and are nobody's loss.
        if not said_of_it and nodes and f"nvidia{card.minor}" not in nodes:
            continue
        line = said_of_it or Evidence(" ".join(LIST), f"{len(uuids)} of {len(known.all)} GPUs, without {card.uuid}")
        yield NOT_LISTED.found(card=card.shown, gpu=card.id, evidence=(line,), cure=(reboot(),))


def _off_bus_by_lspci(system: System) -> Generator[Finding, None, set[str]]:
    """Finds what `on_bus` finds, where only lspci says it. Gives the addresses on return."""
    known = cards(system)
    addresses = set()
    for line in system.run(*LSPCI).lines:
        card = known.at(line.split()[0])
        if card is None or "(rev ff)" not in line:
            continue
        addresses.add(card.address)
        if not (system.read(f"{BUS}/{card.address}/config") or "").startswith(_NOTHING_ANSWERS):
            evidence = (Evidence(" ".join(LSPCI), line.strip()),)
            yield OFF_THE_BUS.found(card=card.shown, gpu=card.id, evidence=evidence, cure=(reboot(),))
    return addresses


def _unreachable(output: Output) -> Iterator[tuple[str, Evidence]]:
    """By address, or by index where that is all that is said."""
    for line in output.text.splitlines():
        if found := _NO_HANDLE.search(line):
            address = bus_address(found[2]) if found[2] else (found[1] or "")
            yield address, Evidence(" ".join(LIST), line.strip())


@check("gpu.count", FEWER_THAN_EXPECTED, MORE_THAN_EXPECTED, EXPECTED_MISSING, quick=True)
def counted(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """The GPUs are those that doctor.gpu expects."""
    host = (system.read(_HOSTNAME) or system.read("/etc/hostname") or "").strip()
    there = cards(system).all
    # A node without any GPU need not have those that all nodes with GPUs have.
    count = expected.gpu.counts.get(host, expected.gpu.count if there else None)
    line = Evidence(DRIVER_GPUS, " ".join(card.address for card in there) or "none")
    if count is not None and len(there) < count:
        yield FEWER_THAN_EXPECTED.found(found=len(there), expected=count, evidence=(line,), cure=_SEARCH)
    elif count is not None and len(there) > count:
        yield MORE_THAN_EXPECTED.found(found=len(there), expected=count, evidence=(line,), cure=_CORRECT)
    uuids = _uuids(system, there) if expected.gpu.uuids.get(host) else set()
    for uuid in expected.gpu.uuids.get(host, ()):
        if uuid not in uuids:
            shown = Evidence(DRIVER_GPUS, " ".join(sorted(uuids)) or "none")
            yield EXPECTED_MISSING.found(uuid=uuid, evidence=(shown,), cure=_SEARCH)


def _uuids(system: System, there: tuple[Card, ...]) -> set[str]:
    known = {card.uuid for card in there if card.uuid}
    if len(known) == len(there):
        return known
    # The driver says none of GPUs that were not started yet.
    output = run_smi(system, *LIST)
    return known | {found[3] for line in output.lines if (found := _LISTED.match(line))}


_SEARCH: tuple[Step, ...] = (
    run("lspci", "-d", "10de:", about=Text("See what is on the bus.", "查看总线上的设备。")),
    reboot(),
    by_hand(
        "If it is still missing: power off, check its power cables and its seat.",
        "若仍缺少：断电，检查供电线和插槽。",
        risk=Risk.REBOOT,
    ),
)
_CORRECT = (by_hand("Correct doctor.gpu in hrm.yaml.", "更正 hrm.yaml 中的 doctor.gpu。"),)
