"""Every kind says what it lacked, and where one setting would have been enough, the changed one fires."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alerts.archive import Archive, Query
from alerts.rules.config import EmbeddedRule, EmbeddedZone, Schedule, ScheduleSpan
from alerts.why import Answer, Question, why_not
from streams.observations import Observation
from tests.alerts.histories import (
    GATE,
    LANE,
    LANE_CORNERS,
    VIEW,
    at,
    nobody,
    rule,
    seen,
    source,
    stays,
    tick,
    walk,
    walker,
)
from tests.alerts.test_camera_health import lasting
from tests.alerts.test_left import HIDES, LEFT, scene, thing
from tests.alerts.test_rehearsal import fold_and_keep
from tests.alerts.test_sequences import DOOR, EAST, FENCE, WEST, event, versions
from tests.alerts.test_threshold import measured, series

LINE = [EmbeddedZone(uid=LANE, camera=GATE, view=VIEW, name="Line", shape="line", points=[(0.5, 1.0), (0.5, 0.0)])]
MASK = EmbeddedZone(uid=VIEW, camera=GATE, view=VIEW, name="Tree", shape="exclusion", points=LANE_CORNERS)
STILL = [seen(61 + i / 5, walker(0.5)) for i in range(60)]
COMES = [*nobody(40, 52, 1.0), *walk(52, 61, 0.1, 0.5), *STILL]
CROSSES = [*nobody(2, 60, 1.0), *walk(60, 68, 0.7, 0.3)]
LIES = [*walk(50, 60, 0.3, 0.5), *(seen(60 + i / 5, ((0.4, 0.55, 0.6, 0.62), 0.8, "person")) for i in range(60))]
DUST = series(30, 30, 30, 44, 44, 44, 44, start_s=10)
FROZEN = lasting(40, 75, "active", "frozen")
WELL = lasting(40, 75, "active")

CASES: list[tuple[str, str, list[Observation], dict[str, Any], float, str, str]] = [
    ("too few", "crowd", [seen(61 + i / 5, walker(0.5), walker(0.7)) for i in range(60)], {"count": 3, "hold_s": 1},
     66, "objects", "count"),
    ("not for long", "crowd", [seen(61 + i / 5, walker(0.5), walker(0.7)) for i in range(60)],
     {"count": 2, "hold_s": 60}, 66, "lasted", "hold_s"),
    ("somebody was there", "absence", COMES, {"hold_s": 30}, 68, "occupied", ""),
    ("not empty for long", "absence", nobody(30, 72, 1.0), {"hold_s": 100}, 66, "empty", "hold_s"),
    ("never over the line", "crossing", [*nobody(2, 60, 1.0), *walk(60, 68, 0.9, 0.6)], {"zones": LINE},
     66, "not_crossed", ""),
    ("the other way", "crossing", CROSSES, {"zones": LINE, "direction": "forward"}, 66, "direction", "direction"),
    ("it only counts", "counting", CROSSES, {"zones": LINE}, 66, "counts", ""),
    ("stands elsewhere", "stopped", walk(60, 72, 0.05, 0.3), {"labels": ["person"]}, 66, "resting", ""),
    ("not for long", "stopped", COMES, {"hold_s": 60, "labels": ["person"]}, 68, "still_for", "hold_s"),
    ("stands", "person_down", COMES, {}, 66, "width_by_height", ""),
    ("not for long", "person_down", LIES, {"hold_s": 60}, 68, "lying", "hold_s"),
    ("the right way", "wrong_way", walk(61, 69, 0.42, 0.78), {"angle": 90, "against": 0.1, "labels": ["person"]},
     66, "against", ""),
    ("doubtful", "dwell", [seen(61 + i / 5, walker(0.5 + 0.002 * i, score=0.42)) for i in range(60)],
     {"hold_s": 2}, 66, "confidence", "confidence"),
    ("too small", "presence", COMES, {"min_height": 0.3}, 64, "min_height", "min_height"),
    ("too large", "presence", COMES, {"max_height": 0.1}, 64, "max_height", "max_height"),
    ("below the bound", "threshold", DUST, {"quantity": "pm2.5", "bound": 50, "hold_s": 10}, 68, "measured", "bound"),
    ("not for long", "threshold", DUST, {"quantity": "pm2.5", "bound": 40, "hold_s": 60}, 68, "held", "hold_s"),
    ("another number", "threshold", DUST, {"quantity": "count", "bound": 1}, 68, "unmeasured", ""),
    ("still beyond", "threshold", DUST, {"quantity": "pm2.5", "bound": 40, "hold_s": 0}, 68, "already", ""),
    ("well", "health", WELL, {}, 60, "trouble", ""),
    ("a trouble that is not wanted", "health", FROZEN, {"frozen": False, "for_s": 10}, 55, "trouble", "frozen"),
    ("not for long", "health", FROZEN, {"for_s": 100}, 66, "held", "for_s"),
    ("silent", "health", [*lasting(2, 12, "active", "frozen"), *(tick(s) for s in range(12, 75))], {"for_s": 30},
     66, "said", ""),
    ("nobody brought it", "left", [*nobody(1, 20, 1.0), *scene(20, 80, thing())], {"hold_s": 10, "away_s": 5},
     66, "owner", "owner"),
    ("too small", "left", LEFT, {"hold_s": 5, "min_height": 0.2}, 32, "min_height", "min_height"),
    ("too large", "left", LEFT, {"hold_s": 5, "max_height": 0.04}, 32, "max_height", "max_height"),
    ("not for long", "left", LEFT, {"hold_s": 100}, 60, "left_for", "hold_s"),
    ("its owner just left", "left", LEFT, {"hold_s": 5, "away_s": 100}, 60, "owner_away", "away_s"),
    ("its owner vanished beside it", "left", [*HIDES, *scene(20, 80, thing())],
     {"hold_s": 5, "hidden_s": 100}, 60, "owner_hidden", "hidden_s"),
    ("its owner vanished long ago", "left",
     [*HIDES, *scene(20, 30, thing()), *stays("quiet", 29.5, 395), source(395, "active"), *scene(395, 406, thing())],
     {"hold_s": 5, "hidden_s": 1000}, 400, "owner_hidden", "hidden_s"),
]  # fmt: skip


def asked(root: Path, log: list[Observation], draft: EmbeddedRule, moment_s: float) -> Answer:
    fold_and_keep(root, [source(1, "active", since=0), *log], [draft])
    question = Question(camera=GATE, at=at(moment_s), rules=[draft])
    [answer] = why_not(question, Archive(root).read(Query(GATE, question.from_at, question.until_at)))
    return answer


SMOKE = [seen(61 + i / 5, ((0.4, 0.5, 0.5, 0.6), 0.55, "smoke")) for i in range(60)]
"""Grey, at 14:01 in Taipei and one at night in New York."""


@pytest.mark.parametrize(
    ("clock", "settings", "wanted", "changes"),
    [
        ("Asia/Taipei", {"confidence": 0.7}, 0.7, {"confidence": 0.55}),
        ("Asia/Taipei", {"confidences": {"smoke": 0.6}}, 0.6, {"confidences": {"smoke": 0.55}}),
        ("Asia/Taipei", {"confidences": {"fire": 0.9, "smoke": 0.6}}, 0.6,
         {"confidences": {"fire": 0.9, "smoke": 0.55}}),
        ("Asia/Taipei", {"confidences": {"hazard": 0.4, "smoke": 0.6}}, 0.6,
         {"confidences": {"hazard": 0.4, "smoke": 0.55}}),
        ("America/New_York", {"night_confidence": 0.8}, 0.8, {"night_confidence": 0.55}),
        ("America/New_York", {"night_confidence": 0.5, "night_confidences": {"smoke": 0.75}}, 0.75,
         {"night_confidences": {"smoke": 0.55}}),
        ("America/New_York", {"confidences": {"smoke": 0.6}}, 0.6, {"confidences": {"smoke": 0.55}}),
    ],
)  # fmt: skip
def test_an_appearance_names_the_score_of_its_own_label_and_hour(
    tmp_path: Path, clock: str, settings: dict[str, Any], wanted: float, changes: dict[str, Any]
) -> None:
    zone = EmbeddedZone(uid=LANE, camera=GATE, view=VIEW, name="Lane", points=LANE_CORNERS, time_zone=clock)
    draft = rule(kind="appearance", labels=["fire", "smoke"], zones=[zone], **settings)
    answer = asked(tmp_path, SMOKE, draft, 66)
    assert answer.stopped is not None
    assert (answer.stopped.bound, answer.stopped.wanted, answer.stopped.got) == ("confidence", wanted, 0.55)
    assert answer.changed is not None
    assert {name: value for name, value in answer.changed.config.items() if draft.config.get(name) != value} == changes


@pytest.mark.parametrize(
    ("_case", "kind", "log", "changes", "moment_s", "bound", "setting"),
    CASES,
    ids=[f"{kind}: {case}" for case, kind, *_ in CASES],
)
def test_it_says_what_was_missing(
    tmp_path: Path,
    _case: str,
    kind: str,
    log: list[Observation],
    changes: dict[str, Any],
    moment_s: float,
    bound: str,
    setting: str,
) -> None:
    draft = rule(kind=kind, **changes)
    answer = asked(tmp_path, log, draft, moment_s)
    assert answer.stopped is not None and (answer.stopped.stage, answer.stopped.bound) == ("rule", bound), answer.steps
    changed = answer.changed.config if answer.changed is not None else {}
    differs = {name for name, value in changed.items() if draft.config.get(name) != value}
    assert differs == ({setting} if setting else set())


def test_what_stands_in_a_mask_is_said_to(tmp_path: Path) -> None:
    draft = rule(zones=[*rule().zones, MASK])
    answer = asked(tmp_path, STILL, draft, 66)
    assert answer.stopped is not None and (answer.stopped.bound, answer.stopped.got) == ("masked", "Tree")


def test_what_it_had_fired_for_already_is_said_with_the_time(tmp_path: Path) -> None:
    answer = asked(tmp_path, COMES, rule(hold_s=1.0), 72)
    assert answer.stopped is not None and answer.stopped.bound == "already"
    assert str(answer.stopped.got).startswith("2026-11-21T06:00:5")


def test_a_rule_about_the_camera_itself_is_not_stopped_by_a_blind_one(tmp_path: Path) -> None:
    log = lasting(40, 75, "blind", "unreachable")
    answer = asked(tmp_path, log, rule(kind="health", for_s=100), 66)
    assert [step.stage for step in answer.steps] == ["rule"] and answer.steps[0].bound == "held"


def test_asleep_it_offers_the_hour_of_the_moment(tmp_path: Path) -> None:
    nights = Schedule(time_zone="Asia/Taipei", spans=[ScheduleSpan(from_="22:00", until="23:00")])
    answer = asked(tmp_path, COMES, rule(schedule=nights), 58)
    assert answer.stopped is not None and answer.stopped.bound == "schedule"
    assert answer.changed is not None
    assert [(one.from_, one.until) for one in answer.changed.schedule.spans] == [("22:00", "23:00"), ("14:00", "15:00")]


@pytest.mark.parametrize(
    ("made", "changes", "bound", "setting"),
    [
        ([(90, FENCE, EAST)], {}, "second", ""),
        ([(100, DOOR, EAST)], {}, "first", ""),
        ([(10, FENCE, EAST), (100, DOOR, EAST)], {}, "after_first", "within_s"),
        ([(60, FENCE, WEST), (100, DOOR, EAST)], {"scope": "camera"}, "scope", "scope"),
        ([(60, FENCE, EAST), (70, DOOR, EAST), (90, FENCE, EAST), (100, DOOR, EAST)], {"rearm_s": 120.0},
         "rearm", "rearm_s"),
    ],
)  # fmt: skip
def test_a_sequence_says_which_event_was_missing(
    made: list[tuple[float, Any, Any]], changes: dict[str, Any], bound: str, setting: str
) -> None:
    *makers, sequence = versions(**changes)
    events = [event(*one) for one in made]
    question = Question(camera=EAST, at=at(101), rules=[sequence], events=events, makers=makers)
    [answer] = why_not(question, [])
    assert answer.stopped is not None and (answer.stopped.stage, answer.stopped.bound) == ("rule", bound)
    assert (answer.changed is not None) == bool(setting)
    if answer.changed is not None:
        [again] = why_not(Question(camera=EAST, at=at(101), rules=[answer.changed], events=events, makers=makers), [])
        assert len(again.fired) == 1 and again.fired[0].kind == "sequence"


def test_a_measurement_of_its_own_is_all_that_a_threshold_needs(tmp_path: Path) -> None:
    answer = asked(tmp_path, [measured(64, 60)], rule(kind="threshold", quantity="pm2.5", bound=50, hold_s=0), 64)
    assert len(answer.fired) == 1 and [step.stage for step in answer.steps] == ["rule"]
