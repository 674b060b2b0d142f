"""The HTTP API under ``/api/v1/``. ``docs/reference/api.md`` is its description; programs come with a bearer token.

One error shape: ``{"error": {"code", "message"}}``. What the token's owner may not see does not exist: 404.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from django.db import OperationalError
from django.db.models import Prefetch, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import NinjaAPI, Query, Schema, Status
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.security import HttpBearer
from pydantic import Field, model_validator

from alerts import incidents
from alerts.models import Event, Incident, IncidentTransition, Recipient
from alerts.reports import Report, report_from_outside
from alerts.transitions import IllegalTransition
from frontend import health_tail, tokens
from frontend.api_common import (
    Moment,
    Named,
    StrictJson,
    acting,
    audit,
    aware,
    name_of,
    named,
    person,
    told_as_malformed,
)
from frontend.api_silences import router as silences_router
from frontend.api_silences import windows as windows_router
from frontend.models import User
from frontend.permissions import (
    owners_for,
    visible_cameras,
    visible_events,
    visible_incidents,
    visible_sites,
    without_foreign,
)
from frontend.queries import SEEING_PARTS, CameraState, camera_states
from streams.health import PartHealth
from streams.models import Camera, Site

logger = logging.getLogger(__name__)

LARGEST_PAGE = 200


class Bearer(HttpBearer):
    """``Authorization: Bearer <token>``; sets ``request.user``."""

    def authenticate(self, request: HttpRequest, token: str) -> User | None:
        user = tokens.authenticate(token.strip())
        if user is not None:
            request.user = user
        return user


# No interactive page: its scripts would be one more thing under our Content-Security-Policy that nobody needs.
api = NinjaAPI(title="Poliscope", version="1", auth=Bearer(), parser=StrictJson(), docs_url=None, openapi_url=None)


class MutedOut(Schema):
    """Why nobody is told for now. ``untold``: something is told once that ends, if it is still news."""

    by: Literal["silence", "window", "site", "camera"]
    until: Moment | None
    reason: str
    author: str | None
    untold: bool


class IncidentOut(Schema):
    """An incident as lists show it."""

    uid: UUID
    change: int
    state: str
    severity: str
    kind: str
    label: str
    title: str
    site: Named
    time_zone: str
    camera: Named | None
    cameras: list[Named]
    rule: Named | None
    zone: str
    happened_at: Moment
    opened_at: Moment
    last_event_at: Moment
    event_count: int
    late: bool
    owner: str | None
    muted: MutedOut | None
    reopened_at: Moment | None
    acknowledged_at: Moment | None
    acknowledged_by: str | None
    resolved_at: Moment | None
    resolved_by: str | None
    disposition: str | None
    false_reason: str | None
    handed_to: str | None


class EventOut(Schema):
    """An event: what was seen and the numbers that made the rule fire."""

    uid: UUID
    kind: str
    severity: str
    happened_at: Moment
    known_at: Moment
    picture: str
    facts: list[dict[str, Any]]
    boxes: list[dict[str, Any]]


class TransitionOut(Schema):
    """One step of an incident's life."""

    at: Moment
    before: str
    after: str
    by: str | None
    through: str
    note: str


class LineOut(TransitionOut):
    """One line of an incident's history: a step, or what was assigned, judged, noted or muted."""

    action: str
    to: str | None


class IncidentDetail(IncidentOut):
    """An incident with its newest events and its whole history; ``transitions`` are its steps alone."""

    events: list[EventOut]
    transitions: list[TransitionOut]
    history: list[LineOut]


class IncidentPage(Schema):
    """``next`` continues the list as ``after``; null: there is nothing more at the moment."""

    items: list[IncidentOut]
    next: str | None


class IncidentQuery(Schema):
    """Where to go on, which state, how many."""

    after: str = ""
    state: Literal["open", "acknowledged", "resolved"] | None = None
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = 50


Note = Annotated[str, Field(max_length=500)]
Severity = Literal["low", "medium", "high", "critical"]
HandedTo = Literal["police", "fire", "ambulance", "maintenance", "other"]
FalseReason = Literal["headlights", "rain", "shadow", "animal", "reflection", "steam", "insect", "staff", "other"]


class Resolution(Schema):
    """What came of it."""

    disposition: Literal["confirmed", "false", "test", "inspected", "handed_over"]
    note: Note = ""
    false_reason: FalseReason | None = None
    handed_to: HandedTo | None = None

    @model_validator(mode="after")
    def _only_with_its_disposition(self) -> Resolution:
        if self.false_reason is not None and self.disposition != "false":
            raise ValueError("false_reason: only the disposition false takes one; leave it out")
        if self.handed_to is not None and self.disposition != "handed_over":
            raise ValueError("handed_to: only the disposition handed_over takes one; leave it out")
        return self


class Said(Schema):
    """Some words that must be there."""

    note: Annotated[str, Field(min_length=1, max_length=500)]


class Assignment(Schema):
    """Whose it is: a user name."""

    to: str
    note: Note = ""


class Judgement(Said):
    """How bad it is, and why."""

    severity: Severity


class ReportIn(Schema):
    """What has happened at a camera, or at a site. ``key`` makes it safe to send again; ``group`` gathers reports."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    severity: Severity
    camera: UUID | None = None
    site: UUID | None = None
    kind: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")] = "external"
    happened_at: datetime | None = None
    note: Note = ""
    tell: list[UUID] = []
    key: Annotated[str, Field(max_length=200)] = ""
    group: Annotated[str, Field(max_length=200)] = ""


class PartOut(Schema):
    """One process, as its heartbeats tell."""

    part: str
    instance: str
    state: str
    age_s: float | None
    lag: int
    problem: str
    figures: dict[str, float]


class CameraOut(Schema):
    """Whether a camera sees: ``seeing``, ``blind`` (since when, why), ``off``, ``unknown`` (nobody watches)."""

    uid: UUID
    name: str
    state: str
    since: Moment | None
    reason: str


class HealthOut(Schema):
    """``ok`` alone for whoever has no token."""

    ok: bool
    parts: list[PartOut] | None = None
    cameras: list[CameraOut] | None = None


# Errors


def _error(request: HttpRequest, status: int, code: str, message: str) -> HttpResponse:
    response = api.create_response(request, {"error": {"code": code, "message": message}}, status=status)
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="Poliscope"'
    return response


@api.exception_handler(AuthenticationError)
def _unauthenticated(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    given = "Authorization" in request.headers
    message = (
        "This token is unknown, expired, or its owner's account is inactive. Make a new one in the administration."
        if given
        else "Send a token: “Authorization: Bearer <token>”. An administrator makes one under API tokens."
    )
    return _error(request, 401, "bad_token" if given else "no_token", message)


@api.exception_handler(Http404)
def _missing(request: HttpRequest, error: Http404) -> HttpResponse:
    return _error(request, 404, "not_found", "There is no such thing, or it is not yours to see.")


@api.exception_handler(ValidationError)
def _malformed(request: HttpRequest, error: ValidationError) -> HttpResponse:
    told = "; ".join(f"{'.'.join(str(part) for part in each['loc'][1:])}: {each['msg']}" for each in error.errors)
    return _error(request, 422, "malformed", told or "The request is malformed.")


@api.exception_handler(HttpError)
def _refused(request: HttpRequest, error: HttpError) -> HttpResponse:
    codes = {400: "malformed", 403: "not_allowed", 409: "conflict", 422: "malformed"}
    # Of a body that cannot be parsed django-ninja says only that; what our parser said is behind it.
    error = error.__cause__ if isinstance(error.__cause__, HttpError) else error
    return _error(request, error.status_code, codes.get(error.status_code, "refused"), error.message)


@api.exception_handler(IllegalTransition)
def _illegal(request: HttpRequest, error: IllegalTransition) -> HttpResponse:
    return _error(request, 409, "conflict", str(error))


@api.exception_handler(OperationalError)
def _busy(request: HttpRequest, error: OperationalError) -> HttpResponse:
    logger.error("%s %s: the database did not answer (%s)", request.method, request.path, error)
    return _error(request, 503, "busy", "The database does not answer in time. Try again in a moment.")


@api.exception_handler(incidents.AnotherUnresolved)
def _another(request: HttpRequest, error: incidents.AnotherUnresolved) -> HttpResponse:
    return _error(request, 409, "conflict", str(error))


# Incidents


@api.get("/incidents", response=IncidentPage)
def list_incidents(request: HttpRequest, query: Query[IncidentQuery]) -> dict[str, Any]:
    """Visible incidents in the order of their last change."""
    rows = _with_names(request).order_by("change", "uid")
    if query.state:
        rows = rows.filter(state=query.state)
    if query.after:
        rows = rows.filter(_beyond(query.after))
    found = without_foreign(request.user, rows[: query.limit + 1])
    page = found[: query.limit]
    return {
        "items": [_incident(row) for row in page],
        "next": f"{page[-1].change}.{page[-1].uid}" if len(found) > query.limit else None,
    }


@api.post("/incidents", response={201: IncidentDetail})
def report(request: HttpRequest, body: ReportIn) -> Status[Any]:
    """Another system reports something: a new incident, or one more event of the unresolved one of its group."""
    user, now = acting(request), timezone.now()
    camera, site = _place(request, body)
    recipients = list(Recipient.objects.filter(active=True, uid__in=body.tell))
    plain = body.model_dump(include={"title", "severity", "kind", "note", "key", "group"})
    with told_as_malformed():
        if len(recipients) < len(set(body.tell)):
            raise ValueError("tell: expected active recipients, got one that is not there; leave it out")
        happened_at = aware(body.happened_at) if body.happened_at else now
        made = Report(site=site, camera=camera, happened_at=happened_at, recipients=recipients, **plain)
        incident = report_from_outside(made, by=user, now=now)
    audit(request, "report", incident.uid, incident.camera)
    return Status(201, _detail(request, _find(request, incident.uid)))


def _place(request: HttpRequest, body: ReportIn) -> tuple[Camera | None, Site]:
    """Where it happened: exactly one of camera and site is given, and visible."""
    if (body.camera is None) == (body.site is None):
        raise HttpError(422, "camera: expected either a camera or a site, got both or none; give one")
    if body.camera is not None:
        camera = get_object_or_404(visible_cameras(request.user).select_related("site"), uid=body.camera)
        return camera, camera.site
    return None, get_object_or_404(visible_sites(request.user), uid=str(body.site))


@api.get("/incidents/{uid}", response=IncidentDetail)
def one_incident(request: HttpRequest, uid: UUID) -> dict[str, Any]:
    """One incident with its events and its history."""
    return _detail(request, _find(request, uid))


@api.post("/incidents/{uid}/acknowledge", response=IncidentDetail)
def acknowledge(request: HttpRequest, uid: UUID) -> dict[str, Any]:
    """Somebody has it: nothing more is sent. Once acknowledged, again changes nothing."""
    incident = _find_to_act(request, uid)
    if incident.state != Incident.State.ACKNOWLEDGED:
        _acknowledge(request, incident)
    return _detail(request, _find(request, uid))


def _acknowledge(request: HttpRequest, incident: Incident) -> None:
    try:
        incidents.acknowledge(incident.uid, by=person(request), through="api", now=timezone.now())
    except IllegalTransition as error:
        # Somebody was faster by a moment: what was asked for is so, as if they had been faster by an hour.
        if error.before != Incident.State.ACKNOWLEDGED:
            raise
    else:
        _audit(request, "acknowledge", incident)


@api.post("/incidents/{uid}/resolve", response=IncidentDetail)
def resolve(request: HttpRequest, uid: UUID, body: Resolution) -> dict[str, Any]:
    """It is over, with what came of it."""
    incident = _find_to_act(request, uid)
    incidents.resolve(
        uid,
        by=person(request),
        disposition=body.disposition,
        note=body.note,
        false_reason=body.false_reason or "",
        handed_to=body.handed_to or "",
        through="api",
        now=timezone.now(),
    )
    _audit(request, "resolve", incident)
    return _detail(request, _find(request, uid))


@api.post("/incidents/{uid}/reopen", response=IncidentDetail)
def reopen(request: HttpRequest, uid: UUID, body: Said) -> dict[str, Any]:
    """It was not over: open again, and told again."""
    incident = _find_to_act(request, uid)
    with told_as_malformed():
        incidents.reopen(uid, by=person(request), note=body.note, through="api", now=timezone.now())
    _audit(request, "reopen", incident)
    return _detail(request, _find(request, uid))


@api.post("/incidents/{uid}/assign", response=IncidentDetail)
def assign(request: HttpRequest, uid: UUID, body: Assignment) -> dict[str, Any]:
    """Whose it is from now on. An open one stays open."""
    incident = _find_to_act(request, uid)
    to = next((one for one in owners_for(incident) if one.username == body.to), None)
    if to is None:
        raise HttpError(422, f"to: expected the user name of somebody who sees it and may act, got {body.to!r}")
    incidents.assign(uid, to=to, by=person(request), note=body.note, through="api", now=timezone.now())
    _audit(request, "assign", incident)
    return _detail(request, _find(request, uid))


@api.post("/incidents/{uid}/notes", response=IncidentDetail)
def add_note(request: HttpRequest, uid: UUID, body: Said) -> dict[str, Any]:
    """A line that stays in its history."""
    incident = _find_to_act(request, uid)
    with told_as_malformed():
        incidents.add_note(uid, text=body.note, by=person(request), through="api", now=timezone.now())
    _audit(request, "note", incident)
    return _detail(request, _find(request, uid))


@api.post("/incidents/{uid}/severity", response=IncidentDetail)
def judge(request: HttpRequest, uid: UUID, body: Judgement) -> dict[str, Any]:
    """How bad it is. Made worse, it is told again."""
    incident = _find_to_act(request, uid)
    given: dict[str, Any] = {"severity": body.severity, "note": body.note, "by": person(request), "through": "api"}
    with told_as_malformed():
        incidents.change_severity(uid, now=timezone.now(), **given)
    _audit(request, "severity", incident)
    return _detail(request, _find(request, uid))


api.add_router("/silences", silences_router)
api.add_router("/windows", windows_router)


def _beyond(cursor: str) -> Q:
    """What follows ``cursor``: ``<change>`` or ``<change>.<uid>``; several incidents may share one change."""
    change, _dot, uid = cursor.partition(".")
    try:
        if not (change.isascii() and change.isdigit() and len(change) <= 18):
            raise ValueError
        return Q(change__gt=int(change)) | (Q(change=int(change), uid__gt=UUID(uid)) if uid else Q())
    except ValueError:
        raise HttpError(400, f"after: expected a change or the “next” of a page, got {cursor[:80]!r}") from None


def _with_names(request: HttpRequest) -> QuerySet[Incident]:
    beside = ("owner", "acknowledged_by", "resolved_by", "muted_silence__author", "muted_window")
    rows = visible_incidents(request.user).select_related("site", "camera", "rule", *beside)
    return rows.prefetch_related(Prefetch("cameras", visible_cameras(request.user)))


def _find(request: HttpRequest, uid: UUID) -> Incident:
    found = without_foreign(request.user, _with_names(request).filter(uid=uid))
    if not found:
        raise Http404
    return found[0]


def _find_to_act(request: HttpRequest, uid: UUID) -> Incident:
    incident = _find(request, uid)
    acting(request)
    return incident


def _audit(request: HttpRequest, action: str, incident: Incident) -> None:
    audit(request, action, incident.uid, incident.camera)


def _muted(row: Incident) -> dict[str, Any] | None:
    if not row.muted_by:
        return None
    silence, window = row.muted_silence, row.muted_window
    return {
        "by": row.muted_by,
        "until": silence.until_at if silence else None,
        "reason": silence.reason if silence else window.name if window else "",
        "author": name_of(silence.author) if silence else None,
        "untold": bool(row.untold),
    }


def _incident(row: Incident) -> dict[str, Any]:
    return {
        "uid": row.uid,
        "change": row.change,
        "state": row.state,
        "severity": row.severity,
        "kind": row.kind,
        "label": row.label,
        "title": row.title,
        "site": named(row.site),
        "time_zone": row.site.time_zone,
        "camera": named(row.camera),
        "cameras": [named(camera) for camera in row.cameras.all()],
        "rule": named(row.rule),
        "zone": row.zone_name,
        "happened_at": row.happened_at,
        "opened_at": row.opened_at,
        "last_event_at": row.last_event_at,
        "event_count": row.event_count,
        "late": row.late,
        "owner": name_of(row.owner or row.acknowledged_by) if row.state != Incident.State.RESOLVED else None,
        "muted": _muted(row),
        "reopened_at": row.reopened_at,
        "acknowledged_at": row.acknowledged_at,
        "acknowledged_by": name_of(row.acknowledged_by),
        "resolved_at": row.resolved_at,
        "resolved_by": name_of(row.resolved_by),
        "disposition": row.disposition or None,
        "false_reason": row.false_reason or None,
        "handed_to": row.handed_to or None,
    }


def _detail(request: HttpRequest, row: Incident) -> dict[str, Any]:
    newest = visible_events(request.user).filter(incident=row).order_by("-happened_at", "-id")[:50]
    lines = list(row.transitions.select_related("by", "to"))
    return {
        **_incident(row),
        "events": [_event(event) for event in reversed(newest)],
        "transitions": [_line(line) for line in lines if line.action == IncidentTransition.Action.STEP],
        "history": [_line(line) for line in lines],
    }


def _event(row: Event) -> dict[str, Any]:
    return {
        "uid": row.uid,
        "kind": row.kind,
        "severity": row.severity,
        "happened_at": row.happened_at,
        "known_at": row.known_at,
        "picture": row.picture,
        "facts": row.content.get("facts", []),
        "boxes": row.content.get("boxes", []),
    }


def _line(row: IncidentTransition) -> dict[str, Any]:
    return {
        "at": row.at,
        "action": row.action,
        "before": row.before,
        "after": row.after,
        "by": name_of(row.by),
        "to": name_of(row.to),
        "through": row.through,
        "note": row.note,
    }


# Health


def _optional_bearer(request: HttpRequest) -> User | Literal["anonymous"] | None:
    """A given token must be good; without one the answer is short."""
    if "Authorization" not in request.headers:
        return "anonymous"
    return Bearer()(request)


@api.get("/health", response=HealthOut, auth=_optional_bearer, exclude_unset=True)
def health(request: HttpRequest) -> dict[str, Any]:
    """Made of heartbeats, never of "process exists". Always 200: whoever asks reads ``ok``."""
    parts = health_tail.parts(timezone.now())
    known = {"ok": not _unwell(parts)}
    user = getattr(request, "auth", None)
    if not isinstance(user, User):
        return known
    return known | {"parts": [_part(part) for part in parts], "cameras": _cameras(user, parts)}


def _unwell(parts: Sequence[PartHealth]) -> set[str]:
    """The parts that have a problem, or of which no instance beats. One of several that is gone is not one."""
    alive = {part.part for part in parts if part.state == "ok"}
    return {part.part for part in parts if part.state == "troubled" or part.part not in alive} or (
        set() if parts else {"everything"}
    )


def _part(part: PartHealth) -> dict[str, Any]:
    return {
        "part": part.part,
        "instance": part.instance,
        "state": part.state,
        "age_s": None if part.age_s is None else round(part.age_s, 1),
        "lag": part.lag,
        "problem": part.problem,
        "figures": part.figures,
    }


def _cameras(user: User, parts: Sequence[PartHealth]) -> list[dict[str, Any]]:
    """Every visible camera; while nobody watches, nothing is known of any."""
    watching = not any(part.startswith(SEEING_PARTS) for part in _unwell(parts))
    seen = [_camera(state, watching) for state in camera_states(user)]
    off = visible_cameras(user).filter(enabled=False).order_by("site__name", "name")
    return seen + [
        {"uid": camera.uid, "name": camera.name, "state": "off", "since": None, "reason": ""} for camera in off
    ]


def _camera(state: CameraState, watching: bool) -> dict[str, Any]:
    seeing = "seeing" if watching else "unknown"
    return {
        "uid": state.camera.uid,
        "name": state.camera.name,
        "state": seeing if state.sees else "blind",
        "since": state.since_at,
        "reason": state.reason,
    }
