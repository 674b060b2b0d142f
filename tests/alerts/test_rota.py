"""Who is on duty: exactly one answer for every instant, whatever the clock does."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.quiet_hours import quiet_ends_at
from alerts.rota import Override, Rota, gaps, on_duty, turns
from alerts.texts import local_time

ALICE, BOB, CHARLIE = 1, 2, 3
MONDAY = date(2026, 3, 2)


def moment(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone)).astimezone(UTC)


def weekly(**changes: object) -> Rota:
    """Alice, then Bob; handed over on Mondays at eight."""
    given = {"time_zone": "UTC", "weekday": 0, "at": time(8), "starts_on": MONDAY, "members": (ALICE, BOB)}
    return Rota(**(given | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("at", "who"),
    [
        ("2026-03-02T07:59:59", None),
        ("2026-03-02T08:00:00", ALICE),
        ("2026-03-09T07:59:59", ALICE),
        ("2026-03-09T08:00:00", BOB),
        ("2026-03-16T08:00:00", ALICE),
    ],
)
def test_it_hands_over_once_a_week(at: str, who: int | None) -> None:
    assert on_duty(weekly(), moment(at)) == who


def test_it_begins_with_the_first_hand_over_on_or_after_its_first_day() -> None:
    rota = weekly(starts_on=date(2026, 3, 4))
    assert on_duty(rota, moment("2026-03-08T12:00")) is None
    assert on_duty(rota, moment("2026-03-09T08:00")) == ALICE


def test_nobody_is_on_duty_in_a_rota_without_members() -> None:
    rota = weekly(members=())
    assert on_duty(rota, moment("2026-03-10T12:00")) is None


def test_a_clock_that_this_machine_does_not_know_leaves_nobody_without_a_duty() -> None:
    lost, utc = weekly(time_zone="Mars/Base"), weekly()
    at = moment("2026-03-09T08:00:00")
    assert on_duty(lost, at) == on_duty(utc, at) == BOB
    assert quiet_ends_at(time(22), time(7), "Mars/Base", at) is None
    assert local_time(at, "Mars/Base") == "2026-03-09 08:00:00 (UTC)"


def test_somebody_who_takes_a_night_has_it_and_nothing_more() -> None:
    night = Override(CHARLIE, moment("2026-03-03T18:00"), moment("2026-03-04T06:00"))
    rota = weekly(overrides=(night,))
    hours = [on_duty(rota, moment(at)) for at in ("2026-03-03T17:59:59", "2026-03-03T18:00", "2026-03-04T06:00")]
    assert hours == [ALICE, CHARLIE, ALICE]


def test_of_two_overrides_the_later_one_holds() -> None:
    span = moment("2026-03-03T18:00"), moment("2026-03-04T06:00")
    rota = weekly(overrides=(Override(CHARLIE, *span), Override(BOB, *span)))
    assert on_duty(rota, moment("2026-03-03T20:00")) == BOB


def test_on_holidays_the_alternative_stands_in_from_midnight_to_midnight() -> None:
    rota = weekly(time_zone="Asia/Taipei", holidays=frozenset({date(2026, 3, 4)}), on_holidays=CHARLIE)
    asked = ("2026-03-03T23:59:59", "2026-03-04T00:00", "2026-03-04T23:59:59", "2026-03-05T00:00")
    assert [on_duty(rota, moment(at, "Asia/Taipei")) for at in asked] == [ALICE, CHARLIE, CHARLIE, ALICE]


def test_an_override_goes_before_a_holiday() -> None:
    night = Override(BOB, moment("2026-03-04T18:00"), moment("2026-03-05T06:00"))
    rota = weekly(holidays=frozenset({date(2026, 3, 4)}), on_holidays=CHARLIE, overrides=(night,))
    assert [on_duty(rota, moment(at)) for at in ("2026-03-04T17:00", "2026-03-04T19:00")] == [CHARLIE, BOB]


def test_it_hands_over_by_the_clock_on_the_wall_when_that_changes() -> None:
    rota = weekly(time_zone="Europe/Berlin")
    # On 29 March the clocks go forward: the same hour on the wall is an hour earlier in the world.
    assert on_duty(rota, datetime(2026, 3, 30, 5, 59, tzinfo=UTC)) == BOB
    assert on_duty(rota, datetime(2026, 3, 30, 6, 0, tzinfo=UTC)) == ALICE


@pytest.mark.parametrize("at", [time(2, 30), time(1, 30)])
def test_an_hour_that_comes_twice_hands_over_once(at: time) -> None:
    rota = weekly(time_zone="Europe/Berlin", weekday=6, at=at, starts_on=date(2026, 10, 4))
    begin = datetime(2026, 10, 24, 12, tzinfo=UTC)
    shared = turns(rota, begin, begin + timedelta(days=1))
    assert len(shared) == 2


def test_an_hour_that_does_not_come_hands_over_all_the_same() -> None:
    rota = weekly(time_zone="Europe/Berlin", weekday=6, at=time(2, 30), starts_on=date(2026, 3, 1))
    begin = datetime(2026, 3, 28, 12, tzinfo=UTC)
    [first, second] = turns(rota, begin, begin + timedelta(days=1))
    assert (first.person, second.person) == (BOB, ALICE)
    assert second.from_at == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_a_gap_is_told_before_it_comes() -> None:
    begin = moment("2026-03-01T00:00")
    shared = turns(weekly(), begin, begin + timedelta(days=14))
    found = gaps(shared, {ALICE})
    assert [(gap.person, gap.from_at) for gap in found] == [(None, begin), (BOB, moment("2026-03-09T08:00"))]


ZONES = st.sampled_from(
    [
        "UTC",
        "Asia/Taipei",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Africa/Casablanca",
        "America/Havana",
        "America/Sao_Paulo",
        "Pacific/Chatham",
        "Asia/Kathmandu",
        "America/Goose_Bay",
        "Asia/Tehran",
    ]
)
FIRST = datetime(2010, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(0, 20 * 365 * 86_400).map(lambda second: FIRST + timedelta(seconds=second))
PEOPLE = st.sampled_from([ALICE, BOB, CHARLIE])


@st.composite
def rotas(draw: st.DrawFn) -> Rota:
    starts_on = draw(st.dates(date(2009, 1, 1), date(2029, 1, 1)))
    spans = draw(st.lists(st.tuples(PEOPLE, MOMENTS, st.integers(1, 20 * 86_400)), max_size=4))
    return Rota(
        time_zone=draw(ZONES),
        weekday=draw(st.integers(0, 6)),
        at=draw(st.times().map(lambda at: at.replace(second=0, microsecond=0))),
        starts_on=starts_on,
        members=tuple(draw(st.lists(PEOPLE, max_size=4))),
        overrides=tuple(Override(who, at, at + timedelta(seconds=length_s)) for who, at, length_s in spans),
        holidays=frozenset(draw(st.lists(st.dates(date(2010, 1, 1), date(2030, 1, 1)), max_size=4))),
        on_holidays=draw(st.none() | PEOPLE),
    )


@settings(max_examples=150, deadline=None)
@given(rotas(), MOMENTS, st.lists(st.integers(0, 40 * 86_400 - 1), min_size=1, max_size=20))
def test_every_instant_lies_in_exactly_one_turn_and_that_says_who(
    rota: Rota, begin: datetime, after_s: list[int]
) -> None:
    end = begin + timedelta(days=40)
    shared = turns(rota, begin, end)

    assert (shared[0].from_at, shared[-1].until_at) == (begin, end)
    assert all(one.until_at == other.from_at for one, other in pairwise(shared))
    edges = [shift for turn in shared for shift in (turn.from_at, turn.until_at - timedelta(microseconds=1))]
    for at in [*edges, *(begin + timedelta(seconds=shift) for shift in after_s)]:
        [turn] = [one for one in shared if one.from_at <= at < one.until_at]
        assert on_duty(rota, at) == turn.person


@settings(max_examples=60, deadline=None)
@given(rotas(), MOMENTS)
def test_with_members_a_rota_that_has_begun_has_no_hole(rota: Rota, begin: datetime) -> None:
    if rota.members and begin.date() > rota.starts_on + timedelta(days=9):
        assert not gaps(turns(rota, begin, begin + timedelta(days=40)), {ALICE, BOB, CHARLIE})
