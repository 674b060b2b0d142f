"""Changes of rules and settings as people read them: values in the reader's language."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, pgettext, pgettext_lazy

from alerts import texts
from alerts.models import Rule
from alerts.rules.sequence import UID
from alerts.schedule import parts
from alerts.versions import Change

DAYS = (
    pgettext_lazy("weekday", "Mon"),
    pgettext_lazy("weekday", "Tue"),
    pgettext_lazy("weekday", "Wed"),
    pgettext_lazy("weekday", "Thu"),
    pgettext_lazy("weekday", "Fri"),
    pgettext_lazy("weekday", "Sat"),
    pgettext_lazy("weekday", "Sun"),
)
LONGEST = 160
"""Characters of a value that are shown; the form shows the rest."""


def value_word(field: str, value: Any) -> str:
    """A value of ``field`` (see ``Change``), short enough for a line."""
    text = _plain(field, value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _plain(field: str, value: Any) -> str:
    name = field.removeprefix("config.")
    if name == "schedule":
        spans, holidays, _on = parts(value)
        return "; ".join([schedule_word(spans), *holidays])
    if name == "told" and not value:
        return _("nobody")
    if value is None or value == "" or value == [] or value == {}:
        return "–"
    if name == "severity":
        return texts.severity_name(str(value))
    if name == "procedure":
        return " / ".join(str(value).splitlines())
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, int | float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return texts.listed(f"{_item(name, key)} {_plain('', inner)}" for key, inner in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return texts.listed(_item(name, inner) for inner in value)
    if name == "kind":
        return texts.kind_name(str(value))
    if field in ("config.first", "config.then") and re.fullmatch(UID, str(value)):
        # What a sequence waits for; a configuration's text has its name.
        return Rule.objects.filter(uid=value).values_list("name", flat=True).first() or str(value)
    return _(str(value)) if field.startswith("config.") else str(value)


def _item(name: str, value: Any) -> str:
    return texts.label_name(value) if name == "labels" and isinstance(value, str) else _plain("", value)


def schedule_word(spans: Sequence[Mapping[str, Any]]) -> str:
    """“Mon, Tue 22:00–06:00”; without spans: always."""
    return "; ".join(_span(span) for span in spans) or pgettext("schedule", "always")


def _span(span: Mapping[str, Any]) -> str:
    numbers = sorted(span.get("days", range(7)))
    days = "" if len(numbers) == 7 else texts.listed(str(DAYS[number]) for number in numbers if 0 <= number < 7)
    from_, until = span.get("from", "00:00"), span.get("until", "00:00")
    hours = _("all day") if from_ == until else f"{clock_word(from_)}–{clock_word(until)}"
    return f"{days} {hours}".strip()


_BY_THE_SUN = {
    "sunrise": gettext_noop("sunrise"),
    "sunset": gettext_noop("sunset"),
    "sunrise-": gettext_noop("%(time)s before sunrise"),
    "sunrise+": gettext_noop("%(time)s after sunrise"),
    "sunset-": gettext_noop("%(time)s before sunset"),
    "sunset+": gettext_noop("%(time)s after sunset"),
}


def clock_word(text: str) -> str:
    """A time of a schedule: “22:00”, “sunset”, “0:30 before sunrise”."""
    found = re.fullmatch(r"(sun(?:rise|set)[+-]?)(?:0?(\d+:\d\d))?", text)
    return _(_BY_THE_SUN[found[1]]) % {"time": found[2]} if found else text


def title_word(change: Change) -> str:
    """What differs: the form's own title; a zone's is its name, a label's its own."""
    return _("Zone “%(name)s”") % {"name": change.title} if change.field == "zone" else _(change.title)
