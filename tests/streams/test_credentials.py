"""Log-ins at rest."""

from __future__ import annotations

import pytest
from django.test import override_settings

from streams.credentials import seal, unseal


@pytest.mark.parametrize(
    ("user", "password"), [("alice", "p@ss:wörd"), ("", "token"), ("alice", ""), ("密", "碼" * 50)]
)
def test_it_opens_what_it_sealed(user: str, password: str) -> None:
    assert unseal(seal(user, password)) == (user, password)
    assert unseal(memoryview(seal(user, password))) == (user, password)


def test_nothing_is_sealed_as_nothing() -> None:
    assert seal("", "") == b""
    assert unseal(b"") is None


def test_the_sealed_form_shows_nothing_and_differs_every_time() -> None:
    first, second = seal("alice", "canary-4711"), seal("alice", "canary-4711")
    assert b"canary" not in first
    assert b"alice" not in first
    assert first != second


@pytest.mark.parametrize("token", [b"nonsense", b"gAAAAA", seal("a", "b")[:-4] + b"AAAA"])
def test_what_it_cannot_open_counts_as_none_and_says_why(token: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert unseal(token) is None
    assert "enter the log-in again" in caplog.text


def test_another_installation_s_secret_opens_nothing() -> None:
    token = seal("alice", "secret")
    with override_settings(SECRET_KEY="another-" * 8):
        assert unseal(token) is None
