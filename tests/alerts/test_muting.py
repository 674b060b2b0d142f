"""Why nobody is told: matchers, spans, windows in the site's clock, what is out; and which of them says it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from alerts.muting import (
    Matchers,
    Muted,
    Mutes,
    Silence,
    Subject,
    Window,
    matches,
    read_matchers,
    silenced,
    why_muted,
)
from alerts.rules.config import Schedule, ScheduleSpan

NOON = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
"""A Sunday's noon in Taipei."""
SITE, GATE, YARD, RULE = uuid4(), uuid4(), uuid4(), uuid4()


def subject(**changes: Any) -> Subject:
    given: dict[str, Any] = {"site": SITE, "camera": GATE, "rule": RULE, "label": "person", "severity": "high"}
    return Subject(**given | {"happened_at": NOON, "analytic": True} | changes)


def silence(key: int = 1, *, hours: float = 1, **matchers: Any) -> Silence:
    return Silence(key, Matchers(**matchers or {"sites": [SITE]}), NOON, NOON + timedelta(hours=hours))


def window(*spans: ScheduleSpan, site: UUID = SITE, **matchers: Any) -> Window:
    return Window(7, site, Matchers(**matchers), Schedule(time_zone="Asia/Taipei", spans=list(spans)))


SUNDAYS = ScheduleSpan(days=[6], from_="11:30", until="12:30")


@pytest.mark.parametrize(
    ("matchers", "meant"),
    [
        ({"sites": [SITE]}, True),
        ({"sites": [uuid4()]}, False),
        ({"cameras": [YARD, GATE]}, True),
        ({"cameras": [YARD]}, False),
        ({"cameras": [GATE], "rules": [RULE]}, True),
        ({"cameras": [GATE], "rules": [uuid4()]}, False),
        ({"labels": ["person"]}, True),
        ({"labels": ["car"]}, False),
        ({"severities": ["low", "medium"]}, False),
        ({"severities": ["high"]}, True),
        ({}, True),
    ],
)
def test_of_each_list_one_must_fit(matchers: dict[str, Any], meant: bool) -> None:
    assert matches(Matchers(**matchers), subject()) is meant


def test_what_has_no_camera_is_meant_by_no_camera() -> None:
    assert not matches(Matchers(cameras=[GATE]), subject(camera=None))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "expected at least one site, camera"),
        ({"labels": []}, "expected at least one site, camera"),
        ({"cameras": ["gate"]}, "cameras"),
        ({"colour": ["red"]}, "colour"),
        ({"severities": ["dire"]}, "severities"),
    ],
)
def test_it_refuses_matchers_that_say_nothing_or_too_much(given: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_matchers(given)


@pytest.mark.parametrize(
    ("minutes", "muted"), [(-1, False), (0, True), (59, True), (60, False)], ids=["before", "first", "last", "over"]
)
def test_a_silence_begins_and_ends(minutes: float, muted: bool) -> None:
    at = NOON + timedelta(minutes=minutes)
    assert (silenced(subject(), Mutes(at, silences=[silence()])) is not None) is muted


def test_of_several_silences_the_longest_says_it() -> None:
    found = silenced(subject(), Mutes(NOON, silences=[silence(1), silence(2, hours=9), silence(3, hours=4)]))
    assert found == Muted("silence", 2)


@pytest.mark.parametrize(
    ("at", "muted"),
    [
        (NOON, True),
        (NOON + timedelta(minutes=30), False),
        (NOON + timedelta(days=1), False),
        (NOON + timedelta(days=7), True),
    ],
    ids=["Sunday noon", "after it", "Monday", "next Sunday"],
)
def test_a_window_opens_each_week_by_its_site_s_clock(at: datetime, muted: bool) -> None:
    assert (why_muted(subject(), Mutes(at, windows=[window(SUNDAYS)])) == Muted("window", 7)) is muted


def test_a_window_of_another_site_or_camera_mutes_nothing() -> None:
    others = [window(SUNDAYS, site=uuid4()), window(SUNDAYS, cameras=[YARD])]
    assert why_muted(subject(), Mutes(NOON, windows=others)) is None


def test_a_camera_that_is_out_mutes_what_is_said_to_be_seen_by_it_and_not_that_it_is_out() -> None:
    mutes = Mutes(NOON, cameras_out={GATE: NOON})
    assert why_muted(subject(), mutes) == Muted("camera")
    assert why_muted(subject(camera=YARD), mutes) is None
    assert why_muted(subject(analytic=False, of_camera_health=True), mutes) is None
    assert why_muted(subject(analytic=False), mutes) is None, "what a person reports"


def test_a_site_that_is_out_mutes_its_cameras_and_not_itself() -> None:
    mutes = Mutes(NOON, cameras_out={GATE: NOON}, sites_out={SITE: NOON})
    assert why_muted(subject(), mutes) == Muted("site")
    assert why_muted(subject(analytic=False, of_camera_health=True), mutes) == Muted("site")
    assert why_muted(subject(site=uuid4(), camera=YARD), mutes) is None
    assert why_muted(subject(camera=None, analytic=False), mutes) is None, "the outage"


def test_what_was_seen_before_the_camera_went_is_told() -> None:
    """Whoever cuts the cable is seen doing it."""
    mutes = Mutes(NOON, cameras_out={GATE: NOON}, sites_out={SITE: NOON})
    assert why_muted(subject(happened_at=NOON - timedelta(milliseconds=200)), mutes) is None
    assert why_muted(subject(happened_at=NOON), mutes) == Muted("site")


def test_what_a_person_said_comes_before_what_was_planned_and_that_before_what_is_out() -> None:
    everything = Mutes(NOON, [silence()], [window(SUNDAYS)], {GATE: NOON}, {SITE: NOON})
    planned = Mutes(NOON, [], [window(SUNDAYS)], {GATE: NOON}, {SITE: NOON})
    assert why_muted(subject(), everything) == Muted("silence", 1)
    assert why_muted(subject(), planned) == Muted("window", 7)
