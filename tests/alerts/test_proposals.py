"""One change that spares false alarms: it keeps what was confirmed, and it is always a rule that can run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts import masks
from alerts.proposals import LEAST_FOR_HOURS, MOST_SHARE, Case, Proposal, Sighting, propose
from alerts.rules.config import EmbeddedRule, Schedule, ScheduleSpan
from alerts.rules.registry import read_config
from alerts.schedule import check_schedule, is_active
from alerts.zones import check_points, contains
from tests.alerts.histories import GATE, LANE, rule
from tests.alerts.sequenced import alarm

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def case(number: int, *, false: bool, x: float = 0.6, y: float = 0.6, hour: int = 12, **more: Any) -> Case:
    """An alarm whose feet were at (x, y)."""
    given: dict[str, Any] = {
        "uid": UUID(int=number),
        "false": false,
        "camera": GATE,
        "zone": LANE,
        "local": NOON.replace(hour=hour),
        "xyxy": (x - 0.02, y - 0.2, x + 0.02, y),
        "score": 0.8,
        "confirmed": 5,
        "held_s": 1.0,
    }
    return Case(**(given | more))


def followed(score: float = 0.8, pictures: int = 20, *, x: float = 0.6, every: int = 1) -> list[Sighting]:
    """Five pictures a second; seen in each ``every``-th."""
    box = (x - 0.02, 0.4, x + 0.02, 0.6)
    return [Sighting(i / 5, box, 0.0 if i % every else score) for i in range(pictures)]


def best(cases: list[Case], version: EmbeddedRule | None = None, **more: Any) -> Proposal | None:
    found = propose(version or rule(), cases, asked=cases[0].uid, camera=GATE, **more)
    return found[0] if found else None


def spread(number: int) -> dict[str, float]:
    """Places all over the lane, so that no mask covers two."""
    return {"x": 0.41 + 0.19 * (number % 3), "y": 0.05 + 0.19 * (number // 3 % 5)}


def test_a_confidence_between_the_false_ones_best_and_the_confirmed_ones_least() -> None:
    cases = [case(n, false=True, score=0.46 + n / 100, **spread(n)) for n in range(5)]
    cases += [case(n, false=False, score=0.56 + n / 100, **spread(n)) for n in range(5, 10)]
    found = best(cases)
    assert found is not None and found.kind == "confidence"
    assert 0.50 < found.rule.config["confidence"] <= 0.61
    assert len(found.removed) == 5


def test_a_bound_goes_no_further_than_it_must() -> None:
    cases = [case(0, false=True, score=0.5), case(1, false=False, score=0.95)]
    found = best(cases)
    assert found is not None and found.rule.config["confidence"] == 0.56


def test_what_cannot_all_be_told_apart_is_told_apart_as_far_as_it_goes() -> None:
    cases = [case(n, false=True, score=score, **spread(n)) for n, score in enumerate((0.48, 0.5, 0.9))]
    found = best([*cases, case(9, false=False, score=0.7)])
    assert found is not None and found.removed == {UUID(int=0), UUID(int=1)}


def test_a_mask_where_the_false_ones_stand() -> None:
    cases = [case(n, false=True, x=0.7 + n / 200, y=0.3) for n in range(4)]
    cases += [case(n, false=False, x=0.45, y=0.8) for n in range(4, 8)]
    found = best(cases)
    assert found is not None and found.kind == "mask" and found.mask is not None
    assert found.mask.shape == "exclusion" and found.mask.camera == GATE
    inside = contains(found.mask.points, masks.np.array([[0.7, 0.3], [0.715, 0.3], [0.45, 0.8]]))
    assert inside.tolist() == [True, True, False]
    assert found.rule.zones[:-1] == rule().zones and found.rule.config == rule().config


def test_no_mask_over_a_place_where_one_was_confirmed() -> None:
    cases = [case(n, false=True, x=0.7 + n / 200, y=0.3) for n in range(4)]
    assert best([*cases, case(9, false=False, x=0.705, y=0.3)]) is None


def test_no_mask_that_takes_the_whole_zone() -> None:
    cases = [case(n, false=True, x=0.4 + 0.1 * (n % 5), y=0.05 + 0.1 * (n // 5)) for n in range(50)]
    found = propose(rule(), cases, asked=UUID(int=0), camera=GATE)
    assert all(one.cost <= MOST_SHARE for one in found if one.kind == "mask")


def test_a_stricter_confirmation_for_what_flickers() -> None:
    false = [case(n, false=True, sightings=followed(every=2), **spread(n)) for n in range(3)]
    kept = [case(n, false=False, sightings=followed(), **spread(n)) for n in range(3, 6)]
    found = best([*false, *kept])
    assert found is not None and found.kind == "confirmation"
    assert (found.rule.config["confirm_k"], found.rule.config["confirm_n"]) == (4, 5)


def test_a_longer_hold_for_what_is_soon_gone() -> None:
    false = [case(n, false=True, sightings=followed(pictures=15), **spread(n)) for n in range(3)]
    kept = [case(n, false=False, sightings=followed(pictures=200), **spread(n)) for n in range(3, 6)]
    found = best([*false, *kept], rule(confirm_k=5, confirm_n=5))
    assert found is not None and found.kind in ("hold", "confirmation")
    hold = next(one for one in propose(rule(), [*false, *kept], asked=UUID(int=0), camera=GATE) if one.kind == "hold")
    assert 2.8 < hold.rule.config["hold_s"] <= 5


@pytest.mark.parametrize(("false", "kept", "setting"), [(0.05, 0.2, "min_height"), (0.6, 0.2, "max_height")])
def test_a_bound_of_the_boxes_size(false: float, kept: float, setting: str) -> None:
    def sized(number: int, height: float, **more: bool) -> Case:
        place = spread(number)
        foot = place["y"] * 0.3 + 0.7
        return case(number, xyxy=(place["x"], foot - height, place["x"] + 0.02, foot), **more)

    cases = [sized(n, false, false=True) for n in range(3)] + [sized(n, kept, false=False) for n in range(3, 6)]
    [found] = [one for one in propose(rule(), cases, asked=UUID(int=0), camera=GATE) if one.kind == "size"]
    assert len(found.removed) == 3
    assert min(false, kept) < found.rule.config[setting] < max(false, kept)


def test_a_sequence_waits_less_long_and_no_shorter_than_a_confirmed_one_took() -> None:
    cases = [case(n, false=True, after_first_s=40.0 + n, **spread(n)) for n in range(4)]
    cases += [case(n, false=False, after_first_s=20.0 + n, **spread(n)) for n in range(4, 8)]
    found = best(cases, alarm(within_s=60.0))
    assert found is not None and found.kind == "within"
    assert found.rule.config["within_s"] == 34
    assert len(found.removed) == 4


def test_of_a_sequence_nothing_is_changed_that_it_does_not_look_at() -> None:
    cases = [case(n, false=True, x=0.7, y=0.3, score=0.5, after_first_s=20.0) for n in range(4)]
    cases += [case(n, false=False, x=0.45, y=0.8, after_first_s=20.0) for n in range(4, 8)]
    assert propose(alarm(), cases, asked=cases[0].uid, camera=GATE) == []


def test_of_what_no_object_fired_only_hours_are_proposed() -> None:
    cases = [case(n, false=True, hour=2, xyxy=None) for n in range(4)]
    cases += [case(n, false=False, hour=14, xyxy=None) for n in range(4, 8)]
    found = propose(rule(kind="absence", hold_s=60.0), cases, asked=cases[0].uid, camera=GATE)
    assert [one.kind for one in found] == ["schedule"]


def test_hours_that_hold_only_false_ones() -> None:
    cases = [case(n, false=True, hour=(23, 0, 1, 2)[n % 4], **spread(n)) for n in range(8)]
    cases += [case(n, false=False, hour=9 + n % 8, **spread(n)) for n in range(8, 16)]
    found = best(cases)
    assert found is not None and found.kind == "schedule"
    [span] = found.rule.schedule.spans
    assert (span.from_, span.until, span.days) == ("03:00", "23:00", [0, 1, 2, 3, 4, 5, 6])


def test_hours_are_cut_out_of_the_hours_there_are() -> None:
    night = Schedule(time_zone="Asia/Taipei", spans=[ScheduleSpan(from_="20:00", until="06:00")])
    cases = [case(n, false=True, hour=23, **spread(n)) for n in range(4)]
    cases += [case(n, false=False, hour=(21, 1, 4)[n % 3], **spread(n)) for n in range(4, 10)]
    found = best(cases, rule(schedule=night))
    assert found is not None
    assert [(span.from_, span.until) for span in found.rule.schedule.spans] == [("00:00", "06:00"), ("20:00", "23:00")]
    assert found.rule.schedule.time_zone == "Asia/Taipei"


@pytest.mark.parametrize("confirmed", range(LEAST_FOR_HOURS))
def test_hours_mean_nothing_while_few_are_confirmed(confirmed: int) -> None:
    cases = [case(n, false=True, hour=2, **spread(n)) for n in range(8)]
    cases += [case(n, false=False, hour=14, **spread(n)) for n in range(8, 8 + confirmed)]
    assert "schedule" not in {one.kind for one in propose(rule(), cases, asked=UUID(int=0), camera=GATE)}


def test_weekday_hours_are_left_alone() -> None:
    weekdays = Schedule(spans=[ScheduleSpan(days=[0, 1, 2, 3, 4])])
    cases = [case(n, false=True, hour=2, **spread(n)) for n in range(4)]
    cases += [case(n, false=False, hour=14, **spread(n)) for n in range(4, 8)]
    assert best(cases, rule(schedule=weekdays)) is None


def test_nothing_where_the_false_ones_look_like_the_confirmed_ones() -> None:
    cases = [case(n, false=n % 2 == 0, sightings=followed(), **spread(n // 2)) for n in range(12)]
    assert best(cases) is None


def test_the_cause_decides_between_changes_that_do_the_same() -> None:
    cases = [case(n, false=True, x=0.7 + n / 200, y=0.3, score=0.46) for n in range(4)]
    cases += [case(n, false=False, x=0.45, y=0.8, score=0.9) for n in range(4, 8)]
    flicker = best(cases, cause="rain")
    assert flicker is not None and flicker.kind == "confidence"
    lamp = best(cases, cause="reflection")
    assert lamp is not None and lamp.kind == "mask"


def test_the_same_alarms_give_the_same_change() -> None:
    cases = [case(0, false=True, score=0.5), case(1, false=False, score=0.95)]
    assert best(cases) == best(cases)
    found = best(cases)
    assert found is not None and found.rule.version != rule().version


alarms = st.builds(
    case,
    st.integers(0, 10_000),
    false=st.booleans(),
    x=st.floats(0, 1),
    y=st.floats(0, 1),
    hour=st.integers(0, 23),
    score=st.floats(0.1, 1.0),
    confirmed=st.integers(1, 50),
    held_s=st.floats(0, 100),
    path=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=4),
    sightings=st.one_of(
        st.just([]),
        st.builds(followed, st.floats(0.1, 1.0), st.integers(1, 60), x=st.floats(0, 1), every=st.integers(1, 4)),
    ),
)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(alarms, min_size=1, max_size=12, unique_by=lambda one: one.uid),
    st.integers(1, 50),
    st.integers(0, 49),
    st.floats(0.1, 1.0),
)
def test_every_proposal_is_a_rule_that_can_run(cases: list[Case], k: int, more: int, confidence: float) -> None:
    version = rule(confirm_k=k, confirm_n=min(50, k + more), confidence=confidence)
    for one in propose(version, cases, asked=cases[0].uid, camera=GATE):
        config = read_config(one.rule.kind, one.rule.config)
        assert config.confirm_k <= config.confirm_n and config.confidence >= confidence
        check_schedule(one.rule.schedule)
        for zone in one.rule.zones:
            check_points(zone.points, zone.shape)
        assert 0 <= one.cost <= 1
        assert one.removed and one.removed <= {known.uid for known in cases if known.false}


@settings(max_examples=30, deadline=None)
@given(st.lists(alarms, min_size=2, max_size=12, unique_by=lambda one: one.uid))
def test_no_proposal_takes_what_it_knows_of_a_confirmed_one(cases: list[Case]) -> None:
    for one in propose(rule(), cases, asked=cases[0].uid, camera=GATE):
        for kept in (known for known in cases if not known.false):
            config = read_config(one.rule.kind, one.rule.config)
            assert is_active(one.rule.schedule, kept.local.replace(tzinfo=UTC) + timedelta(minutes=30))
            if not kept.sightings:
                assert kept.score >= config.confidence or one.kind != "confidence"
            if one.mask is not None:
                feet = ((kept.xyxy[0] + kept.xyxy[2]) / 2, kept.xyxy[3])
                assert not masks.covered(one.mask.points, [feet])


@given(st.lists(st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)), min_size=1, max_size=60))
def test_a_mask_holds_all_its_places_and_is_a_polygon(places: list[tuple[float, float]]) -> None:
    points = masks.around(places)
    check_points(points)
    assert masks.covered(points, [(min(1, max(0, x)), min(1, max(0, y))) for x, y in places]) == 1.0
