"""What a text does, in plain lines for a terminal; the screens have their own words."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from alerts.configuration.bring_in import Outcome
from alerts.configuration.difference import Difference
from alerts.configuration.text import Problem
from alerts.versions import Change, Words

_MARKS = {"added": "+", "changed": "~", "missing": "-"}


def sentence(words: Words) -> str:
    """``words`` in the reader's language."""
    text = ngettext(words.msgid, words.plural, int(words.params["n"])) if words.plural else _(words.msgid)
    return text % words.params


def subject(kind: str, key: tuple[str, ...]) -> str:
    """“zone Harbour / Gate / main / Lane”."""
    return f"{kind.replace('_', ' ')} {' / '.join(key)}".strip()


def problem_line(problem: Problem) -> str:
    """“line 12, zone Harbour / Gate / main / Lane: …”."""
    where = [_("line %(n)d") % {"n": problem.line}] if problem.line else []
    where += [subject(problem.kind, problem.key)] if problem.kind else []
    return f"{', '.join(where)}: {sentence(problem.words)}" if where else sentence(problem.words)


def difference_lines(outcome: Outcome, *, remove: bool) -> Iterator[str]:
    """One line an entry that differs, and one a field."""
    for one in outcome.differences:
        if one.what == "same":
            continue
        line = f"{_MARKS[one.what]} {subject(one.kind, one.key)}"
        if one.what == "missing":
            line += f" ({fate(outcome, one, remove=remove)})"
        yield line
        yield from (f"    {_change(change)}" for change in one.changes)


def fate(outcome: Outcome, one: Difference, *, remove: bool) -> str:
    """What becomes of an entry that the text lacks."""
    if not remove:
        return _("stays")
    kept = outcome.kept.get((one.kind, one.key))
    return _("stays, switched off: %(why)s") % {"why": kept} if kept else _("goes")


def _change(change: Change) -> str:
    said = ", ".join(sentence(words) for words in change.words) or f"{change.before!r} → {change.after!r}"
    return f"{_(change.title)}: {said}"
