"""From Ultralytics' ``.pt`` to ONNX, ``python -m detectors.convert``: a bounded child, like the trial. No Django.

A ``.pt`` is a pickle, which can run code while it is read. Ultralytics' safe loading makes nothing but the classes that
it knows; what comes out is a graph that every runtime reads.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from importlib.util import find_spec

import msgspec

from detectors.backends.base import ModelBroken, ModelProblem, RuntimeMissing, brief
from detectors.bounded import Bounds, bind


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to convert, and where to."""

    weights: str
    target: str
    name: str
    bounds: Bounds


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """``problem`` says why there is no file; ``licence`` is what the weights say of themselves."""

    problem: str = ""
    licence: str = ""


def can_convert() -> bool:
    """Whether what writes ONNX is installed; else a ``.pt`` stays one."""
    return find_spec("onnx") is not None


def main() -> None:
    """One conversion."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    answer = bind(order.bounds)
    try:
        outcome = convert(order)
    except ModelProblem as problem:
        outcome = Outcome(problem=str(problem))
    with os.fdopen(answer, "wb") as file:
        file.write(msgspec.json.encode(outcome))
    sys.stderr.flush()
    os._exit(0)


def convert(order: Order) -> Outcome:
    """Raises ``ModelProblem``."""
    tamed = importlib.import_module("detectors.backends.ultralytics_import")
    if why := tamed.unsafe():
        raise RuntimeMissing(f"{order.name}: a .pt is not opened: it can run code while it is read, and {why}")
    yolo = importlib.import_module("ultralytics").YOLO
    try:
        model = yolo(order.weights)
        licence = str((model.ckpt or {}).get("license", ""))
        # Neither slimmed nor dynamic: both need more packages, and runtimes compile fixed shapes better.
        made = model.export(format="onnx", simplify=False, dynamic=False, device="cpu", verbose=False)
    except Exception as error:
        raise ModelBroken(
            f"{order.name}: Ultralytics cannot read or convert it ({type(error).__name__}: {brief(error)}); fetch it "
            "again, or export it to ONNX where it was trained"
        ) from None
    shutil.move(made, order.target)
    return Outcome(licence=licence.split(" ")[0])


if __name__ == "__main__":
    main()
