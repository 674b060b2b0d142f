"""Fixtures that every test may use. Real services are started once a session, on loopback, on free ports."""

import pytest

pytest_plugins = [
    "tests.services.valkey",
    "tests.services.kafka",
    "tests.services.shared",
]


@pytest.fixture(autouse=True)
def _no_environment_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLISCOPE_KAFKA", "POLISCOPE_FRAMES_URL", "REDIS_URL", "TWILIO_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
