"""The walk of one rule as a guard would say it: each stage with a sentence, the number beside its bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop, ngettext, pgettext_lazy

from alerts import texts
from alerts.rules.registry import RULES, BadConfig, rule_kind
from frontend.change_words import schedule_word
from frontend.proposal_words import settings
from frontend.templatetags.words import blind_reason

if TYPE_CHECKING:
    from alerts.asking import Walk
    from alerts.why import Step

MOST_PLACES = 3
"""Of a score: closer than that to its bound it would look like it."""

STAGES = ("source", "gate", "detections", "track", "rule", "silence", "delivery")
_STAGES = {
    "source": pgettext_lazy("stage", "Camera"),
    "gate": pgettext_lazy("stage", "Pictures"),
    "detections": pgettext_lazy("stage", "Found"),
    "track": pgettext_lazy("stage", "Followed"),
    "rule": pgettext_lazy("stage", "Rule"),
    "silence": pgettext_lazy("stage", "Incident"),
    "delivery": pgettext_lazy("stage", "Messages"),
}
_LOOKS = {
    "passed": pgettext_lazy("stage", "passed"),
    "stopped": pgettext_lazy("stage", "stopped here"),
    "untold": pgettext_lazy("stage", "not known"),
    "open": pgettext_lazy("stage", "not reached"),
}

_SENTENCES = {
    # The camera.
    "heard": gettext_noop("Nothing of this camera is archived for that time, so nobody can tell."),
    # Its pictures.
    "still": gettext_noop("Nothing changed, so the picture of %(got)g s before still held."),
    "pictures": gettext_noop("No picture of that moment was analysed for this rule."),
    # What was found.
    "found": gettext_noop("Nothing was found that the rule looks for (%(labels)s), not even with a doubtful score."),
    "label": gettext_noop("The model of that time (%(got)s) does not know %(labels)s, so nobody can tell."),
    # Whether it was followed.
    "tracked_from": gettext_noop("The score was %(score)s; something is followed only from %(least)s on."),
    # The rule, every kind.
    "config": gettext_noop("The rule's settings cannot be read: %(got)s"),
    "unreadable": gettext_noop("The rule has no version that can be read. Open it and save it again."),
    "not_yet": gettext_noop("The rule was not there yet: it began at %(wanted_at)s."),
    "off": gettext_noop("The rule was switched off, since %(wanted_at)s."),
    "schedule": gettext_noop("The rule did not act at that time. It acts: %(spans)s."),
    "already": gettext_noop("It had fired for this already, at %(got_at)s."),
    "masked": gettext_noop("It stood in the mask “%(got)s”: what is there does not count."),
    "min_height": gettext_noop("It was %(got).3f of the picture high; the rule looks at %(wanted).3f and more."),
    "max_height": gettext_noop("It was %(got).3f of the picture high; the rule looks at %(wanted).3f and less."),
    "unexplained": gettext_noop("Nothing came near what the rule asks for."),
    "unrecorded": gettext_noop(
        "By the archive it fires, and yet no incident is on record: rules were not checked at that time, or late."
    ),
    "rearm": gettext_noop("The rule was not ready again: %(got)g s had passed, it waits for %(wanted)g s."),
    # The rule, kinds that follow objects.
    "confidence": gettext_noop("The score was %(score)s; the rule asks for %(least)s."),
    "confirmed": gettext_noop("It was sure in %(got)d pictures; the rule asks for %(wanted)d."),
    "travel": gettext_noop("It moved %(got).2f picture heights; the rule asks for %(wanted).2f."),
    "speed": gettext_noop("It moved at %(got).1f km/h; the rule asks for %(wanted)g."),
    "inside": gettext_noop("What was followed stayed outside the zone."),
    "in_zone": gettext_noop("It was in the zone for %(got)g s; the rule asks for %(wanted)g s."),
    "resting": gettext_noop("Nothing stood still in the zone."),
    "still_for": gettext_noop("It stood still for %(got)g s; the rule asks for %(wanted)g s."),
    "lying": gettext_noop("It lay for %(got)g s; the rule asks for %(wanted)g s."),
    "upright": gettext_noop("It was seen upright in %(got)d pictures before; the rule asks for %(wanted)d."),
    "width_by_height": gettext_noop("It was %(got).2f times as wide as high; the rule asks for %(wanted).2f."),
    "against": gettext_noop("It went %(got).2f picture heights the wrong way; the rule asks for %(wanted).2f."),
    "against_m": gettext_noop("It went %(got).2f m the wrong way; the rule asks for %(wanted)g m."),
    "not_crossed": gettext_noop("Nothing went over the line."),
    "past_the_end": gettext_noop("It went past the end of the line, not over it."),
    "before_line": gettext_noop("It came %(got).2f picture heights towards the line; the rule asks for %(wanted).2f."),
    "behind_line": gettext_noop("Behind the line it did not go %(wanted).2f picture heights, as the rule asks."),
    "direction": gettext_noop("It went over the line the other way."),
    "counts": gettext_noop("This rule counts; it never opens an incident."),
    "objects": gettext_noop("There were %(got)d at once; the rule asks for %(wanted)g."),
    "lasted": gettext_noop("There were so many for %(got)g s; the rule asks for %(wanted)g s."),
    "occupied": gettext_noop("The zone was not empty."),
    "empty": gettext_noop("The zone was empty for %(got)g s; the rule asks for %(wanted)g s."),
    "owner": gettext_noop("Nobody was seen near it when it came; the rule asks for its owner."),
    "owner_near": gettext_noop("Its owner was still near it."),
    "owner_away": gettext_noop("Its owner was away for %(got)g s; the rule asks for %(wanted)g s."),
    "owner_hidden": gettext_noop(
        "Its owner vanished beside it, %(got)g s before; the rule waits %(wanted)g s to see them go."
    ),
    "left_for": gettext_noop("It stood there for %(got)g s; the rule asks for %(wanted)g s."),
    # The rule, other kinds.
    "measured": gettext_noop("The number was %(got)g; the bound is %(wanted)g."),
    "unmeasured": gettext_noop("Nothing was measured (%(got)s) in the %(wanted)g s before."),
    "not_back": gettext_noop("Since it fired, the number has not come back past %(wanted)g."),
    "held": gettext_noop("It lasted %(got)g s; the rule asks for %(wanted)g s."),
    "said": gettext_noop("Nothing was heard of the camera, so nobody can tell."),
    "first": gettext_noop("“%(other)s” had not fired before."),
    "second": gettext_noop("“%(other)s” did not fire at that time."),
    "scope": gettext_noop("Both fired, on two cameras; the rule asks for the same one."),
    "after_first": gettext_noop("It came %(got)g s after the first; the rule allows %(wanted)g s."),
    # The incident.
    "muted": gettext_noop("It was muted (%(muted)s, since %(got_at)s), so nobody was told."),
    "repeat": gettext_noop("An incident of this rule was open already, since %(got_at)s, so nobody was told again."),
    "late": gettext_noop("It became known %(got)g s late: no SMS is sent then, unless it is critical."),
    # The messages.
    "nobody": gettext_noop("Nobody was told: the rule has nobody to tell."),
    "contact": gettext_noop("Nobody was told: quiet hours, or no confirmed number or address that works, of %(got)s."),
    "queued": gettext_noop("The message is waiting to be sent."),
    "sending": gettext_noop("The message is being sent."),
    "unknown": gettext_noop("The message was handed over; whether it arrived is not known."),
    "cancelled": gettext_noop("The message was not needed any more: somebody had the incident already."),
    "failed": gettext_noop("No message could be sent."),
}
"""By ``Step.bound``."""


@dataclass(frozen=True, slots=True)
class Line:
    """One stage. ``look``: ``passed``, ``stopped``, ``untold`` or ``open`` (it did not come so far)."""

    stage: str
    name: str
    look: str
    look_word: str
    sentences: Sequence[str]


@dataclass(frozen=True, slots=True)
class Place:
    """What the sentences need beside the numbers: when it was, on which clock, and what other rules are called."""

    at: datetime
    time_zone: str
    rule_names: Mapping[str, str]


def lines(walk: Walk, place: Place) -> list[Line]:
    """Every stage that this kind of rule goes through, in order."""
    steps = walk.answer.steps
    return [_line(stage, [step for step in steps if step.stage == stage], walk, place) for stage in _stages_of(walk)]


def _stages_of(walk: Walk) -> list[str]:
    own = rule_kind(walk.then.kind).walks if walk.then is not None and walk.then.kind in RULES else ()
    return [stage for stage in STAGES if stage in own or stage in ("rule", "silence", "delivery")]


def _line(stage: str, steps: Sequence[Step], walk: Walk, place: Place) -> Line:
    look = _look(steps)
    sentences = [sentence(step, walk, place) for step in steps]
    if not steps and walk.fired:
        sentences = [_("The archive does not say.")]
    return Line(stage, str(_STAGES[stage]), look, str(_LOOKS[look]), sentences)


def _look(steps: Sequence[Step]) -> str:
    if not steps:
        return "open"
    if all(step.passed for step in steps):
        return "passed"
    return "untold" if all(step.passed or step.untold for step in steps) else "stopped"


def sentence(step: Step, walk: Walk, place: Place) -> str:
    """What ``step`` says."""
    if step.passed and step.bound not in _SENTENCES:
        return _passed(step, place)
    match step.bound:
        case "sees":
            return _("The camera saw nothing. %(why)s") % {"why": blind_reason(str(step.got))}
        case "dropped":
            return blind_reason(f"dropped:{step.got}")
        case "tracked_as":
            return _followed_as(str(step.got))
        case "trouble":
            return _trouble(str(step.got))
    return _(_SENTENCES[step.bound]) % _words(step, walk, place)


def _passed(step: Step, place: Place) -> str:
    match step.stage:
        case "source":
            return _("It saw; nothing moved.") if step.got == "quiet" else _("It saw.")
        case "gate":
            n = int(step.got)
            return ngettext("%(n)d picture was analysed.", "%(n)d pictures were analysed.", n) % {"n": n}
        case "detections":
            return _("Found, with a score of up to %(score)s.") % {"score": _score(step.got)}
        case "track":
            n = int(step.got)
            return ngettext("%(n)d object was followed.", "%(n)d objects were followed.", n) % {"n": n}
        case "rule":
            return _("The rule fired at %(time)s.") % {"time": _clock(step.got, place)}
        case "silence":
            return _("Nothing held it back.")
    return _("A message was sent.")


def _followed_as(labels: str) -> str:
    if not labels:
        return _("It was found for too short a time to be followed.")
    names = texts.listed(texts.label_name(label) for label in labels.split(", "))
    return _("It was not followed as what the rule looks for; what was followed: %(labels)s.") % {"labels": names}


def _trouble(code: str) -> str:
    if not code:
        return _("Nothing was wrong with the camera.")
    words = {
        "offline": _("The camera was offline, which this rule does not watch."),
        "frozen": _("The camera repeated one picture, which this rule does not watch."),
        "dark": _("The picture was dark, which this rule does not watch."),
        "covered": _("The camera was covered, which this rule does not watch."),
        "blurred": _("The picture was blurred, which this rule does not watch."),
        "moved": _("The camera was moved, which this rule does not watch."),
    }
    return words.get(code, code)


def _words(step: Step, walk: Walk, place: Place) -> dict[str, Any]:
    wanted, got = step.wanted, step.got
    words: dict[str, Any] = {"wanted": wanted, "got": got, "labels": _labels(walk)}
    words |= {"wanted_at": _clock(wanted, place), "got_at": _clock(got, place)}
    words |= {"score": _score(got, wanted), "least": _score(wanted, got)}
    words |= {"muted": _MUTED.get(str(wanted), wanted)}
    words |= {"other": place.rule_names.get(str(wanted), _("another rule")), "spans": _spans(walk)}
    return words


_MUTED = {"camera": gettext_lazy("the camera was offline"), "site": gettext_lazy("the whole site was offline")}
"""What mutes by itself; a silence is said by its reason and a window by its name."""


def _labels(walk: Walk) -> str:
    try:
        labels = settings(walk.then)["labels"] if walk.then is not None else []
    except BadConfig:
        labels = []
    return texts.listed(texts.label_name(label) for label in labels)


def _spans(walk: Walk) -> str:
    return schedule_word(msgspec.to_builtins(walk.then.schedule.spans)) if walk.then is not None else ""


def _score(value: Any, beside: Any = None) -> str:
    """With two places, and with three where two would look like the bound."""
    if isinstance(value, str):
        return value
    places = 2 if isinstance(beside, str) or beside is None or f"{value:.2f}" != f"{beside:.2f}" else MOST_PLACES
    return f"{value:.{places}f}"


def _clock(value: Any, place: Place) -> str:
    """A step's moment on the site's clock; what is none stays as it is."""
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    return texts.local_time(at, place.time_zone, beside=place.at, named=False)


def verdict(walk: Walk, place: Place) -> str:
    """What stopped it, all of it where several things were short."""
    if walk.fired:
        return _("It did fire.")
    return " ".join(sentence(step, walk, place) for step in walk.answer.steps if not step.passed)
