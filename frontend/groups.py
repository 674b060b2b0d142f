"""Names of the channel layer's groups, in one place."""

from __future__ import annotations

from alerts.announce import GROUP as CHANGES

__all__ = ["CHANGES"]
"""``CHANGES``: everybody's screens; told that something changed, never what."""
