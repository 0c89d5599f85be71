"""NVIDIA's pynvml over a machine that a file describes: put this folder into PYTHONPATH and name the file in FAKE_NVML.

All of the real module is here, its constants and errors are the real ones; only the questions are answered from the
file, which is read at each `nvmlInit`. Keys of the file: ``gpus`` (each with the answers by the name of the question;
an answer ``{"error": CODE}`` raises it), ``init`` (code that `nvmlInit` fails with), ``hang`` (it never answers),
``missing`` (questions that the library is too old for).
"""

import json
import os
import signal
import sysconfig
from pathlib import Path
from types import SimpleNamespace

_source = Path(sysconfig.get_path("purelib")) / "pynvml.py"
exec(compile(_source.read_text(), str(_source), "exec"), globals())  # noqa: S102 (the real module, whole)

_machine = {}


def nvmlInit():
    _machine.clear()
    _machine.update(json.loads(Path(os.environ["FAKE_NVML"]).read_text()))
    if _machine.get("hang"):
        signal.pause()
    if _machine.get("init"):
        raise NVMLError(_machine["init"])  # noqa: F821


def nvmlShutdown():
    _machine.clear()


def nvmlDeviceGetCount():
    return len(_machine["gpus"])


def nvmlSystemGetDriverVersion():
    return _machine.get("driver", "418.39")


def nvmlDeviceGetHandleByIndex(index):
    return _answer("nvmlDeviceGetHandleByIndex", index, default=index)


def _answer(question, index, *, default=None):
    if question in _machine.get("missing", ()):
        raise NVMLError(NVML_ERROR_FUNCTION_NOT_FOUND)  # noqa: F821
    answer = _machine["gpus"][index].get(question, default)
    if isinstance(answer, dict) and "error" in answer:
        raise NVMLError(answer["error"])  # noqa: F821
    if answer is None:
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)  # noqa: F821
    return answer


def _plain(question):
    return lambda handle, *_: _answer(question, handle)


def _structure(question):
    return lambda handle, *_: SimpleNamespace(**_answer(question, handle))


def _by_argument(question):
    """The answer depends on the second argument: another handle, or the number of a link."""

    def ask(handle, other, *_):
        answers = _answer(question, handle, default={})
        if str(other) not in answers:
            raise NVMLError(NVML_ERROR_NOT_SUPPORTED)  # noqa: F821
        return answers[str(other)]

    return ask


def _processes(question):
    return lambda handle: [SimpleNamespace(**one) for one in _answer(question, handle, default=[])]


for _name in (
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetName",
    "nvmlDeviceGetCudaComputeCapability",
    "nvmlDeviceGetMinorNumber",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetTotalEccErrors",
    "nvmlDeviceGetRetiredPagesPendingStatus",
    "nvmlDeviceGetRemappedRows",
    "nvmlDeviceGetMigMode",
):
    globals()[_name] = _plain(_name)
for _name in ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetPciInfo"):
    globals()[_name] = _structure(_name)
for _name in ("nvmlDeviceGetTopologyCommonAncestor", "nvmlDeviceGetP2PStatus", "nvmlDeviceGetNvLinkState"):
    globals()[_name] = _by_argument(_name)
for _kind in ("Compute", "Graphics"):
    for _version in ("_v2", "_v3"):
        _name = f"nvmlDeviceGet{_kind}RunningProcesses{_version}"
        globals()[_name] = _processes(_name)


def nvmlDeviceGetNvLinkRemotePciInfo(handle, link):
    return SimpleNamespace(busId=_by_argument("nvmlDeviceGetNvLinkRemotePciInfo")(handle, link))
