"""The trial of a model, ``python -m detectors.tryout``: a bounded child that reads, loads and runs it. No Django.

Standard input: one ``Order`` as JSON. The answer: one ``Verdict`` as JSON. Everything that parses what a stranger made
happens here, so that what it does to a runtime it does to this process and to no other.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from detectors import registry
from detectors.backends.base import Backend, Card, ModelBroken, ModelProblem, Picture, brief, check_onnx
from detectors.backends.choice import choose
from detectors.bounded import bind
from detectors.pt_card import recognise_pt
from detectors.recognise import names_in, recognise
from detectors.registry import AUTO
from detectors.runtimes import missing, runtime_name
from detectors.tryout_orders import ClassName, Order, Verdict

PICTURE_WH = (1280, 720)
ROUNDS = 5
REST = "*=-"
"""For ``recognise``: classes without a label of ours are not used."""
ENOUGH_S = 5.0
"""After so long no further round is run: what is slow is measured well enough by fewer."""


def main() -> None:
    """One trial."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    answer = bind(order.bounds, address_space=order.device.upper() not in ("CUDA", "GPU"))
    try:
        verdict = judge(order)
    except ModelProblem as problem:
        verdict = Verdict(problem=str(problem).replace(Path(order.weights).name, order.what or order.name))
    except MemoryError:
        verdict = Verdict(problem=_too_big(order))
    with os.fdopen(answer, "wb") as file:
        file.write(msgspec.json.encode(verdict))
    sys.stderr.flush()
    os._exit(0)  # a runtime that crashes while it is taken down has done no harm


def judge(order: Order) -> Verdict:
    """Recognise the model, then try the backends that may run it. Raises ``ModelProblem``."""
    weights = Path(order.weights)
    check_content(weights, order.name)
    card, names = recognised(order, weights)
    problems: list[ModelProblem] = []
    for key in choices(order.backend, weights):
        try:
            return _run(msgspec.structs.replace(card, backend=key), names, order, weights)
        except ModelProblem as problem:
            problems.append(problem)
    raise problems[0]


def choices(wanted: str, weights: Path) -> list[str]:
    """Backends in the order in which they are tried: the wanted one alone, else all that read it, the best first.

    Raises ``RuntimeMissing`` when there is none.
    """
    if wanted != AUTO:
        return [wanted]
    order, left = [registry.resolve(AUTO, weights)], registry.available()
    while key := choose(left := frozenset(one for one in left if one.partition(":")[0] != order[-1]), weights.suffix):
        order.append(key)
    # Ultralytics reads ONNX through the others, and takes seconds to say so.
    return order if weights.suffix == ".pt" else [key for key in order if key != "ultralytics"] or order


def check_content(weights: Path, name: str) -> None:
    """That the file is what its ending says, and all of it. Raises ``ModelBroken``."""
    if not weights.stat().st_size:
        raise ModelBroken(f"{name}: expected a model, got an empty file; fetch or export it again")
    if weights.suffix == ".onnx":
        check_onnx(weights, name)
    elif weights.suffix == ".xml" and b"<net" not in weights.read_bytes()[:4096]:
        raise ModelBroken(f"{name}: expected an OpenVINO .xml, got another one; convert the model again")


def recognised(order: Order, weights: Path) -> tuple[Card, tuple[str, ...]]:
    """The card that came with it, or that of its own file; and what it calls its classes, if that is told."""
    names: Sequence[str] | None = order.labels if any("=" not in label for label in order.labels) else None
    # A class that nobody knows is no reason to refuse the others: it is not used until a person says what it is.
    given = order.labels if names else (*order.labels, REST)
    if order.card:
        card = registry.load_card(Path(order.card).stem, Path(order.card).parent)
        if names:
            card = msgspec.structs.replace(card, labels=tuple(label.strip("-") for label in names))
    elif weights.suffix == ".pt":
        card, names = recognise_pt(weights, labels=given, name=order.name)
    else:
        card, names = recognise(weights, labels=given, name=order.name), names or names_in(weights)
    told = names if names and len(names) == len(card.classes) else card.classes
    return msgspec.structs.replace(card, file=weights.name, sha256=""), tuple(told)


def _run(card: Card, names: Sequence[str], order: Order, weights: Path) -> Verdict:
    if why := missing(card.backend):
        raise ModelBroken(f"{order.name}: {why}")
    backend = registry.make_backend(card.backend)
    try:
        backend.load(weights, card, order.device)
        backend.warm_up()
        latency_ms, cpu_ms = measure(backend, pictures(card))
    except Exception as error:
        if _is_about_memory(error):
            raise ModelBroken(_too_big(order)) from None
        if isinstance(error, ModelProblem):
            raise
        raise ModelBroken(
            f"{order.name}: expected it to analyse a picture, got {type(error).__name__}: {brief(error)}; choose "
            "another model, or export it again"
        ) from None
    return Verdict(
        card=card,
        classes=tuple(ClassName(name, label) for name, label in zip(names, card.classes, strict=True)),
        latency_ms=round(latency_ms, 2),
        cpu_ms=round(cpu_ms, 2),
        measured_on=f"{runtime_name(card.backend)}, {backend.device}, {processor()}",
    )


def pictures(card: Card) -> list[Picture]:
    """Black, white, noise, and shapes, at the size of a camera's picture; and one of the network's own size."""
    width, height = PICTURE_WH
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 256, (height, width, 3), np.uint8)
    shapes = np.full((height, width, 3), 110, np.uint8)
    shapes[height // 3 : height // 2, width // 4 : width // 3] = (30, 40, 200)
    flat = [np.full((height, width, 3), level, np.uint8) for level in (0, 255)]
    own = np.full((card.input.height_px, card.input.width_px, 3), 128, np.uint8)
    return [*flat, noise, shapes, own]


def measure(backend: Backend, shown: Sequence[Picture]) -> tuple[float, float]:
    """Milliseconds of wall time and of CPU for one picture. Raises ``ValueError`` where a number is not finite."""
    backend.infer(shown)
    walls: list[float] = []
    began_s, cpu_s = time.monotonic(), time.process_time()
    while len(walls) < ROUNDS * len(shown) and time.monotonic() - began_s < ENOUGH_S:
        before_s = time.monotonic()
        backend.infer([shown[len(walls) % len(shown)]])
        walls.append(time.monotonic() - before_s)
    return 1000 * sorted(walls)[len(walls) // 2], 1000 * (time.process_time() - cpu_s) / len(walls)


def processor() -> str:
    """The processor's name and how many of its cores this process may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def _is_about_memory(error: Exception) -> bool:
    return any(
        word in str(error).lower() for word in ("bad_alloc", "bad allocation", "allocate", "bfc_arena", "out of memory")
    )


def _too_big(order: Order) -> str:
    return (
        f"{order.name}: expected at most {order.bounds.memory_bytes / 1e9:.1f} GB of memory, got a model that wants "
        "more; choose a smaller one"
    )


if __name__ == "__main__":
    main()
