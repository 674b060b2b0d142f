"""Wire forms: the documented examples are true, and bytes written by earlier versions are still read."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alerts.events import decode_event
from streams.frame import UnknownVersion, decode_frame
from streams.health import decode_heartbeat
from streams.live import decode_boxes, decode_picture
from streams.observations import decode_observation

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "messages.md"
EXAMPLES = re.findall(r"^## (\w+)\n.*?```json\n(.*?)```\s+```msgpack\n(.*?)```", DOCUMENT.read_text(), re.S | re.M)
KEPT = sorted((Path(__file__).parent / "wire_v1").glob("*.msgpack"))

DECODERS: dict[str, Callable[[bytes], Any]] = {
    "Frame": decode_frame,
    "Event": decode_event,
    "Heartbeat": decode_heartbeat,
    "LivePicture": decode_picture,
    "LiveBoxes": decode_boxes,
}


def decode(name: str, data: bytes) -> Any:
    return DECODERS.get(name, decode_observation)(data)


def test_every_message_is_documented() -> None:
    assert {name for name, _, _ in EXAMPLES} == {path.stem for path in KEPT}


@pytest.mark.parametrize("name, text, packed", EXAMPLES, ids=[name for name, _, _ in EXAMPLES])
def test_the_documented_example_is_true(name: str, text: str, packed: str) -> None:
    message = decode(name, base64.b64decode("".join(packed.split())))
    assert type(message).__name__ == name
    assert json.loads(msgspec.json.encode(message)) == json.loads(text)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_bytes_of_version_1_are_still_read(path: Path) -> None:
    assert type(decode(path.stem, path.read_bytes())).__name__ == path.stem


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_field_from_the_future_is_ignored(path: Path) -> None:
    fields = msgspec.msgpack.decode(path.read_bytes())
    fields["invented_later"] = {"anything": [1, 2]}
    assert decode(path.stem, msgspec.msgpack.encode(fields)) == decode(path.stem, path.read_bytes())


@pytest.mark.parametrize("name", ["Frame", "Tick"])
def test_an_unknown_version_names_both(name: str) -> None:
    fields = msgspec.msgpack.decode((Path(__file__).parent / "wire_v1" / f"{name}.msgpack").read_bytes())
    fields["v"] = 99
    with pytest.raises(UnknownVersion, match="expected version 1, got 99"):
        decode(name, msgspec.msgpack.encode(fields))
