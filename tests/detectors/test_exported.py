"""What an exporter wrote beside a model's weights."""

from __future__ import annotations

import pytest

from detectors.exported import Exported, read_exported, read_yaml


def test_ultralytics_texts() -> None:
    told = {
        "task": "detect", "names": "{0: 'person', 1: 'fire truck'}", "imgsz": "[384, 640]", "end2end": "True",
        "head": "Detect", "args": "{'nms': True}", "license": "AGPL-3.0", "description": "YOLO26n",
    }  # fmt: skip
    assert read_exported(told) == Exported(
        ("person", "fire truck"), (640, 384), "detect", "Detect", True, True, "AGPL-3.0", "YOLO26n"
    )


@pytest.mark.parametrize(
    "names, expected",
    [
        ("['a', 'b']", ("a", "b")),
        ("{1: 'b', 0: 'a'}", ("a", "b")),
        ("{0: '0', 1: '1'}", None),
        ("{0: 'class0', 1: 'class1'}", None),
        ("{0: 'a', 2: 'c'}", None),
        ("{'a': 1}", None),
        ("", None),
        ("__import__('os').system('true')", None),
        ("(" * 5000, None),
        ("{0: 'a'" + " " * 300_000 + "}", None),
    ],
)
def test_names_that_can_be_read(names: str, expected: tuple[str, ...] | None) -> None:
    assert read_exported({"names": names}).names == expected


@pytest.mark.parametrize("imgsz, wh", [("640", (640, 640)), ("[0, 640]", None), ("'x'", None), ("[1, 2, 3]", None)])
def test_the_input_size(imgsz: str, wh: tuple[int, int] | None) -> None:
    assert read_exported({"imgsz": imgsz}).wh == wh


def test_nothing_told_is_nothing_known() -> None:
    assert read_exported({}) == Exported()


def test_metadata_yaml() -> None:
    text = (
        "description: Ultralytics YOLO11n model trained on coco.yaml\nlicense: AGPL-3.0 License (https://x)\n"
        "stride: 32\ntask: detect\nimgsz:\n- 640\n- 320\nnames:\n  0: person\n  1: 'no'\nargs:\n  nms: false\n"
    )
    found = read_exported(read_yaml(text))
    assert (found.names, found.wh, found.nms) == (("person", "no"), (320, 640), False)
    assert found.licence == "AGPL-3.0 License (https://x)"
