"""UUIDv7: the names of everything that leaves the database."""

from __future__ import annotations

from uuid import UUID

import uuid_utils.compat


def new_uid() -> UUID:
    """A fresh UUIDv7 (RFC 9562), ordered by the millisecond it was made in."""
    return uuid_utils.compat.uuid7()
