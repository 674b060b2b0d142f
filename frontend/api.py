"""The HTTP API under ``/api/v1/``. ``docs/reference/api.md`` is its description; programs come with a bearer token.

One error shape: ``{"error": {"code", "message"}}``. What the token's owner may not see does not exist: 404.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from ninja import NinjaAPI, Query, Schema
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.security import HttpBearer
from pydantic import Field, PlainSerializer, model_validator

from alerts import incidents
from alerts.models import Event, Incident, IncidentTransition
from frontend import health_tail, tokens
from frontend.models import User, ViewAudit
from frontend.permissions import may_act, visible_cameras, visible_incidents
from frontend.queries import SEEING_PARTS, CameraState, camera_states
from streams.health import PartHealth

Moment = Annotated[datetime, PlainSerializer(lambda at: at.astimezone(UTC).isoformat().replace("+00:00", "Z"))]
"""ISO 8601 in UTC."""

LARGEST_PAGE = 200


class Bearer(HttpBearer):
    """``Authorization: Bearer <token>``; sets ``request.user``."""

    def authenticate(self, request: HttpRequest, token: str) -> User | None:
        user = tokens.authenticate(token.strip())
        if user is not None:
            request.user = user
        return user


# No interactive page: its scripts would be one more thing under our Content-Security-Policy that nobody needs.
api = NinjaAPI(title="Poliscope", version="1", auth=Bearer(), docs_url=None, openapi_url=None)


class Named(Schema):
    """Something with a name, by its UUID."""

    uid: UUID
    name: str


class IncidentOut(Schema):
    """An incident as lists show it."""

    uid: UUID
    change: int
    state: str
    severity: str
    kind: str
    label: str
    site: Named
    time_zone: str
    camera: Named | None
    rule: Named | None
    zone: str
    happened_at: Moment
    opened_at: Moment
    last_event_at: Moment
    event_count: int
    late: bool
    acknowledged_at: Moment | None
    acknowledged_by: str | None
    resolved_at: Moment | None
    resolved_by: str | None
    disposition: str | None
    false_reason: str | None


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


class IncidentDetail(IncidentOut):
    """An incident with its newest events and its whole history."""

    events: list[EventOut]
    transitions: list[TransitionOut]


class IncidentPage(Schema):
    """``next`` continues the list as ``after``; null: there is nothing more at the moment."""

    items: list[IncidentOut]
    next: str | None


class IncidentQuery(Schema):
    """Where to go on, which state, how many."""

    after: str = ""
    state: Literal["open", "acknowledged", "resolved"] | None = None
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = 50


FalseReason = Literal["headlights", "rain", "shadow", "animal", "reflection", "steam", "insect", "staff", "other"]


class Resolution(Schema):
    """What came of it."""

    disposition: Literal["confirmed", "false", "test", "inspected", "handed_over"]
    note: Annotated[str, Field(max_length=500)] = ""
    false_reason: FalseReason | None = None

    @model_validator(mode="after")
    def _only_of_a_false_alarm(self) -> Resolution:
        if self.false_reason is not None and self.disposition != "false":
            raise ValueError("false_reason: only the disposition false takes one; leave it out")
        return self


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
    codes = {400: "malformed", 403: "not_allowed", 409: "conflict"}
    return _error(request, error.status_code, codes.get(error.status_code, "refused"), error.message)


@api.exception_handler(incidents.IllegalTransition)
def _illegal(request: HttpRequest, error: incidents.IllegalTransition) -> HttpResponse:
    return _error(request, 409, "conflict", str(error))


# Incidents


@api.get("/incidents", response=IncidentPage)
def list_incidents(request: HttpRequest, query: Query[IncidentQuery]) -> dict[str, Any]:
    """Visible incidents in the order of their last change."""
    rows = _with_names(visible_incidents(request.user)).order_by("change", "uid")
    if query.state:
        rows = rows.filter(state=query.state)
    if query.after:
        rows = rows.filter(_beyond(query.after))
    found = list(rows[: query.limit + 1])
    page = found[: query.limit]
    return {
        "items": [_incident(row) for row in page],
        "next": f"{page[-1].change}.{page[-1].uid}" if len(found) > query.limit else None,
    }


@api.get("/incidents/{uid}", response=IncidentDetail)
def one_incident(request: HttpRequest, uid: UUID) -> dict[str, Any]:
    """One incident with its events and its history."""
    return _detail(_find(request, uid))


@api.post("/incidents/{uid}/acknowledge", response=IncidentDetail)
def acknowledge(request: HttpRequest, uid: UUID) -> dict[str, Any]:
    """Somebody has it: nothing more is sent. Once acknowledged, again changes nothing."""
    incident = _find_to_act(request, uid)
    if incident.state != Incident.State.ACKNOWLEDGED:
        _acknowledge(request, incident)
    return _detail(_find(request, uid))


def _acknowledge(request: HttpRequest, incident: Incident) -> None:
    try:
        incidents.acknowledge(incident.uid, by=_person(request), through="api", now=timezone.now())
    except incidents.IllegalTransition as error:
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
        by=_person(request),
        disposition=body.disposition,
        note=body.note,
        false_reason=body.false_reason or "",
        through="api",
        now=timezone.now(),
    )
    _audit(request, "resolve", incident)
    return _detail(_find(request, uid))


def _beyond(cursor: str) -> Q:
    """What follows ``cursor``: ``<change>`` or ``<change>.<uid>``; several incidents may share one change."""
    change, _dot, uid = cursor.partition(".")
    try:
        if not (change.isascii() and change.isdigit() and len(change) <= 18):
            raise ValueError
        return Q(change__gt=int(change)) | (Q(change=int(change), uid__gt=UUID(uid)) if uid else Q())
    except ValueError:
        raise HttpError(400, f"after: expected a change or the “next” of a page, got {cursor[:80]!r}") from None


def _with_names(rows: QuerySet[Incident]) -> QuerySet[Incident]:
    return rows.select_related("site", "camera", "rule", "acknowledged_by", "resolved_by")


def _find(request: HttpRequest, uid: UUID) -> Incident:
    incident = _with_names(visible_incidents(request.user)).filter(uid=uid).first()
    if incident is None:
        raise Http404
    return incident


def _find_to_act(request: HttpRequest, uid: UUID) -> Incident:
    incident = _find(request, uid)
    if not may_act(request.user):
        raise HttpError(403, "Your role may look but not act. Ask an administrator for the role operator.")
    return incident


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _audit(request: HttpRequest, action: str, incident: Incident) -> None:
    ViewAudit.objects.create(
        user=_person(request),
        action=action,
        camera=incident.camera,
        subject=incident.uid,
        address=request.META.get("REMOTE_ADDR") or None,
    )


def _named(row: Any) -> dict[str, Any] | None:
    return None if row is None else {"uid": row.uid, "name": row.name}


def _name_of(user: User | None) -> str | None:
    return None if user is None else user.get_full_name() or user.username


def _incident(row: Incident) -> dict[str, Any]:
    return {
        "uid": row.uid,
        "change": row.change,
        "state": row.state,
        "severity": row.severity,
        "kind": row.kind,
        "label": row.label,
        "site": _named(row.site),
        "time_zone": row.site.time_zone,
        "camera": _named(row.camera),
        "rule": _named(row.rule),
        "zone": row.zone_name,
        "happened_at": row.happened_at,
        "opened_at": row.opened_at,
        "last_event_at": row.last_event_at,
        "event_count": row.event_count,
        "late": row.late,
        "acknowledged_at": row.acknowledged_at,
        "acknowledged_by": _name_of(row.acknowledged_by),
        "resolved_at": row.resolved_at,
        "resolved_by": _name_of(row.resolved_by),
        "disposition": row.disposition or None,
        "false_reason": row.false_reason or None,
    }


def _detail(row: Incident) -> dict[str, Any]:
    newest = row.events.order_by("-happened_at", "-id")[:50]
    transitions = row.transitions.select_related("by")
    return {
        **_incident(row),
        "events": [_event(event) for event in reversed(newest)],
        "transitions": [_transition(step) for step in transitions],
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


def _transition(row: IncidentTransition) -> dict[str, Any]:
    return {
        "at": row.at,
        "before": row.before,
        "after": row.after,
        "by": _name_of(row.by),
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
