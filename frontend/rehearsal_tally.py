"""What a rehearsed rule has counted, as its panel shows it: in all, and for each line, way and label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from alerts.models import Count, Rehearsal
from alerts.texts import label_name


@dataclass(frozen=True, slots=True)
class Row:
    """One series: ``where`` is its line, or of a turn both; ``what`` says which way, and of which label."""

    where: str
    what: str
    draft: str
    in_force: str
    difference: str


@dataclass(frozen=True, slots=True)
class Counted:
    """All of it. ``rows`` are of each line, with a last one for the whole where there are several."""

    times: str
    """“1,204 times”."""
    most: str
    rows: list[Row]
    turns: list[Row]
    """Those that were made. They are of the same crossings, so they stand apart."""


def counted(rehearsal: Rehearsal) -> Counted | None:
    """None of a draft that fires, and until there is anything."""
    tally = rehearsal.summary.get("tally")
    if tally is None:
        return None
    names = _line_names(rehearsal)
    rows = [_row(one, names) for one in tally["series"] if not one["to_zone"]]
    if len(rows) > 1:
        rows.append(_numbers(_("Over all lines"), "", tally))
    made = [one for one in tally["series"] if one["to_zone"] and (one["draft"] or one["in_force"])]
    times = ngettext("%(n)s time", "%(n)s times", tally["draft"]) % {"n": grouped(tally["draft"])}
    return Counted(times, grouped(tally["most_in_an_hour"]), rows, [_row(one, names) for one in made])


def _line_names(rehearsal: Rehearsal) -> dict[str, str]:
    """By uid, as they were called when it was asked for."""
    rules = [rule for rule in (rehearsal.in_force, rehearsal.draft) if rule]
    return {zone["uid"]: zone["name"] for rule in rules for zone in rule["zones"]}


def _row(series: Mapping[str, Any], names: Mapping[str, str]) -> Row:
    way = str(Count.Direction(series["direction"]).label)
    ends = [series["zone"], series["to_zone"]] if series["to_zone"] else [series["zone"]]
    where = " → ".join(names.get(uid, _("a deleted line")) for uid in ends)
    return _numbers(where, f"{way} · {label_name(series['label'])}", series)


def _numbers(where: str, what: str, both: Mapping[str, Any]) -> Row:
    draft, in_force = int(both["draft"]), int(both["in_force"])
    return Row(where, what, grouped(draft), grouped(in_force), signed(draft - in_force))


def grouped(number: int) -> str:
    """As a person reads it: 1,204."""
    return number_format(number, force_grouping=True)


def signed(number: int) -> str:
    """A difference: +12, −3, 0."""
    return grouped(number) if number == 0 else f"{'+' if number > 0 else '−'}{grouped(abs(number))}"
