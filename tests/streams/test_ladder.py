"""The gate, fed painted planes: a walker, a cloud, a lamp, noise."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from streams.ladder import (
    BLIND_AFTER_S,
    HANG_OVER_S,
    QUIET_AFTER_S,
    STEADY_S,
    STILL_S,
    Fact,
    Facts,
    Ladder,
    Plane,
    Rate,
    Rung,
    Verdict,
)

FPS = 10.0
AT = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
chance = np.random.default_rng(3)


@functools.cache
def _scenes(level: int, noise: float) -> list[Plane]:
    ramp = np.linspace(-30, 30, 160)[None, :] + np.zeros((90, 1))
    drawn = [level + ramp + chance.normal(0, noise, (90, 160)) for _ in range(12)]
    return [np.clip(plane, 0, 255).astype(np.uint8) for plane in drawn]


def scene(level: int = 120, noise: float = 1.0) -> Plane:
    """A grey place with a little sensor noise, ``(90, 160) uint8``."""
    planes = _scenes(level, noise)
    return planes[chance.integers(len(planes))]


def with_walker(plane: Plane, x: int, y: int = 40, contrast: int = 45) -> Plane:
    """``plane`` with a walker of 24×54 px in 1080p: two columns and four and a half rows of the plane."""
    painted = plane.astype(np.int16)
    painted[y : y + 4, x : x + 2] -= contrast
    painted[y + 4, x : x + 2] -= contrast // 2
    return np.clip(painted, 0, 255).astype(np.uint8)


def quiet_ladder(seconds: float = 5.0, **given: object) -> tuple[Ladder, float]:
    """A ladder that has watched an empty place for ``seconds``, and the time after it."""
    ladder = Ladder(5.0, **given)  # type: ignore[arg-type]
    steps = int(seconds * FPS)
    for index in range(steps):
        ladder.look(scene(), index / FPS)
    return ladder, steps / FPS


def watch(ladder: Ladder, planes: list[Plane], from_s: float) -> list[Verdict]:
    return [ladder.look(plane, from_s + index / FPS) for index, plane in enumerate(planes)]


def test_the_first_picture_is_always_sampled() -> None:
    assert Ladder(5.0).look(scene(), 0.0) == Verdict("first", "quiet")


def test_an_empty_place_is_quiet_and_sends_a_heartbeat() -> None:
    ladder = Ladder(5.0)
    verdicts = watch(ladder, [scene() for _ in range(350)], 0.0)
    assert [index / FPS for index, verdict in enumerate(verdicts) if verdict.sample] == [0, 10, 20, 30]
    assert {verdict.sample for verdict in verdicts} == {None, "first", "heartbeat"}
    assert {verdict.state for verdict in verdicts} == {"quiet"}
    assert ladder.rung is Rung.HEARTBEAT


@pytest.mark.parametrize("x", range(10, 150, 7))
def test_a_small_walker_opens_it_wherever_he_enters(x: int) -> None:
    ladder, at_s = quiet_ladder()
    verdict = ladder.look(with_walker(scene(), x, y=x % 80), at_s)
    assert verdict == Verdict("motion", "active")
    assert ladder.rung is Rung.ACTIVE


@pytest.mark.parametrize("noise", [3.0, 6.0])
def test_noise_at_night_does_not_open_it(noise: float) -> None:
    ladder = Ladder(5.0)
    verdicts = watch(ladder, [scene(40, noise) for _ in range(200)], 0.0)
    assert {verdict.state for verdict in verdicts} == {"quiet"}


def test_a_lamp_switched_on_is_light_not_motion_and_brings_the_heartbeat_forward() -> None:
    ladder, at_s = quiet_ladder()
    ladder.look(scene(), at_s)
    lit = scene(120).astype(np.int16)
    # Twice as bright in one half, half as much again in the other: no even shift.
    lit[:, :80] = np.clip(lit[:, :80] * 1.9, 0, 255)
    lit[:, 80:] = np.clip(lit[:, 80:] * 1.4, 0, 255)
    verdict = ladder.look(lit.astype(np.uint8), at_s + 1.0)
    assert verdict == Verdict("heartbeat", "quiet")
    assert ladder.look(lit.astype(np.uint8), at_s + 1.1) == Verdict(None, "quiet")


def test_flickering_light_sends_one_heartbeat_a_second_at_most() -> None:
    ladder, at_s = quiet_ladder()
    planes = [scene(60) if index % 2 else np.flipud(scene(60)) // 2 + 90 for index in range(100)]
    verdicts = watch(ladder, [plane.astype(np.uint8) for plane in planes], at_s)
    assert sum(verdict.sample is not None for verdict in verdicts) <= 10
    assert {verdict.state for verdict in verdicts} == {"quiet"}


def test_a_passing_cloud_does_not_open_it() -> None:
    ladder, at_s = quiet_ladder()
    levels = [120 + int(40 * np.sin(index / 8)) for index in range(100)]
    assert {verdict.state for verdict in watch(ladder, [scene(level) for level in levels], at_s)} == {"quiet"}


def test_a_walker_is_seen_while_a_cloud_passes() -> None:
    ladder, at_s = quiet_ladder()
    planes = [scene(120 + index) for index in range(10)]
    watch(ladder, planes, at_s)
    assert ladder.look(with_walker(scene(131), 70), at_s + 1.0).state == "active"


@pytest.mark.parametrize("contrast", [30, 45, 90])
def test_a_person_who_stands_still_becomes_quiet_and_leaving_opens_it_again(contrast: int) -> None:
    ladder, at_s = quiet_ladder()
    standing = watch(ladder, [with_walker(scene(), 70, contrast=contrast) for _ in range(300)], at_s)
    quiet_after_s = next(index for index, verdict in enumerate(standing) if verdict.state == "quiet") / FPS
    assert quiet_after_s == pytest.approx(QUIET_AFTER_S, abs=0.3)
    assert ladder.look(scene(), at_s + 30.1).state == "active"


def test_who_stands_still_is_sampled_less_and_less_often_and_at_once_when_he_moves() -> None:
    ladder, at_s = quiet_ladder()
    watch(ladder, [with_walker(scene(), x) for x in range(60, 71)], at_s)
    standing = watch(ladder, [with_walker(scene(), 70) for _ in range(80)], at_s + 1.1)
    sampled_s = [index / FPS for index, verdict in enumerate(standing) if verdict.sample]
    gaps_s = np.diff([at for at in sampled_s if at >= STEADY_S - 0.3])
    assert gaps_s[-3:] == pytest.approx([STILL_S, 2 * STILL_S, 4 * STILL_S], abs=0.15)
    assert {verdict.sample for verdict in standing if verdict.state == "quiet"} == {None, "heartbeat"}
    moving = watch(ladder, [with_walker(scene(), 71 + index) for index in range(10)], at_s + 9.1)
    assert sum(verdict.sample is not None for verdict in moving) == 5


def test_who_leaves_is_missed_in_several_pictures_before_the_gate_closes() -> None:
    ladder, at_s = quiet_ladder()
    watch(ladder, [with_walker(scene(), x) for x in range(60, 71)], at_s)
    gone = watch(ladder, [scene() for _ in range(40)], at_s + 1.1)
    sampled_s = [index / FPS for index, verdict in enumerate(gone) if verdict.sample]
    assert len([at for at in sampled_s if at <= STEADY_S]) >= 5
    assert max(sampled_s) > 1.5


def test_a_slow_faint_mover_is_not_taken_for_background() -> None:
    # Three levels darker with every picture: no step is large, and it does not stop at what noise could be.
    ladder, at_s = quiet_ladder(seconds=20.0)
    planes = [with_walker(scene(), 70, contrast=3 * index) for index in range(15)]
    assert watch(ladder, planes, at_s)[-1].state == "active"


def test_it_stays_open_for_a_while_after_the_last_change() -> None:
    ladder, at_s = quiet_ladder()
    ladder.look(with_walker(scene(), 70), at_s)
    # One picture of a walker changes the background by too little to count as a ghost.
    states = [verdict.state for verdict in watch(ladder, [scene() for _ in range(30)], at_s + 0.1)]
    assert states.index("quiet") / FPS == pytest.approx(HANG_OVER_S, abs=0.3)


@pytest.mark.parametrize(("hz", "fps"), [(5.0, 25.0), (5.0, 10.0), (5.0, 12.0), (1.0, 25.0), (2.5, 10.0), (8.0, 25.0)])
def test_an_open_gate_samples_at_the_demanded_rate(hz: float, fps: float) -> None:
    ladder = Ladder(hz)
    samples = 0
    for index in range(int(20 * fps)):
        at_s = index / fps + float(chance.uniform(0, 0.01))
        if ladder.due(at_s):
            samples += ladder.look(with_walker(scene(), 10 + index % 140), at_s).sample is not None
    assert samples == pytest.approx(20 * hz, rel=0.06, abs=1)


def test_a_camera_slower_than_the_demand_gives_all_it_has() -> None:
    ladder = Ladder(5.0, gated=False)
    assert all(ladder.look(scene(), index / 2).sample for index in range(20))


def test_without_a_gate_every_picture_at_the_rate_is_sampled() -> None:
    ladder, _ = quiet_ladder(gated=False)
    verdicts = watch(ladder, [scene() for _ in range(100)], 5.0)
    assert sum(verdict.sample == "every" for verdict in verdicts) == 50
    assert {verdict.state for verdict in verdicts} == {"active"}


def test_a_new_demand_changes_the_rate_and_keeps_what_was_learnt() -> None:
    ladder, at_s = quiet_ladder()
    ladder.want(2.0, gated=True)
    verdicts = watch(ladder, [with_walker(scene(), 10 + index) for index in range(100)], at_s)
    assert verdicts[0].sample == "motion"
    assert sum(verdict.sample is not None for verdict in verdicts) == 20


@pytest.mark.parametrize(
    "plane", [np.zeros((160, 90), np.uint8), np.zeros((90, 160), np.float32), np.zeros((90, 160, 1), np.uint8)]
)
def test_it_refuses_a_plane_of_another_shape(plane: Plane) -> None:
    with pytest.raises(ValueError, match="expected a plane"):
        Ladder(5.0).look(plane, 0.0)


@pytest.mark.parametrize(("hz", "passed"), [(0.0, 0), (-1.0, 0), (1.0, 11), (4.0, 40), (10.0, 100), (99.0, 100)])
def test_a_rate_lets_through_that_many(hz: float, passed: int) -> None:
    rate = Rate(hz)
    assert sum(rate.due(index / 10) for index in range(100)) == passed


def test_a_rate_does_not_make_up_for_a_pause() -> None:
    rate = Rate(5.0)
    assert rate.due(0.0)
    assert [rate.due(100.0 + index / 20) for index in range(8)] == [True, False, False, False] * 2


def at(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


class TestFacts:
    """When a source's state is said."""

    def test_it_says_every_change_and_repeats_every_ten_seconds(self) -> None:
        facts, said = Facts(AT, 0.0), []
        for tenth in range(250):
            now_s = tenth / 10
            state = "active" if 3.0 <= now_s < 4.0 else "quiet"
            if fact := facts.seen(state, at(now_s), now_s):  # type: ignore[arg-type]
                said.append((now_s, fact.state, (fact.since_at - AT).total_seconds()))
        assert said == [(0, "quiet", 0), (3, "active", 3), (4, "quiet", 4), (14, "quiet", 4), (24, "quiet", 4)]

    def test_a_blip_is_no_alarm(self) -> None:
        facts = Facts(AT, 0.0)
        facts.seen("quiet", at(0), 0.0)
        assert [facts.unseen("ended", at(s), s) for s in (1, 3, BLIND_AFTER_S - 0.1)] == [None] * 3
        assert facts.seen("quiet", at(6.0), 6.0) is None

    def test_blind_begins_where_the_last_picture_ended(self) -> None:
        facts = Facts(AT, 0.0)
        facts.seen("active", at(2), 2.0)
        fact = facts.unseen("stalled", at(8.5), 8.5)
        assert fact == Fact("blind", "stalled", at(8.5), at(2))
        assert facts.current == ("blind", "stalled")

    def test_another_reason_is_news_and_keeps_the_beginning(self) -> None:
        facts = Facts(AT, 0.0)
        facts.unseen("stalled", at(7), 7.0)
        assert facts.unseen("stalled", at(8), 8.0) is None
        assert facts.unseen("refused", at(9), 9.0) == Fact("blind", "refused", at(9), AT)
        assert facts.unseen("refused", at(19), 19.0) == Fact("blind", "refused", at(19), AT)

    def test_the_first_picture_after_is_said_at_once(self) -> None:
        facts = Facts(AT, 0.0)
        facts.unseen("stalled", at(7), 7.0)
        assert facts.seen("quiet", at(9), 9.0) == Fact("quiet", "", at(9), at(9))

    def test_what_could_not_be_written_is_said_again(self) -> None:
        facts = Facts(AT, 0.0)
        assert facts.seen("quiet", at(0), 0.0)
        facts.unsaid()
        assert facts.seen("quiet", at(0.1), 0.1) == Fact("quiet", "", at(0.1), at(0))

    def test_a_wall_clock_that_steps_back_makes_no_time_run_backwards(self) -> None:
        facts = Facts(AT, 0.0)
        facts.seen("active", at(5), 5.0)
        fact = facts.unseen("ended", AT - timedelta(days=1), 12.0)
        assert fact is not None
        assert fact.at >= fact.since_at == at(5)

    def test_a_new_session_after_the_clock_was_set_back_moves_what_was_seen_back_with_it(self) -> None:
        step = timedelta(hours=8)
        facts = Facts(AT, 0.0)
        facts.seen("active", at(5), 5.0)
        assert facts.clock_set_back(at(15) - step, 15.0)
        assert not facts.clock_set_back(at(15) - step, 15.0), "once"
        assert facts.unseen("ended", at(20) - step, 20.0) == Fact("blind", "ended", at(20) - step, at(5) - step)
        assert facts.seen("active", at(25) - step, 25.0) == Fact("active", "", at(25) - step, at(25) - step)

    def test_a_blindness_already_said_does_not_stay_in_the_future(self) -> None:
        step = timedelta(hours=8)
        facts = Facts(AT, 0.0)
        facts.unseen("stalled", at(7), 7.0)
        assert facts.clock_set_back(at(8) - step, 8.0)
        assert facts.unseen("stalled", at(8) - step, 8.0) == Fact("blind", "stalled", at(8) - step, AT - step)

    @pytest.mark.parametrize("late_s", [-0.9, 0.0, 3600.0])
    def test_a_clock_that_drifts_or_steps_ahead_changes_nothing(self, late_s: float) -> None:
        facts = Facts(AT, 0.0)
        facts.seen("active", at(5), 5.0)
        assert not facts.clock_set_back(at(12 + late_s), 12.0)
        fact = facts.unseen("ended", at(12 + late_s), 12.0)
        assert fact is not None and fact.since_at == at(5)
