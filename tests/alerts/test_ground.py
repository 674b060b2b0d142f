"""Metres and km/h: a pinhole camera of our own tells how far things really are."""

from __future__ import annotations

import math
import random
from typing import Any, cast

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from alerts.engine import Engine
from alerts.events import Event
from alerts.ground import BadGround, Ground, Plane, Point, check_ground, speed_kmh
from alerts.rules.config import EmbeddedZone
from tests.alerts.actors import Actor, film, fitting, goes, of, told, zone
from tests.alerts.histories import GATE, VERSION, Box, at, fold, seen, source, stays

HEIGHT_M, TILT, FOCAL = 6.0, math.radians(30), 1.0


def pictured(x_m: float, z_m: float, *, aspect: float = 4 / 3) -> Point:
    """Where a camera six metres up, looking down by 30°, shows the ground ``x_m`` to the right and ``z_m`` ahead."""
    depth = z_m * math.cos(TILT) + HEIGHT_M * math.sin(TILT)
    down = HEIGHT_M * math.cos(TILT) - z_m * math.sin(TILT)
    return 0.5 + FOCAL * x_m / depth / aspect, 0.5 + FOCAL * down / depth


def calibrated(near_m: float = 8.0, far_m: float = 16.0, wide_m: float = 6.0) -> Ground:
    """A rectangle on that camera's ground, measured rightly."""
    half = wide_m / 2
    corners = [pictured(-half, near_m), pictured(half, near_m), pictured(half, far_m), pictured(-half, far_m)]
    return check_ground({"points": corners, "width_m": wide_m, "depth_m": far_m - near_m})


PLANE = Plane.of(calibrated())
SQUARE = [[0.2, 0.9], [0.8, 0.9], [0.6, 0.4], [0.4, 0.4]]


@given(st.floats(-4, 4), st.floats(5.5, 30), st.floats(-4, 4), st.floats(5.5, 30))
def test_distances_are_those_on_the_ground(x1: float, z1: float, x2: float, z2: float) -> None:
    measured = PLANE.distance_m(pictured(x1, z1), pictured(x2, z2))
    assert measured == pytest.approx(math.dist((x1, z1), (x2, z2)), abs=1e-6)


def test_an_area_is_that_on_the_ground() -> None:
    corners = [pictured(-2, 7), pictured(3, 7), pictured(3, 20), pictured(-2, 20)]
    assert PLANE.area_m2(corners) == pytest.approx(5 * 13)


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_corners_may_begin_anywhere_and_go_either_way_round(turn: int, mirrored: bool) -> None:
    ground = calibrated()
    points = ground.points[turn:] + ground.points[:turn]
    sides = (ground.width_m, ground.depth_m) if turn % 2 == 0 else (ground.depth_m, ground.width_m)
    if mirrored:
        points = points[::-1]
    plane = Plane.of(Ground(points=points, width_m=sides[0], depth_m=sides[1]))
    assert plane.distance_m(pictured(-1, 9), pictured(2, 13)) == pytest.approx(5.0)


def test_nothing_is_measured_above_the_horizon_or_far_behind_the_calibration() -> None:
    # The farthest corner is 16.9 m away along the axis; four times that is 67 m.
    assert PLANE.at((0.5, 0.0)) is None
    assert PLANE.at(pictured(0, 80)) is None
    assert PLANE.at(pictured(0, 60)) == pytest.approx((3.0, 52.0), rel=1e-6)
    assert PLANE.area_m2([pictured(-2, 7), pictured(3, 7), (0.5, 0.0)]) is None


@pytest.mark.parametrize(
    "changes, field, sentence",
    [
        ({"points": SQUARE[:3]}, "points", "four corners, got 3"),
        ({"points": [*SQUARE, [0.3, 0.6]]}, "points", "four corners, got 5"),
        ({"points": [[0.2, 0.9], [0.6, 0.4], [0.8, 0.9], [0.4, 0.4]]}, "points", "crosses"),
        ({"points": [[0.2, 0.9], [0.8, 0.9], [0.45, 0.7], [0.4, 0.4]]}, "points", "points inwards"),
        ({"points": [[0.2, 0.9], [0.5, 0.9], [0.8, 0.9], [0.4, 0.4]]}, "points", "points inwards"),
        ({"points": [[0.2, 0.9], [0.2, 0.9], [0.8, 0.9], [0.4, 0.4]]}, "points", "twice"),
        ({"points": [[0.2, 1.2], *SQUARE[1:]]}, "points", "outside the picture"),
        ({"points": [[0.5, 0.5], [0.52, 0.5], [0.52, 0.52], [0.5, 0.52]]}, "points", "too near"),
        ({"points": [[float("nan"), 0.9], *SQUARE[1:]]}, "points", "outside the picture"),
        ({"width_m": 0}, "width_m", "from 0.1 to 1000 m, got 0"),
        ({"width_m": -4.0}, "width_m", "got -4"),
        ({"depth_m": float("inf")}, "depth_m", "got inf"),
        ({"depth_m": float("nan")}, "depth_m", "got nan"),
        ({"depth_m": 5000}, "depth_m", "got 5000"),
        ({"depth_m": "far"}, "points", "Expected four corners and two lengths"),
        ({"height_m": 3}, "points", "unknown field"),
    ],
)
def test_what_measures_nothing_is_refused_with_the_field(changes: dict[str, Any], field: str, sentence: str) -> None:
    with pytest.raises(BadGround, match=sentence) as refused:
        check_ground({"points": SQUARE, "width_m": 4.0, "depth_m": 20.0} | changes)
    assert refused.value.field == field


left, right = st.floats(0, 0.5), st.floats(0.5, 1)


@given(st.tuples(st.tuples(left, left), st.tuples(right, left), st.tuples(right, right), st.tuples(left, right)))
def test_whatever_is_accepted_measures_its_own_sides(points: tuple[Point, ...]) -> None:
    try:
        ground = check_ground({"points": points, "width_m": 3.0, "depth_m": 7.0})
    except BadGround:
        assume(False)
    plane, (a, b, c, d) = Plane.of(ground), ground.points
    sides = [plane.distance_m(*pair) for pair in ((a, b), (b, c), (c, d), (d, a))]
    assert sides == pytest.approx([3.0, 7.0, 3.0, 7.0])


# Speeds


def test_a_speed_is_held_by_a_third_of_wrong_boxes() -> None:
    steps = [(i / 5, i * 1.0, 0.0) for i in range(9)]
    assert speed_kmh(steps) == 18.0
    shaken = [(t, x + (4.0 if i in (2, 6) else 0.0), y) for i, (t, x, y) in enumerate(steps)]
    assert speed_kmh(shaken) == pytest.approx(18.0, abs=1.0)


@pytest.mark.parametrize("ahead_m, most_kmh", [(9.0, 0.5), (16.0, 1.0), (25.0, 2.0)])
@pytest.mark.parametrize("kmh", [5.0, 30.0])
def test_a_trembling_box_leaves_its_speed_within_bounds_19_times_of_20(
    ahead_m: float, most_kmh: float, kmh: float
) -> None:
    errors = sorted(abs(_measured(random.Random(seed), ahead_m, kmh) - kmh) for seed in range(200))
    assert errors[189] <= most_kmh


def _measured(by: random.Random, ahead_m: float, kmh: float, trembles: float = 0.004) -> float:
    """Two seconds of a vehicle that passes ``ahead_m``, its box off by ``trembles`` of the picture (sigma)."""
    steps = []
    for i in range(11):
        x, y = pictured(0.5, ahead_m + kmh / 3.6 * (i / 5 - 1))
        if place := PLANE.at((x + by.gauss(0, trembles), y + by.gauss(0, trembles))):
            steps.append((i / 5, *place))
    speed = speed_kmh(steps)
    assert speed is not None
    return speed


@pytest.mark.parametrize("count", [0, 1, 3])
def test_of_too_few_steps_there_is_no_speed(count: int) -> None:
    assert speed_kmh([(i / 5, i * 1.0, 0.0) for i in range(count)]) is None


# Rules


def drives(*keys: tuple[float, float, float], label: str = "car") -> Actor:
    """On the ground at x, z metres at second t for each key."""

    def box(t: float) -> Box | None:
        place = goes(*keys, size=(0.0, 0.0))(t)
        if place is None:
            return None
        x, y = pictured(place[0][0], place[0][3])
        return (x - 0.03, y - 0.12, x + 0.03, y), 0.8, label

    return box


def grounded(kind: str, points: list[Point] | None = None) -> EmbeddedZone:
    """The whole road, or a line across it, on calibrated ground."""
    corners = points or [pictured(-3.5, 6), pictured(3.5, 6), pictured(3.5, 22), pictured(-3.5, 22)]
    across = points or [pictured(-3.5, 11), pictured(3.5, 11)]
    shape = fitting(kind).shape
    found = zone(across if shape == "line" else corners, shape)
    return msgspec.structs.replace(found, ground=calibrated())


def facts(events: list[Event]) -> dict[str, tuple[float, str, float, str]]:
    assert len(events) == 1
    return {fact.name: (fact.value, fact.relation, fact.bound, fact.unit) for fact in events[0].facts}


def over(kind: str, *actors: Actor, until_s: float = 6.0, **settings: Any) -> list[Event]:
    zones = settings.pop("zones", [grounded(kind)])
    return told(kind, film(until_s, *actors), **{"labels": ["car"], "zones": zones, "rearm_s": 0.0, **settings})


CAR = drives((0, 0, 20), (3, 0, 8))
"""Four metres a second towards the camera: 14.4 km/h."""


def test_an_incident_says_how_fast_it_was_and_how_far_it_came() -> None:
    said = facts(over("crossing", CAR))
    assert said["speed"][0] == pytest.approx(14.4, abs=0.5)
    assert (said["speed"][1], said["speed"][3]) == ("=", "km/h")
    assert said["moved"][0] == pytest.approx(9.6, abs=1.0)
    assert "speed" in facts(over("presence", CAR))


@pytest.mark.parametrize("kind", ["presence", "crossing"])
@pytest.mark.parametrize("least, events", [(12.0, 1), (17.0, 0)])
def test_slower_than_the_least_speed_fires_nothing(kind: str, least: float, events: int) -> None:
    found = over(kind, CAR, min_speed_kmh=least)
    assert len(found) == events
    if found:
        assert facts(found)["speed"][1:3] == (">=", 12.0)


def test_what_a_slow_object_lacks_is_its_speed() -> None:
    engine = Engine([of("presence", labels=["car"], zones=[grounded("presence")], min_speed_kmh=40.0)])
    fold(engine, film(2, CAR))
    [(_rule, _zone, logic)] = engine.logics(GATE)
    [lack] = cast(Any, logic).explain(at(2).timestamp())
    assert (lack.bound, lack.wanted, lack.setting) == ("speed", 40.0, "min_speed_kmh")
    assert lack.proposed == lack.got == pytest.approx(14.4, abs=0.5)


def test_who_stands_still_is_not_fast_however_long_nothing_changes() -> None:
    stops = drives((0, 0, 20), (1, 0, 18), (4, 0, 18))
    history = [*film(4, stops), *stays("quiet", 3.8, 40)]
    settings = {"labels": ["car"], "zones": [grounded("presence")], "hold_s": 10.0}
    assert len(told("presence", history, **settings)) == 1
    assert told("presence", history, min_speed_kmh=5.0, **settings) == []


def test_blind_time_is_no_part_of_a_speed() -> None:
    # It stands near the far end, and after five blind seconds near the camera: nobody saw it drive.
    far, near = film(2, drives((0, 0, 19), (2, 0, 18.6))), film(8, drives((7, 0, 8.4), (8, 0, 8.2)), start_s=7.0)
    history = [*far, source(2, "blind", since=2), source(6.9, "active", since=6.9), *near]
    assert told("presence", history, labels=["car"], zones=[grounded("presence")], min_speed_kmh=5.0) == []


@pytest.mark.parametrize("drift_m, events", [(0.5, 0), (3.0, 1)])
def test_stopped_measures_stillness_in_metres(drift_m: float, events: int) -> None:
    # It rolls to and fro by a metre and a half, far away: hardly visible in the picture.
    rolls = drives((0, 0, 10), (2, 0, 18), *((2 + i * 2, 0.0, 18 + (i % 2) * 1.5) for i in range(1, 15)))
    found = over("stopped", rolls, until_s=28, hold_s=12.0, leave_s=0.5, drift_m=drift_m)
    assert len(found) == events
    if found:
        value, relation, bound, unit = facts(found)["drift"]
        assert (relation, bound, unit) == ("<=", 3.0, "m") and 0.5 < value <= 1.5


@pytest.mark.parametrize("against_m, events", [(6.0, 1), (14.0, 0)])
def test_wrong_way_measures_its_distance_in_metres(against_m: float, events: int) -> None:
    found = over("wrong_way", CAR, angle=0.0, against_m=against_m)
    assert len(found) == events
    if found:
        assert facts(found)["against"][1:] == (">=", 6.0, "m")


@pytest.mark.parametrize("per_m2, events", [(0.03, 1), (0.05, 0)])
def test_a_crowd_is_dense_by_the_measured_area(per_m2: float, events: int) -> None:
    # The road is 7 × 16 = 112 m²; four people are 0.036 a m².
    people = [drives((0, x, 12), (10, x, 12), label="person") for x in (-2.0, -0.7, 0.7, 2.0)]
    found = over("crowd", *people, until_s=8, labels=["person"], per_m2=per_m2, hold_s=2.0)
    assert len(found) == events
    if found:
        assert facts(found)["density"] == (0.04, ">=", 0.03, "/m²")
        assert facts(found)["objects"][2] == pytest.approx(112 * 0.03, abs=0.01)


def test_another_resolution_of_the_same_picture_measures_the_same() -> None:
    small = film(6, CAR)
    large = [msgspec.structs.replace(picture, source_wh=(2560, 1920)) for picture in small]
    settings = {"labels": ["car"], "zones": [grounded("crossing")]}
    assert [event.facts for event in told("crossing", large, **settings)] == [
        event.facts for event in told("crossing", small, **settings)
    ]


@pytest.mark.parametrize(
    "kind, settings",
    [
        ("crowd", {"per_m2": 2.0}),
        ("stopped", {"drift_m": 1.0}),
        ("person_down", {"drift_m": 1.0}),
        ("wrong_way", {"against_m": 5.0}),
        ("presence", {"min_speed_kmh": 20.0}),
        ("crossing", {"min_speed_kmh": 20.0}),
    ],
)
def test_metres_without_a_calibrated_ground_run_nowhere_and_say_why(kind: str, settings: dict[str, Any]) -> None:
    broken = Engine([of(kind, **settings)]).broken[VERSION]
    assert next(iter(settings)) in broken and "calibrate it" in broken
    assert not Engine([of(kind, zones=[grounded(kind)], **settings)]).broken


def test_a_zone_up_to_the_horizon_has_no_density() -> None:
    far = grounded("crowd", [pictured(-3, 7), pictured(3, 7), (0.6, 0.0), (0.4, 0.0)])
    assert "too far away" in Engine([of("crowd", per_m2=1.0, zones=[far])]).broken[VERSION]
    assert not Engine([of("crowd", per_m2=1.0, area_m2=50.0, zones=[far])]).broken


@pytest.mark.parametrize("kind", ["presence", "crossing", "stopped", "wrong_way", "crowd"])
def test_measuring_goes_on_over_a_restart_at_every_picture(kind: str) -> None:
    settings = {
        "presence": {"min_speed_kmh": 10.0},
        "crossing": {"min_speed_kmh": 10.0},
        "stopped": {"drift_m": 0.5, "hold_s": 1.5},
        "wrong_way": {"against_m": 5.0},
        "crowd": {"per_m2": 0.008, "hold_s": 0.5},
    }[kind]
    stops = drives((0, 0, 20), (3, 0, 8), (7, 0, 8))
    history = [*film(7, stops), seen(7.2)]
    rules = [of(kind, labels=["car"], zones=[grounded(kind)], **settings)]
    whole = fold(Engine(rules), history).events
    assert whole
    for cut in range(0, len(history), 3):
        engine = Engine(rules)
        first = fold(engine, history[:cut]).events
        assert [*first, *fold(Engine(rules, engine.snapshot()), history[cut:]).events] == whole
