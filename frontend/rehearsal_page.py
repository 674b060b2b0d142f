"""A rehearsal as its panel shows it: how often, when in the day, what cannot be told, and each firing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from alerts.models import Rehearsal
from alerts.rehearsals import PROBLEMS, UNDER_WAY
from alerts.texts import label_name, listed
from frontend.rehearsal_tally import Counted, counted
from streams.models import Camera

MOST_SHOWN = 60
"""Firings with a picture; all are counted."""
WIDE, HIGH = 10.0, 96.0
"""Of one column of the histogram, in the units of its drawing."""
BAR = 7.4

Points = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Bar:
    """One piece of a column: ``look`` is ``same``, ``new``, ``gone`` or ``blind``; figures as a drawing takes them."""

    look: str
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True, slots=True)
class Column:
    """One hour of the day."""

    hour: str
    same: int
    new: int
    gone: int
    unknown: str
    """For how long nothing can be told; empty where all is known."""
    bars: list[Bar]


@dataclass(frozen=True, slots=True)
class Card:
    """One firing. ``mark`` is ``new``, ``gone`` or empty."""

    uid: str
    camera: Camera | None
    at: datetime
    when: str
    label: str
    mark: str
    path: str
    zone: str
    box: tuple[str, str, str, str] | None
    ends: tuple[str, str] | None
    pictured: bool
    """The archive has a picture of the object; else its way is drawn, on the camera's own picture if there is one."""
    has_ground: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """Everything that the panel shows of ``rehearsal``."""

    rehearsal: Rehearsal
    columns: list[Column]
    cards: list[Card]
    listed: int
    names: list[str]
    """The cameras that it goes through."""
    counted: Counted | None
    """Of a draft that counts: what it has counted; such a one fires nothing."""

    @property
    def under_way(self) -> bool:
        return self.rehearsal.state in UNDER_WAY

    @property
    def compared(self) -> bool:
        """Whether a version is in force that it was compared with."""
        return self.rehearsal.in_force_number is not None

    @property
    def figures(self) -> Mapping[str, Any]:
        return _figures(self.rehearsal)

    @property
    def tracked_anew(self) -> bool:
        """Whether the detections are tracked anew."""
        return self.rehearsal.tracked_anew

    @property
    def made_of(self) -> str:
        """Of a sequence: which rules it waits for, and where it was rehearsed. Of another kind empty."""
        config = self.rehearsal.draft.get("config", {})
        waits = [config.get("first"), config.get("then")]
        rules = [source["name"] for source in self.rehearsal.sources if source["rule"] in waits]
        if not rules:
            return ""
        told = {"rules": listed(_("“%(name)s”") % {"name": name} for name in rules), "cameras": listed(self.names)}
        return _("Made of what %(rules)s would have fired on %(cameras)s, as these rules are now.") % told

    @property
    def percent(self) -> int:
        return round(self.rehearsal.share * 100)

    @property
    def fired(self) -> int:
        return int(self.figures.get("fired", 0))

    @property
    def times(self) -> str:
        """“37 times”."""
        return ngettext("%(n)d time", "%(n)d times", self.fired) % {"n": self.fired}

    @property
    def span(self) -> str:
        """“in the last 7 days”."""
        days = (self.rehearsal.until_at - self.rehearsal.from_at).days
        return ngettext("in the last day", "in the last %(n)d days", days) % {"n": days}

    @property
    def new(self) -> int:
        return len(self.figures.get("new", ()))

    @property
    def gone(self) -> int:
        return len(self.figures.get("gone", ()))

    @property
    def unknown(self) -> list[str]:
        """What cannot be told, and for how long, in words, the longest first. Until it is done all of it is open."""
        if self.rehearsal.state != Rehearsal.State.DONE:
            return []
        seconds: dict[str, float] = {}
        for reason, length_s in self.figures.get("unknown_s", {}).items():
            kind = reason.partition(":")[0]
            seconds[kind] = seconds.get(kind, 0.0) + length_s
        longest = sorted(seconds.items(), key=lambda pair: -pair[1])
        return [_unknown_words(kind) % {"time": duration(length_s)} for kind, length_s in longest]

    @property
    def known(self) -> str:
        return duration(float(self.figures.get("known_s", 0.0)))

    @property
    def told(self) -> str:
        """``all``, ``part``, ``nothing`` of the span can be told; ``empty``: nothing of it is archived."""
        if not self.unknown:
            return "all"
        if self.figures.get("known_s", 0.0) > 0:
            return "part"
        return "empty" if set(self.figures["unknown_s"]) == {"silent"} else "nothing"

    @property
    def nothing_known(self) -> str:
        """What is said instead of a count when none of the span can be told; else empty."""
        if self.told == "empty":
            return _("Nothing is archived yet of this camera: rehearsal begins to be of use after some hours.")
        if self.told == "nothing":
            return _("Of this span nothing can be told: %(why)s.") % {"why": listed(self.unknown)}
        return ""

    @property
    def problem(self) -> str:
        """Why it failed, as a sentence; what the engine said of the draft is shown as it is."""
        code = self.rehearsal.problem
        return _(PROBLEMS[code]) if code in PROBLEMS else code

    @property
    def more(self) -> int:
        """Firings that are counted and not listed."""
        return max(0, self.fired + (self.gone if self.compared else 0) - self.listed)

    @property
    def said(self) -> str:
        """One sentence for whoever does not see the panel change."""
        if self.rehearsal.state == Rehearsal.State.DONE:
            return self.nothing_known or self._told_often
        return str(Rehearsal.State(self.rehearsal.state).label)

    @property
    def _told_often(self) -> str:
        if self.counted is None:
            return f"{self.times} {self.span}."
        told = {"times": self.counted.times, "span": self.span}
        return _("It would have counted %(times)s %(span)s.") % told


def panel(rehearsal: Rehearsal, cameras: Iterable[Camera]) -> Panel:
    """What is known so far. ``cameras``: those that its person may see."""
    figures, seen = _figures(rehearsal), {str(camera.uid): camera for camera in cameras}
    cards = _cards(rehearsal, seen)
    columns = _columns(figures["hours"], rehearsal) if figures else []
    names = [seen[uid].name for uid in rehearsal.cameras if uid in seen]
    return Panel(rehearsal, columns, cards[:MOST_SHOWN], min(len(cards), MOST_SHOWN), names, counted(rehearsal))


def _figures(rehearsal: Rehearsal) -> Mapping[str, Any]:
    """The figures as stored; empty until there are any."""
    return rehearsal.summary if "hours" in rehearsal.summary else {}


def _unknown_words(kind: str) -> str:
    words = {
        "blind": _("blind: %(time)s"),
        "dropped": _("pictures not analysed: %(time)s"),
        "silent": _("nothing archived: %(time)s"),
        "label": _("cannot tell, the model does not know all that is looked for: %(time)s"),
        "unlooked": _("cannot tell, the model did not look: %(time)s"),
        "unmeasured": _("cannot tell, nothing was measured: %(time)s"),
    }
    return words[kind]


def duration(seconds: float) -> str:
    """A length of time with two units at most.

    >>> duration(4320), duration(594_000)
    ('1 h 12 min', '6 d 21 h')
    """
    whole = round(seconds)
    if whole < 100:
        return _("%(s)d s") % {"s": whole}
    minutes = round(whole / 60)
    if minutes < 60:
        return _("%(m)d min") % {"m": minutes}
    if minutes < 24 * 60:
        words = _("%(h)d h %(m)d min") if minutes % 60 else _("%(h)d h")
        return words % {"h": minutes // 60, "m": minutes % 60}
    hours = round(whole / 3600)
    words = _("%(d)d d %(h)d h") if hours % 24 else _("%(d)d d")
    return words % {"d": hours // 24, "h": hours % 24}


# The histogram.


def _columns(hours: Mapping[str, Sequence[float]], rehearsal: Rehearsal) -> list[Column]:
    same, new, gone = ([int(count) for count in hours[name]] for name in ("same", "new", "gone"))
    if rehearsal.in_force_number is None:
        same, new = new, [0] * len(new)
    done = rehearsal.state == Rehearsal.State.DONE
    most = max(1, *(sum(three) for three in zip(same, new, gone, strict=True)))
    columns = []
    for hour, counts in enumerate(zip(same, new, gone, strict=True)):
        whole_s, unknown_s = hours["whole_s"][hour], hours["unknown_s"][hour] if done else 0.0
        bars = _blind(hour, unknown_s / whole_s if whole_s else 0.0) + _bars(hour, counts, most)
        columns.append(Column(f"{hour:02}", *counts, duration(unknown_s) if unknown_s >= 1 else "", bars))
    return columns


def _blind(hour: int, share: float) -> list[Bar]:
    height = HIGH * min(1.0, share)
    return [_bar("blind", hour * WIDE, HIGH - height, WIDE, height)] if height >= 0.5 else []


def _bars(hour: int, counts: tuple[int, ...], most: int) -> list[Bar]:
    bars, floor = [], HIGH
    for look, count in zip(("same", "new", "gone"), counts, strict=True):
        height = (HIGH - 4) * count / most
        floor -= height
        if count:
            bars.append(_bar(look, hour * WIDE + (WIDE - BAR) / 2, floor, BAR, height))
    return bars


def _bar(look: str, x: float, y: float, width: float, height: float) -> Bar:
    return Bar(look, f"{x:.2f}", f"{y:.2f}", f"{width:.2f}", f"{height:.2f}")


# The list.


def _cards(rehearsal: Rehearsal, cameras: Mapping[str, Camera]) -> list[Card]:
    """The firings of the draft and those that would be gone, newest first."""
    figures = rehearsal.summary or {}
    new, gone = set(figures.get("new", ())), set(figures.get("gone", ()))
    rows = [row.content for row in rehearsal.rows.filter(kind="firing")]
    shown = [row for row in rows if row["version"] == "draft" or row["uid"] in gone]
    newest = sorted(shown, key=lambda row: str(row["happened_at"]), reverse=True)
    compared = rehearsal.in_force_number is not None
    return [_card(row, rehearsal, cameras, _mark(row, new if compared else set())) for row in newest]


def _mark(row: Mapping[str, Any], new: set[str]) -> str:
    if row["version"] != "draft":
        return "gone"
    return "new" if row["uid"] in new else ""


def _card(row: Mapping[str, Any], rehearsal: Rehearsal, cameras: Mapping[str, Camera], mark: str) -> Card:
    at, camera = parse_datetime(row["happened_at"]), cameras.get(row["camera"])
    assert at is not None
    return Card(
        uid=row["uid"],
        camera=camera,
        at=at,
        when=_when(at.astimezone(ZoneInfo(rehearsal.time_zone))),
        label=label_name(row["label"]),
        mark=mark,
        path=_points(row["path"]),
        zone=_points(row["zone"]),
        box=_box(row["box"]),
        ends=(f"{row['path'][-1][0]:.4f}", f"{row['path'][-1][1]:.4f}") if row["path"] else None,
        pictured=row["pictured"],
        has_ground=camera is not None and any(view.reference for view in camera.views.all()[:1]),
    )


def _when(local: datetime) -> str:
    return f"{date_format(local, 'n月j日 D' if get_language() == 'zh-hant' else 'D j M')} {local:%H:%M:%S}"


def _points(points: Points) -> str:
    return " ".join(f"{x:.4f},{y:.4f}" for x, y in points)


def _box(xyxy: Sequence[float] | None) -> tuple[str, str, str, str] | None:
    if xyxy is None:
        return None
    x1, y1, x2, y2 = xyxy
    return f"{x1:.4f}", f"{y1:.4f}", f"{x2 - x1:.4f}", f"{y2 - y1:.4f}"
