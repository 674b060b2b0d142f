"""Live is rehearsed, for every kind of rule: the same events, wherever the archive was cut or the fold restarted.

A history is made up, then comes a scene in which the kind fires, then another made-up history: so the property holds of
firings and not of silence, and of whatever state the first history leaves behind.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from alerts import archive
from alerts.archive_writer import ArchiveWriter
from alerts.engine import Engine, Outcome
from alerts.rules.config import EmbeddedRule
from alerts.rules.registry import RULES, rule_kind
from streams.observations import Observation
from tests.alerts.actors import film, goes, line, of
from tests.alerts.histories import GATE, GENERAL, START, at, fold, nobody, stays, tick, walk
from tests.alerts.kept import moved
from tests.alerts.sequenced import (
    CROSSES,
    LEFT_LANE,
    RIGHT_LANE,
    alarm,
    beside,
    in_order,
    rehearsed_sequence,
    sequences_of,
)
from tests.alerts.test_camera_health import lasting
from tests.alerts.test_engine import history_of, steps
from tests.alerts.test_kinds import EASY, OTHER_LINE
from tests.alerts.test_left import HIDES, LEFT, scene, thing
from tests.alerts.test_rehearsal import LOG, PARTITION, counts_of, events_of, fold_and_keep, rehearsed
from tests.alerts.test_threshold import series
from tests.alerts.test_zone_kinds import LYING, UPRIGHT, car, person, stands

STAYS = film(8, stands(8.0))
COMES_AND_STANDS = film(12, goes((0, 0.2, 0.6), (3, 0.6, 0.6), (12, 0.6, 0.6)))
SCENES: dict[str, tuple[dict[str, Any], Sequence[Observation]]] = {
    "presence": (EASY["presence"], walk(0, 6, 0.2, 0.7)),
    "crossing": (EASY["crossing"], walk(0, 6, 0.2, 0.8)),
    "dwell": (EASY["dwell"], COMES_AND_STANDS),
    "crowd": (EASY["crowd"], film(8, *(stands(8.0, size=(0.03, 0.1 + 0.05 * i)) for i in range(3)))),
    "stopped": (EASY["stopped"], COMES_AND_STANDS),
    "wrong_way": ({"rearm_s": 1.0}, film(6, car((0, 0.6, 0.3), (5, 0.6, 0.9)))),
    "appearance": (EASY["appearance"], STAYS),
    "absence": (EASY["absence"], [*STAYS, *nobody(8, 16)]),
    "person_down": ({"rearm_s": 0.0}, film(30, person((0, 5, UPRIGHT), (5, 30, LYING)))),
    "left": ({"hold_s": 20, "away_s": 10}, LEFT),
    "threshold": ({"quantity": "pm2.5", "bound": 50, "clear": 40, "hold_s": 20, "gap_s": 30, "rearm_s": 0},
                  [*nobody(0, 1), *series(30, 60, 60, 60, 60, start_s=2.0)]),
    "health": ({"for_s": 15, "rearm_s": 30}, [*nobody(0, 1), *lasting(1, 40, "blind", "stalled")]),
}  # fmt: skip
"""Settings of each kind that fires on what it sees of one camera, and a scene in which it does."""
OTHERWISE = {"sequence", "counting"}
"""One is a fold over events of others, one counts and fires nothing: at the end."""


def draft_of(kind: str) -> EmbeddedRule:
    return of(kind, **SCENES[kind][0])


def after(log: Sequence[Observation], more: Sequence[Observation]) -> list[Observation]:
    """``more`` half a minute after ``log``, in a session of its own."""
    ends = max((time_of(one) for one in log), default=START)
    session = 1 + max((getattr(one, "session", 0) for one in log), default=0)
    begins_s = (ends - START).total_seconds() + 30
    return [*log, tick(begins_s), *moved(more, camera=GATE, deployment=GENERAL, to=at(begins_s), session=session)]


def time_of(one: Any) -> Any:
    return one.captured_at if hasattr(one, "captured_at") else one.at


def folded(root: Path, log: Sequence[Observation], rules: Sequence[EmbeddedRule], cuts: Sequence[int]) -> Outcome:
    """Fold ``log`` live beside an archive; at each of ``cuts`` it is stored, and the fold goes on from its snapshot."""
    writer = ArchiveWriter(root)
    writer.begin(PARTITION, 0, LOG)
    engine, total, ends = Engine(rules), Outcome(), set(cuts)
    for offset, observation in enumerate(log):
        outcome = engine.step(observation)
        total += outcome
        writer.keep(PARTITION, offset, observation, outcome.tracks)
        if offset in ends:
            writer.store(PARTITION, offset + 1)
            engine = Engine(rules, engine.snapshot())
    writer.store(PARTITION, len(log))
    writer.close()
    return total


@contextmanager
def cut_anywhere(log: Sequence[Observation], data: st.DataObject) -> Iterator[tuple[Path, list[int]]]:
    """A folder for an archive that is read in batches of any size, and where in ``log`` it is to be cut."""
    cuts = data.draw(st.lists(st.integers(0, len(log)), max_size=3))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "ROWS_A_BATCH", data.draw(st.sampled_from([1, 7, 4096])))
        yield Path(folder), cuts


def test_every_kind_that_fires_on_a_camera_has_a_scene() -> None:
    assert set(SCENES) | OTHERWISE == set(RULES)


@pytest.mark.parametrize("kind", SCENES)
def test_its_scene_fires_live_and_rehearsed(kind: str, tmp_path: Path) -> None:
    draft, log = draft_of(kind), after([], SCENES[kind][1])
    live = folded(tmp_path, log, [draft], []).events
    assert live and {one.kind for one in live} == {kind}
    assert events_of(rehearsed(tmp_path, draft)) == live


@pytest.mark.parametrize("kind", SCENES)
@settings(max_examples=4, deadline=None)
@given(steps, steps, st.data())
def test_a_rehearsal_gives_the_events_that_happened(
    kind: str, before: list[tuple[str, float, float]], behind: list[tuple[str, float, float]], data: st.DataObject
) -> None:
    draft = draft_of(kind)
    log = after(after(history_of(before), SCENES[kind][1]), history_of(behind))
    log += [tick((time_of(log[-1]) - START).total_seconds() + 5 + i) for i in range(3)]
    with cut_anywhere(log, data) as (folder, cuts):
        live = folded(folder, log, [draft], cuts).events
        event(f"{kind}: {'fires' if live else 'silent'}")
        assert live == fold(Engine([draft]), log).events
        assert events_of(rehearsed(folder, draft)) == live


# What a rule waits for may have begun long before the span.

LASTS_S = 1200


def then_quiet(log: Sequence[Observation]) -> list[Observation]:
    """``log``, and then nothing changes for long."""
    ends_s = (time_of(log[-1]) - START).total_seconds()
    return [*log, *stays("quiet", ends_s, ends_s + LASTS_S + 100)]


HIDES_BESIDE = [*HIDES, *scene(20, 30, thing())]
WAITING: dict[str, tuple[str, dict[str, Any], Sequence[Observation]]] = {
    **{kind: (kind, {"hold_s": LASTS_S}, then_quiet(SCENES[kind][1]))
       for kind in ("presence", "dwell", "crowd", "stopped", "appearance", "absence", "person_down", "left")},
    "left, its owner away": ("left", {"hold_s": 10, "away_s": LASTS_S}, then_quiet(LEFT)),
    "left, its owner hidden": ("left", {"hold_s": 10, "hidden_s": LASTS_S}, then_quiet(HIDES_BESIDE)),
    "threshold": ("threshold", {"hold_s": LASTS_S}, [*nobody(0, 1), *series(30, *[60] * 140, start_s=2.0)]),
    "threshold, seldom measured": ("threshold", {"hold_s": LASTS_S, "gap_s": 1000.0},
                                   [*nobody(0, 1), *series(60, 60, 60, start_s=2.0, step_s=900.0)]),
    "health": ("health", {"for_s": LASTS_S}, [*nobody(0, 1), *lasting(1, LASTS_S + 100, "blind", "stalled")]),
}  # fmt: skip


def test_every_kind_that_waits_has_such_a_scene() -> None:
    waits = {"hold_s", "for_s"}
    assert {kind for kind in SCENES if waits & set(rule_kind(kind).__struct_fields__)} <= set(WAITING)


@pytest.mark.parametrize("case", WAITING)
def test_what_began_long_before_the_span_fires_as_it_did(case: str, tmp_path: Path) -> None:
    kind, changes, log = WAITING[case]
    draft = of(kind, **{**SCENES[kind][0], **changes})
    live = fold_and_keep(tmp_path, [tick(0), *log], [draft])
    assert len(live) == 1
    just_before_s = (live[0].happened_at - START).total_seconds() - 1
    assert events_of(rehearsed(tmp_path, draft, from_s=just_before_s)) == live
    if kind != "health":  # capture says itself when a trouble began
        assert events_of(rehearsed(tmp_path, draft, from_s=just_before_s, warm_up_s=800.0)) == []


# What is made of other rules' firings.


@pytest.mark.parametrize("scope", ["site", "camera"])
@settings(max_examples=12, deadline=None)
@given(steps, steps, st.data())
def test_a_rehearsed_sequence_gives_the_sequences_that_happened(
    scope: str, at_gate: list[tuple[str, float, float]], at_yard: list[tuple[str, float, float]], data: st.DataObject
) -> None:
    rules = [LEFT_LANE, RIGHT_LANE, alarm(scope=scope, within_s=data.draw(st.sampled_from([6.0, 30.0])))]
    log = beside(after(after(history_of(at_gate), CROSSES), CROSSES), after(after(history_of(at_yard), CROSSES), []))
    with cut_anywhere(log, data) as (folder, cuts):
        fired = folded(folder, log, rules, cuts).events
        live = sequences_of(data.draw(st.permutations(fired)), rules)
        event(f"{scope}: {'fires' if live else 'silent'}")
        found = events_of(rehearsed_sequence(folder, rules[-1]))
        # Of one camera after the other they come as soon as each has been read.
        assert sorted(found, key=in_order) == sorted(live, key=in_order)


@pytest.mark.parametrize(("scope", "times"), [("site", 3), ("camera", 2)])
def test_the_scene_of_a_sequence_fires_live_and_rehearsed(scope: str, times: int, tmp_path: Path) -> None:
    rules = [LEFT_LANE, RIGHT_LANE, alarm(scope=scope, within_s=60.0)]
    then = [*nobody(0, 8), *walk(8, 14, 0.7, 0.9)]
    log = beside(after(after([], CROSSES), walk(0, 6, 0.1, 0.3)), after(after([], CROSSES), then))
    live = sequences_of(folded(tmp_path, log, rules, []).events, rules)
    assert len(live) == times
    assert sorted(events_of(rehearsed_sequence(tmp_path, rules[-1])), key=in_order) == live


# What is counted.


def test_the_scene_of_what_counts_is_counted_live_and_rehearsed(tmp_path: Path) -> None:
    draft = of("counting", zones=[line(), OTHER_LINE], turns=True, interval_s=10, least_way=0.01)
    live = folded(tmp_path, after(walk(0, 6, 0.2, 0.8), nobody(0, 20)), [draft], []).counts
    assert {one.counted.direction for one in live if one.counted.count} == {"backward", "turn"}
    assert counts_of(rehearsed(tmp_path, draft)) == live


@settings(max_examples=25, deadline=None)
@given(steps, steps, st.data())
def test_a_rehearsal_counts_what_was_counted(
    before: list[tuple[str, float, float]], behind: list[tuple[str, float, float]], data: st.DataObject
) -> None:
    lines = {"zones": [line(), OTHER_LINE], "turns": True} if data.draw(st.booleans()) else {}
    draft = of("counting", **{**EASY["counting"], "least_way": 0.01, "interval_s": 10, **lines})
    log = after(after(history_of(before), walk(0, 6, 0.2, 0.8)), history_of(behind))
    log += [tick((time_of(log[-1]) - START).total_seconds() + 5 + i) for i in range(20)]
    with cut_anywhere(log, data) as (folder, cuts):
        live = folded(folder, log, [draft], cuts).counts
        event(f"counting: {'some' if any(one.counted.count for one in live) else 'none'}")
        assert counts_of(rehearsed(folder, draft)) == live
