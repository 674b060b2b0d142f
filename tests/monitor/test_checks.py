"""Each wrong setting has its finding, with id and remedy, and no secret in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage

from monitor import checks

NO_TWILIO = {"account": "", "token": "", "sender": "", "base_url": ""}


def found(*names: str) -> list[CheckMessage]:
    return [message for name in names for message in getattr(checks, name)(None)]


ALL = (
    "check_address",
    "check_twilio",
    "check_callbacks",
    "check_heartbeat",
    "check_smtp",
    "check_servers",
    "check_folders",
)
CALLED_BACK = {"account": "AC1", "token": "geheim", "sender": "+15005550006", "base_url": "", "callbacks": True}

WRONG: list[tuple[dict[str, Any], dict[str, str], str, str]] = [
    # settings, environment, id, in the hint
    ({"PUBLIC_URL": "http://watch.example.org"}, {}, "poliscope.W001", "POLISCOPE_URL=https://"),
    ({"PUBLIC_URL": "https://watch.example.org", "DEBUG": True}, {}, "poliscope.E002", "POLISCOPE_DEBUG"),
    ({"TWILIO": NO_TWILIO | {"token": "geheim"}}, {}, "poliscope.E004", "TWILIO_ACCOUNT_SID, TWILIO_FROM"),
    ({"POLISCOPE_SMTP_URL": "mail.example.org"}, {}, "poliscope.E005", "%40"),
    ({"POLISCOPE_SMTP_URL": "smtp://u:geheim@mail:port"}, {}, "poliscope.E005", "%3A"),
    ({"POLISCOPE_SMTP_URL": "smtp://u:geheim@"}, {}, "poliscope.E005", "%2F"),
    ({"REDIS_URL": "http://:geheim@127.0.0.1"}, {}, "poliscope.E006", "REDIS_URL=redis://"),
    ({}, {"POLISCOPE_FRAMES_URL": "127.0.0.1:6379"}, "poliscope.E006", "POLISCOPE_FRAMES_URL=redis://"),
    ({}, {"POLISCOPE_KAFKA": "kafka1"}, "poliscope.E007", "POLISCOPE_KAFKA=kafka1:9092"),
    ({}, {"POLISCOPE_KAFKA": "kafka1:9092,kafka2:99999"}, "poliscope.E007", "POLISCOPE_KAFKA="),
    ({}, {"POLISCOPE_CAMERA_ALLOW": "10.0.0.5"}, "poliscope.E007", "POLISCOPE_CAMERA_ALLOW=10.0.0.5:8554"),
    ({}, {"POLISCOPE_WEBHOOK_ALLOW": "10.0.0.5"}, "poliscope.E007", "POLISCOPE_WEBHOOK_ALLOW=10.0.0.5:8080"),
    ({"MEDIA_ROOT": "/dev/null/media"}, {}, "poliscope.E008", "chown"),
    (
        {"TWILIO": CALLED_BACK, "PUBLIC_URL": "http://127.0.0.1:8000"},
        {},
        "poliscope.E010",
        "POLISCOPE_URL=https://",
    ),
    ({"HEARTBEAT_URL": "hc-ping.com/geheim"}, {}, "poliscope.E011", "https://hc-ping.com/"),
]


@pytest.fixture
def sound(settings: Any, tmp_path: Path) -> Any:
    """Settings of a production installation without fault."""
    settings.PUBLIC_URL = "https://watch.example.org"
    settings.DEBUG, settings.TWILIO, settings.POLISCOPE_SMTP_URL = False, dict(NO_TWILIO), ""
    settings.MEDIA_ROOT = tmp_path / "media"
    return settings


@pytest.mark.parametrize(("wrong", "environment", "id", "hint"), WRONG)
def test_it_finds(
    sound: Any,
    monkeypatch: pytest.MonkeyPatch,
    wrong: dict[str, Any],
    environment: dict[str, str],
    id: str,
    hint: str,
) -> None:
    for name, value in wrong.items():
        setattr(sound, name, value)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    [message] = found(*ALL)
    assert message.id == id
    assert message.hint is not None
    assert hint in message.hint
    assert "geheim" not in f"{message.msg} {message.hint}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POLISCOPE_SMTP_URL", "smtp://user:p%40ss@mail.example.org:587?tls=1"),
        ("POLISCOPE_SMTP_URL", "smtps://mail.example.org"),
        ("REDIS_URL", "redis://:secret@127.0.0.1:6379/0"),
        ("PUBLIC_URL", "http://127.0.0.1:8000"),
        ("TWILIO", {"account": "AC1", "token": "t", "sender": "+1", "base_url": ""}),
    ],
)
def test_it_is_silent_about_what_is_right(sound: Any, name: str, value: Any) -> None:
    setattr(sound, name, value)
    assert found(*ALL) == []
