"""Why it did not fire: the stage, the number and the bound, and a change that is known to fire."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alerts.archive import Archive, Query
from alerts.rules.config import EmbeddedRule, Schedule, ScheduleSpan
from alerts.why import Answer, Question, why_not
from streams.observations import Observation
from tests.alerts.histories import GATE, at, dropped, nobody, rule, seen, source, tick, walk, walker
from tests.alerts.test_rehearsal import fold_and_keep

MOMENT_S = 64.0


def standing(x: float, score: float = 0.8, until_s: float = 68.0, label: str = "person") -> list[Observation]:
    """Nobody for a minute, then somebody who walks slowly about ``x``."""
    steps = range(round((until_s - 61) * 5))
    boxes = [seen(61 + i / 5, walker(x + 0.004 * i, score=score, label=label)) for i in steps]
    return [source(1, "active", since=0), *nobody(2, 60, 1.0), *boxes]


def asked(root: Path, log: Sequence[Observation], draft: EmbeddedRule, **more: Any) -> Answer:
    fold_and_keep(root, log, [draft])
    question = Question(camera=GATE, at=at(MOMENT_S), rules=[draft], **more)
    [answer] = why_not(question, Archive(root).read(Query(GATE, question.from_at, question.until_at)))
    return answer


CASES: list[tuple[str, list[Observation], dict[str, Any], tuple[Any, ...]]] = [
    ("the camera was blind", [source(50, "blind", since=40)], {}, ("source", "sees", "stalled")),
    ("nothing was heard", [tick(60)], {}, ("source", "heard", "")),
    ("pictures were dropped", [source(60, "active"), dropped(63, 9)], {}, ("gate", "dropped", "behind")),
    ("nothing was analysed", [source(60, "active")], {}, ("gate", "pictures", 0.0)),
    ("nobody was found", nobody(2, 68, 1.0), {}, ("detections", "found", 0.0)),
    ("a car is no person", standing(0.5, label="car"), {}, ("detections", "found", 0.0)),
    ("too doubtful to be followed", standing(0.5, 0.3), {}, ("track", "tracked_from", pytest.approx(0.3))),
    ("beside the zone", standing(0.1), {}, ("rule", "inside", "outside")),
    ("not for long enough", standing(0.5), {"hold_s": 30.0}, ("rule", "in_zone", pytest.approx(6.8, abs=1))),
    ("too doubtful for the rule", standing(0.5, 0.4), {}, ("rule", "confidence", pytest.approx(0.4))),
    ("it hardly moved", standing(0.5), {"min_travel": 0.9}, ("rule", "travel", pytest.approx(0.18, abs=0.1))),
    ("asleep", standing(0.5), {"schedule": Schedule(spans=[ScheduleSpan(from_="22:00", until="23:00")])},
     ("rule", "schedule", "")),
    ("not yet in force", standing(0.5), {"active_from_at": at(100)}, ("rule", "not_yet", "")),
    ("unreadable", standing(0.5), {"confidence": 9}, ("rule", "config", None)),
]  # fmt: skip


@pytest.mark.parametrize(("_case", "log", "changes", "expected"), CASES, ids=[case[0] for case in CASES])
def test_it_names_the_stage_and_the_number(
    tmp_path: Path, _case: str, log: list[Observation], changes: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    answer = asked(tmp_path, log, rule(**changes))
    stopped = answer.stopped
    assert stopped is not None and not answer.fired
    assert (stopped.stage, stopped.bound) == expected[:2]
    assert expected[2] is None or stopped.got == expected[2]
    assert all(step.passed for step in answer.steps[: answer.steps.index(stopped)])


@pytest.mark.parametrize(
    ("log", "changes", "setting"),
    [
        (standing(0.5), {"hold_s": 30.0}, "hold_s"),
        (standing(0.5, 0.4), {}, "confidence"),
        (standing(0.5), {"min_travel": 0.9}, "min_travel"),
        (standing(0.5), {"confirm_k": 50, "confirm_n": 50, "confirm_within_s": 60.0}, "confirm_k"),
    ],
)
def test_the_change_that_it_offers_fires(
    tmp_path: Path, log: list[Observation], changes: dict[str, Any], setting: str
) -> None:
    answer = asked(tmp_path, log, rule(**changes))
    assert answer.changed is not None
    before = rule(**changes).config
    assert {name for name, value in answer.changed.config.items() if before.get(name) != value} == {setting}
    question = Question(camera=GATE, at=at(MOMENT_S), rules=[answer.changed])
    [again] = why_not(question, Archive(tmp_path).read(Query(GATE, question.from_at, question.until_at)))
    assert len(again.fired) == 1


def test_a_change_that_would_have_told_of_it_earlier_is_offered_too(tmp_path: Path) -> None:
    fold_and_keep(tmp_path, standing(0.5, 0.415, until_s=95), [rule()])
    question = Question(camera=GATE, at=at(74), rules=[rule()])
    [answer] = why_not(question, Archive(tmp_path).read(Query(GATE, question.from_at, question.until_at)))
    assert answer.changed is not None and answer.changed.config["confidence"] == 0.41


def test_what_came_nearest_is_there_to_be_drawn(tmp_path: Path) -> None:
    followed = asked(tmp_path / "followed", standing(0.5, 0.4), rule()).sketch
    assert followed is not None and len(followed.path) > 20 and followed.path[0][1] == pytest.approx(0.6)
    found = asked(tmp_path / "found", standing(0.5, 0.3), rule()).sketch
    assert found is not None and found.path == [] and found.xyxy[3] == pytest.approx(0.6)
    assert asked(tmp_path / "none", nobody(2, 68, 1.0), rule()).sketch is None


def test_it_offers_nothing_where_two_things_were_short(tmp_path: Path) -> None:
    answer = asked(tmp_path, standing(0.5), rule(hold_s=30.0, min_travel=0.9))
    assert answer.changed is None
    assert {step.bound for step in answer.steps if not step.passed} == {"in_zone", "travel"}


def test_not_ready_again_is_named_with_how_long_it_was(tmp_path: Path) -> None:
    first = walk(20, 28, 0.1, 0.95)
    again = [msgspec.structs.replace(one, session=2) for one in standing(0.5) if getattr(one, "sequence", 0) >= 610]
    answer = asked(tmp_path, [*first, *again], rule(rearm_s=600.0))
    assert answer.stopped is not None and (answer.stopped.bound, answer.stopped.wanted) == ("rearm", 600.0)
    assert answer.changed is not None and answer.changed.config["rearm_s"] < 60


def test_when_it_fired_nothing_stopped_it(tmp_path: Path) -> None:
    answer = asked(tmp_path, standing(0.5), rule())
    assert len(answer.fired) == 1 and answer.stopped is None
    assert [step.stage for step in answer.steps] == ["source", "gate", "detections", "track", "rule"]


def test_while_the_gate_is_closed_the_last_picture_still_holds(tmp_path: Path) -> None:
    log = [*walk(40, 42, 0.3, 0.5), source(41.8, "quiet", since=41.8), source(52, "quiet", since=41.8)]
    answer = asked(tmp_path, [*log, *(tick(s) for s in range(43, 75))], rule(hold_s=100.0))
    assert answer.stopped is not None and (answer.stopped.stage, answer.stopped.bound) == ("rule", "in_zone")
