"""Who was lost, what was a duplicate and of which kind, and what counts as undisturbed."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from bench import chaos, storm
from bench.accounting import (
    Alert,
    Attempt,
    Handed,
    Kill,
    Outage,
    delays,
    duplicates,
    first_at,
    lost,
    most_within,
    undisturbed,
)
from bench.yard import named, reminds, stand
from tests.services.twilio import Arrived

A, B, C = ("C001", "k01"), ("C001", "k02"), ("C002", "k01")


def handed(*moments: float, alert: Alert = A) -> list[Handed]:
    return [Handed(alert, at_s) for at_s in moments]


def test_lost_is_what_the_provider_never_got() -> None:
    assert lost([A, B, C], handed(1.0) + handed(2.0, alert=C)) == [B]
    assert lost([A], handed(1.0)) == []


def test_one_message_is_no_duplicate_however_doubtful_it_was() -> None:
    assert duplicates(handed(1.0), [Attempt(A, 7, True)], [Kill("worker", 2.0, frozenset({7}))]) == ([], [])


def test_a_second_message_is_definite_when_nothing_was_in_doubt() -> None:
    assert duplicates(handed(1.0, 90.0) + handed(3.0, alert=B), [], []) == ([A], [])


@pytest.mark.parametrize(
    ("killed_s", "pid", "kind"),
    [
        (1.2, 7, "ambiguous"),  # after it arrived, so before anybody can have been told of it
        (0.9, 7, "definite"),  # before: whatever sent the message was another
        (1.2, 8, "definite"),  # somebody else was killed
    ],
)
def test_it_is_ambiguous_when_its_sender_was_killed_after_it_arrived(killed_s: float, pid: int, kind: str) -> None:
    found = duplicates(handed(1.0, 90.0), [Attempt(A, 7, False)], [Kill("worker", killed_s, frozenset({pid, 9}))])

    assert found == (([], [A]) if kind == "ambiguous" else ([A], []))


def test_it_is_ambiguous_when_no_answer_came() -> None:
    assert duplicates(handed(1.0, 90.0), [Attempt(A, 7, True)], []) == ([], [A])


def test_a_doubt_excuses_one_repetition_only() -> None:
    kills = [Kill("worker", 1.2, frozenset({7}))]

    assert duplicates(handed(95.0, 1.0, 90.0), [Attempt(A, 7, False)], kills) == ([A], [A])


def test_another_alerts_doubt_excuses_nothing() -> None:
    assert duplicates(handed(1.0, 90.0), [Attempt(B, 7, True)], []) == ([A], [])


def test_a_delay_runs_to_the_first_message() -> None:
    messages = handed(95.0, 12.0)

    assert first_at(messages) == {A: 12.0}
    assert delays({A: 10.0, B: 11.0}, messages) == {A: (10.0, 12.0)}


def test_what_was_on_its_way_during_an_outage_is_left_out() -> None:
    outages = [Outage(20.0, 30.0), Outage(60.0, 61.0)]
    ways = [(10.0, 12.5), (18.0, 20.0), (22.0, 24.0), (29.0, 99.0), (30.5, 31.0), (59.0, 62.0)]

    assert undisturbed(ways, outages) == [0.5, 2.5]
    assert undisturbed(ways[:1], []) == [2.5]


def test_the_busiest_minute_may_begin_anywhere() -> None:
    assert most_within([], 60.0) == 0
    assert most_within([0.0, 50.0, 55.0, 61.0, 109.9, 110.0], 60.0) == 4


def message(body: str) -> Arrived:
    return Arrived({"Body": body, "To": "+886912000001"}, 0.0, datetime.now(UTC), "accept")


def test_a_message_says_which_alert_it_is() -> None:
    assert named(message('Critical: Person in "k07", 15:02:03. C012, Yard. http://host/incidents/1/')) == (
        "C012",
        "k07",
    )
    assert reminds(message('Still unacknowledged: Person in "k07", 15:02:03. C012, Yard.'))
    with pytest.raises(ValueError, match="expected a zone and a camera"):
        named(message("Hello"))


def test_every_alert_of_a_run_is_another() -> None:
    planned = chaos.visits(300, 12, 6.0, random.Random(1))

    assert len({visit.alert for visit in planned}) == len(planned) == 300
    assert planned == chaos.visits(300, 12, 6.0, random.Random(1))
    assert [visit.step for visit in planned] == sorted(visit.step for visit in planned)
    assert planned[-1].step * chaos.STEP_S == pytest.approx(299 / 6.0, abs=chaos.STEP_S)


def test_kills_are_the_same_for_the_same_seed_and_hit_every_kind() -> None:
    moments = chaos.kill_moments(100, 300.0, random.Random(3))

    assert (
        moments == chaos.kill_moments(100, 300.0, random.Random(3)) != chaos.kill_moments(100, 300.0, random.Random(4))
    )
    assert {name for _, name in moments} == set(chaos.WEIGHTS)
    assert all(5.0 <= at_s <= 300.0 for at_s, _ in moments)


def test_everybody_in_a_storm_stands_in_a_zone_of_their_own_and_somewhere_new() -> None:
    seen = [box for number in range(9) for box in storm.people(number)]

    assert len(set(seen)) == 36
    for picture in range(9):
        feet = [((x1 + x2) / 2, y2) for x1, _, x2, y2 in storm.people(picture)]
        assert {(x > 0.5, y > 0.5) for x, y in feet} == {(False, False), (True, False), (False, True), (True, True)}


def test_whoever_visits_a_place_stays_in_it() -> None:
    for along in (0.0, 1.0):
        x1, y1, x2, y2 = stand(5, 7, along)
        assert 0.4 < (x1 + x2) / 2 < 0.6
        assert 0.2 < y2 < 0.4
        assert 0 <= y1 < y2
