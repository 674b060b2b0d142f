"""What no kind may mind: another resolution, lost pictures, other numbers; and what each minds: its common settings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
import pytest

from alerts.engine import Engine, Outcome
from alerts.rules.config import OF_OBJECTS, CommonConfig, EmbeddedRule
from alerts.rules.registry import RULES, rule_kind
from detectors.tracking import Track
from streams import observations as wire
from streams.observations import Observation
from tests.alerts.actors import film, goes, of
from tests.alerts.histories import GATE, GENERAL, at, fold, nobody, walk, walker
from tests.alerts.kept import moved
from tests.alerts.test_camera_health import lasting
from tests.alerts.test_kinds import EASY
from tests.alerts.test_left import scene, thing, walks
from tests.alerts.test_rehearsal_kinds import COMES_AND_STANDS, SCENES, STAYS, draft_of, time_of
from tests.alerts.test_zone_kinds import CROUCHING, UPRIGHT, car, person, stands

Log = Sequence[Observation]

SILENT: dict[str, tuple[dict[str, Any], Log]] = {
    "presence": ({}, film(8, stands(8.0, jitter=0.004))),
    "crossing": ({"confirm_k": 1}, film(8, goes((0, 0.5, 0.6), (8, 0.5, 0.6), jitter=0.01))),
    "dwell": ({"hold_s": 8.0}, walk(0, 8, 0.2, 0.9)),
    "crowd": ({"count": 3, "hold_s": 0.5}, film(8, stands(8.0), goes((0, 0.2, 0.9), (8, 0.7, 0.9)))),
    "stopped": ({"hold_s": 2.0}, film(8, car((0, 0.6, 0.6), (8, 0.6, 0.6), jitter=0.004))),
    "wrong_way": ({}, film(6, car((0, 0.6, 0.9), (5, 0.6, 0.3)), car((0, 0.7, 0.8), (6, 0.7, 0.45)))),
    "appearance": ({"labels": ["person"], "confidence": 0.9}, STAYS),
    "absence": ({"hold_s": 2.0}, STAYS),
    "person_down": ({}, film(30, person((0, 5, UPRIGHT), (5, 30, CROUCHING)))),
    "left": (SCENES["left"][0], [*walks(0, 6, 0.2, 0.58), *scene(6, 60, walker(0.58), thing())]),
}
"""The mirror of each scene that lives from pictures: it comes near, and is not it."""

LONG: dict[str, tuple[dict[str, Any], Log]] = {
    "presence": ({"hold_s": 6.0}, COMES_AND_STANDS),
    "dwell": ({"hold_s": 6.0}, COMES_AND_STANDS),
    "crowd": ({**EASY["crowd"], "hold_s": 6.0}, SCENES["crowd"][1]),
    "stopped": ({**EASY["stopped"], "hold_s": 6.0}, COMES_AND_STANDS),
    "wrong_way": ({"against": 0.45}, SCENES["wrong_way"][1]),
    "appearance": ({**EASY["appearance"], "hold_s": 6.0}, STAYS),
}
"""Most of the scene is needed: what begins anew in its middle comes too late."""

CASES: dict[str, tuple[EmbeddedRule, Log]] = {
    **{kind: (draft_of(kind), log) for kind, (_, log) in SCENES.items()},
    **{f"no {kind}": (of(kind, **settings), log) for kind, (settings, log) in SILENT.items()},
    **{f"long {kind}": (of(kind, **settings), log) for kind, (settings, log) in LONG.items()},
    "counting": (of("counting", **{**EASY["counting"], "least_way": 0.01}), [*walk(0, 6, 0.2, 0.8), *nobody(6, 21)]),
}  # fmt: skip
by_case = pytest.mark.parametrize("case", CASES)


def told(outcome: Outcome) -> list[Any]:
    """What was fired, and what was counted, without the moments."""
    counted = [(one.counted.direction, one.counted.label, one.counted.count) for one in outcome.counts]
    return [*((event.kind, event.label) for event in outcome.events), *counted]


@cache
def undisturbed(case: str) -> tuple[Outcome, list[list[Track] | None]]:
    """All that the scene leads to, and the tracks of each of its pictures."""
    draft, log = CASES[case]
    engine, total, tracks = Engine([draft]), Outcome(), list[list[Track] | None]()
    for one in log:
        outcome = engine.step(one)
        total += outcome
        tracks.append(outcome.tracks)
    return total, tracks


def test_the_scenes_fire_and_their_mirrors_do_not() -> None:
    silent = {case for case in CASES if not undisturbed(case)[0].events}
    assert silent == {"counting", *(f"no {kind}" for kind in SILENT)}


@by_case
@pytest.mark.parametrize("anew", [False, True])
def test_another_resolution_moves_nothing(case: str, anew: bool) -> None:
    draft, log = CASES[case]
    middle = len(log) // 2
    changes: dict[str, Any] = {"source_wh": (1280, 960), **({"session": 2} if anew else {})}
    other = [*log[:middle], *(_changed(one, **changes) for one in log[middle:])]
    before, now = undisturbed(case)[0], fold(Engine([draft]), other)
    assert told(now) == told(before)
    assert [(one.happened_at, one.facts) for one in now.events] == [
        (one.happened_at, one.facts) for one in before.events
    ]
    # A name comes from the first picture, and with it from its session.
    assert anew or [one.uid for one in now.events] == [one.uid for one in before.events]


def _changed(one: Observation, **changes: Any) -> Observation:
    return msgspec.structs.replace(one, **{name: value for name, value in changes.items() if hasattr(one, name)})


@by_case
@pytest.mark.parametrize("first", [0, 1, 2])
def test_every_third_picture_is_lost_and_nothing_else(case: str, first: int) -> None:
    draft, log = CASES[case]
    pictures = [one for one in log if isinstance(one, wire.Detections)]
    lost = {id(one) for one in pictures[first::3]}
    rest = [_dropped(one) if isinstance(one, wire.Detections) and id(one) in lost else one for one in log]
    assert told(fold(Engine([draft]), rest)) == told(undisturbed(case)[0])


def _dropped(one: wire.Detections) -> wire.Dropped:
    return wire.Dropped(
        camera=one.camera,
        deployment=one.deployment,
        session=one.session,
        sequence=one.sequence,
        captured_at=one.captured_at,
        count=1,
        reason="behind",
    )


@by_case
@pytest.mark.parametrize("lost", [0, 3])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_everybody_may_be_lost_for_a_moment_and_have_another_number_then(case: str, share: float, lost: int) -> None:
    draft, log = CASES[case]
    before, tracks = undisturbed(case)
    middle = round(len(log) * share)
    engine, now = Engine([draft]), Outcome()
    for place, (one, shown) in enumerate(zip(log, tracks, strict=True)):
        if shown is not None and place >= middle:
            shown = [] if place < middle + lost else [_renumbered(track) for track in shown]
        now += engine.step(one, shown)
    assert told(now) == told(before)


def _renumbered(track: Track) -> Track:
    return msgspec.structs.replace(track, number=track.number + 1000)


# What each minds

AFTERWARDS = {"stale_s", "news_after_s", "group_by"}
"""About what becomes of an event: see ``test_grouping.py`` and ``test_intake.py``."""
BOUNDS: dict[str, dict[str, Any]] = {
    "labels": {"labels": ["animal"]},
    "confidence": {"confidence": 0.99},
    "confirm_k": {"confirm_k": 50, "confirm_n": 50, "confirm_within_s": 3.0},
    "confirm_n": {"confirm_n": 1},
    "confirm_within_s": {"confirm_within_s": 0.1},
    "min_travel": {"min_travel": 2.0},
    "min_height": {"min_height": 0.5},
    "max_height": {"max_height": 0.01},
}
"""With each of them nothing is looked at any more, or nothing confirmed."""
REARMS = {"rearm", "rearm_s"}
OBJECTS = [kind for kind in CASES if kind in RULES and not rule_kind(kind).unused >= OF_OBJECTS]


def asked(kind: str) -> set[str]:
    return set(rule_kind(kind).asked()) & set(CommonConfig.__struct_fields__)


def test_each_common_setting_is_tried_of_each_kind_that_asks_for_it() -> None:
    assert set(BOUNDS) == OF_OBJECTS
    for kind in SCENES:
        assert asked(kind) <= AFTERWARDS | REARMS | (set(BOUNDS) if kind in OBJECTS else {"labels"})
    assert asked("counting") <= set(BOUNDS)  # it raises nothing


@pytest.mark.parametrize(("kind", "setting"), [(k, s) for k in OBJECTS for s in BOUNDS if s in asked(k)])
def test_a_bound_that_nothing_reaches_leaves_nothing_to_tell(kind: str, setting: str) -> None:
    draft, log = CASES[kind]
    found = fold(Engine([with_settings(draft, **BOUNDS[setting])]), LOOKS_IN if kind == "absence" else log)
    if kind == "absence":  # nobody who counts has looked in
        assert found.events[0].happened_at < fold(Engine([draft]), LOOKS_IN).events[0].happened_at
    else:
        assert found.events == [] and not any(one.counted.count for one in found.counts)


LOOKS_IN = [*nobody(0, 1), *film(3, stands(), start_s=1.0), *nobody(3, 8)]


def with_settings(draft: EmbeddedRule, **changes: Any) -> EmbeddedRule:
    changed = msgspec.structs.replace(draft, config={**draft.config, **changes})
    assert not Engine([changed]).broken
    return changed


def thrice(log: Log) -> list[Observation]:
    """``log`` three times; each time the camera sees nobody for half a minute, and is well."""
    parts: list[Observation] = []
    begins_s = 0.0
    for session in range(1, 7):
        part = log if session % 2 else [*nobody(0, 30), *lasting(30, 60, "active")]
        parts += moved(part, camera=GATE, deployment=GENERAL, to=at(begins_s), session=session)
        begins_s = (time_of(parts[-1]) - at(0)).total_seconds() + 0.2
    return parts


@pytest.mark.parametrize("kind", [kind for kind in SCENES if "rearm_s" in asked(kind)])
def test_how_and_when_it_is_ready_again_counts(kind: str) -> None:
    draft, log = draft_of(kind), thrice(SCENES[kind][1])

    def moments(**changes: Any) -> list[float]:
        found = fold(Engine([with_settings(draft, **changes)]), log)
        return [(event.happened_at - at(0)).total_seconds() for event in found.events]

    first, *_, last = moments(rearm_s=0)
    assert len(moments(rearm_s=0)) == 3
    assert moments(rearm_s=86_400) == [first]
    if "rearm" in asked(kind):
        assert last in moments(rearm="interval", rearm_s=last - first)
        assert last not in moments(rearm="quiet", rearm_s=last - first)
