"""Models that can be added by name: where they come from, under which licence. Pure.

Nothing is fetched but from these addresses, or from one that a person gives. Where no checksum stands, the project's
authors had no copy to take it from: the one of the first download is told and kept with the model.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from detectors.backends.base import ModelMissing

AGPL = "AGPL-3.0"
APACHE = "Apache-2.0"
_ULTRALYTICS = "https://github.com/ultralytics/assets/releases/download/v8.4.0"
_YOLOX = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0"
_ONNX_COMMUNITY = "https://huggingface.co/onnx-community"


@dataclass(frozen=True, slots=True)
class Known:
    """One model that has a name here."""

    name: str
    licence: str
    url: str = ""
    """Empty: it comes with the project, as the card ``card``."""
    sha256: str = ""
    card: str = ""
    labels: tuple[str, ...] = ()
    """For ``recognise``, where the file does not name its classes."""
    words: str = ""

    @property
    def file_name(self) -> str:
        """What its file is called; its ending says the kind."""
        return f"{self.name}.{self.url.rpartition('.')[2]}" if self.url else ""


def _ultralytics(name: str, words: str) -> Known:
    return Known(name, AGPL, f"{_ULTRALYTICS}/{name}.pt", words=words)


def _coco(name: str, url: str, words: str) -> Known:
    return Known(name, APACHE, url, labels=("coco-80",), words=words)


KNOWN: dict[str, Known] = {
    one.name: one
    for one in (
        Known("nanodet_g", APACHE, card="nanodet_g", words="comes with the project; no download"),
        _coco("yolox_nano", f"{_YOLOX}/yolox_nano.onnx", "small, 416×416"),
        _coco("yolox_tiny", f"{_YOLOX}/yolox_tiny.onnx", "416×416"),
        _coco("yolox_s", f"{_YOLOX}/yolox_s.onnx", "640×640"),
        _coco("dfine_n", f"{_ONNX_COMMUNITY}/dfine_n_coco-ONNX/resolve/main/onnx/model.onnx", "640×640"),
        _ultralytics("yolo26n", "640×640"),
        _ultralytics("yolo26s", "640×640"),
        _ultralytics("yolo11n", "640×640"),
        _ultralytics("yolo11s", "640×640"),
        _ultralytics("yolov8n", "640×640"),
        _ultralytics("rtdetr-l", "640×640, for a graphics card"),
    )
}


def known(name: str) -> Known:
    """The model ``name``. Raises ``ModelMissing`` with the nearest names.

    >>> known("yolo11n").licence
    'AGPL-3.0'
    """
    if name in KNOWN:
        return KNOWN[name]
    near = difflib.get_close_matches(name, KNOWN, n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else "or give a file"
    raise ModelMissing(f"model: expected a file, or one of {', '.join(KNOWN)}, got {name!r}; {hint}")
