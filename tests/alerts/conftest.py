"""A small town and loopback providers for the tests of incidents and deliveries."""

import pytest

from tests.alerts.town import Town, build_town
from tests.services.smtp import smtp
from tests.services.twilio import twilio

__all__ = ("smtp", "twilio")


@pytest.fixture
def town(db: None) -> Town:
    return build_town()


@pytest.fixture
def shared_town(transactional_db: None) -> Town:
    """A town that other threads see too."""
    return build_town()
