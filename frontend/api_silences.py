"""Silences over the API; maintenance windows to be read."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from django.http import Http404, HttpRequest
from django.utils import timezone
from ninja import Query, Router, Schema, Status
from ninja.errors import HttpError
from pydantic import Field

from alerts import silences
from alerts.models import Incident, MaintenanceWindow, Silence
from alerts.muting import Matchers, read_matchers
from alerts.schedule import parts
from frontend.api_common import Moment, Named, acting, audit, aware, name_of, named, told_as_malformed
from frontend.permissions import concerns, may_silence, visible_incidents, visible_sites

router = Router()
windows = Router()

Phase = Literal["active", "upcoming", "ended"]
Severity = Literal["low", "medium", "high", "critical"]


class MatchersIn(Schema):
    """Of each list that is not empty, one must fit."""

    model_config = {"extra": "forbid"}

    sites: list[UUID] = []
    cameras: list[UUID] = []
    rules: list[UUID] = []
    labels: list[str] = []
    severities: list[Severity] = []


Reason = Annotated[str, Field(min_length=1, max_length=200)]


class SilenceIn(Schema):
    """A new one. ``from_at``: now, unless given; ``ends_with``: an incident whose resolution ends it sooner."""

    matchers: MatchersIn
    reason: Reason
    until_at: datetime
    from_at: datetime | None = None
    ends_with: UUID | None = None


class SilenceChange(Schema):
    """Another end or reason."""

    reason: Reason | None = None
    until_at: datetime | None = None


class SilenceOut(Schema):
    """A silence."""

    uid: UUID
    phase: str
    matchers: MatchersIn
    reason: str
    author: str | None
    from_at: Moment
    until_at: Moment
    ends_with: UUID | None
    ended_by: str | None


class SilenceQuery(Schema):
    """Which of them."""

    phase: Phase = "active"


class WindowOut(Schema):
    """A maintenance window, in its site's clock."""

    uid: UUID
    name: str
    site: Named
    time_zone: str
    enabled: bool
    matchers: MatchersIn
    spans: list[dict[str, Any]]


@router.get("", response=list[SilenceOut])
def list_silences(request: HttpRequest, query: Query[SilenceQuery]) -> list[dict[str, Any]]:
    """Those of one phase that concern what the person sees."""
    now = timezone.now()
    return [_silence(one, now) for one in silences.by_phase(now)[query.phase] if concerns(request.user, _meant(one))]


@router.post("", response={201: SilenceOut})
def make_silence(request: HttpRequest, body: SilenceIn) -> Status[Any]:
    """Nobody is told of what the matchers mean until it ends."""
    user, now = acting(request), timezone.now()
    with told_as_malformed():
        matchers = read_matchers(body.matchers.model_dump(mode="json"))
        _check_mine(request, matchers)
        made = silences.make_silence(
            msgspec.to_builtins(matchers),
            author=user,
            reason=body.reason,
            from_at=aware(body.from_at or now),
            until_at=aware(body.until_at),
            ends_with=_incident(request, body.ends_with),
            now=now,
        )
    audit(request, "silence", made.uid)
    return Status(201, _silence(made, now))


@router.patch("/{uid}", response=SilenceOut)
def change_silence(request: HttpRequest, uid: UUID, body: SilenceChange) -> dict[str, Any]:
    """Another end or reason, while it is not over."""
    found, now = _find(request, uid), timezone.now()
    until_at = found.until_at if body.until_at is None else aware(body.until_at)
    with told_as_malformed():
        silences.change_silence(found, reason=body.reason or found.reason, until_at=until_at, now=now)
    audit(request, "silence-changed", found.uid)
    return _silence(found, now)


@router.post("/{uid}/end", response=SilenceOut)
def end_silence(request: HttpRequest, uid: UUID) -> dict[str, Any]:
    """It ends now. One that is over stays as it is."""
    found, now = _find(request, uid), timezone.now()
    if silences.phase(found, now) != "ended":
        with told_as_malformed():
            silences.end_silence(found, by=acting(request), now=now)
        audit(request, "silence-ended", found.uid)
    return _silence(found, now)


@windows.get("", response=list[WindowOut])
def list_windows(request: HttpRequest) -> list[dict[str, Any]]:
    """The maintenance windows of the sites that the person sees."""
    rows = MaintenanceWindow.objects.filter(site__in=visible_sites(request.user)).select_related("site")
    return [
        {
            "uid": row.uid,
            "name": row.name,
            "site": named(row.site),
            "time_zone": row.site.time_zone,
            "enabled": row.enabled,
            "matchers": row.matchers,
            "spans": parts(row.schedule)[0],
        }
        for row in rows
    ]


def _meant(silence: Silence) -> Matchers:
    return msgspec.convert(silence.matchers, type=Matchers)


def _check_mine(request: HttpRequest, matchers: Matchers) -> None:
    if not may_silence(request.user, matchers):
        raise HttpError(403, "Name cameras that you see, or sites of which you see every camera.")


def _incident(request: HttpRequest, uid: UUID | None) -> Incident | None:
    if uid is None:
        return None
    found = visible_incidents(request.user).filter(uid=uid).first()
    if found is None:
        raise Http404
    return found


def _find(request: HttpRequest, uid: UUID) -> Silence:
    acting(request)
    found = Silence.objects.filter(uid=uid).select_related("author", "ended_by", "ends_with").first()
    if found is None or not may_silence(request.user, _meant(found)):
        raise Http404
    return found


def _silence(row: Silence, now: datetime) -> dict[str, Any]:
    return {
        "uid": row.uid,
        "phase": silences.phase(row, now),
        "matchers": row.matchers,
        "reason": row.reason,
        "author": name_of(row.author),
        "from_at": row.from_at,
        "until_at": row.until_at,
        "ends_with": row.ends_with.uid if row.ends_with else None,
        "ended_by": name_of(row.ended_by),
    }
