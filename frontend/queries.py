"""What the screens ask of the database. Every question goes through ``visible_cameras`` or ``visible_incidents``."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Case, IntegerField, OuterRef, Prefetch, Q, QuerySet, Subquery, Value, When
from django.utils import timezone

from alerts.duty import gaps_that_matter
from alerts.events import SEVERITIES
from alerts.holding import Load, loads
from alerts.models import Alert, Delivery, Event, Incident, IncidentTransition, Recipient, Rule
from alerts.policies import reaching_somebody
from frontend.models import User
from frontend.permissions import visible_cameras, visible_events, visible_incidents, without_foreign
from streams.health import PartHealth
from streams.models import BlindSpan, Camera, SequenceCounter, Source

_T = TypeVar("_T")

QUEUE_LIMIT = 100
OUTBOX_LIMIT = 60

SHOWS = ("waiting", "mine", "open", "resolved")
"""The queue's filters, in the order of its chips."""

SEEING_PARTS = ("capture", "evaluate", "detect.")
"""Parts without which nobody watches."""


def _by_severity() -> Case:
    """Worst first, when ordered descending."""
    whens = [When(severity=name, then=Value(rank)) for rank, name in enumerate(SEVERITIES)]
    return Case(*whens, default=Value(0), output_field=IntegerField())


def _first_picture(user: User) -> Subquery:
    """Whether the first event of an incident has its picture (``Event.Picture``): what its thumbnail shows."""
    events = visible_events(user).filter(incident=OuterRef("pk")).order_by("happened_at", "id")
    return Subquery(events.values("picture")[:1])


def queue(user: User, show: str) -> QuerySet[Incident]:
    """The incidents of one filter, the most pressing first; at most ``QUEUE_LIMIT``. Each with its ``picture``."""
    beside = ("camera", "site", "rule", "owner", "acknowledged_by", "resolved_by")
    found = visible_incidents(user).select_related(*beside)
    found = found.annotate(rank=_by_severity(), picture=_first_picture(user), heard=Q(muted_by=""))
    if show == "mine":
        found = found.filter(_mine(user))
    elif show == "open":
        found = found.exclude(state=Incident.State.RESOLVED)
    elif show == "resolved":
        return found.filter(state=Incident.State.RESOLVED).order_by("-resolved_at", "-id")[:QUEUE_LIMIT]
    else:
        found = found.filter(state=Incident.State.OPEN)
    # What is muted waits too, behind what is not.
    return found.order_by("-state", "-heard", "-rank", "-opened_at", "-id")[:QUEUE_LIMIT]


def _mine(user: User) -> Q:
    """What this person has in hand, or was asked to take."""
    taken = Q(state=Incident.State.ACKNOWLEDGED, owner__isnull=True, acknowledged_by=user)
    return taken | Q(owner=user) & ~Q(state=Incident.State.RESOLVED)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many wait, how many are this person's, and the newest that waits."""

    waiting: int
    mine: int
    newest: str


def counts(user: User) -> Counts:
    """Counts over everything the person may see."""
    seen = visible_incidents(user)
    waiting = seen.filter(state=Incident.State.OPEN)
    # What is muted makes no sound.
    newest = waiting.filter(muted_by="").order_by("-id").values_list("uid", flat=True).first()
    mine = seen.filter(_mine(user)).count()
    return Counts(waiting.count(), mine, str(newest or ""))


def incident(user: User, uid: UUID) -> Incident | None:
    """One incident with what its page shows beside its events, or None when it is not there for this person."""
    beside = ("owner", "acknowledged_by", "resolved_by", "muted_silence__author", "muted_window")
    lines = Prefetch("transitions", IncidentTransition.objects.select_related("by", "to"))
    rows = visible_incidents(user).select_related("camera", "site", "rule", "rule_version", *beside).filter(uid=uid)
    rows = rows.prefetch_related(lines, Prefetch("cameras", visible_cameras(user)))
    return next(iter(without_foreign(user, rows)), None)


def first_event(user: User, shown: Incident) -> Event | None:
    """The first event of an incident that this person may see."""
    return visible_events(user).filter(incident=shown).order_by("happened_at", "id").first()


def operator_loads(user: User, now: datetime) -> list[Load]:
    """How much each operator was told within ten minutes, of those who were told of anything the person may see."""
    return _visible(user, loads(now))


def _visible(user: User, found: list[Load]) -> list[Load]:
    if not found:
        return []
    told = Alert.objects.filter(recipient__in=[load.recipient for load in found])
    seen = set(told.filter(incident__in=visible_incidents(user)).values_list("recipient", flat=True).distinct())
    return [load for load in found if load.recipient in seen]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one person was sent about an incident, and when that person acknowledged it, and through what."""

    recipient: Recipient
    deliveries: list[Delivery]
    answered_at: datetime | None
    through: str


def receipts(shown: Incident) -> list[Receipt]:
    """Everybody who was to be told of an incident, in the order in which that was decided."""
    rows = Delivery.objects.select_related("contact", "resends", "alert").order_by("created_at", "id")
    alerts = shown.alerts.select_related("recipient").prefetch_related(Prefetch("deliveries", rows))
    people: dict[int, list[Alert]] = {}
    for alert in alerts.order_by("created_at", "id"):
        people.setdefault(alert.recipient_id, []).append(alert)
    return [_receipt(shown, mine) for mine in people.values()]


def _receipt(shown: Incident, alerts: list[Alert]) -> Receipt:
    recipient = alerts[0].recipient
    deliveries = [delivery for alert in alerts for delivery in alert.deliveries.all()]
    answered = next((alert for alert in alerts if alert.answered_at is not None), None)
    if answered is not None:
        return Receipt(recipient, deliveries, answered.answered_at, answered.answered_through)
    mine = shown.acknowledged_by_id is not None and shown.acknowledged_by_id == recipient.user_id
    return Receipt(recipient, deliveries, shown.acknowledged_at if mine else None, "screen")


def outbox(user: User) -> QuerySet[Delivery]:
    """What was or would be sent about anything the person may see, newest first."""
    return (
        Delivery.objects.filter(alert__incident__in=visible_incidents(user))
        .select_related("alert", "alert__recipient", "alert__incident", "contact", "resends")
        .order_by("-created_at", "-id")[:OUTBOX_LIMIT]
    )


@dataclass(frozen=True, slots=True)
class CameraState:
    """What is known of one camera: whether it sees, since when not, and why (a code)."""

    camera: Camera
    sees: bool
    since_at: datetime | None = None
    reason: str = ""


def camera_states(user: User) -> list[CameraState]:
    """Every enabled camera the person may see. Blind: an open blind span over all deployments, or no address."""
    cameras = list(visible_cameras(user).filter(enabled=True).select_related("site").order_by("site__name", "name"))
    spans = BlindSpan.objects.filter(camera__in=cameras, deployment__isnull=True, to_at__isnull=True)
    blind = {span.camera_id: span for span in spans.order_by("-from_at")}
    addressed = set(Source.objects.filter(camera__in=cameras).values_list("camera_id", flat=True))
    return [_camera_state(camera, blind.get(camera.pk), camera.pk in addressed) for camera in cameras]


def _camera_state(camera: Camera, span: BlindSpan | None, addressed: bool) -> CameraState:
    if not addressed:
        return CameraState(camera, False, None, "no_address")
    if span is not None:
        return CameraState(camera, False, span.from_at, span.reason)
    return CameraState(camera, True)


def last_message(user: User) -> Delivery | None:
    """The message sent last about anything the person may see."""
    return (
        Delivery.objects.filter(alert__incident__in=visible_incidents(user), sent_at__isnull=False)
        .select_related("contact")
        .order_by("-sent_at")
        .first()
    )


def nobody_told(user: User | None = None) -> tuple[str, ...]:
    """The enabled rules that are to tell somebody and reach nobody, by name; ``user``: on cameras that they see.

    A rule that names nobody at all is meant so, unless not one rule reaches anybody.
    """
    rules = Rule.objects.filter(enabled=True)
    reaching = rules.filter(reaching_somebody()).values("pk")
    lost = rules.exclude(pk__in=reaching)
    if reaching.exists():
        lost = lost.filter(Q(recipients__isnull=False) | Q(policy__isnull=False))
    if user is not None:
        lost = lost.filter(zones__view__camera__in=visible_cameras(user))
    return tuple(lost.order_by("name").values_list("name", flat=True).distinct())


GAPS_AHEAD = timedelta(days=1)
"""So long before it comes a gap is told to everybody; on the rota's own page it stands four weeks before."""

REMEMBERED_S = 1.0
"""How long an answer serves while neither sequence moves: edits of who sees what are in neither of them."""
REMEMBERED_MOST = 1000

_remembered: dict[Hashable, tuple[float, Any]] = {}


def forget() -> None:
    """Ask the database again."""
    _remembered.clear()


def _once(key: Hashable, ask: Callable[[], _T]) -> _T:
    """The answer of ``ask``, remembered under ``key`` for ``REMEMBERED_S``: many sockets ask the same each two seconds.

    Two threads may both ask; they get the same answer.
    """
    now = time.monotonic()
    kept = _remembered.get(key)
    if kept is not None and now - kept[0] < REMEMBERED_S:
        answer: _T = kept[1]
        return answer
    if len(_remembered) >= REMEMBERED_MOST:
        _remembered.clear()
    answer = ask()
    _remembered[key] = now, answer
    return answer


@dataclass(frozen=True, slots=True)
class DutyGap:
    """A rota by which a rule tells, and when it next would tell nobody. ``from_at``: None for now."""

    rota: str
    person: str
    """Who has the duty and cannot be reached; empty: nobody has it."""
    from_at: datetime | None


def duty_gaps(now: datetime) -> tuple[DutyGap, ...]:
    """The gaps of today and tomorrow."""
    found = gaps_that_matter(now, GAPS_AHEAD)
    return tuple(
        DutyGap(row.name, gap.recipient.name if gap.recipient else "", None if gap.from_at <= now else gap.from_at)
        for row, gap in found
    )


@dataclass(frozen=True, slots=True)
class Strip:
    """The health strip: can we see, does anything wait, does sending work."""

    cameras: list[CameraState]
    silent: list[PartHealth]
    counts: Counts
    last: Delivery | None
    nobody_told: tuple[str, ...]
    """The rules that reach nobody."""
    change: int
    starting: bool
    floods: list[Load]
    gaps: tuple[DutyGap, ...] = ()

    @property
    def seeing(self) -> int:
        """How many cameras see."""
        return sum(state.sees for state in self.cameras)

    @property
    def offline(self) -> list[CameraState]:
        """Those that do not."""
        return [state for state in self.cameras if not state.sees]

    @property
    def watching(self) -> bool:
        """Whether every part that watching needs is alive; otherwise nothing is known about any camera.

        A part that reports a trouble of its own is alive, and says itself what does not work.
        """
        return not any(part.part.startswith(SEEING_PARTS) and part.state != "troubled" for part in self.silent)

    @property
    def level(self) -> str:
        """``bad``: nobody watches or nobody is told; ``poor``: something does not work; ``good``; ``none``: empty."""
        if not self.watching or self.nobody_told or any(gap.from_at is None for gap in self.gaps):
            return "bad"
        if self.silent or self.offline:
            return "poor"
        return "good" if self.cameras else "none"

    @property
    def digest(self) -> str:
        """Names this reading: another one differs in something that a person would see."""
        said = (
            [(str(state.camera.uid), state.sees, state.since_at, state.reason) for state in self.cameras],
            [(part.part, part.instance, part.state, part.problem) for part in self.silent],
            (self.counts.waiting, self.counts.mine, self.counts.newest),
            self.last and (self.last.pk, self.last.sent_at),
            (self.nobody_told, self.starting, self.gaps, [load.name for load in self.floods]),
        )
        return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def strip(user: User, parts: list[PartHealth], starting: bool = False) -> Strip:
    """The strip for one person. A part never heard of while we are ``starting`` is not yet counted as silent."""
    unwell = [part for part in parts if part.state != "ok" and not (starting and part.state == "missing")]
    alive = {part.part for part in parts if part.state == "ok"}
    silent = [part for part in unwell if part.state == "troubled" or part.part not in alive]
    change = SequenceCounter.current(SequenceCounter.CHANGES)
    # Whatever these two answers rest on advances a sequence: what is remembered for the same pair is still true.
    known = change, SequenceCounter.current(SequenceCounter.CONFIGURATION)
    last = _once(("last_message", user.pk, known), lambda: last_message(user))
    untold = _once(("nobody_told", user.pk, known), lambda: nobody_told(user))
    gaps = _once(("duty_gaps", known), lambda: duty_gaps(timezone.now()))
    coming = starting and any(part.state == "missing" for part in parts)
    floods = _visible(user, [load for load in _once(("loads",), lambda: loads(timezone.now())) if load.flooded])
    return Strip(camera_states(user), silent, counts(user), last, untold, change, coming, floods, gaps)


def last_incident(user: User) -> Incident | None:
    """The newest one, whatever became of it: what an empty queue remembers."""
    return visible_incidents(user).select_related("camera", "site", "resolved_by").order_by("-opened_at").first()
