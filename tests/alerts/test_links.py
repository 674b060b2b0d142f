"""Signed links: what was signed is read again, and nothing else is."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.links import Link, make, read

SECRET = "s" * 50
LINK = Link(4711, datetime(2026, 3, 2, 12, 0, tzinfo=UTC))


@given(st.integers(0, 2**40 - 1), st.integers(0, 2**32 - 1))
def test_what_was_signed_is_read(alert: int, until: int) -> None:
    link = Link(alert, datetime.fromtimestamp(until, UTC))

    token = make(link, SECRET)

    assert read(token, SECRET) == link
    assert len(token) == 28


def test_every_changed_bit_is_noticed() -> None:
    content = base64.urlsafe_b64decode(make(LINK, SECRET))

    for bit in range(len(content) * 8):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        assert read(base64.urlsafe_b64encode(bytes(changed)).decode(), SECRET) is None


@pytest.mark.parametrize(
    "token", ["", "a", "a" * 28, "…" * 28, "A" * 27, "A" * 32, "=" * 28, "../../etc/passwd", "\x00"]
)
def test_what_nobody_signed_is_not_read(token: str) -> None:
    assert read(token, SECRET) is None


@given(st.text(max_size=40))
def test_no_guess_is_read(token: str) -> None:
    assert read(token, SECRET) is None


def test_another_installations_link_is_not_read() -> None:
    assert read(make(LINK, "t" * 50), SECRET) is None
