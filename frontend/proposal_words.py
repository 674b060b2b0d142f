"""A proposal as people read it: what would change, what it would have done, what cannot be told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from alerts import texts
from alerts.rules.config import EmbeddedRule, Schedule
from alerts.rules.registry import read_config, rule_kind
from frontend.change_words import clock_word, value_word
from frontend.forms import fields_for

if TYPE_CHECKING:
    from alerts.proposing import Proposed

_WHY_NONE = {
    "no_rule": gettext_lazy("No rule fired this, so there is none to change."),
    "unreadable": gettext_lazy("The rule's newest version cannot be read. Open the rule and save it again."),
    "incomplete": gettext_lazy("A rule that the sequence waits for does not run now, so nobody can tell."),
    "not_archived": gettext_lazy("The archive no longer holds what the cameras saw then, so nobody can tell."),
    "avoided": gettext_lazy("The rule as it is now does not fire this any more."),
    "alike": gettext_lazy("Nothing helps: the false ones look like the confirmed ones."),
    "not_measured": gettext_lazy(
        "No one object fired these, so there is nothing to compare. Open the rule, change it, and rehearse the change."
    ),
    "no_time": gettext_lazy("There was too much to look at just now. Try again later."),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One setting: “Confidence 0.45 → 0.58”."""

    name: str
    before: str
    after: str


def why_none(found: Proposed) -> str:
    """Why nothing is proposed."""
    return str(_WHY_NONE[found.reason])


def outcome(found: Proposed) -> str:
    """What the change would have done, by its rehearsal."""
    words = {"removed": found.false.removed, "false": found.false.of, "confirmed": found.confirmed.of}
    if not found.confirmed.of:
        return (
            _(
                "It would have removed %(removed)d of %(false)d false alarms. "
                "No confirmed one can be told of, so nobody knows what it would miss."
            )
            % words
        )
    return (
        _("It would have removed %(removed)d of %(false)d false alarms and none of the %(confirmed)d confirmed.")
        % words
    )


def remarks(found: Proposed) -> list[str]:
    """What the counts leave out."""
    said = [_("This one would still come.")] if found.asked is False else []
    if found.already and found.proposal is not None:
        said.append(_("Avoided already by the rule as it is now: %(n)d.") % {"n": found.already})
    if found.not_looked:
        said.append(_("Not looked at, for want of time: %(n)d.") % {"n": found.not_looked})
    return said


def changes(found: Proposed) -> list[Line]:
    """The settings that would differ. A mask is drawn instead."""
    before, proposal = found.before, found.proposal
    if before is None or proposal is None:
        return []
    return differences(before, proposal.rule)


def differences(before: EmbeddedRule, after: EmbeddedRule) -> list[Line]:
    """The settings and hours in which two versions of a rule differ."""
    return [*_settings(before, after), *_hours(before.schedule, after.schedule)]


def _settings(before: EmbeddedRule, after: EmbeddedRule) -> Iterator[Line]:
    fields, old = fields_for(rule_kind(after.kind)), settings(before)
    for name, value in settings(after).items():
        if old[name] != value:
            was, now = value_word(f"config.{name}", old[name]), value_word(f"config.{name}", value)
            yield Line(str(fields[name].label), was, now)


def settings(rule: EmbeddedRule) -> dict[str, Any]:
    """Every setting of ``rule``, those that it leaves out as they are by default. Raises ``BadConfig``."""
    found: dict[str, Any] = msgspec.to_builtins(read_config(rule.kind, rule.config))
    return found


def _hours(before: Schedule, after: Schedule) -> Iterator[Line]:
    if before != after:
        yield Line(_("Acts"), _spans(before), _spans(after))


def _spans(schedule: Schedule) -> str:
    spans: Sequence[str] = [f"{clock_word(span.from_)}–{clock_word(span.until)}" for span in schedule.spans]
    return texts.listed(spans) or pgettext("schedule", "always")
