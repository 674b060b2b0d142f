"""The wire of the sockets, and what waits for a slow browser. Pure."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from frontend import messages
from frontend.outgoing import MAX_TEXTS, Outgoing
from streams.live import LiveBox, LiveBoxes, LivePicture

AT = datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)
GATE, YARD = UUID(int=1, version=4), UUID(int=2, version=4)
LARGE = 2**60 + 1
"""A session that a browser's number would round."""
DOCS = Path(__file__).resolve().parents[2] / "docs/reference/sockets.md"


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (messages.Hello(7, AT), {"type": "hello", "change": 7, "now": "2026-01-02T03:04:05.600000Z"}),
        (messages.Changed(8), {"type": "changed", "change": 8}),
        (messages.HealthChanged("ab12"), {"type": "health", "digest": "ab12"}),
        (messages.Alive(AT), {"type": "alive", "now": "2026-01-02T03:04:05.600000Z"}),
        (messages.Watching([GATE], ["x"]), {"type": "watching", "cameras": [str(GATE)], "refused": ["x"]}),
        (messages.Problem("bad-message"), {"type": "problem", "code": "bad-message"}),
    ],
)
def test_each_message_has_one_form(message: messages.FromServer, wire: dict[str, object]) -> None:
    assert json.loads(messages.encode(message)) == wire


def test_a_wish_is_read() -> None:
    assert messages.decode_watch('{"type":"watch","cameras":["a","b"]}').cameras == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        '{"type":"watch"}',
        '{"type":"other","cameras":[]}',
        '{"type":"watch","cameras":[1]}',
        '{"type":"watch","cameras":"a"}',
        "\ud800",
        "[" * 100_000,
        json.dumps({"type": "watch", "cameras": ["a"] * (messages.MAX_CAMERAS + 1)}),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(messages.BadMessage, match="socket: expected"):
        messages.decode_watch(text)


def test_a_picture_comes_with_its_header_and_a_session_that_no_browser_rounds() -> None:
    picture = LivePicture(
        camera=GATE, session=LARGE, sequence=9, captured_at=AT, width_px=640, height_px=360, jpeg=b"\xff\xd8jpeg"
    )
    header, jpeg = messages.decode_picture_frame(messages.encode_picture(picture))
    assert jpeg == b"\xff\xd8jpeg"
    assert header == {
        "camera": str(GATE),
        "session": str(LARGE),
        "sequence": 9,
        "captured_at": "2026-01-02T03:04:05.600000Z",
        "width_px": 640,
        "height_px": 360,
    }


def test_a_cut_picture_is_refused() -> None:
    with pytest.raises(messages.BadMessage, match="expected a header of 100 bytes, got 2"):
        messages.decode_picture_frame((100).to_bytes(4, "big") + b"{}")


def test_boxes_name_the_picture_they_belong_to() -> None:
    box = LiveBox((0.1, 0.2, 0.3, 0.4), "person", 0.8, 3, True)
    seen = LiveBoxes(camera=GATE, session=LARGE, sequence=9, captured_at=AT, boxes=[box])
    wire = json.loads(messages.encode(messages.boxes_message(seen)))
    assert (wire["session"], wire["sequence"]) == (str(LARGE), 9)
    assert wire["boxes"] == [{"xyxy": [0.1, 0.2, 0.3, 0.4], "label": "person", "score": 0.8, "track": 3, "hot": True}]


def test_every_text_example_of_the_reference_is_a_message() -> None:
    kinds = {}
    for block in re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.S):
        example = json.loads(block)
        if "type" in example:
            kinds[example["type"]] = set(example)
    fields = {
        kind.__struct_config__.tag: {"type", *kind.__struct_fields__}
        for kind in (
            messages.Hello,
            messages.Changed,
            messages.HealthChanged,
            messages.Alive,
            messages.Watching,
            messages.Boxes,
            messages.Problem,
            messages.Watch,
        )
    }
    assert kinds == fields


# what waits for a slow browser


def drain(outgoing: Outgoing) -> list[str | bytes]:
    taken = []
    while (item := outgoing.take()) is not None:
        taken.append(item)
    return taken


def test_a_newer_picture_takes_the_older_one_s_place() -> None:
    outgoing = Outgoing()
    for number in range(1000):
        outgoing.put_picture(GATE, b"%d" % number)
    assert drain(outgoing) == [b"999"]
    assert outgoing.replaced == 999


def test_every_camera_gets_its_turn() -> None:
    outgoing = Outgoing()
    outgoing.put_picture(GATE, b"gate 1")
    outgoing.put_picture(YARD, b"yard 1")
    outgoing.put_picture(GATE, b"gate 2")
    assert drain(outgoing) == [b"gate 2", b"yard 1"]


def test_words_go_before_boxes_and_boxes_before_pictures() -> None:
    outgoing = Outgoing()
    outgoing.put_picture(GATE, b"picture")
    outgoing.put_boxes(GATE, "boxes")
    outgoing.put_text("words")
    assert drain(outgoing) == ["words", "boxes", b"picture"]


def test_what_is_no_longer_watched_is_not_sent() -> None:
    outgoing = Outgoing()
    outgoing.put_picture(GATE, b"picture")
    outgoing.put_boxes(GATE, "boxes")
    outgoing.forget(GATE)
    assert drain(outgoing) == []


def test_words_are_bounded_too() -> None:
    outgoing = Outgoing()
    for number in range(MAX_TEXTS + 10):
        outgoing.put_text(str(number))
    assert len(drain(outgoing)) == MAX_TEXTS
