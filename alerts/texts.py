"""What people are told: sentences from kind and parameters, in the reader's language and the site's time.

Nothing stored is a sentence; each is made here when it is shown or sent. An SMS is one segment in English.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop, ngettext, pgettext_lazy

from alerts.events import SEVERITIES
from alerts.grouping import SITE_OUTAGE
from alerts.lateness import Times, known_late
from alerts.models import Alert, Event, Incident
from streams.time_zones import clock

SUBJECT_LENGTH = 300

_HEADLINES = {
    "person": gettext_noop("Person in “%(zone)s”"),
    "vehicle": gettext_noop("Vehicle in “%(zone)s”"),
    "car": gettext_noop("Car in “%(zone)s”"),
    "truck": gettext_noop("Truck in “%(zone)s”"),
    "bus": gettext_noop("Bus in “%(zone)s”"),
    "motorcycle": gettext_noop("Motorcycle in “%(zone)s”"),
    "bicycle": gettext_noop("Bicycle in “%(zone)s”"),
    "animal": gettext_noop("Animal in “%(zone)s”"),
    "dog": gettext_noop("Dog in “%(zone)s”"),
    "appeared-object": gettext_noop("Something was left in “%(zone)s”"),
    "vanished-object": gettext_noop("Something was taken from “%(zone)s”"),
    "camera-offline": gettext_noop("The camera of “%(zone)s” is offline"),
    "camera-frozen": gettext_noop("The camera of “%(zone)s” repeats one picture"),
    "camera-dark": gettext_noop("The camera of “%(zone)s” is dark"),
    "camera-covered": gettext_noop("The camera of “%(zone)s” is covered"),
    "camera-blurred": gettext_noop("The camera of “%(zone)s” is blurred"),
    "camera-moved": gettext_noop("The camera of “%(zone)s” was moved"),
    "unheard": gettext_noop("Nobody could be told of %(zone)s"),
    "stopped": gettext_noop("The escalation stopped: %(zone)s"),
    "rota": gettext_noop("Nobody on duty can be told: %(zone)s"),
    "unsent": gettext_noop("Messages wait to be sent: %(zone)s"),
    "unchecked": gettext_noop("Whether anybody was forgotten cannot be checked; the log of “sweep” says why"),
    "sms-month": gettext_noop("This month's SMS run low: %(zone)s"),
}

_LABELS = {
    "count": pgettext_lazy("label", "count"),
    "person": pgettext_lazy("label", "person"),
    "vehicle": pgettext_lazy("label", "vehicle"),
    "car": pgettext_lazy("label", "car"),
    "truck": pgettext_lazy("label", "truck"),
    "bus": pgettext_lazy("label", "bus"),
    "motorcycle": pgettext_lazy("label", "motorcycle"),
    "bicycle": pgettext_lazy("label", "bicycle"),
    "train": pgettext_lazy("label", "train"),
    "boat": pgettext_lazy("label", "boat"),
    "aircraft": pgettext_lazy("label", "aircraft"),
    "animal": pgettext_lazy("label", "animal"),
    "bird": pgettext_lazy("label", "bird"),
    "cat": pgettext_lazy("label", "cat"),
    "dog": pgettext_lazy("label", "dog"),
    "horse": pgettext_lazy("label", "horse"),
    "sheep": pgettext_lazy("label", "sheep"),
    "cow": pgettext_lazy("label", "cow"),
    "bear": pgettext_lazy("label", "bear"),
    "bag": pgettext_lazy("label", "bag"),
    "backpack": pgettext_lazy("label", "backpack"),
    "handbag": pgettext_lazy("label", "handbag"),
    "suitcase": pgettext_lazy("label", "suitcase"),
    "umbrella": pgettext_lazy("label", "umbrella"),
    "street-furniture": pgettext_lazy("label", "street furniture"),
    "traffic-light": pgettext_lazy("label", "traffic light"),
    "fire-hydrant": pgettext_lazy("label", "fire hydrant"),
    "stop-sign": pgettext_lazy("label", "stop sign"),
    "parking-meter": pgettext_lazy("label", "parking meter"),
    "bench": pgettext_lazy("label", "bench"),
    "sports-gear": pgettext_lazy("label", "sports gear"),
    "ball": pgettext_lazy("label", "ball"),
    "skateboard": pgettext_lazy("label", "skateboard"),
    "tableware": pgettext_lazy("label", "tableware"),
    "bottle": pgettext_lazy("label", "bottle"),
    "knife": pgettext_lazy("label", "knife"),
    "food": pgettext_lazy("label", "food"),
    "furniture": pgettext_lazy("label", "furniture"),
    "chair": pgettext_lazy("label", "chair"),
    "appliance": pgettext_lazy("label", "appliance"),
    "phone": pgettext_lazy("label", "phone"),
    "laptop": pgettext_lazy("label", "laptop"),
    "thing": pgettext_lazy("label", "thing"),
    "hazard": pgettext_lazy("label", "hazard"),
    "fire": pgettext_lazy("label", "fire"),
    "smoke": pgettext_lazy("label", "smoke"),
    "plume": pgettext_lazy("label", "plume"),
    "haze": pgettext_lazy("label", "haze"),
    "spill": pgettext_lazy("label", "spill"),
    "flood": pgettext_lazy("label", "flood"),
    "waste": pgettext_lazy("label", "waste"),
    "protective-gear": pgettext_lazy("label", "protective gear"),
    "helmet": pgettext_lazy("label", "helmet"),
    "vest": pgettext_lazy("label", "safety vest"),
    "mask": pgettext_lazy("label", "mask"),
    "weapon": pgettext_lazy("label", "weapon"),
    "face": pgettext_lazy("label", "face"),
    "licence-plate": pgettext_lazy("label", "licence plate"),
    "van": pgettext_lazy("label", "van"),
    "tricycle": pgettext_lazy("label", "tricycle"),
    "forklift": pgettext_lazy("label", "forklift"),
    "excavator": pgettext_lazy("label", "excavator"),
    "drone": pgettext_lazy("label", "drone"),
    "appeared-object": pgettext_lazy("label", "appeared object"),
    "apple": pgettext_lazy("label", "apple"),
    "banana": pgettext_lazy("label", "banana"),
    "baseball-bat": pgettext_lazy("label", "baseball bat"),
    "baseball-glove": pgettext_lazy("label", "baseball glove"),
    "bed": pgettext_lazy("label", "bed"),
    "book": pgettext_lazy("label", "book"),
    "bowl": pgettext_lazy("label", "bowl"),
    "broccoli": pgettext_lazy("label", "broccoli"),
    "cake": pgettext_lazy("label", "cake"),
    "carrot": pgettext_lazy("label", "carrot"),
    "clock": pgettext_lazy("label", "clock"),
    "couch": pgettext_lazy("label", "couch"),
    "cup": pgettext_lazy("label", "cup"),
    "dining-table": pgettext_lazy("label", "dining table"),
    "donut": pgettext_lazy("label", "donut"),
    "elephant": pgettext_lazy("label", "elephant"),
    "fork": pgettext_lazy("label", "fork"),
    "frisbee": pgettext_lazy("label", "frisbee"),
    "giraffe": pgettext_lazy("label", "giraffe"),
    "gun": pgettext_lazy("label", "gun"),
    "hair-drier": pgettext_lazy("label", "hair drier"),
    "hot-dog": pgettext_lazy("label", "hot dog"),
    "keyboard": pgettext_lazy("label", "keyboard"),
    "kite": pgettext_lazy("label", "kite"),
    "litter": pgettext_lazy("label", "litter"),
    "microwave": pgettext_lazy("label", "microwave"),
    "mouse": pgettext_lazy("label", "computer mouse"),
    "orange": pgettext_lazy("label", "orange"),
    "oven": pgettext_lazy("label", "oven"),
    "pizza": pgettext_lazy("label", "pizza"),
    "potted-plant": pgettext_lazy("label", "potted plant"),
    "refrigerator": pgettext_lazy("label", "refrigerator"),
    "remote": pgettext_lazy("label", "remote control"),
    "sandwich": pgettext_lazy("label", "sandwich"),
    "scissors": pgettext_lazy("label", "scissors"),
    "sink": pgettext_lazy("label", "sink"),
    "skis": pgettext_lazy("label", "skis"),
    "snowboard": pgettext_lazy("label", "snowboard"),
    "spoon": pgettext_lazy("label", "spoon"),
    "static-region": pgettext_lazy("label", "static region"),
    "surfboard": pgettext_lazy("label", "surfboard"),
    "teddy-bear": pgettext_lazy("label", "teddy bear"),
    "tennis-racket": pgettext_lazy("label", "tennis racket"),
    "tie": pgettext_lazy("label", "tie"),
    "toaster": pgettext_lazy("label", "toaster"),
    "toilet": pgettext_lazy("label", "toilet"),
    "toothbrush": pgettext_lazy("label", "toothbrush"),
    "tv": pgettext_lazy("label", "screen"),
    "vanished-object": pgettext_lazy("label", "vanished object"),
    "vase": pgettext_lazy("label", "vase"),
    "wine-glass": pgettext_lazy("label", "wine glass"),
    "zebra": pgettext_lazy("label", "zebra"),
}
"""Those that a city's rules ask for first. A label without a word here is shown as it is, hyphens as spaces."""

_FACTS = {
    "in_zone": gettext_lazy("In the zone for"),
    "confirmed": gettext_lazy("Confirmed"),
    "confidence": gettext_lazy("Confidence"),
    "travel": gettext_lazy("Moved"),
    "measured": gettext_lazy("Measured"),
    "held": gettext_lazy("Lasted"),
    "after_first": gettext_lazy("After the first"),
    "owner_away": gettext_lazy("Owner away for"),
    "direction": gettext_lazy("Direction"),
    "before_line": gettext_lazy("Way before the line"),
    "behind_line": gettext_lazy("Way behind the line"),
    "objects": gettext_lazy("At once"),
    "lasted": gettext_lazy("Lasted"),
    "still": gettext_lazy("Stood still for"),
    "drift": gettext_lazy("Moved meanwhile"),
    "lying": gettext_lazy("Lay for"),
    "width_by_height": gettext_lazy("Width by height"),
    "against": gettext_lazy("Against the arrow"),
    "empty": gettext_lazy("Nobody for"),
    "speed": gettext_lazy("Speed"),
    "moved": gettext_lazy("Moved on the ground"),
    "density": gettext_lazy("Density"),
}

_FIGURES = {
    "in_zone": gettext_noop("%(value).1f s, at least %(bound).1f s needed"),
    "confirmed": gettext_noop("%(value)d of %(bound)d pictures"),
    "confidence": gettext_noop("%(value).2f, at least %(bound).2f needed"),
    "travel": gettext_noop("%(value).2f picture heights, at least %(bound).2f needed"),
    "measured": gettext_noop("%(measured)s, the bound is %(bound)g"),
    "held": gettext_noop("%(value).1f s, at least %(bound).1f s needed"),
    "after_first": gettext_noop("%(value).1f s, at most %(bound).1f s"),
    "owner_away": gettext_noop("%(value).1f s, at least %(bound).1f s needed"),
    "direction": gettext_noop("with the arrow"),
    "before_line": gettext_noop("%(value).2f picture heights, at least %(bound).2f needed"),
    "behind_line": gettext_noop("%(value).2f picture heights, at least %(bound).2f needed"),
    "objects": gettext_noop("%(value)g, at least %(bound)g needed"),
    "lasted": gettext_noop("%(value).1f s, at least %(bound).1f s needed"),
    "still": gettext_noop("%(value).1f s, at least %(bound).1f s needed"),
    "drift": gettext_noop("%(value).2f picture heights, at most %(bound).2f"),
    "lying": gettext_noop("%(value).1f s, at least %(bound).1f s needed"),
    "width_by_height": gettext_noop("%(value).2f, at least %(bound).2f needed"),
    "against": gettext_noop("%(value).2f picture heights, at least %(bound).2f needed"),
    "empty": gettext_noop("%(value).1f s, at least %(bound).1f s needed"),
    "speed": gettext_noop("%(value).0f km/h, at least %(bound).0f km/h needed"),
    "density": gettext_noop("%(value).2f per m², at least %(bound).2f needed"),
}
_METRES = {
    "drift": gettext_noop("%(value).1f m, at most %(bound).1f m"),
    "against": gettext_noop("%(value).1f m, at least %(bound).1f m needed"),
}
"""Those of ``_FIGURES`` that a calibrated ground gives in metres."""
_ALONE = {
    "speed": gettext_noop("%(value).0f km/h"),
    "moved": gettext_noop("%(value).1f m"),
    "density": gettext_noop("%(value).2f per m²"),
}
"""Numbers that no bound stands beside: they are told and decide nothing."""

_SEVERITIES = {
    "critical": pgettext_lazy("severity", "Critical"),
    "high": pgettext_lazy("severity", "High"),
    "medium": pgettext_lazy("severity", "Medium"),
    "low": pgettext_lazy("severity", "Low"),
}

_SHORT = {
    Alert.Reason.OPENED: gettext_noop("%(severity)s: %(headline)s, %(time)s. %(place)s."),
    Alert.Reason.REMINDER: gettext_noop("Still unacknowledged: %(headline)s, %(time)s. %(place)s."),
    Alert.Reason.WORSE: gettext_noop("Now %(severity)s: %(headline)s, %(time)s. %(place)s."),
    Alert.Reason.LATE: gettext_noop("Known late: %(headline)s, %(bare_time)s, known %(known)s. %(place)s."),
    Alert.Reason.GROWN: gettext_noop("Twice as many: %(headline)s, since %(time)s. %(place)s."),
    Alert.Reason.SPREAD: gettext_noop("On another camera too: %(headline)s, since %(time)s. %(place)s."),
    Alert.Reason.AGAIN: gettext_noop("Again: %(headline)s, %(last)s. %(place)s."),
    Alert.Reason.REOPENED: gettext_noop("Open again: %(headline)s, %(time)s. %(place)s."),
}
"""The SMS, before its link. The place stands last, because what does not fit is cut at the end."""

_SUBJECTS = {
    Alert.Reason.OPENED: gettext_noop("%(severity)s: %(headline)s, %(camera)s"),
    Alert.Reason.REMINDER: gettext_noop("Still unacknowledged: %(headline)s, %(camera)s"),
    Alert.Reason.WORSE: gettext_noop("Now %(severity)s: %(headline)s, %(camera)s"),
    Alert.Reason.LATE: gettext_noop("Known late: %(headline)s, %(camera)s"),
    Alert.Reason.GROWN: gettext_noop("Twice as many: %(headline)s, %(camera)s"),
    Alert.Reason.SPREAD: gettext_noop("On another camera too: %(headline)s, %(camera)s"),
    Alert.Reason.AGAIN: gettext_noop("Again: %(headline)s, %(camera)s"),
    Alert.Reason.REOPENED: gettext_noop("Open again: %(headline)s, %(camera)s"),
}


@dataclass(frozen=True, slots=True)
class Words:
    """One alert in words, for one channel."""

    subject: str
    text: str
    html: str


def listed(names: Iterable[str]) -> str:
    """``names`` one after the other, as the language does: with a comma, or with the mark that Chinese has for it."""
    return _(", ").join(names)


def label_name(name: str) -> str:
    """A label in the reader's language, for the middle of a sentence."""
    return str(_LABELS.get(name, name.replace("-", " ").replace("_", " ")))


def kind_name(kind: str) -> str:
    """A kind of rule, in the reader's language."""
    return _(kind.replace("_", " ").capitalize())


def fact_label(name: str) -> str:
    """What a number of an event is called."""
    return str(_FACTS.get(name, name.replace("_", " ").capitalize()))


def fact_value(fact: Mapping[str, Any]) -> str:
    """A number of an event beside its bound, in words."""
    value, bound, unit = float(fact["value"]), float(fact["bound"]), str(fact.get("unit", ""))
    measured = f"{value:g}" if unit in ("", "1") else f"{value:g} {unit}"
    figures = {"value": value, "bound": bound, "measured": measured}
    sentence = _sentence(str(fact["name"]), str(fact.get("relation", "")), unit)
    if fact["name"] == "direction" and value < 0:
        sentence = gettext_noop("against the arrow")
    return _(sentence) % figures if sentence else measured


def _sentence(name: str, relation: str, unit: str) -> str | None:
    if relation == "=" and name in _ALONE:
        return _ALONE[name]
    return _METRES[name] if unit == "m" and name in _METRES else _FIGURES.get(name)


def severity_name(severity: str) -> str:
    """How bad, as the first word of a sentence."""
    return str(_SEVERITIES.get(severity, severity))


_BY_KIND = {
    "crossing": gettext_noop("%(label)s crossed “%(zone)s”"),
    "dwell": gettext_noop("%(label)s stays in “%(zone)s”"),
    "crowd": gettext_noop("Crowd in “%(zone)s”"),
    "stopped": gettext_noop("%(label)s stopped in “%(zone)s”"),
    "wrong_way": gettext_noop("%(label)s moves the wrong way in “%(zone)s”"),
    "absence": gettext_noop("No %(name)s in “%(zone)s”"),
    "person_down": gettext_noop("Person down in “%(zone)s”"),
}
"""What the kinds say that mean more than "is there"."""


def headline(incident: Incident) -> str:
    """What happened, in one sentence without its full stop: Person in “Dock lane”; or as whoever opened it put it."""
    if incident.title:
        return incident.title
    if incident.label == SITE_OUTAGE:
        return _("No camera of “%(zone)s” answers") % {"zone": incident.site.name}
    zone = incident.zone_name or (incident.camera.name if incident.camera else incident.site.name)
    known = _HEADLINES.get(incident.label)
    if known:
        return _(known) % {"zone": zone}
    if incident.label:
        name = label_name(incident.label)
        if sentence := _BY_KIND.get(incident.rule.kind if incident.rule else ""):
            return _(sentence) % {"label": name[:1].upper() + name[1:], "name": name, "zone": zone}
        return _("%(label)s in “%(zone)s”") % {"label": name[:1].upper() + name[1:], "zone": zone}
    return _("Something in “%(zone)s”") % {"zone": zone}


def place(incident: Incident) -> str:
    """Where: camera and site."""
    if incident.camera is None:
        return incident.site.name
    return _("%(camera)s, %(site)s") % {"camera": incident.camera.name, "site": incident.site.name}


def local_time(at: datetime, time_zone: str, *, beside: datetime | None = None, named: bool = True) -> str:
    """``at`` on the clock of ``time_zone``, with its name; with the date unless that is the day of ``beside``.

    >>> from datetime import UTC
    >>> local_time(datetime(2026, 1, 2, 20, 5, 6, tzinfo=UTC), "Asia/Taipei")
    '2026-01-03 04:05:06 (Asia/Taipei)'
    """
    zone = clock(time_zone)
    local = at.astimezone(zone)
    same_day = beside is not None and beside.astimezone(zone).date() == local.date()
    time = f"{local:%H:%M:%S}" if same_day else f"{local:%Y-%m-%d %H:%M:%S}"
    return f"{time} ({zone})" if named else time


def incident_address(incident: Incident) -> str:
    """Where people open it."""
    return f"{settings.PUBLIC_URL}/incidents/{incident.uid}/"


# SMS

_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_DOUBLE = frozenset("^{}\\[~]|€\f")
"""Of the extension table: two septets each. Source: 3GPP TS 23.038, 6.2.1."""

_PLAIN = str.maketrans(
    {"“": '"', "”": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "…": "...", "×": "x", "≥": ">=", "\u2011": "-"}
    | dict.fromkeys("\u00a0\u2007\u2009\u202f", " ")
)
"""One of these would make the whole message UCS-2 and more than double its price."""

ONE_GSM, ONE_UCS2, PART_GSM, PART_UCS2 = 160, 70, 153, 67
MOST_UCS2 = 2
"""Chinese says it, with its address, in two segments; more is cut."""


def clean(text: str) -> str:
    """``text`` in one line, without control, format and unassigned characters.

    >>> clean("Gate\\r\\nBcc: \\x1b[31m all")
    'Gate Bcc: [31m all'
    """
    kept = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    return " ".join(kept.split())


def septets(text: str) -> int | None:
    """Length of ``text`` in GSM-7 septets; None when it needs UCS-2."""
    if not all(c in _GSM or c in _GSM_DOUBLE for c in text):
        return None
    return len(text) + sum(c in _GSM_DOUBLE for c in text)


def segments(text: str) -> int:
    """How many SMS segments ``text`` is sent, and paid, as. No character is split over two of them.

    Source: 3GPP TS 23.038, section 6.2.1 (the escape and what it belongs to); 3GPP TS 23.040, section 9.2.3.24.1.
    """
    gsm = septets(text) is not None
    one, part = (ONE_GSM, PART_GSM) if gsm else (ONE_UCS2, PART_UCS2)
    widths = [1 + (c in _GSM_DOUBLE if gsm else ord(c) > 0xFFFF) for c in text]
    if sum(widths) <= one:
        return 1
    count, left = 1, part
    for width in widths:
        if width > left:
            count, left = count + 1, part
        left -= width
    return count


def fit(text: str, address: str) -> str:
    """``text`` and the whole of ``address``, cut at the end of ``text`` where one segment (in UCS-2: two) is full.

    Typographic characters that would alone force UCS-2 are written plainly first.
    """
    text = _plainly(text)
    whole = f"{text} {address}"
    while text and not _fits(whole):
        text = text[:-1]
        dots = "..." if septets(text) is not None else "…"
        whole = f"{text.rstrip()}{dots} {address}"
    return whole


def _plainly(text: str) -> str:
    """Without typographic characters where that saves it from UCS-2."""
    plain = text.translate(_PLAIN)
    return plain if septets(plain) is not None else text


def fit_reply(text: str) -> str:
    """``text`` in one segment (in UCS-2: two), plainly where that is cheaper."""
    whole = text = _plainly(clean(text))
    while not _fits(whole):
        text = text[:-1]
        whole = f"{text.rstrip()}{'...' if septets(text) is not None else '…'}"
    return whole


def _fits(text: str) -> bool:
    return segments(text) <= (MOST_UCS2 if septets(text) is None else 1)


# One alert in words


@dataclass(frozen=True, slots=True)
class Back:
    """How its reader can acknowledge from afar: by a link, and where people can write back, by two digits."""

    link: str = ""
    code: str = ""


def sms(alert: Alert, now: datetime, back: Back = Back()) -> Words:
    """The SMS for ``alert``, in its recipient's language. ``alert`` comes with incident, site, camera, recipient."""
    with translation.override(alert.recipient.language):
        end = _ways_back(back, incident_address(alert.incident))
        parameters = _parameters(alert, known_late(alert), now)
        return Words("", fit(_timely(_(_SHORT[Alert.Reason(alert.reason)]), parameters, end), end), "")


def _timely(sentence: str, parameters: dict[str, str], end: str) -> str:
    """``sentence``, its headline cut where its times would not fit before ``end`` otherwise; its place may not."""
    headline = parameters["headline"]
    for length in range(len(headline), 0, -1):
        if _fits(f"{_plainly(clean(sentence % (parameters | {'place': ''})))} {end}"):
            break
        parameters = parameters | {"headline": f"{headline[: length - 1].rstrip()}…"}
    return clean(sentence % parameters)


def _ways_back(back: Back, address: str) -> str:
    """The end of an SMS, which is never cut."""
    link = back.link or address
    return _("Answer %(code)s = I have it. %(link)s") % {"code": back.code, "link": link} if back.code else link


def chat(alert: Alert, now: datetime, back: Back = Back()) -> Words:
    """A few lines for a chat or a telephone's lock screen; also what a webhook says for people."""
    with translation.override(alert.recipient.language):
        parameters = _parameters(alert, known_late(alert), now)
        subject = clean(_(_SUBJECTS[Alert.Reason(alert.reason)]) % parameters)[:SUBJECT_LENGTH]
        text = clean(_(_SHORT[Alert.Reason(alert.reason)]) % parameters)
        return Words(subject, "\n".join([text, *_addresses(alert.incident, back)]), "")


def _addresses(incident: Incident, back: Back) -> list[str]:
    opened = _("Open it: %(address)s") % {"address": incident_address(incident)}
    return [opened, _("I have it: %(link)s") % {"link": back.link}] if back.link else [opened]


def email(alert: Alert, event: Event | None, now: datetime, *, picture: bool, back: Back = Back()) -> Words:
    """Subject, text and HTML for ``alert``; ``picture``: whether ``cid:picture`` comes with it."""
    incident, late = alert.incident, known_late(alert)
    zone = incident.site.time_zone
    with translation.override(alert.recipient.language):
        subject = clean(_(_SUBJECTS[Alert.Reason(alert.reason)]) % _parameters(alert, late, now))[:SUBJECT_LENGTH]
        context = {
            "subject": subject,
            "language": alert.recipient.language,
            "headline": headline(incident),
            "place": place(incident),
            "severity": severity_name(incident.severity),
            "reason": alert.reason,
            "happened": local_time(late[0] if late else incident.happened_at, zone),
            "known": local_time(late[1], zone) if late else "",
            "facts": [(fact_label(fact["name"]), fact_value(fact)) for fact in _facts(event)],
            "why": incident.why_it_matters,
            "steps": _steps(incident.procedure),
            "address": incident_address(incident),
            "link": back.link,
            "picture": picture,
        }
        text = render_to_string("alerts/email.txt", context)
        return Words(subject, text.strip() + "\n", render_to_string("alerts/email.html", context))


# Several alerts in one message


@dataclass(frozen=True, slots=True)
class Line:
    """One of several alerts in one message."""

    headline: str
    place: str
    severity: str
    happened: str
    known: str
    address: str


MOST_LINES = 50
"""Of one message; the others are in the room."""


def room_address() -> str:
    """Where people find all of it."""
    return f"{settings.PUBLIC_URL}/"


def digest(alerts: Sequence[Alert], now: datetime, *, short: bool) -> Words:
    """One message about several alerts of one recipient, the worst first; ``short``: an SMS."""
    with translation.override(alerts[0].recipient.language):
        worst = sorted(alerts, key=lambda alert: (-SEVERITIES.index(alert.incident.severity), alert.created_at))
        known = [known_late(alert) for alert in worst]
        late = all(known)
        count = {"n": len(alerts)}
        first = (
            ngettext("%(n)d message, known late", "%(n)d messages, known late", len(alerts))
            if late
            else ngettext("%(n)d message, gathered", "%(n)d messages, gathered", len(alerts))
        ) % count
        if short:
            said = _("%(count)s. The worst: %(sentence)s")
            sentence = said % {"count": first, "sentence": _(_SHORT[Alert.Reason(worst[0].reason)])}
            end = room_address()
            return Words("", fit(_timely(sentence, _parameters(worst[0], known[0], now), end), end), "")
        return _long_digest(first, list(zip(worst, known, strict=True)), late)


def _long_digest(first: str, worst: Sequence[tuple[Alert, Times | None]], late: bool) -> Words:
    alert, _known = worst[0]
    context = {
        "subject": f"{first}: {clean(headline(alert.incident))}"[:SUBJECT_LENGTH],
        "first": first,
        "late": late,
        "language": alert.recipient.language,
        "lines": [_line(alert, known) for alert, known in worst[:MOST_LINES]],
        "more": max(0, len(worst) - MOST_LINES),
        "address": room_address(),
    }
    text = render_to_string("alerts/digest.txt", context)
    return Words(str(context["subject"]), text.strip() + "\n", render_to_string("alerts/digest.html", context))


def _line(alert: Alert, late: Times | None) -> Line:
    """Always with both times where it was known late."""
    incident = alert.incident
    zone = incident.site.time_zone
    return Line(
        clean(headline(incident)),
        clean(place(incident)),
        severity_name(incident.severity),
        local_time(late[0] if late else incident.happened_at, zone),
        local_time(late[1], zone) if late else "",
        incident_address(incident),
    )


def _steps(procedure: str) -> list[str]:
    """Its lines, the blank ones left out."""
    return [line.strip() for line in procedure.splitlines() if line.strip()]


def _facts(event: Event | None) -> list[dict[str, Any]]:
    return list(event.content.get("facts", [])) if event else []


def _parameters(alert: Alert, late: Times | None, now: datetime) -> dict[str, str]:
    """``late``: as ``known_late`` has it."""
    incident = alert.incident
    zone = incident.site.time_zone
    happened_at, known_at = late or (incident.happened_at, incident.opened_at)
    time = local_time(happened_at, zone, beside=now)
    bare_time = local_time(happened_at, zone, beside=now, named=False)
    known = local_time(known_at, zone, beside=now)
    return {
        "severity": severity_name(incident.severity),
        "headline": headline(incident),
        "place": place(incident),
        "camera": incident.camera.name if incident.camera else incident.site.name,
        # Whatever is said of it later: what was long past when it became known must not look like news.
        "time": _("%(time)s, known %(known)s") % {"time": bare_time, "known": known} if late else time,
        "last": local_time(incident.last_event_at, zone, beside=now),
        "bare_time": bare_time,
        "known": known,
    }
