"""OpenVINO on the CPU: pictures go in as bytes, normalisation runs inside the graph, one thread a stream.

Each inference request has an input buffer of its own that pictures are scaled straight into; while one request runs,
the next picture is scaled and the last one's outputs are decoded. On CPUs with AMX or AVX-512 bf16 OpenVINO computes in
bf16 by itself, which measured 2 to 4 times faster than float32.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import openvino
from openvino.preprocess import ColorFormat, PrePostProcessor

from detectors.backends.base import (
    Card,
    ModelBroken,
    Picture,
    RuntimeMissing,
    brief,
    check_file,
    check_picture,
    default_streams,
)
from detectors.backends.canvas import Canvas
from detectors.backends.heads import FREE_SIZE, Head, make_head
from detectors.backends.ports import Inputs, match_inputs
from detectors.detections import Detections
from detectors.geometry import Letterbox
from detectors.onnx_file import Port

logger = logging.getLogger(__name__)

STEP_PX = 32
"""Inputs come in multiples of the coarsest stride."""
WORTH = 0.85
"""A trimmed network is made where it computes at most so much of the full one's pixels."""
SHAPES_MOST = 3
"""Trimmed networks kept: a site's cameras have one shape or two, and each costs memory and a second to make."""

Size = tuple[int, int]


class OpenVinoBackend:
    """Keeps the contract of ``detectors.backends.base.Backend``."""

    name = "openvino"

    def __init__(self, *, streams: int | None = None) -> None:
        """``streams``: pictures computed at once; by default as many as there are CPUs for this process, at most 4."""
        self._streams = streams or default_streams()
        self._device = ""
        self._model_version = ""
        self._input_wh = (0, 0)
        self._maker: _Maker | None = None
        self._networks: dict[Size, _Network | None] = {}
        """By input size: the full one, and those trimmed to a shape of picture; None: it cannot be had.

        Where a trimmed one serves, the full one is let go until a picture needs it: a site's cameras have one shape or
        two, and each network of NanoDet holds 70 MiB.
        """

    @property
    def device(self) -> str:
        return self._device

    @property
    def model_version(self) -> str:
        return self._model_version

    @property
    def input_wh(self) -> tuple[int, int]:
        return self._input_wh

    def load(self, model_path: Path, card: Card, device: str = "auto") -> None:
        self.unload()
        check_file(model_path, card)
        core = openvino.Core()
        target = _device(core, device, card)
        maker = _Maker(core, target, model_path, card, self._streams)
        size = (card.input.width_px, card.input.height_px)
        self._networks = {size: maker.network(size)}
        self._maker, self._input_wh = maker, size
        self._device, self._model_version = target, card.model_version

    def warm_up(self) -> None:
        width, height = self._input_wh
        self.infer([np.zeros((height, width, 3), np.uint8)] * self._streams)

    def infer(self, pictures: Sequence[Picture]) -> list[Detections]:
        if self._maker is None:
            raise RuntimeError("openvino: infer before load; load a model first")
        for picture in pictures:
            check_picture(picture)
        places: dict[Size, list[int]] = defaultdict(list)
        for index, picture in enumerate(pictures):
            places[self._size_for(picture)].append(index)
        found: dict[int, Detections] = {}
        for size, indices in places.items():
            network = self._network(size)
            found.update(zip(indices, network.infer([pictures[index] for index in indices]), strict=True))
        return [found[index] for index in range(len(pictures))]

    def _size_for(self, picture: Picture) -> Size:
        """The input that ``picture`` goes into: the full one, or one without the bars beside a picture of its shape.

        Two fifths of a square input are bars beside 16:9. Makes the network on first need, which takes a second.
        """
        full, maker = self._input_wh, self._maker
        assert maker is not None
        if not maker.free:
            return full
        size = Letterbox.trimmed((picture.shape[1], picture.shape[0]), full, STEP_PX)
        if size[0] * size[1] > WORTH * full[0] * full[1]:
            return full
        if size not in self._networks:
            room = sum(network is not None for one, network in self._networks.items() if one != full) < SHAPES_MOST
            self._networks[size] = maker.trimmed(size) if room else None
            if self._networks[size] is not None:
                self._networks.pop(full, None)
        return size if self._networks[size] is not None else full

    def _network(self, size: Size) -> _Network:
        """What computes inputs of ``size``; the full one is made again where it was let go. Raises ``ModelBroken``."""
        network = self._networks.get(size)
        if network is None:
            assert self._maker is not None
            network = self._networks[size] = self._maker.network(size)
        return network

    def unload(self) -> None:
        self._networks, self._maker = {}, None
        self._device = self._model_version = ""


class _Maker:
    """Compiles one model for inputs of one size or another."""

    def __init__(self, core: Any, target: str, path: Path, card: Card, streams: int) -> None:
        self._core, self._target, self._path, self._card, self._streams = core, target, path, card, streams
        self.free = card.head.kind in FREE_SIZE and card.input.fit == "letterbox"

    def network(self, size: Size) -> _Network:
        """Raises ``ModelBroken``."""
        width, height = size
        model, inputs = _read(self._core, self._path, self._card, size)
        fitted = msgspec.structs.replace(self._card.input, width_px=width, height_px=height)
        card = msgspec.structs.replace(self._card, input=fitted)
        try:
            compiled = self._core.compile_model(_with_preprocessing(model, inputs, card), self._target, self._options())
        except Exception as error:
            raise ModelBroken(
                f"{card.model_version}: OpenVINO cannot compile {self._path.name} for {self._target} ({brief(error)}); "
                "convert it again or choose another model"
            ) from None
        head = make_head(card, [_shape(output) for output in compiled.outputs])
        return _Network([_Slot(compiled, inputs, head, card) for _ in range(self._streams)])

    def trimmed(self, size: Size) -> _Network | None:
        """A network of another size than the model's own; None where its graph allows no other."""
        try:
            network = self.network(size)
        except ModelBroken as problem:
            logger.info("%s: no input of %s×%s: %s", self._card.model_version, *size, problem)
            return None
        logger.info("%s: %s×%s for pictures of that shape", self._card.model_version, *size)
        return network

    def _options(self) -> dict[str, Any]:
        if self._target != "CPU":
            return {"PERFORMANCE_HINT": "THROUGHPUT"}
        # One thread a stream: measured 24 ms of CPU a picture, against 37 with one stream over two threads.
        return {"NUM_STREAMS": str(self._streams), "INFERENCE_NUM_THREADS": self._streams}


class _Network:
    """One compiled size of the model, with its inference requests."""

    def __init__(self, slots: list[_Slot]) -> None:
        self._slots = slots

    def infer(self, pictures: Sequence[Picture]) -> list[Detections]:
        results: list[Detections] = []
        slots = len(self._slots)
        try:
            for index, picture in enumerate(pictures):
                slot = self._slots[index % slots]
                if index >= slots:
                    results.append(slot.result())
                slot.start(picture)
            results += [self._slots[i % slots].result() for i in range(len(results), len(pictures))]
        finally:
            for slot in self._slots:
                slot.settle()
        return results


class _Slot:
    """One inference request with its input buffer."""

    def __init__(self, compiled: Any, inputs: Inputs, head: Head, card: Card) -> None:
        self._head, self._canvas = head, Canvas(card)
        self._request = compiled.create_infer_request()
        self._request.set_input_tensor(inputs.picture, openvino.Tensor(self._canvas.pixels, shared_memory=True))
        if inputs.sizes is not None:
            wh = np.array([[card.input.width_px, card.input.height_px]], np.int64)
            self._request.set_input_tensor(inputs.sizes, openvino.Tensor(wh))
        self._outputs = len(compiled.outputs)
        self._letterbox: Letterbox | None = None
        self._running = False

    def start(self, picture: Picture) -> None:
        self._letterbox = self._canvas.put(picture)
        self._request.start_async()
        self._running = True

    def result(self) -> Detections:
        self.settle()
        assert self._letterbox is not None
        outputs = [self._request.get_output_tensor(index).data for index in range(self._outputs)]
        return self._head.decode(outputs, self._letterbox)

    def settle(self) -> None:
        """Wait for what is running: its buffer is in use until then."""
        if self._running:
            self._running = False
            self._request.wait()


def _device(core: Any, wanted: str, card: Card) -> str:
    if wanted in ("auto", ""):
        # Every build of OpenVINO has it, and to ask what else is there loads the GPU's plugin: 14 MiB.
        return "CPU"
    there: list[str] = core.available_devices
    if wanted not in there:
        raise RuntimeMissing(
            f"{card.model_version}: expected OpenVINO to offer {wanted}, got {', '.join(there) or 'nothing'}; "
            "choose one of these or install the device's driver"
        )
    return wanted


def _read(core: Any, path: Path, card: Card, size: Size) -> tuple[Any, Inputs]:
    """The model for pictures of ``size`` (width, height), every length of its inputs known. Raises ``ModelBroken``.

    The file is held against its card at the card's own size, before it is made to fit another.
    """
    try:
        model = core.read_model(str(path))
    except Exception as error:
        raise ModelBroken(
            f"{card.model_version}: OpenVINO cannot read {path.name} ({brief(error)}); fetch or convert it again"
        ) from None
    inputs = match_inputs(card, [Port(node.node.get_friendly_name(), _shape(node)) for node in model.inputs])
    wanted = {inputs.picture: [1, 3, size[1], size[0]]}
    if inputs.sizes is not None:
        wanted[inputs.sizes] = [1, 2]
    try:
        model.reshape(wanted)
    except Exception as error:
        raise ModelBroken(
            f"{card.model_version}: OpenVINO cannot give {path.name} an input of {size[0]}×{size[1]} ({brief(error)}); "
            "mend the model card or export the model again"
        ) from None
    return model, inputs


def _shape(node: Any) -> tuple[int, ...]:
    """−1 for a length that stays open."""
    return tuple(size.get_length() if size.is_static else -1 for size in node.partial_shape)


def _with_preprocessing(model: Any, inputs: Inputs, card: Card) -> Any:
    steps = PrePostProcessor(model)
    given = steps.input(inputs.picture)
    given.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    given.tensor().set_color_format(ColorFormat.BGR)
    given.model().set_layout(openvino.Layout("NCHW"))
    work = given.preprocess().convert_element_type(openvino.Type.f32)
    if card.input.colour == "rgb":
        work = work.convert_color(ColorFormat.RGB)
    work.mean(list(card.input.mean)).scale(list(card.input.std))
    return steps.build()
