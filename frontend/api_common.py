"""What the parts of the API share: forms of values, the person behind a request, the audit, one kind of refusal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from ninja import Schema
from ninja.errors import HttpError
from ninja.parser import Parser
from pydantic import PlainSerializer

from alerts import strict_json
from alerts.incidents import AnotherUnresolved
from alerts.transitions import IllegalTransition
from frontend.models import User, ViewAudit
from frontend.permissions import may_act
from streams.models import Camera

Moment = Annotated[datetime, PlainSerializer(lambda at: at.astimezone(UTC).isoformat().replace("+00:00", "Z"))]
"""ISO 8601 in UTC."""


class Named(Schema):
    """Something with a name, by its UUID."""

    uid: UUID
    name: str


class StrictJson(Parser):
    """Bodies as ``alerts.strict_json`` reads them: what is there twice, or is no number, is not guessed at."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Raises ``HttpError`` 400 with what is wrong."""
        try:
            return strict_json.read(request.body.decode())
        except ValidationError as error:
            raise HttpError(400, error.messages[0]) from None


def named(row: Any) -> dict[str, Any] | None:
    """``row`` by its name."""
    return None if row is None else {"uid": row.uid, "name": row.name}


def name_of(user: User | None) -> str | None:
    """A person's name as programs get it."""
    return None if user is None else user.get_full_name() or user.username


def person(request: HttpRequest) -> User:
    """The token's owner."""
    assert isinstance(request.user, User)
    return request.user


def acting(request: HttpRequest) -> User:
    """The token's owner, who may act. Raises ``HttpError`` 403."""
    if not may_act(request.user):
        raise HttpError(403, "Your role may look but not act. Ask an administrator for the role operator.")
    return person(request)


def audit(request: HttpRequest, action: str, subject: UUID, camera: Camera | None = None) -> None:
    """One row of what was done."""
    address = request.META.get("REMOTE_ADDR") or None
    ViewAudit.objects.create(user=person(request), action=action, camera=camera, subject=subject, address=address)


def aware(at: datetime) -> datetime:
    """Raises ``ValueError`` for a time without its zone, which could mean any."""
    if at.tzinfo is None:
        raise ValueError(f"time: expected one with its zone, such as 2026-03-01T12:00:00Z, got {at.isoformat()}")
    return at


@contextmanager
def told_as_malformed() -> Iterator[None]:
    """A value that a service refuses is the request's fault: 422, with the service's own sentence."""
    try:
        yield
    except (IllegalTransition, AnotherUnresolved):
        raise
    except ValueError as error:
        raise HttpError(422, str(error)) from None
