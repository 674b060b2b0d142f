"""A model file tried with OpenVINO, which every installation has: for what its declared shapes leave open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino

from detectors.backends.base import ModelBroken, brief
from detectors.backends.heads.base import Shape
from detectors.onnx_file import Port

Outputs = list[npt.NDArray[Any]]


class Trial:
    """One model, on the CPU. Raises ``ModelBroken`` where OpenVINO does not get on with it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._compiled: Any = None
        try:
            self._model = openvino.Core().read_model(str(path))
        except Exception as error:
            raise self._broken("read it", error) from None

    @property
    def inputs(self) -> tuple[Port, ...]:
        """−1 for what is open."""
        return tuple(Port(_name(node), _shape(node)) for node in self._model.inputs)

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The same; after ``hold`` nearly all is known."""
        return tuple(Port(_name(node), _shape(node)) for node in self._model.outputs)

    def hold(self, shapes: dict[int, list[int]]) -> None:
        """Give every input its shape."""
        try:
            self._model.reshape(shapes)
        except Exception as error:
            raise self._broken(f"give it inputs {list(shapes.values())}", error) from None

    def told(self, *path: str) -> str:
        """A text that the exporter wrote into an OpenVINO file; empty: it did not."""
        return str(self._model.get_rt_info(list(path)).value) if self._model.has_rt_info(list(path)) else ""

    def run(self, pictures: list[npt.NDArray[np.float32]]) -> list[Outputs]:
        """The outputs for each of ``pictures`` ``(1, 3, height, width)``. One input only."""
        try:
            self._compiled = self._compiled or openvino.Core().compile_model(self._model, "CPU")
            results = [self._compiled(picture) for picture in pictures]
        except Exception as error:
            raise self._broken("run it", error) from None
        return [[result[index] for index in range(len(self._compiled.outputs))] for result in results]

    def _broken(self, what: str, error: Exception) -> ModelBroken:
        return ModelBroken(
            f"{self._path.name}: OpenVINO cannot {what} ({brief(error)}); export it again or choose another model"
        )


def _name(node: Any) -> str:
    return str(node.any_name) if node.names else ""


def _shape(node: Any) -> Shape:
    shape = node.partial_shape
    return () if shape.rank.is_dynamic else tuple(s.get_length() if s.is_static else -1 for s in shape)
