"""Fixtures of the tests that run a whole installation."""

import pytest

from tests.services.running import chromium_of_module, drawn_scenes, kept_scenes

__all__ = ["chromium_of_module", "drawn_scenes", "kept_scenes"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who begins with nothing has the demo's videos drawn and leaves them for the others."""
    items.sort(key=lambda item: not item.name.startswith("test_from_nothing"))
