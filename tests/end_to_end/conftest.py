"""Fixtures of the tests that run a whole installation."""

from tests.services.running import chromium_of_module, drawn_scenes

__all__ = ["chromium_of_module", "drawn_scenes"]
