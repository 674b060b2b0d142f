"""The development folder beside the checkout: weights, footage, Kafka, tools. Tests that need it skip without it."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"needs the development folder {SHARED}")
    return SHARED
