"""What runs models: OpenVINO always, others when they are installed, and whether a graphics card is put to use."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys

from monitor.findings.children import NoAnswer, ask, ask_python
from monitor.findings.finding import Finding, Scope, State, _
from monitor.findings.python import pinned

ASK_OPENVINO = "import json, openvino as ov; print(json.dumps(ov.Core().available_devices))"
ASK_ONNX = "import json, onnxruntime as ort; print(json.dumps(ort.get_available_providers()))"
ASK_TORCH = """
import json, torch
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda or "", "works": torch.cuda.is_available()}))
"""
ONNX = ("onnxruntime", "onnxruntime-gpu")


def installed(*names: str) -> str:
    """The version of the first of the packages that is installed; empty when none is."""
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def answer(program: str) -> object:
    """What ``program`` printed, as JSON. Raises ``NoAnswer``."""
    # A runtime may greet first; the answer is the last line.
    return json.loads(ask_python(program).strip().splitlines()[-1])


def check_openvino(scope: Scope) -> list[Finding]:
    """It imports and has something to run on."""
    return [openvino(ASK_OPENVINO)]


def openvino(program: str) -> Finding:
    """What ``program`` says of OpenVINO's devices."""
    try:
        devices = answer(program)
    except (NoAnswer, ValueError, IndexError) as problem:
        return _no_openvino(str(problem))
    if not isinstance(devices, list) or not devices:
        return _no_openvino("it finds no device, not even this processor")
    values = {"version": installed("openvino"), "devices": ", ".join(map(str, devices))}
    return Finding("openvino", _("OpenVINO"), State.OK, _("%(version)s on %(devices)s"), values=values)


def _no_openvino(problem: str) -> Finding:
    return Finding(
        "openvino",
        _("OpenVINO"),
        State.WRONG,
        _("OpenVINO, which runs the shipped model, does not work here: %(problem)s"),
        remedy=f"{sys.executable} -m pip install --force-reinstall --no-deps {pinned('openvino')}",
        values={"problem": problem},
    )


def check_onnxruntime(scope: Scope) -> list[Finding]:
    """Optional: models that ask for it."""
    version = installed(*ONNX)
    if not version:
        return [_optional("onnxruntime", _("ONNX Runtime"), "./poliscope install onnxruntime")]
    try:
        providers = answer(ASK_ONNX)
    except (NoAnswer, ValueError, IndexError) as problem:
        return [_broken("onnxruntime", _("ONNX Runtime"), str(problem), "./poliscope install onnxruntime")]
    names = [str(one).removesuffix("ExecutionProvider") for one in providers] if isinstance(providers, list) else []
    values = {"version": version, "devices": ", ".join(names)}
    return [Finding("onnxruntime", _("ONNX Runtime"), State.OK, _("%(version)s on %(devices)s"), values=values)]


def check_apprise(scope: Scope) -> list[Finding]:
    """Optional: contacts that are reached through a chat or push service."""
    subject, remedy = _("Chat and push"), "./poliscope install apprise"
    version = installed("apprise")
    if not version:
        text = _("Not installed; only contacts of that kind need it.")
        return [Finding("apprise", subject, State.NOTE, text, remedy=remedy)]
    try:
        answer("import apprise; print('true')")
    except NoAnswer as problem:
        return [_broken("apprise", subject, str(problem), remedy)]
    return [Finding("apprise", subject, State.OK, _("Apprise %(version)s"), values={"version": version})]


def check_ultralytics(scope: Scope) -> list[Finding]:
    """Optional: PyTorch models through Ultralytics, on the graphics card where there is one."""
    return torch_findings(cards_seen())


def torch_findings(cards: list[str]) -> list[Finding]:
    """Whether Ultralytics and torch work, and use ``cards``, the graphics cards that the driver names."""
    remedy = "./poliscope install ultralytics"
    if not installed("ultralytics") or not installed("torch"):
        return [_optional("ultralytics", _("Ultralytics"), remedy), *([unused_card(cards, remedy)] if cards else [])]
    try:
        torch = answer(ASK_TORCH)
    except (NoAnswer, ValueError, IndexError) as problem:
        return [_broken("ultralytics", _("Ultralytics"), f"torch: {problem}", remedy)]
    assert isinstance(torch, dict)
    return [torch_and_driver(torch, cards, remedy)]


def torch_and_driver(torch: dict[str, object], cards: list[str], remedy: str) -> Finding:
    """Whether this build of torch fits the driver. ``torch``: ``version``, ``cuda`` ("" for a CPU build), ``works``."""
    values = {
        "version": installed("ultralytics") or "–",
        "torch": str(torch["version"]),
        "cuda": str(torch["cuda"]),
        "cards": ", ".join(cards),
    }
    subject = _("Ultralytics")
    if not cards:
        text = _("%(version)s with torch %(torch)s on the processor")
        return Finding("ultralytics", subject, State.OK, text, values=values)
    if torch["works"]:
        text = _("%(version)s with torch %(torch)s on %(cards)s")
        return Finding("ultralytics", subject, State.OK, text, values=values)
    if not torch["cuda"]:
        text = _("%(cards)s is here, but this torch (%(torch)s) is the build for processors.")
        return Finding("ultralytics", subject, State.WRONG, text, remedy=remedy, values=values)
    return Finding(
        "ultralytics",
        subject,
        State.WRONG,
        _("torch %(torch)s is built for CUDA %(cuda)s and cannot use %(cards)s: the driver is older."),
        remedy="nvidia-smi",
        advice=_("The command's first line names the newest CUDA that the driver knows; update the driver."),
        values=values,
    )


def cards_seen() -> list[str]:
    """The NVIDIA cards that the driver names; none where there is no driver."""
    program = shutil.which("nvidia-smi")
    if not program:
        return []
    try:
        said = ask([program, "--query-gpu=name", "--format=csv,noheader"], timeout_s=10)
    except NoAnswer:
        return []
    return [line.strip() for line in said.splitlines() if line.strip()]


def unused_card(cards: list[str], remedy: str) -> Finding:
    """There is a card, and nothing that would run a model on it."""
    return Finding(
        "gpu",
        _("Graphics card"),
        State.NOTE,
        _("%(cards)s is here, but no runtime with CUDA is installed: models run on the processor."),
        remedy=remedy,
        values={"cards": ", ".join(cards)},
    )


def _optional(code: str, subject: str, remedy: str) -> Finding:
    return Finding(code, subject, State.NOTE, _("Not installed; only models that ask for it need it."), remedy=remedy)


def _broken(code: str, subject: str, problem: str, remedy: str) -> Finding:
    text = _("It is installed and does not work: %(problem)s")
    return Finding(code, subject, State.WRONG, text, remedy=remedy, values={"problem": problem})
