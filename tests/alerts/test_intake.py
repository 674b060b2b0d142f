"""What a batch of events makes of incidents: what is news, what is only counted; and how it is divided is nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.events import SEVERITIES, Severity
from alerts.intake import Case, Happening, fold
from tests.alerts.town import NOON, at

GATE, YARD, QUAY = 1, 2, 3
LATE_S = 120.0
NOW = at(1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Something that a camera of one rule saw."""

    key: str = "lane"
    severity: Severity = "medium"
    happened_at: datetime = NOW
    objects: float | None = None
    news_after_s: float = 1800.0
    seen_by: int | None = GATE
    acting: UUID | None = None

    def is_late(self, now: datetime) -> bool:
        return (now - self.happened_at).total_seconds() > LATE_S


CASE = Case(severity="medium", event_severity="medium", happened_at=at(900), last_event_at=at(900), camera=GATE)
"""What is known: at the gate, a while ago."""


def taken(case: Case, *batch: Happening) -> tuple[Case, list[str]]:
    """How ``case`` stands after ``batch``, and what was news."""
    folded = fold({"lane": case}, batch, NOW)
    return folded.cases["lane"], [one.reason for one in folded.news]


# Opened


def test_the_first_of_a_group_opens_its_incident_and_the_next_is_counted() -> None:
    folded = fold({}, [Seen(severity="high", objects=3.0), Seen()], NOW)
    assert [one.reason for one in folded.news] == ["opened"]
    case = folded.cases["lane"]
    assert (case.severity, case.event_severity, case.event_count, case.told_objects) == ("high", "high", 2, 3.0)
    assert (case.happened_at, case.last_event_at, case.camera, case.late, case.news) == (NOW, NOW, GATE, False, 0)


def test_what_is_long_past_opens_it_late_and_what_happens_now_is_news() -> None:
    folded = fold({}, [Seen(happened_at=NOON), Seen()], NOW)
    assert [(one.reason, one.case.late) for one in folded.news] == [("late", True), ("opened", False)]
    assert folded.cases["lane"].happened_at == NOW


@pytest.mark.parametrize(("seconds", "late"), [(0, True), (990, False)])
def test_what_is_new_and_long_past_is_told_late_and_its_incident_is_not(seconds: float, late: bool) -> None:
    folded = fold({"lane": replace(CASE, late=False)}, [Seen(severity="high", happened_at=at(seconds))], NOW)
    assert [(one.reason, one.case.late) for one in folded.news] == [("worse", late)]
    assert not folded.cases["lane"].late


def test_groups_are_kept_apart_and_news_comes_in_the_order_of_the_batch() -> None:
    batch = [Seen(key="b"), Seen(key="a"), Seen(key="b", severity="high"), Seen(key="a", severity="critical")]
    folded = fold({}, batch, NOW)
    assert [(one.key, one.reason) for one in folded.news] == [
        ("b", "opened"),
        ("a", "opened"),
        ("b", "worse"),
        ("a", "worse"),
    ]
    assert {key: case.event_count for key, case in folded.cases.items()} == {"a": 2, "b": 2}


def test_groups_that_nothing_happened_to_are_not_touched() -> None:
    assert set(fold({"lane": CASE, "gate": CASE}, [Seen()], NOW).cases) == {"lane"}


# Extended


def test_what_an_edited_rule_says_of_the_severity_does_not_change_an_open_incident() -> None:
    before, after = UUID(int=1), UUID(int=2)
    opened = replace(CASE, acting=before)
    case, news = taken(opened, Seen(severity="critical", acting=after))
    assert (case, news) == (replace(opened, event_count=2, last_event_at=NOW), [])
    assert taken(case, Seen(severity="high", acting=before))[1] == ["worse"]
    assert (
        fold({}, [Seen(severity="low", acting=before), Seen(severity="high", acting=after)], NOW).cases["lane"].severity
        == "low"
    )


def test_a_repeat_is_counted_and_tells_nobody() -> None:
    case, news = taken(CASE, Seen(), Seen(happened_at=at(990)))
    assert (case, news) == (replace(CASE, event_count=3, last_event_at=NOW), [])


@pytest.mark.parametrize(
    ("changes", "seen", "reason", "after"),
    [
        ({}, {"severity": "high"}, "worse", {"severity": "high", "event_severity": "high"}),
        ({}, {"severity": "low"}, None, {"severity": "medium", "event_severity": "medium"}),
        ({"severity": "low"}, {}, None, {"severity": "low"}),
        ({"severity": "low"}, {"severity": "high"}, "worse", {"severity": "high"}),
        ({"severity": "critical"}, {"severity": "high"}, None, {"severity": "critical", "event_severity": "high"}),
        ({"event_severity": ""}, {}, None, {"event_severity": ""}),
        ({"event_severity": ""}, {"severity": "high"}, "worse", {"event_severity": "high"}),
        ({"late": True}, {}, "opened", {"late": False, "happened_at": NOW}),
        ({"late": True}, {"happened_at": at(800)}, None, {"late": True, "happened_at": at(900)}),
        ({"told_objects": 4.0}, {"objects": 8.0}, "grown", {"told_objects": 8.0}),
        ({"told_objects": 4.0}, {"objects": 7.0}, None, {"told_objects": 4.0}),
        ({"told_objects": 4.0}, {}, None, {"told_objects": 4.0}),
        ({"told_objects": 0.0}, {"objects": 0.0}, None, {"told_objects": 0.0}),
        ({}, {"objects": 7.0}, None, {"told_objects": 7.0}),
        ({}, {"objects": 0.0}, None, {"told_objects": None}),
        ({}, {"seen_by": YARD}, "spread", {"cameras": frozenset({YARD})}),
        ({"cameras": frozenset({YARD})}, {"seen_by": YARD}, None, {"cameras": frozenset({YARD})}),
        ({}, {"seen_by": None}, None, {"cameras": frozenset()}),
        ({"camera": None}, {"seen_by": YARD}, None, {"cameras": frozenset()}),
        ({"last_event_at": at(-801)}, {}, "again", {"last_event_at": NOW}),
        ({"last_event_at": at(-800)}, {}, None, {"last_event_at": NOW}),
        ({"last_event_at": at(899)}, {"news_after_s": 100.0}, "again", {}),
        ({"last_event_at": at(-5000)}, {"happened_at": at(800)}, None, {"last_event_at": at(800)}),
    ],
)
def test_it_is_news_or_not(changes: dict[str, Any], seen: dict[str, Any], reason: str | None, after: Any) -> None:
    before = replace(CASE, **changes)
    case, news = taken(before, Seen(**seen))
    assert news == ([reason] if reason else [])
    assert {name: getattr(case, name) for name in after} == after
    assert (case.event_count, case.news) == (before.event_count + 1, before.news + len(news))


def test_of_several_facts_the_most_urgent_says_it_and_all_are_kept() -> None:
    before = replace(CASE, last_event_at=at(-5000), told_objects=1.0)
    case, news = taken(before, Seen(severity="critical", objects=2.0, seen_by=QUAY))
    assert news == ["worse"]
    assert (case.severity, case.told_objects, case.cameras, case.news) == ("critical", 2.0, frozenset({QUAY}), 1)


def test_news_is_told_of_the_incident_as_it_stood_then() -> None:
    folded = fold({"lane": CASE}, [Seen(severity="high"), Seen(severity="critical")], NOW)
    assert [(one.case.severity, one.case.news) for one in folded.news] == [("high", 1), ("critical", 2)]


# However it is divided

SEEN = st.builds(
    Seen,
    key=st.sampled_from(["lane", "quay"]),
    severity=st.sampled_from(SEVERITIES),
    happened_at=st.sampled_from([-5000, 0, 500, 900, 990, 1000]).map(at),
    objects=st.none() | st.sampled_from([0.0, 1.0, 2.0, 3.0, 5.0, 10.0]),
    news_after_s=st.sampled_from([30.0, 1800.0]),
    seen_by=st.none() | st.sampled_from([GATE, YARD, QUAY]),
)


@given(batch=st.lists(SEEN, max_size=12), cut=st.integers(0, 12), known=st.booleans())
def test_however_a_batch_is_divided_the_same_is_known_and_told(batch: list[Seen], cut: int, known: bool) -> None:
    start = {"lane": replace(CASE, event_severity="", severity="low", late=True)} if known else {}
    whole = fold(start, batch, NOW)
    first = fold(start, batch[:cut], NOW)
    second = fold(start | first.cases, batch[cut:], NOW)
    assert first.cases | second.cases == whole.cases
    assert first.news + second.news == whole.news


@given(batch=st.lists(SEEN, min_size=1, max_size=20))
def test_what_is_known_only_grows(batch: list[Seen]) -> None:
    folded = fold({}, batch, NOW)
    assert sum(case.event_count for case in folded.cases.values()) == len(batch)
    for key, case in folded.cases.items():
        mine = [one for one in batch if one.key == key]
        worst = max((one.severity for one in mine), key=SEVERITIES.index)
        assert case.severity == case.event_severity == worst
        assert case.last_event_at == max(one.happened_at for one in mine)
        assert case.late == all(one.is_late(NOW) for one in mine)
        assert sum(one.key == key for one in folded.news) == case.news + 1
