"""The room's words: kinds, labels, figures, states and times as a guard would say them, in the reader's language."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext_lazy, pgettext, pgettext_lazy
from django.utils.translation import gettext as _

from alerts import texts
from alerts.auditor import KIND as SYSTEM
from alerts.grouping import SITE_OUTAGE
from alerts.models import Alert, Contact, Delivery, Event, Incident, IncidentTransition, MaintenanceWindow
from alerts.notifiers.registry import channels, is_secret
from alerts.schedule import parts
from alerts.telling import Upcoming
from alerts.transitions import PEOPLE
from frontend import silencing
from frontend.change_words import schedule_word
from frontend.models import User
from frontend.queries import CameraState, DutyGap, Receipt
from streams.health import PartHealth
from streams.models import Camera
from streams.problems import SENTENCES

register = template.Library()

_UNITS = {
    "s": pgettext_lazy("unit", "s"),
    "heights": gettext_lazy("picture heights"),
    "frames": gettext_lazy("pictures"),
    "pictures": gettext_lazy("pictures"),
    "m": pgettext_lazy("unit", "m"),
    "km/h": pgettext_lazy("unit", "km/h"),
    "/m²": pgettext_lazy("unit", "per m²"),
}

_DEFAULT_UNITS = {"in_zone": "s", "confirmed": "frames", "travel": "heights"}

_PARTS = {
    "capture": gettext_lazy("Cameras are not being read"),
    "detect": gettext_lazy("Pictures are not being analysed"),
    "evaluate": gettext_lazy("Rules are not being checked"),
    "worker": gettext_lazy("Messages are sent more slowly"),
    "sweep": gettext_lazy("Late messages are not being caught up"),
    "web": gettext_lazy("A screen server does not answer"),
}

_PROBLEMS = {
    "database": gettext_lazy("The database does not answer; nothing is lost, it is tried again"),
    "broker": gettext_lazy("The message queue does not answer; messages are sent without it"),
    "sweep": gettext_lazy("Late messages could not be looked for; it is tried again"),
    "log": gettext_lazy("The log does not answer; it is tried again"),
    "unknown_version": gettext_lazy("Rules stand still: a newer program wrote the log, update this one"),
    "broken_rule": gettext_lazy("A rule cannot run and is left out; the log of “evaluate” says why"),
    "archive": gettext_lazy("The archive has stopped; the log of “evaluate” says why. Rules and alerts go on"),
    "capture-restarts": gettext_lazy("A camera reader ends again and again; look into its log"),
    "capacity": gettext_lazy("More cameras than readers: start another capture process"),
    "model_missing": gettext_lazy("A model's file is missing; its page in Set-up says which"),
    "model_broken": gettext_lazy("A model cannot be used; its page in Set-up says why"),
    "runtime_missing": gettext_lazy("A model's runtime is not installed; its page in Set-up says which"),
}
"""What a part says of itself while it works on (``Heartbeat.problem``)."""

_BLIND = {
    "no_address": gettext_lazy("It has no address yet; give it one in Set-up."),
    "silent": gettext_lazy("The camera's reader is silent."),
    "dropped:behind": gettext_lazy("Pictures were left out: detection is behind."),
    "dropped:poison": gettext_lazy("A picture could not be analysed and was set aside."),
    "dropped:model": gettext_lazy("The model could not be used."),
    "dropped:log": gettext_lazy("Pictures were lost: the log did not take them."),
}
"""Codes of ours beside those of ``streams.problems.SENTENCES``."""

_DELIVERY = {
    Delivery.State.QUEUED: gettext_lazy("waiting"),
    Delivery.State.SENDING: gettext_lazy("being sent"),
    Delivery.State.SENT: gettext_lazy("sent"),
    Delivery.State.DELIVERED: gettext_lazy("delivered"),
    Delivery.State.FAILED: gettext_lazy("not sent"),
    Delivery.State.UNKNOWN: gettext_lazy("outcome unknown"),
    Delivery.State.CANCELLED: gettext_lazy("not needed any more"),
}

_NUMBER = gettext_lazy("not sent: this number cannot receive it")
_TWILIO = {
    **dict.fromkeys((21211, 21214, 21217, 21265, 21614, 21635), _NUMBER),
    **dict.fromkeys((21408, 21612), gettext_lazy("not sent: the provider does not send to this country or network")),
    21610: gettext_lazy("not sent: this number has unsubscribed"),
    30003: gettext_lazy("not delivered: the telephone is off or out of reach"),
    30004: gettext_lazy("not delivered: the telephone's network blocks it"),
    30005: gettext_lazy("not delivered: nobody has this number"),
    30006: gettext_lazy("not delivered: this number takes no text messages"),
    30007: gettext_lazy("not delivered: the telephone's network took it for spam; ask an administrator"),
}
"""Source: https://www.twilio.com/docs/api/errors"""
_NOT_SENT = (
    (r"Twilio: (un|failed|canceled)", gettext_lazy("not delivered: the telephone's network did not take it")),
    (r"Twilio: \d+/", gettext_lazy("not sent: the SMS provider refuses it; ask an administrator")),
    (r"Twilio: ", gettext_lazy("not sent: the SMS provider could not be reached")),
    (r"SMTP: 5\d\d", gettext_lazy("not sent: the mail server refuses this address")),
    (r"SMTP: ", gettext_lazy("not sent: the mail server did not take it")),
    (r"webhook: ", gettext_lazy("not sent: its receiver did not take it")),
    (r"Apprise: ", gettext_lazy("not sent: the chat or push service did not take it")),
    (r"budget: ", gettext_lazy("not sent: this month's SMS are used up; told another way where there is one")),
)
"""By how the notifiers' own texts begin. Those name numbers and are for administrators, so no screen shows them."""

_SHOWS = {
    "waiting": pgettext_lazy("queue filter", "Waiting"),
    "mine": pgettext_lazy("queue filter", "Mine"),
    "open": pgettext_lazy("queue filter", "All open"),
    "resolved": pgettext_lazy("queue filter", "Resolved"),
}

_EMPTY = {
    "waiting": gettext_lazy("Nothing waits for anybody."),
    "mine": gettext_lazy("You have nothing in hand."),
    "open": gettext_lazy("Nothing is open."),
    "resolved": gettext_lazy("Nothing has been resolved yet."),
}

register.filter("headline", texts.headline)
register.filter("place", texts.place)
register.filter("severity_word", texts.severity_name)
register.filter("segments", texts.segments)


@register.filter
def person(user: User | None) -> str:
    """A person's name on a screen."""
    return user.get_full_name() or user.get_username() if user else ""


@register.filter
def show_word(show: str) -> Any:
    """A queue filter's chip."""
    return _SHOWS[show]


@register.filter
def empty_word(show: str) -> Any:
    """What an empty queue says."""
    return _EMPTY[show]


@register.filter
def state_word(incident: Incident) -> str:
    """Where the case stands and who has it."""
    if incident.state == Incident.State.ACKNOWLEDGED:
        return _("%(name)s has it") % {"name": person(_owner(incident)) or _("Somebody")}
    if incident.state == Incident.State.RESOLVED:
        return _("Resolved: %(disposition)s") % {"disposition": incident.get_disposition_display()}
    if incident.owner_id:
        return _("Open, given to %(name)s") % {"name": person(incident.owner)}
    return _("Open")


def _owner(incident: Incident) -> User | None:
    return incident.owner or incident.acknowledged_by


@register.filter
def cause_word(incident: Incident) -> str:
    """What caused a false alarm, for its history."""
    return _("False alarm: %(cause)s") % {"cause": incident.get_false_reason_display()}


@register.filter
def handed_word(incident: Incident) -> str:
    """Who goes on with what was handed over, for its history."""
    return _("Handed over: %(to)s") % {"to": incident.get_handed_to_display()}


@register.filter
def muted_word(incident: Incident) -> str:
    """Why nobody is told for now; empty where somebody is."""
    silence, window = incident.muted_silence, incident.muted_window
    if silence:
        words = {"name": person(silence.author) or _("Somebody"), "time": moment_text(silence.until_at)}
        return _("Silenced by %(name)s until %(time)s") % words
    if window:
        return _("Maintenance: %(window)s") % {"window": window.name}
    words = {"camera": incident.camera.name if incident.camera else "", "site": incident.site.name}
    if incident.muted_by == Incident.MutedBy.SITE:
        return _("No camera of %(site)s answers") % words
    return _("%(camera)s is offline") % words if incident.muted_by else ""


register.filter("matchers_word", silencing.in_words)


@register.filter
def listed(rows: Iterable[Any]) -> str:
    """The rows by their names, one after the other."""
    return texts.listed(map(str, rows))


@register.filter
def window_word(window: MaintenanceWindow) -> str:
    """When a window opens: “Sun, Mon 02:00–04:00”."""
    return schedule_word(parts(window.schedule)[0])


@register.filter
def owner_word(incident: Incident, user: User) -> str:
    """Who has it, for a row of the queue."""
    if incident.state == Incident.State.RESOLVED:
        return incident.get_disposition_display()
    owner = _owner(incident)
    if owner is None:
        return _("nobody yet")
    if incident.state == Incident.State.OPEN:
        return _("for you") if owner.pk == user.pk else _("for %(name)s") % {"name": person(owner)}
    return _("yours") if owner.pk == user.pk else person(owner)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number beside its bound, in words."""

    name: str
    value: str
    bound: str


def _number(value: float, name: str, unit: str) -> str:
    if name == "confirmed":
        return f"{value:.0f}"
    return f"{value:.1f}".removesuffix(".0") if name == "in_zone" or unit in ("m", "km/h") else f"{value:.2f}"


def figure(fact: dict[str, Any]) -> Figure:
    """One fact of an event as a person reads it."""
    name, value, bound = str(fact["name"]), float(fact["value"]), float(fact["bound"])
    key = fact.get("unit") or _DEFAULT_UNITS.get(name, "")
    words = {
        "value": _number(value, name, key),
        "bound": _number(bound, name, key),
        "unit": str(_UNITS.get(key, key)),
    }
    title = texts.fact_label(name)
    if name == "in_zone":
        return Figure(title, _("%(value)s s") % words, _("of %(bound)s s") % words)
    if fact["relation"] == "=":
        return Figure(title, texts.fact_value(fact), "")
    if fact["relation"] == "of":
        return Figure(title, _("%(value)s of %(bound)s") % words, words["unit"])
    sign = {">=": "≥", "<=": "≤"}.get(str(fact["relation"]), "=")
    return Figure(title, words["value"], f"{sign} {words['bound']} {words['unit']}".strip())


@register.filter
def figures(event: Event | None) -> list[Figure]:
    """The numbers that made the rule fire."""
    return [figure(fact) for fact in event.content.get("facts", [])] if event else []


@register.filter
def overlay(event: Event | None) -> dict[str, Any]:
    """Boxes, path and zone of the picture, as SVG takes them, in fractions of the picture."""
    content = event.content if event else {}
    boxes = [
        {"x": x1, "y": y1, "w": x2 - x1, "h": y2 - y1, "fired": box.get("fired", False)}
        for box in content.get("boxes", [])
        for x1, y1, x2, y2 in [box["xyxy"]]
    ]
    return {
        "boxes": sorted(boxes, key=lambda box: bool(box["fired"])),
        "zone": _svg_points(content.get("zone_polygon", [])),
        "path": _svg_points(content.get("path", [])),
    }


@register.filter
def svg_points(points: list[tuple[float, float]]) -> str:
    """Corners as SVG takes them."""
    return _svg_points([list(point) for point in points])


def _svg_points(points: list[list[float]]) -> str:
    return " ".join(f"{x:.4f},{y:.4f}" for x, y in points)


@register.filter
def delivery_word(delivery: Delivery) -> str:
    """What became of one message."""
    if delivery.state == Delivery.State.FAILED and delivery.problem:
        return _why_not_sent(delivery.problem)
    return str(_DELIVERY.get(Delivery.State(delivery.state), delivery.state))


def _why_not_sent(problem: str) -> str:
    code = re.match(r"Twilio: \w+/(\d+)", problem)
    if code and int(code[1]) in _TWILIO:
        return str(_TWILIO[int(code[1])])
    found = (words for begins, words in _NOT_SENT if re.match(begins, problem))
    return str(next(found, _DELIVERY[Delivery.State.FAILED]))


@register.filter
def delivery_look(delivery: Delivery) -> str:
    """How a state looks: ``good``, ``bad``, ``doubt`` or ``quiet``."""
    looks = {
        Delivery.State.DELIVERED: "good",
        Delivery.State.SENT: "good",
        Delivery.State.FAILED: "bad",
        Delivery.State.UNKNOWN: "doubt",
    }
    return looks.get(Delivery.State(delivery.state), "quiet")


@dataclass(frozen=True, slots=True)
class Step:
    """One moment of a message's way."""

    word: str
    at: datetime


@register.filter
def trail(delivery: Delivery) -> list[Step]:
    """When it was queued, sent, delivered; or when it was known that it was not."""
    words = _DELIVERY
    steps = [Step(pgettext("delivery", "queued"), delivery.created_at)]
    if delivery.sent_at:
        steps.append(Step(str(words[Delivery.State.SENT]), delivery.sent_at))
    if delivery.delivered_at:
        steps.append(Step(str(words[Delivery.State.DELIVERED]), delivery.delivered_at))
    if delivery.finished_at and delivery.state in (Delivery.State.FAILED, Delivery.State.UNKNOWN):
        failed = delivery.state == Delivery.State.FAILED
        ended = pgettext("delivery", "failed") if failed else str(words[Delivery.State.UNKNOWN])
        steps.append(Step(ended, delivery.finished_at))
    return steps


@register.filter
def is_held(delivery: Delivery) -> bool:
    """Whether it waits for a reason that people should know."""
    return delivery.state == Delivery.State.QUEUED and bool(delivery.held)


@register.filter
def answered_word(receipt: Receipt) -> str:
    """By what somebody acknowledged."""
    words = {"sms": _("by answering the SMS"), "link": _("by the link in the message")}
    return words.get(receipt.through, _("in the room"))


@register.filter
def may_arrive_twice(delivery: Delivery) -> bool:
    """Whether this message repeats, or is repeated after, one of unknown outcome."""
    return delivery.state == Delivery.State.UNKNOWN or delivery.resends_id is not None


@register.filter
def masked(told: Contact | Delivery) -> str:
    """An address that a colleague recognises and a passer-by cannot use. Of a delivery: where it went."""
    contact, address = (told.contact, told.to) if isinstance(told, Delivery) else (told, told.address)
    if is_secret(contact.channel):
        return address
    if contact.channel == Contact.Channel.EMAIL:
        name, at, domain = address.partition("@")
        return f"{name[:2]}•••{at}{domain}"
    return f"{address[:4]} ••• {address[-3:]}"


@register.filter
def reason_word(alert: Alert) -> str:
    """Why a message was sent."""
    words = {
        Alert.Reason.OPENED: _("first message"),
        Alert.Reason.REMINDER: _("sent once more"),
        Alert.Reason.WORSE: _("it got worse"),
        Alert.Reason.LATE: _("known late"),
        Alert.Reason.GROWN: _("twice as many"),
        Alert.Reason.SPREAD: _("on another camera too"),
        Alert.Reason.AGAIN: _("again after a quiet time"),
        Alert.Reason.REOPENED: _("open again"),
    }
    return words.get(Alert.Reason(alert.reason), "")


@register.filter
def step_told(upcoming: Upcoming) -> str:
    """Whom the next step tells, and how: “Night duty (Alice), Control room, SMS”."""
    on = [_("%(rota)s (%(name)s)") % {"rota": rota, "name": name or _("nobody")} for rota, name in upcoming.duties]
    return texts.listed([*on, *upcoming.names, *map(channel_word, upcoming.channels)])


@register.filter
def channel_word(channel: str) -> str:
    """How somebody is reached, as a word."""
    return str(dict(channels()).get(channel, channel))


@register.filter
def step_word(step: IncidentTransition) -> str:
    """One line of an incident's history."""
    words = {"name": person(step.by), "to": person(step.to), "before": "", "after": ""}
    if step.action == IncidentTransition.Action.STEP:
        sentences = _STEPS.get(step.after) or (_AGAIN if step.before else (_OPENED_BY, _opening(step)))
    else:
        sentences = _LINES[step.action]
    if step.action == IncidentTransition.Action.SEVERITY:
        words |= {"before": texts.severity_name(step.before), "after": texts.severity_name(step.after)}
    return str(sentences[0 if step.by_id else 1]) % words


_STEPS: dict[str, Any] = {
    Incident.State.ACKNOWLEDGED: (gettext_lazy("Acknowledged by %(name)s"), gettext_lazy("Acknowledged")),
    Incident.State.RESOLVED: (gettext_lazy("Resolved by %(name)s"), gettext_lazy("Resolved")),
}
_AGAIN = (gettext_lazy("Opened again by %(name)s"), gettext_lazy("Opened again"))
_OPENED_BY = gettext_lazy("Opened by %(name)s")
_OPENINGS = {
    SYSTEM: gettext_lazy("Found when Poliscope checked itself"),
    SITE_OUTAGE: gettext_lazy("No camera of the site answered any more"),
}
"""Of what opens by itself and by no rule; by the incident's kind."""
_LINES: dict[str, Any] = {
    IncidentTransition.Action.ASSIGN: (gettext_lazy("%(name)s gave it to %(to)s"), gettext_lazy("Given to %(to)s")),
    IncidentTransition.Action.SEVERITY: (
        gettext_lazy("%(before)s → %(after)s, by %(name)s"),
        gettext_lazy("%(before)s → %(after)s"),
    ),
    IncidentTransition.Action.NOTE: (gettext_lazy("Note by %(name)s"), gettext_lazy("Note")),
    IncidentTransition.Action.MUTE: (gettext_lazy("Silenced by %(name)s"), gettext_lazy("Muted")),
    IncidentTransition.Action.UNMUTE: (gettext_lazy("No longer muted"), gettext_lazy("No longer muted")),
}
"""With a name and without one."""

_THROUGH = {
    "api": gettext_lazy("by a program"),
    "link": gettext_lazy("by the link in the message"),
    "sms": gettext_lazy("by SMS"),
}
"""From where; from the screen and by itself need no word."""


def _opening(step: IncidentTransition) -> Any:
    """How it came about where nobody is named; somebody whose account is gone opened it all the same."""
    if step.through in PEOPLE:
        return _("Opened")
    return _OPENINGS.get(step.incident.kind) or _("The rule fired")


@register.filter
def through_word(step: IncidentTransition) -> str:
    """From where it was done, where that is not the screen."""
    return str(_THROUGH.get(step.through, ""))


@register.filter
def gap_sentence(gap: DutyGap) -> str:
    """Where nobody is on duty, or will not be."""
    words = {"rota": gap.rota, "name": gap.person, "time": moment_text(gap.from_at) if gap.from_at else ""}
    if gap.from_at is not None:
        return _("From %(time)s nobody can be told who is on duty (%(rota)s). See to it in Set-up.") % words
    if gap.person:
        return _("%(name)s is on duty (%(rota)s) and cannot be reached: confirm a number, in Set-up.") % words
    return _("Nobody is on duty (%(rota)s): let somebody take it over, in Set-up.") % words


@register.filter
def part_sentence(part: PartHealth) -> str:
    """What does not work while a part is silent, and since when; or what it says of itself."""
    if part.state == "troubled" and part.problem in _PROBLEMS:
        return _("%(words)s.") % {"words": str(_PROBLEMS[part.problem])}
    known = _PARTS.get(part.part.partition(".")[0])
    words = {"words": str(known) if known else _("Part “%(part)s” is silent") % {"part": part.part}}
    if part.state != "silent" or part.last_at is None:
        return _("%(words)s.") % words
    return _("%(words)s since %(time)s.") % {**words, "time": moment_text(part.last_at)}


def camera_zone(camera: Camera) -> ZoneInfo:
    """The clock of the camera's site."""
    return ZoneInfo(camera.site.time_zone)


@register.filter
def offline_word(state: CameraState) -> str:
    """“Offline since 13:48 (Asia/Taipei)”, in the clock of the camera's site."""
    if state.since_at is None:
        return _("No picture yet")
    zone = camera_zone(state.camera)
    words = {"time": _short(state.since_at, zone), "zone": zone.key}
    return _("Offline since %(time)s (%(zone)s)") % words


@register.filter
def offline_sentence(state: CameraState) -> str:
    """Which camera, and since when."""
    return _("%(camera)s: %(state)s.") % {"camera": state.camera.name, "state": offline_word(state)}


@register.filter
def blind_word(state: CameraState) -> str:
    """Why a camera does not see and what is tried."""
    return blind_reason(state.reason) or _("No picture arrives from it. We keep trying.")


def blind_reason(code: str) -> str:
    """The sentence of a ``SourceState``'s or a ``Dropped``'s reason; empty for an unknown one."""
    return _(SENTENCES[code]) if code in SENTENCES else str(_BLIND.get(code, ""))


def _short(at: datetime, zone: ZoneInfo) -> str:
    local = at.astimezone(zone)
    same_day = local.date() == timezone.now().astimezone(zone).date()
    return f"{local:%H:%M}" if same_day else f"{_day(local)} {local:%H:%M}"


def _day(local: datetime) -> str:
    return date_format(local, "n月j日" if get_language() == "zh-hant" else "j M")


def moment_text(at: datetime, zone: ZoneInfo | None = None) -> str:
    """The room's time to the second, with the day when it is not today."""
    local = timezone.localtime(at, zone)
    if local.date() == timezone.localtime(timezone.now(), zone).date():
        return f"{local:%H:%M:%S}"
    return f"{_day(local)} {local:%H:%M:%S}"


@register.simple_tag
def moment(at: datetime | None) -> SafeString | str:
    """A time in the room's clock; UTC on hover."""
    if at is None:
        return ""
    utc = f"{at.astimezone(ZoneInfo('UTC')):%Y-%m-%d %H:%M:%S} UTC"
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), utc, moment_text(at))


@register.simple_tag
def ago(at: datetime | None) -> SafeString | str:
    """A relative age that the browser keeps current."""
    return format_html('<time class="ago" data-ago datetime="{}"></time>', at.isoformat()) if at else ""


@register.simple_tag
def countdown(at: datetime) -> SafeString:
    """Seconds until ``at``, counted down by the browser."""
    return format_html('<time class="num" data-until datetime="{}"></time>', at.isoformat())


@register.simple_tag
def happened(incident: Incident) -> str:
    """When, on the site's own clock, for whoever has no room and no clock of their own here."""
    return texts.local_time(incident.happened_at, incident.site.time_zone)


@register.simple_tag
def room_zone_name() -> str:
    """The room's time zone, by name."""
    return timezone.get_current_timezone_name()


@register.simple_tag
def site_time(incident: Incident) -> str:
    """The site's own time with its zone where it differs from the room's; else empty."""
    if incident.site.time_zone == timezone.get_current_timezone_name():
        return ""
    zone = ZoneInfo(incident.site.time_zone)
    return f"{moment_text(incident.happened_at, zone)} {zone.key}"


@register.filter
def lines(text: str) -> list[str]:
    """The lines of a procedure, blank ones left out."""
    return [line.strip() for line in text.splitlines() if line.strip()]


@register.simple_tag
def sentences_for_scripts() -> dict[str, str]:
    """Sentences that the browser itself completes."""
    return {
        "just_now": _("just now"),
        "ago_s": _("{n} s ago"),
        "ago_min": _("{n} min ago"),
        "ago_h": _("{n} h ago"),
        "ago_d": _("{n} d ago"),
        "in_s": _("{n} s"),
        "in_min": _("{m} min {s} s"),
        "in_h": _("{h} h {m} min"),
        "now": _("any moment"),
        "new": _("{n} new"),
        "lost": _("Connection lost. What you see was true at {time}. Trying again."),
        "slow": _("Live updates are interrupted; refreshed every few seconds. Last at {time}."),
        "failed": _("That did not work: the server does not answer. Try again."),
        "quiet": _("Quiet: nothing moves"),
        "no_picture": _("No live picture for {n} s"),
        "waiting_picture": _("Waiting for the first picture"),
        "seen": _("{n} s old"),
        "too_many": _("No more than {n} pictures are live at a time"),
    }
